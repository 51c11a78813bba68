//! Every session by its id, with the tokens that resume it and the mail of the task it lives in. Knows no socket: a letter carries one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::mail::{Letter, Mail};
use crate::hub::Connection;

/// What is kept of a token: who reads memory or disk cannot use it.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenHash([u8; 32]);

impl TokenHash {
    fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Compares in the same time whatever differs.
    fn is(self, other: Self) -> bool {
        self.0.iter().zip(other.0).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }

    /// In hexadecimal.
    pub(super) fn text(self) -> String {
        self.0.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// From hexadecimal.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes().as_chunks::<2>();
        let mut bytes = [0; 32];
        if digits.0.len() != bytes.len() || !digits.1.is_empty() {
            return None;
        }
        for (to, pair) in bytes.iter_mut().zip(digits.0) {
            *to = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

/// A new token: 128 random bits (protocol section 2), as text, and what is kept of it.
fn new_token() -> (String, TokenHash) {
    let mut bytes = [0; 16];
    // Without randomness of the system no token can be given out that nobody guesses; it cannot fail on a running Linux.
    getrandom::fill(&mut bytes).expect("the system has random bytes");
    let text = format!("{:032x}", u128::from_ne_bytes(bytes));
    let hash = TokenHash::of(&text);
    (text, hash)
}

/// The tokens that resume a session.
#[derive(Clone, Copy, Debug)]
struct Tokens {
    current: TokenHash,
    /// The one that was used last: good until the client is heard on the new socket, so that a lost answer locks nobody out.
    used: Option<TokenHash>,
}

impl Tokens {
    /// What they are once `token` was used, and the new one's text; none where it resumes nothing.
    fn after(self, token: &str) -> Option<(Self, String)> {
        let token = TokenHash::of(token);
        let used = match self.used {
            _ if self.current.is(token) => self.current,
            Some(used) if used.is(token) => used,
            Some(_) | None => return None,
        };
        let (text, current) = new_token();
        Some((Self { current, used: Some(used) }, text))
    }

    /// The client was heard: the one it used is good no more.
    fn settle(&mut self) {
        self.used = None;
    }
}

struct Entry {
    connection: Arc<Connection>,
    mail: Arc<Mail>,
    tokens: Tokens,
}

/// All sessions.
#[derive(Default)]
pub(in crate::server) struct Sessions {
    index: Mutex<HashMap<Uuid, Entry>>,
}

impl Sessions {
    /// Lists a connection's session. Returns the token that resumes it.
    pub(super) fn open(&self, connection: &Arc<Connection>, mail: &Arc<Mail>) -> String {
        let (text, current) = new_token();
        self.restore(connection, mail, current, None);
        text
    }

    /// Lists the session of a connection by the tokens that were given out before.
    pub(super) fn restore(
        &self,
        connection: &Arc<Connection>,
        mail: &Arc<Mail>,
        current: TokenHash,
        used: Option<TokenHash>,
    ) {
        let tokens = Tokens { current, used };
        let entry = Entry { connection: Arc::clone(connection), mail: Arc::clone(mail), tokens };
        self.lock().insert(connection.session_id(), entry);
    }

    /// What is kept of the token that resumes a session, and of the one used last while it is still good.
    pub(super) fn tokens(&self, session_id: Uuid) -> Option<(TokenHash, Option<TokenHash>)> {
        self.lock().get(&session_id).map(|e| (e.tokens.current, e.tokens.used))
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
        let Some((tokens, text)) = entry.tokens.after(token) else { return false };
        if entry.connection.identity().user_id.as_deref() != user_id {
            return false;
        }
        let Some(letter) = write(text) else { return false };
        entry.tokens = tokens;
        entry.mail.put(letter);
        entry.connection.outbox.wake();
        true
    }

    /// The client was heard on its new socket: the token it used is good no more.
    pub(super) fn settle(&self, session_id: Uuid) {
        if let Some(entry) = self.lock().get_mut(&session_id) {
            entry.tokens.settle();
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A client whose sockets drop at any moment, and someone who tries all he has seen, in ten thousand turns. At every moment exactly
    /// the tokens of the protocol are good: the newest, and until the client is heard the one it used.
    #[test]
    fn of_all_tokens_ever_given_only_the_newest_and_the_unsettled_are_good() {
        let mut dice = 1u64;
        let mut below = |n: usize| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) as usize % n
        };
        let (first, current) = new_token();
        let mut tokens = Tokens { current, used: None };
        let mut given = vec![first];
        // What the client holds, by its place in `given`; and which used one is not settled.
        let (mut held, mut unsettled) = (0, None);
        for _ in 0..10_000 {
            let newest = given.len() - 1;
            match below(4) {
                // It comes back; the answer may be lost on the way.
                0 | 1 => {
                    let text;
                    (tokens, text) =
                        tokens.after(&given[held]).expect("who holds the newest or the unsettled is never locked out");
                    given.push(text);
                    unsettled = Some(held);
                    if below(2) == 0 {
                        held = newest + 1;
                    }
                }
                // It is heard: only who got the answer is.
                2 if held == newest => {
                    tokens.settle();
                    unsettled = None;
                }
                2 => {}
                // Someone else tries one that was given once.
                _ => {
                    let guess = below(given.len());
                    let good = guess == newest || Some(guess) == unsettled;
                    assert_eq!(tokens.after(&given[guess]).is_some(), good, "token {guess} of {newest}");
                }
            }
        }
        for wrong in ["", "0", &"0".repeat(32), &given[0].to_uppercase(), &format!("+{}", &given[0][1..])] {
            assert!(tokens.after(wrong).is_none(), "{wrong}");
        }
    }
}
