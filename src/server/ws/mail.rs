//! What reaches a connection's task from elsewhere and needs its own state, in order: the outbox cannot carry it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::auth::AuthError;
use crate::hub::Connection;
use crate::protocol::Identity;
use crate::server::accept::Slot;
use crate::server::socket::Packed;
use crate::websocket::Reader;

/// Something for a task.
pub(super) enum Letter {
    /// A token was looked at.
    Verified {
        /// Who it says the client is.
        result: Result<Identity, AuthError>,
        /// The `id` to answer.
        reply_to: Option<String>,
    },
    /// The client is back on another socket.
    Resumed(Box<Newcomer>),
}

/// A client that came back, with all its new connection's task had.
pub(super) struct Newcomer {
    pub(super) socket: Packed,
    pub(super) slot: Option<Slot>,
    pub(super) reader: Reader,
    /// What the socket was to be given yet.
    pub(super) unsent: Vec<u8>,
    /// What it said after `resume`.
    pub(super) said: Vec<Said>,
    /// Its connection, whose place and id the session's own takes over.
    pub(super) connection: Arc<Connection>,
    pub(super) identity: Arc<Identity>,
    pub(super) expires_ms: Option<u64>,
    /// The token that resumes the session the next time.
    pub(super) token: String,
    /// The last session event it has.
    pub(super) last_seq: Option<u64>,
    /// The `id` to answer.
    pub(super) reply_to: Option<String>,
}

/// A message that was read but not handled.
pub(super) enum Said {
    Text(String),
    Binary(Vec<u8>),
}

/// A task's letters. Bounded by its senders: a task has one token verified at a time, and each newcomer takes a connection's place.
#[derive(Default)]
pub(super) struct Mail(Mutex<VecDeque<Letter>>);

impl Mail {
    /// Puts a letter in; wake the task after it.
    pub(super) fn put(&self, letter: Letter) {
        self.lock().push_back(letter);
    }

    /// The oldest letter.
    pub(super) fn take(&self) -> Option<Letter> {
        self.lock().pop_front()
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Letter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
