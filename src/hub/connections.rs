//! The connection registry: by id, by client and by user, each look-up O(1). Knows no socket and no message.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::connection::{Connection, ConnectionMeta};
use super::outbox::OutboxLimits;
use crate::config::{ConnectionsConfig, OnDuplicate};
use crate::protocol::{BroadcastTarget, CloseCode, Identity};

/// How many connections there may be, and what becomes of the second one of a client.
#[derive(Clone, Copy, Debug)]
pub struct Admission {
    /// In all.
    pub total_max: usize,
    /// Of one client.
    pub per_client_max: usize,
    /// Of one user.
    pub per_user_max: usize,
    /// What a second connection of the same user (without one: of the same client) means.
    pub on_duplicate: OnDuplicate,
}

impl Default for Admission {
    /// Everyone, as often as he likes.
    fn default() -> Self {
        Self {
            total_max: usize::MAX,
            per_client_max: usize::MAX,
            per_user_max: usize::MAX,
            on_duplicate: OnDuplicate::Allow,
        }
    }
}

impl Admission {
    /// As configured; an absent limit is no limit.
    pub fn new(total_max: usize, config: &ConnectionsConfig) -> Self {
        Self {
            total_max,
            per_client_max: config.per_client_max.unwrap_or(usize::MAX),
            per_user_max: config.per_user_max.unwrap_or(usize::MAX),
            on_duplicate: config.on_duplicate,
        }
    }
}

/// Why a connection is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// All places are taken.
    #[error("the server is full")]
    Full,
    /// Its client or user has as many as it may.
    #[error("this {of} has {max} connections, which is all it may have")]
    TooMany {
        /// `client` or `user`.
        of: &'static str,
        /// So many it may have.
        max: usize,
    },
    /// There is one already and the policy is to keep it.
    #[error("another connection of this {of} is open")]
    Duplicate {
        /// `client` or `user`.
        of: &'static str,
    },
}

impl Refused {
    /// What a connection is closed with for it.
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::Full => CloseCode::Overloaded,
            Self::TooMany { .. } => CloseCode::RateLimited,
            Self::Duplicate { .. } => CloseCode::Forbidden,
        }
    }
}

/// What connections sent and received, added up, those that are gone included: it only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of connection_info")]
pub struct Traffic {
    pub messages_in: u64,
    pub messages_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub errors: u64,
    /// Connections there ever were.
    pub opened: u64,
}

impl Traffic {
    /// Adds what a connection sent and received.
    pub fn take_in(&mut self, c: &Connection) {
        let n = &c.counters;
        self.messages_in += n.messages_in.load(Relaxed);
        self.messages_out += n.messages_out.load(Relaxed);
        self.bytes_in += n.bytes_in.load(Relaxed);
        self.bytes_out += c.outbox.bytes_out.load(Relaxed);
        self.errors += n.errors.load(Relaxed);
    }
}

/// Connections by something several may share.
type Groups = HashMap<String, Vec<Arc<Connection>>>;

#[derive(Debug, Default)]
struct Index {
    by_id: HashMap<Uuid, Arc<Connection>>,
    by_session: HashMap<Uuid, Arc<Connection>>,
    by_client: Groups,
    by_user: Groups,
    detached: usize,
    /// What those sent and received that are gone.
    retired: Traffic,
}

/// Every live connection, and those whose socket is gone but may come back.
#[derive(Debug, Default)]
pub struct Connections {
    admission: Admission,
    index: Mutex<Index>,
}

impl Connections {
    /// None yet.
    pub fn new(admission: Admission) -> Self {
        Self { admission, index: Mutex::default() }
    }

    /// Registers a connection; who it is may still be unknown.
    ///
    /// # Errors
    /// [`Refused`] where there is no room for it.
    pub fn insert(
        &self,
        client_id: String,
        meta: ConnectionMeta,
        identity: Option<Arc<Identity>>,
        limits: OutboxLimits,
    ) -> Result<Arc<Connection>, Refused> {
        self.insert_session(Uuid::now_v7(), client_id, meta, identity, limits)
    }

