//! The way an answer goes: to the outbound queue of the connection that asked, from whichever thread. Every question gets exactly one
//! end: the answer or an error. Knows no responder.

use std::sync::Arc;
use std::time::Instant;

use super::RespondError;
use crate::hub::Connection;
use crate::protocol::{ErrorCode, Event, ProtocolError};

/// Part of a connection's outbound queue that answers may fill: past it pieces are joined instead of queued, so that a model that
/// talks faster than the client reads does not get the client closed.
const QUEUE_SHARE: usize = 4;

/// Where an answer goes. Dropped without an end, it tells the client that there will be none.
#[derive(Debug)]
pub struct Reply {
    connection: Arc<Connection>,
    reply_to: Option<String>,
    asked: Instant,
    ended: bool,
}

impl Reply {
    /// The answer to one message, asked now.
    pub fn new(connection: Arc<Connection>, reply_to: Option<String>) -> Self {
        Self { connection, reply_to, asked: Instant::now(), ended: false }
    }

    /// When the question was asked.
    pub fn asked(&self) -> Instant {
        self.asked
    }

    /// A part of the answer.
    pub fn chunk(&self, text: String) {
        self.connection.outbox.reply(&Event::ResponseChunk { text }, self.reply_to.as_deref());
    }

    /// The whole answer; nothing follows.
    pub fn finish(mut self, text: String) {
        let processing_ms = u64::try_from(self.asked.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.end(&Event::Response { text, processing_ms });
    }

    /// There is no answer, or no more of it; nothing follows.
    pub fn fail(mut self, error: &RespondError) {
        self.end(&Event::Error(error.to_protocol()));
    }

    /// Whether the client has left: nobody will read the answer.
    pub fn is_gone(&self) -> bool {
        self.connection.is_gone() || self.connection.outbox.closing().is_some()
    }

    /// Whether a further part should wait and be joined with what follows: the client has not read the last ones.
    pub fn is_congested(&self) -> bool {
        let queue = self.connection.outbox.info();
        queue.messages > queue.limit / QUEUE_SHARE
    }

    fn end(&mut self, event: &Event) {
        self.ended = true;
        self.connection.outbox.reply(event, self.reply_to.as_deref());
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if !self.ended {
            self.end(&Event::Error(ProtocolError::new(ErrorCode::Internal, "the answer was lost in the server")));
        }
    }
}
