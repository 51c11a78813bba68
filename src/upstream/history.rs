//! What was said before: the port through which a responder gets its context, and a bounded one in memory. A store stands behind the
//! same port. Knows no service and no connection.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

/// Scopes the memory keeps; with [`ContextBounds::default`] each, that is 16 MiB at the most.
const SCOPES_MAX: usize = 1_024;

/// A future of a port.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Whose turns belong together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Those of a conversation.
    Conversation(String),
    /// Those of a session, outside of any conversation.
    Session(Uuid),
}

/// Who said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A client.
    User,
    /// The responder.
    Assistant,
}

/// Something that was said.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Turn {
    /// Who.
    pub role: Role,
    /// What.
    #[serde(rename = "content")]
    pub text: String,
}

/// How much of the past is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContextBounds {
    /// Turns at the most.
    pub turns: usize,
    /// Bytes of text at the most.
    pub bytes: usize,
}

impl Default for ContextBounds {
    /// Some 4,000 tokens: what the smallest usual context window takes beside the question and the answer.
    fn default() -> Self {
        Self { turns: 20, bytes: 16 * 1024 }
    }
}

impl ContextBounds {
    /// The latest turns within the bounds, oldest first, from turns that come newest first.
    pub fn latest<'a>(&self, newest_first: impl IntoIterator<Item = &'a Turn>) -> Vec<Turn> {
        let mut bytes = 0;
        let mut kept: Vec<Turn> = newest_first
            .into_iter()
            .take(self.turns)
            .take_while(|turn| {
                bytes += turn.text.len();
                bytes <= self.bytes
            })
            .cloned()
            .collect();
        kept.reverse();
        kept
    }
}

/// The past could not be read or written. The server's fault; the question is answered without it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("history: {what}")]
pub struct HistoryError {
    /// What failed.
    pub what: String,
}

/// Where turns are kept.
pub trait History: Send + Sync {
    /// The latest turns of a scope within the bounds, oldest first.
    ///
    /// # Errors
    /// [`HistoryError`]; the caller goes on without.
    fn context<'a>(&'a self, scope: &'a Scope, bounds: ContextBounds) -> Pending<'a, Result<Vec<Turn>, HistoryError>>;

    /// Adds turns that belong together: a question and its answer, so that two questions at once do not mix.
    ///
    /// # Errors
    /// [`HistoryError`]; the answer is given all the same.
    fn append<'a>(&'a self, scope: &'a Scope, turns: Vec<Turn>) -> Pending<'a, Result<(), HistoryError>>;
}

#[derive(Debug, Default)]
struct Kept {
    turns: VecDeque<Turn>,
    bytes: usize,
    used: u64,
}

#[derive(Debug, Default)]
struct Memory {
    scopes: HashMap<Scope, Kept>,
    uses: u64,
}

/// Turns in memory: lost at a restart, the scope least recently used goes first.
#[derive(Debug, Default)]
pub struct MemoryHistory {
    memory: Mutex<Memory>,
    bounds: ContextBounds,
}

impl MemoryHistory {
    fn add(&self, scope: &Scope, turns: Vec<Turn>) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let m = &mut *memory;
        m.uses += 1;
        if !m.scopes.contains_key(scope) && m.scopes.len() >= SCOPES_MAX {
            let oldest = m.scopes.iter().min_by_key(|(_, kept)| kept.used).map(|(scope, _)| scope.clone());
            if let Some(oldest) = oldest {
                m.scopes.remove(&oldest);
            }
        }
        let kept = m.scopes.entry(scope.clone()).or_default();
        kept.used = m.uses;
        for turn in turns {
            kept.bytes += turn.text.len();
            kept.turns.push_back(turn);
        }
        while kept.turns.len() > self.bounds.turns || kept.bytes > self.bounds.bytes {
            let Some(gone) = kept.turns.pop_front() else { break };
            kept.bytes -= gone.text.len();
        }
    }

    fn latest(&self, scope: &Scope, bounds: ContextBounds) -> Vec<Turn> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.uses += 1;
        let uses = memory.uses;
        let Some(kept) = memory.scopes.get_mut(scope) else { return Vec::new() };
        kept.used = uses;
        bounds.latest(kept.turns.iter().rev())
    }
}

impl History for MemoryHistory {
    fn context<'a>(&'a self, scope: &'a Scope, bounds: ContextBounds) -> Pending<'a, Result<Vec<Turn>, HistoryError>> {
        Box::pin(std::future::ready(Ok(self.latest(scope, bounds))))
    }

    fn append<'a>(&'a self, scope: &'a Scope, turns: Vec<Turn>) -> Pending<'a, Result<(), HistoryError>> {
        self.add(scope, turns);
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(text: &str) -> Turn {
        Turn { role: Role::User, text: text.to_owned() }
    }

    fn texts(turns: &[Turn]) -> Vec<&str> {
        turns.iter().map(|t| t.text.as_str()).collect()
    }

    #[tokio::test]
    async fn the_latest_turns_of_a_scope_come_oldest_first_and_within_bounds() {
        let h = MemoryHistory::default();
        let (here, there) = (Scope::Conversation("a".into()), Scope::Session(Uuid::nil()));
        h.append(&here, vec![turn("one"), turn("two")]).await.unwrap();
        h.append(&here, vec![turn("three")]).await.unwrap();
        h.append(&there, vec![turn("other")]).await.unwrap();
        let all = h.context(&here, ContextBounds::default()).await.unwrap();
        assert_eq!(texts(&all), ["one", "two", "three"]);
        for (turns, bytes, expected) in [(2, 100, &["two", "three"][..]), (9, 8, &["two", "three"]), (9, 4, &[])] {
            let some = h.context(&here, ContextBounds { turns, bytes }).await.unwrap();
            assert_eq!(texts(&some), expected, "{turns} turns, {bytes} bytes");
        }
    }

    #[tokio::test]
    async fn memory_is_bounded_in_turns_bytes_and_scopes() {
        let h = MemoryHistory::default();
        let scope = |n: usize| Scope::Conversation(n.to_string());
        for n in 0..100 {
            h.append(&scope(0), vec![turn(&n.to_string())]).await.unwrap();
        }
        let all = ContextBounds { turns: usize::MAX, bytes: usize::MAX };
        assert_eq!(h.context(&scope(0), all).await.unwrap().len(), 20);
        h.append(&scope(0), vec![turn(&"x".repeat(20_000))]).await.unwrap();
        assert!(h.context(&scope(0), all).await.unwrap().is_empty(), "what is too long alone is not kept");
        for n in 0..SCOPES_MAX {
            h.append(&scope(n), vec![turn("x")]).await.unwrap();
        }
        h.context(&scope(0), all).await.unwrap();
        h.append(&scope(SCOPES_MAX), vec![turn("x")]).await.unwrap();
        assert_eq!(h.memory.lock().unwrap().scopes.len(), SCOPES_MAX);
        assert_eq!(h.context(&scope(0), all).await.unwrap().len(), 1, "used a moment ago");
        assert!(h.context(&scope(1), all).await.unwrap().is_empty(), "least recently used");
    }
}
