//! Every session by its id, with the tokens that resume it and the mail of the task it lives in. Knows no socket: a letter carries one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::mail::{Letter, Mail};
use crate::hub::Connection;

/// 128 random bits (protocol section 2).
#[derive(Clone, Copy, Debug)]
struct Token(u128);

impl Token {
    fn random() -> Self {
        let mut bytes = [0; 16];
        // Without randomness of the system no token can be given out that nobody guesses; it cannot fail on a running Linux.
        getrandom::fill(&mut bytes).expect("the system has random bytes");
        Self(u128::from_ne_bytes(bytes))
    }

    fn text(self) -> String {
        format!("{:032x}", self.0)
    }

    /// Compares in the same time whatever differs.
    fn is(self, text: &str) -> bool {
        text.len() == 32 && u128::from_str_radix(text, 16).is_ok_and(|n| n ^ self.0 == 0)
    }
}

struct Entry {
    connection: Arc<Connection>,
    mail: Arc<Mail>,
    current: Token,
    /// The one that was used last: good until the client is heard on the new socket, so that a lost answer locks nobody out.
    used: Option<Token>,
}

/// All sessions.
#[derive(Default)]
pub(in crate::server) struct Sessions {
    index: Mutex<HashMap<Uuid, Entry>>,
}

impl Sessions {
    /// Lists a connection's session. Returns the token that resumes it.
    pub(super) fn open(&self, connection: &Arc<Connection>, mail: &Arc<Mail>) -> String {
        let current = Token::random();
        let entry = Entry { connection: Arc::clone(connection), mail: Arc::clone(mail), current, used: None };
        self.lock().insert(connection.session_id(), entry);
        current.text()
    }

    /// Puts the letter that `write` makes of the session's new token into its mail, if `token` resumes it and it is the same user's.
    /// A failed attempt changes nothing. What is wrong is not told: whoever guesses learns nothing.
    pub(super) fn hand_over(
        &self,
        session_id: Uuid,
        token: &str,
        user_id: Option<&str>,
        write: impl FnOnce(String) -> Option<Letter>,
    ) -> bool {
        let mut index = self.lock();
        let Some(entry) = index.get_mut(&session_id) else { return false };
        let good = entry.current.is(token) || entry.used.is_some_and(|t| t.is(token));
        if !good || entry.connection.identity().user_id.as_deref() != user_id {
            return false;
        }
        let new = Token::random();
        let Some(letter) = write(new.text()) else { return false };
        entry.used = Some(if entry.current.is(token) { entry.current } else { entry.used.unwrap_or(entry.current) });
        entry.current = new;
        entry.mail.put(letter);
        entry.connection.outbox.wake();
        true
    }

    /// The client was heard on its new socket: the token it used is good no more.
    pub(super) fn settle(&self, session_id: Uuid) {
        if let Some(entry) = self.lock().get_mut(&session_id) {
            entry.used = None;
        }
    }

    /// Ends a session unless someone has just come back to it.
    pub(super) fn end_unless_resumed(&self, session_id: Uuid) -> bool {
        let mut index = self.lock();
        if index.get(&session_id).is_some_and(|e| !e.mail.is_empty()) {
            return false;
        }
        index.remove(&session_id);
        true
    }

    /// Ends a session.
    pub(super) fn end(&self, session_id: Uuid) {
        self.lock().remove(&session_id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Entry>> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