    /// Registers the connection of a session there was before.
    ///
    /// # Errors
    /// [`Refused`] where there is no room for it.
    pub fn insert_session(
        &self,
        session_id: Uuid,
        client_id: String,
        meta: ConnectionMeta,
        identity: Option<Arc<Identity>>,
        limits: OutboxLimits,
    ) -> Result<Arc<Connection>, Refused> {
        let mut index = self.lock();
        if index.by_id.len() - index.detached >= self.admission.total_max {
            return Err(Refused::Full);
        }
        let id = meta.id;
        let connection = Arc::new(Connection::new(client_id, session_id, meta, limits));
        if let Some(identity) = identity {
            self.let_in(&mut index, &connection, identity)?;
        }
        index.retired.opened += 1;
        index.by_id.insert(id, Arc::clone(&connection));
        index.by_session.insert(connection.session_id(), Arc::clone(&connection));
        Ok(connection)
    }

    /// A connection has said who it is, at the beginning or anew.
    ///
    /// # Errors
    /// [`Refused`] where its client or user may not have one more; it is not known by them then.
    pub fn identify(&self, connection: &Arc<Connection>, identity: Arc<Identity>) -> Result<(), Refused> {
        let mut index = self.lock();
        if index.by_client.get(connection.client_id()).is_some_and(|all| all.iter().any(|c| Arc::ptr_eq(c, connection)))
        {
            connection.set_identity(identity); // the session lets the user change only from nobody
            return Ok(());
        }
        self.let_in(&mut index, connection, identity)
    }

    fn let_in(&self, index: &mut Index, connection: &Arc<Connection>, identity: Arc<Identity>) -> Result<(), Refused> {
        let none = Vec::new();
        let same_user = |c: &&Arc<Connection>| !c.is_detached() && c.identity().user_id == identity.user_id;
        let of_client: Vec<_> =
            index.by_client.get(connection.client_id()).unwrap_or(&none).iter().filter(same_user).collect();
        let of_user: Option<Vec<_>> =
            identity.user_id.as_ref().map(|u| index.by_user.get(u).unwrap_or(&none).iter().filter(same_user).collect());
        let (of, duplicates) = match &of_user {
            Some(all) => ("user", all.clone()),
            None => ("client", of_client.clone()),
        };
        match self.admission.on_duplicate {
            OnDuplicate::Reject if !duplicates.is_empty() => return Err(Refused::Duplicate { of }),
            OnDuplicate::Replace => {
                for old in duplicates {
                    old.outbox.close(CloseCode::Superseded, format!("a newer connection of this {of} took its place"));
                }
            }
            OnDuplicate::Allow | OnDuplicate::Reject => {
                let too_many = |of, count, max| if count >= max { Err(Refused::TooMany { of, max }) } else { Ok(()) };
                too_many("client", of_client.len(), self.admission.per_client_max)?;
                too_many("user", of_user.as_ref().map_or(0, Vec::len), self.admission.per_user_max)?;
            }
        }
        index.by_client.entry(connection.client_id().to_owned()).or_default().push(Arc::clone(connection));
        if let Some(user) = &identity.user_id {
            index.by_user.entry(user.clone()).or_default().push(Arc::clone(connection));
        }
        connection.set_identity(identity);
        Ok(())
    }

    /// Forgets a connection.
    pub fn remove(&self, connection: &Arc<Connection>) {
        connection.set_gone();
        let mut index = self.lock();
        let id = connection.id();
        if index.by_id.get(&id).is_some_and(|c| Arc::ptr_eq(c, connection)) {
            index.by_id.remove(&id);
            index.detached -= usize::from(connection.is_detached());
            index.retired.take_in(connection);
        }
        index.by_session.remove(&connection.session_id());
        leave(&mut index.by_client, connection.client_id(), connection);
        if let Some(user) = &connection.identity().user_id {
            leave(&mut index.by_user, user, connection);
        }
    }

