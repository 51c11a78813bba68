//! The responder's memory on top of the store: turns of conversations outlive a restart. Those of a session need not, for the session
//! itself does not: they stay in memory. Knows no service.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::clock::unix_ms;
use crate::store::{self, Store, StoreError};
use crate::upstream::{ContextBounds, History, HistoryError, MemoryHistory, Pending, Role, Scope, Turn};

/// Turns in the store, and in memory where they belong to a session.
pub(super) struct StoreHistory {
    store: Arc<dyn Store>,
    sessions: MemoryHistory,
    /// Held while turns that belong together are queued, so that others' do not come between them.
    order: Mutex<()>,
}

impl StoreHistory {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, sessions: MemoryHistory::default(), order: Mutex::default() }
    }

    /// Queues the turns; what it gives tells when the last of them is kept, for writes are told of in their order.
    fn queue(&self, conversation_id: &str, turns: Vec<Turn>) -> Result<oneshot::Receiver<Kept>, StoreError> {
        let (told, kept) = oneshot::channel();
        let mut told = Some(told);
        let last = turns.len().saturating_sub(1);
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        for (at, turn) in turns.into_iter().enumerate() {
            let turn = store::Turn { role: to_store(turn.role), text: turn.text, at_ms: unix_ms() };
            let told = if at == last { told.take() } else { None };
            let done = move |kept: Kept| {
                if let Some(told) = told {
                    let _ = told.send(kept); // whoever asked may have lost patience
                }
            };
            self.store.append_turn(conversation_id.to_owned(), turn, Box::new(done))?;
        }
        Ok(kept)
    }
}

type Kept = Result<(), StoreError>;

impl History for StoreHistory {
    fn context<'a>(&'a self, scope: &'a Scope, bounds: ContextBounds) -> Pending<'a, Result<Vec<Turn>, HistoryError>> {
        let Scope::Conversation(id) = scope else { return self.sessions.context(scope, bounds) };
        let kept = self.store.context(id, bounds.turns);
        Box::pin(async move {
            let turns: Vec<Turn> = kept.await.map_err(|e| failed(&e))?.into_iter().map(from_store).collect();
            Ok(bounds.latest(turns.iter().rev()))
        })
    }

    fn append<'a>(&'a self, scope: &'a Scope, turns: Vec<Turn>) -> Pending<'a, Result<(), HistoryError>> {
        let Scope::Conversation(id) = scope else { return self.sessions.append(scope, turns) };
        let queued = self.queue(id, turns);
        Box::pin(async move {
            match queued {
                Ok(kept) => kept.await.unwrap_or(Err(StoreError::Closed)).map_err(|e| failed(&e)),
                Err(e) => Err(failed(&e)),
            }
        })
    }
}

fn failed(e: &StoreError) -> HistoryError {
    HistoryError { what: e.to_string() }
}

fn to_store(role: Role) -> store::Role {
    match role {
        Role::User => store::Role::User,
        Role::Assistant => store::Role::Assistant,
    }
}

fn from_store(turn: store::Turn) -> Turn {
    let role = match turn.role {
        store::Role::User => Role::User,
        store::Role::Assistant => Role::Assistant,
    };
    Turn { role, text: turn.text }
}
