//! The connection registry: by id and by client.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::outbox::{Outbox, OutboxLimits};
use crate::protocol::{CloseCode, Speaker};

/// What is known of a connection from its handshake.
#[derive(Clone, Debug)]
pub struct ConnectionMeta {
    /// Its id.
    pub id: Uuid,
    /// The client's name for itself.
    pub client_id: String,
    /// Whether it has the admin role.
    pub admin: bool,
    /// Where it comes from.
    pub remote_addr: SocketAddr,
    /// What it calls itself.
    pub user_agent: Option<String>,
    /// The conversation it named in the query.
    pub conversation_id: Option<String>,
    /// Milliseconds since the Unix epoch.
    pub connected_unix_ms: u64,
    /// On the server's monotonic clock.
    pub connected_ms: u64,
}

/// Figures of a connection, written by its task and read by anyone.
#[derive(Debug, Default)]
#[allow(missing_docs, reason = "the names are those of connection_info")]
pub struct Counters {
    pub messages_in: AtomicU64,
    pub messages_out: AtomicU64,
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
    pub errors: AtomicU64,
    /// On the server's monotonic clock.
    pub last_activity_ms: AtomicU64,
}

/// A live connection, as others see it.
#[derive(Debug)]
pub struct Connection {
    /// From the handshake.
    pub meta: ConnectionMeta,
    /// Its figures.
    pub counters: Counters,
    /// What it is to be told.
    pub outbox: Outbox,
    gone: AtomicBool,
}

impl Connection {
    /// Whether its socket is gone: work for it may stop.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Itself as the source of a stream or message.
    pub fn speaker(&self) -> Speaker {
        Speaker { connection_id: self.meta.id, client_id: self.meta.client_id.clone(), user_id: None }
    }

    /// Its roles.
    pub fn roles(&self) -> Vec<String> {
        if self.meta.admin { vec!["admin".to_owned()] } else { Vec::new() }
    }
}

#[derive(Debug, Default)]
struct Index {
    by_id: HashMap<Uuid, Arc<Connection>>,
    by_client: HashMap<String, Vec<Uuid>>,
}

/// Every live connection.
#[derive(Debug, Default)]
pub struct Connections {
    index: Mutex<Index>,
}

impl Connections {
    /// Registers a connection, unless `max` are there.
    pub fn insert(&self, meta: ConnectionMeta, limits: OutboxLimits, max: usize) -> Option<Arc<Connection>> {
        let mut index = self.lock();
        if index.by_id.len() >= max {
            return None;
        }
        let outbox = Outbox::new(limits);
        let connection =
            Arc::new(Connection { meta, counters: Counters::default(), outbox, gone: AtomicBool::new(false) });
        let id = connection.meta.id;
        index.by_client.entry(connection.meta.client_id.clone()).or_default().push(id);
        index.by_id.insert(id, Arc::clone(&connection));
        Some(connection)
    }

    /// Forgets a connection.
    pub fn remove(&self, connection: &Connection) {
        connection.gone.store(true, Ordering::Release);
        let mut index = self.lock();
        index.by_id.remove(&connection.meta.id);
        if let Some(ids) = index.by_client.get_mut(&connection.meta.client_id) {
            ids.retain(|id| *id != connection.meta.id);
            if ids.is_empty() {
                index.by_client.remove(&connection.meta.client_id);
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lock().by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One of them.
    pub fn get(&self, id: Uuid) -> Option<Arc<Connection>> {
        self.lock().by_id.get(&id).cloned()
    }

    /// Those of one client.
    pub fn of_client(&self, client_id: &str) -> Vec<Arc<Connection>> {
        let index = self.lock();
        index.by_client.get(client_id).into_iter().flatten().filter_map(|id| index.by_id.get(id)).cloned().collect()
    }

    /// All of them, oldest first.
    pub fn all(&self) -> Vec<Arc<Connection>> {
        let mut all: Vec<_> = self.lock().by_id.values().cloned().collect();
        all.sort_by_key(|c| c.meta.id);
        all
    }

    /// Closes those without a message for `inactive_ms`. Returns how many.
    pub fn close_inactive(&self, now_ms: u64, inactive_ms: u64) -> usize {
        let old: Vec<_> = self
            .all()
            .into_iter()
            .filter(|c| now_ms.saturating_sub(c.counters.last_activity_ms.load(Ordering::Relaxed)) >= inactive_ms)
            .collect();
        for c in &old {
            c.outbox.close(CloseCode::Idle, "inactive");
        }
        old.len()
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
