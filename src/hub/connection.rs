//! A connection as others see it: who it is, its figures, its outbound queue. Its task owns everything else.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use super::outbox::{Outbox, OutboxLimits};
use crate::protocol::{EventSet, Identity, MemberId, Speaker, Topic};

/// What is known of a connection from its handshake. A resumed session takes over its newer socket's.
#[derive(Clone, Debug)]
pub struct ConnectionMeta {
    /// Its id.
    pub id: Uuid,
    /// Where it comes from.
    pub remote_addr: SocketAddr,
    /// What it calls itself.
    pub user_agent: Option<String>,
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
    pub errors: AtomicU64,
    /// On the server's monotonic clock.
    pub last_activity_ms: AtomicU64,
    /// Last message that was not the heartbeat's, on the same clock.
    pub last_message_ms: AtomicU64,
}

impl Counters {
    /// When the client was last heard, on the server's monotonic clock.
    pub fn last_activity_ms(&self) -> u64 {
        self.last_activity_ms.load(Ordering::Relaxed)
    }
}

/// A live connection.
#[derive(Debug)]
pub struct Connection {
    key: u64,
    session_id: Uuid,
    client_id: String,
    created_unix_ms: u64,
    meta: Mutex<Arc<ConnectionMeta>>,
    identity: Mutex<Arc<Identity>>,
    subscriptions: AtomicU16,
    /// Those it is in, for `connection_info`; who is in one, the conversation knows.
    conversations: Mutex<Vec<String>>,
    known: AtomicBool,
    detached: AtomicBool,
    gone: AtomicBool,
    /// Its figures.
    pub counters: Counters,
    /// What it is to be told.
    pub outbox: Outbox,
}

impl Connection {
    pub(super) fn new(client_id: String, session_id: Uuid, meta: ConnectionMeta, limits: OutboxLimits) -> Self {
        static NEXT_KEY: AtomicU64 = AtomicU64::new(0);
        Self {
            key: NEXT_KEY.fetch_add(1, Ordering::Relaxed),
            session_id,
            client_id,
            created_unix_ms: meta.connected_unix_ms,
            meta: Mutex::new(Arc::new(meta)),
            identity: Mutex::default(),
            subscriptions: AtomicU16::new(EventSet::DEFAULT.bits()),
            conversations: Mutex::default(),
            known: AtomicBool::new(false),
            detached: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            counters: Counters::default(),
            outbox: Outbox::new(limits),
        }
    }

    /// A number no other connection of this process has, the same for life.
    pub fn key(&self) -> u64 {
        self.key
    }

    /// Its session, the same for life.
    pub fn session_id(&self) -> Uuid {
        self.session_id
    }

    /// The client's name for itself, the same for life.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// When its session began, in milliseconds since the Unix epoch.
    pub fn created_unix_ms(&self) -> u64 {
        self.created_unix_ms
    }

    /// Its id: that of its socket, so a resumed session has another than before.
    pub fn id(&self) -> Uuid {
        self.meta().id
    }

    /// What its handshake told.
    pub fn meta(&self) -> Arc<ConnectionMeta> {
        Arc::clone(&self.meta.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who it is; nobody while that is not known.
    pub fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.identity.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_identity(&self, identity: Arc<Identity>) {
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = identity;
        self.known.store(true, Ordering::Release);
    }

    /// Whether it has said who it is, where that is asked: what others say to everyone is not for strangers.
    pub fn is_known(&self) -> bool {
        self.known.load(Ordering::Acquire)
    }

    pub(super) fn take_over(&self, newer: &Self) {
        *self.meta.lock().unwrap_or_else(PoisonError::into_inner) = newer.meta();
        let identity = newer.identity();
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = identity;
    }

    /// Whether its socket is gone and its session waits for another.
    pub fn is_detached(&self) -> bool {
        self.detached.load(Ordering::Acquire)
    }

    /// Returns what it was before.
    pub(super) fn set_detached(&self, detached: bool) -> bool {
        self.detached.swap(detached, Ordering::AcqRel)
    }

    /// Whether it is gone for good: work for it may stop.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    pub(super) fn set_gone(&self) {
        self.gone.store(true, Ordering::Release);
    }

    /// Its state, as `connection_info` has it.
    pub fn state(&self) -> &'static str {
        if self.outbox.closing().is_some() {
            "closing"
        } else if self.is_detached() {
            "recovering"
        } else {
            "open"
        }
    }

    /// What it wants to be told.
    pub fn subscriptions(&self) -> EventSet {
        EventSet::from_bits(self.subscriptions.load(Ordering::Relaxed))
    }

    /// It wants to be told something else.
    pub fn set_subscriptions(&self, events: EventSet) {
        self.subscriptions.store(events.bits(), Ordering::Relaxed);
    }

    /// Whether it wants to be told of a topic.
    pub fn wants(&self, topic: Topic) -> bool {
        self.subscriptions().has(topic)
    }

    /// The conversations it is in.
    pub fn conversations(&self) -> Vec<String> {
        self.conversations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn joined(&self, conversation_id: &str) {
        self.conversations.lock().unwrap_or_else(PoisonError::into_inner).push(conversation_id.to_owned());
    }

    pub(super) fn left(&self, conversation_id: &str) {
        self.conversations.lock().unwrap_or_else(PoisonError::into_inner).retain(|c| c != conversation_id);
    }

    /// Itself as the source of a stream or message.
    pub fn speaker(&self) -> Speaker {
        Speaker {
            connection_id: self.id(),
            client_id: self.client_id.clone(),
            user_id: self.identity().user_id.clone(),
        }
    }

    /// Itself as a member of a conversation.
    pub fn member_id(&self) -> MemberId {
        MemberId { client_id: self.client_id.clone(), user_id: self.identity().user_id.clone() }
    }
}
