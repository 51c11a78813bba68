//! What reaches a connection's task from elsewhere and needs its own state, in order: the outbox cannot carry it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::auth::AuthError;
use crate::protocol::Identity;

/// Something for a task.
pub(super) enum Letter {
    /// A token was looked at.
    Verified {
        /// Who it says the client is.
        result: Result<Identity, AuthError>,
        /// The `id` to answer.
        reply_to: Option<String>,
    },
}

/// A task's letters. Bounded by its senders: a task has one token verified at a time.
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

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Letter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