    /// A connection's socket is gone and its session waits for another: it takes no place meanwhile. False where as many wait already
    /// as may be connected.
    pub fn detach(&self, connection: &Arc<Connection>) -> bool {
        let mut index = self.lock();
        if index.detached >= self.admission.total_max {
            return false;
        }
        index.detached += usize::from(!connection.set_detached(true));
        true
    }

    /// A connection goes on with the socket of `newer`, whose place and id it takes over.
    pub fn take_over(&self, connection: &Arc<Connection>, newer: &Arc<Connection>) {
        self.remove(newer);
        let mut index = self.lock();
        index.detached -= usize::from(connection.set_detached(false));
        index.by_id.remove(&connection.id());
        connection.take_over(newer);
        index.by_id.insert(connection.id(), Arc::clone(connection));
    }

    /// How many have a socket.
    pub fn len(&self) -> usize {
        let index = self.lock();
        index.by_id.len() - index.detached
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One of them.
    pub fn get(&self, id: Uuid) -> Option<Arc<Connection>> {
        self.lock().by_id.get(&id).cloned()
    }

    /// The one of a session.
    pub fn of_session(&self, session_id: Uuid) -> Option<Arc<Connection>> {
        self.lock().by_session.get(&session_id).cloned()
    }

    /// Those of one client.
    pub fn of_client(&self, client_id: &str) -> Vec<Arc<Connection>> {
        self.lock().by_client.get(client_id).cloned().unwrap_or_default()
    }

    /// Those of one user.
    pub fn of_user(&self, user_id: &str) -> Vec<Arc<Connection>> {
        self.lock().by_user.get(user_id).cloned().unwrap_or_default()
    }

    /// All of them, oldest first.
    pub fn all(&self) -> Vec<Arc<Connection>> {
        let mut all: Vec<_> = self.lock().by_id.values().cloned().collect();
        all.sort_by_cached_key(|c| c.id());
        all
    }

    /// Calls `f` for each, in no order, without a list of them being made. `f` must not call the registry.
    pub fn for_each(&self, mut f: impl FnMut(&Arc<Connection>)) {
        self.lock().by_id.values().for_each(&mut f);
    }

    /// Calls `f` for each, in no order, and adds up what all there ever were sent and received. `f` must not call the registry.
    pub fn survey(&self, mut f: impl FnMut(&Arc<Connection>)) -> Traffic {
        let index = self.lock();
        let mut traffic = index.retired;
        for c in index.by_id.values() {
            traffic.take_in(c);
            f(c);
        }
        traffic
    }

    /// The same, but for those who have not said who they are: nothing is told to strangers.
    pub fn for_each_known(&self, mut f: impl FnMut(&Arc<Connection>)) {
        self.lock().by_id.values().filter(|c| c.is_known()).for_each(&mut f);
    }

    /// The connections a broadcast names, each once; conversations are not its business.
    pub fn named(&self, target: &BroadcastTarget) -> Vec<Arc<Connection>> {
        let index = self.lock();
        let by_id = target.connection_ids.iter().filter_map(|id| index.by_id.get(id)).filter(|c| c.is_known());
        let by_client = target.client_ids.iter().filter_map(|id| index.by_client.get(id)).flatten();
        let mut all: Vec<_> = by_id.chain(by_client).cloned().collect();
        all.sort_by_key(|c| c.key());
        all.dedup_by_key(|c| c.key());
        all
    }

    /// Closes those without a message for `inactive_ms`. Returns how many.
    pub fn close_inactive(&self, now_ms: u64, inactive_ms: u64) -> usize {
        let mut closed = 0;
        self.for_each(|c| {
            if now_ms.saturating_sub(c.counters.last_message_ms.load(Relaxed)) >= inactive_ms {
                closed += usize::from(c.outbox.close(CloseCode::Idle, "inactive"));
            }
        });
        closed
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn leave(groups: &mut Groups, key: &str, connection: &Arc<Connection>) {
    if let Some(all) = groups.get_mut(key) {
        all.retain(|c| !Arc::ptr_eq(c, connection));
        if all.is_empty() {
            groups.remove(key);
        }
    }
}
