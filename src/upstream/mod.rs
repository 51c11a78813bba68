//! Services that answer for the server: the text responder now, recognisers later. Each stands behind a port and answers through
//! the asking connection's queue, so it may take its time. Knows no WebSocket, no session machine and no store.

mod echo;
mod error;
mod history;
mod openai;
mod reply;

use uuid::Uuid;

pub use echo::Echo;
pub use error::RespondError;
pub use history::{ContextBounds, History, HistoryError, MemoryHistory, Pending, Role, Scope, Turn};
pub use openai::{OpenAi, OpenAiError, OpenAiSettings, OpenAiWorker};
pub use reply::Reply;

/// The name of the responder's circuit breaker.
pub const RESPONDER: &str = "responder";

/// A text somebody wants answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What was said.
    pub text: String,
    /// The conversation it was said in, whose turns are the context.
    pub conversation_id: Option<String>,
    /// The session it was said in: the context where there is no conversation.
    pub session_id: Uuid,
    /// Who said it. Not passed on: who a user is, is no third party's business.
    pub user: Option<String>,
}

impl Question {
    /// Whose turns are its context.
    pub fn scope(&self) -> Scope {
        match &self.conversation_id {
            Some(id) => Scope::Conversation(id.clone()),
            None => Scope::Session(self.session_id),
        }
    }
}

/// Who answers `text` messages.
pub trait Responder: Send + Sync {
    /// Takes a question and answers through `reply`, now or later. Must not block.
    fn respond(&self, question: Question, reply: Reply);

    /// What it is called, how much waits for it, for `/health/detailed`.
    fn status(&self) -> ResponderStatus;
}

/// How a responder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponderStatus {
    /// Its kind, as in the configuration.
    pub kind: &'static str,
    /// Questions that wait to be asked.
    pub waiting: usize,
    /// Questions being answered.
    pub running: usize,
}
