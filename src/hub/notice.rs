//! A message to a client in its encoded form, so that a thousand receivers share one encoding. Knows no receiver: what differs from
//! one to the next (`timestamp`, `reply_to`, `seq`) is added when it is sent.

use std::sync::Arc;

use bytes::Bytes;

use crate::dialect::native::{self, Envelope};
use crate::protocol::{Event, ProtocolError};

/// An encoded event; a clone costs no copy.
#[derive(Clone, Debug)]
pub struct Notice {
    /// One JSON object, still open.
    head: Bytes,
    is_session_event: bool,
    /// Where it tells of an error, for whoever counts them.
    error: Option<Arc<ProtocolError>>,
}

impl Notice {
    /// Encodes an event.
    pub fn new(event: &Event) -> Self {
        let mut head = Vec::with_capacity(256);
        native::encode_head(event, &mut head);
        let error = match event {
            Event::Error(e) => Some(Arc::new(e.clone())),
            _ => None,
        };
        Self { head: head.into(), is_session_event: event.is_session_event(), error }
    }

    /// Its bytes, without the envelope.
    pub fn len(&self) -> usize {
        self.head.len()
    }

    /// Never: an event has a type at least.
    pub fn is_empty(&self) -> bool {
        self.head.is_empty()
    }

    /// Whether it carries a `seq` and is replayed on resume.
    pub fn is_session_event(&self) -> bool {
        self.is_session_event
    }

    /// The error it tells of.
    pub fn error(&self) -> Option<&ProtocolError> {
        self.error.as_deref()
    }

    /// Appends it, whole, to `out`.
    pub fn write(&self, envelope: Envelope<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        native::encode_tail(envelope, out);
    }
}
