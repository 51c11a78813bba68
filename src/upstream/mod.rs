//! Services that answer for the server: the text responder now, recognisers later. Each stands behind a port and answers through
//! the asking connection's queue, so it may take its time.

mod echo;

use std::sync::Arc;

pub use echo::Echo;

use crate::hub::Connection;
use crate::protocol::Event;

/// Who answers `text` messages.
pub trait Responder: Send + Sync {
    /// Takes a text and answers through `reply`, now or later. Must not block.
    fn respond(&self, text: String, reply: Reply);
}

/// Where an answer goes.
#[derive(Debug)]
pub struct Reply {
    connection: Arc<Connection>,
    reply_to: Option<String>,
}

impl Reply {
    /// The answer to one message.
    pub fn new(connection: Arc<Connection>, reply_to: Option<String>) -> Self {
        Self { connection, reply_to }
    }

    /// A part of the answer.
    pub fn chunk(&self, text: String) {
        self.connection.outbox.reply(Event::ResponseChunk { text }, self.reply_to.clone());
    }

    /// The whole answer; nothing follows.
    pub fn done(self, text: String, processing_ms: u64) {
        self.connection.outbox.reply(Event::Response { text, processing_ms }, self.reply_to);
    }
}
