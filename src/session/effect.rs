//! What a session works with and what it asks of its runtime, as plain values.

use uuid::Uuid;

use super::people::PeopleAct;
use crate::audio::{OutputFormat, StreamFormat};
use crate::dialect::native::DecodeLimits;
use crate::protocol::{AdminCommand, CloseCode, Event, EventSet, Framing, ListenTarget, Overflow, ResumeRequest};

/// What a session may do, from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// Streams open at once.
    pub streams_max: usize,
    /// Conversations joined at once.
    pub conversations_max: usize,
    /// Faults in a row that close the connection.
    pub faults_max: u32,
    /// Session events kept for a client that comes back.
    pub event_ring: usize,
    /// Bounds on text messages.
    pub decode: DecodeLimits,
}

/// What a stream gets where its sender says nothing.
#[derive(Clone, Copy, Debug)]
pub struct StreamDefaults {
    /// The query's format, or `auto`.
    pub format: StreamFormat,
    /// The configured output.
    pub output: OutputFormat,
}

/// A stream to open.
#[derive(Clone, Debug)]
pub struct OpenStream {
    /// Its number on this connection.
    pub index: u32,
    /// Its unique id.
    pub uid: Uuid,
    /// The client's name for it, else the uid.
    pub stream_id: String,
    /// What is sent.
    pub format: StreamFormat,
    /// What shall come out.
    pub output: OutputFormat,
    /// Audio between acknowledgements in milliseconds; 0: only when asked.
    pub ack_interval_ms: u32,
    /// Whether it is recorded.
    pub record: bool,
    /// What happens when its queue is full.
    pub overflow: Overflow,
    /// How binary frames find it.
    pub framing: Framing,
    /// The conversation it belongs to.
    pub conversation_id: Option<String>,
    /// Whether it was opened by audio itself, so that unknown bytes mean `FORMAT_REQUIRED`.
    pub implicit: bool,
    /// Whether speech detection was asked for.
    pub speech: bool,
    /// Whether levels were asked for.
    pub levels: bool,
    /// The `id` to answer.
    pub reply_to: Option<String>,
}

/// What a client asks about that only the runtime knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// `status_request`.
    Status,
    /// `connection_info_request`: one's own, or another's.
    ConnectionInfo(Option<Uuid>),
    /// `get_connection_status`.
    ConnectionStatus,
    /// `health_check`.
    Health,
}

/// What must happen because of a message, in order.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Tell the client.
    Send(Event, Option<String>),
    /// Open a stream, then report [`Session::opened`](super::Session::opened) or [`Session::closed`](super::Session::closed).
    Open(Box<OpenStream>),
    /// Hand the scratch buffer's bytes from `skip` on to a stream; acknowledge at once where `reply_to` is there.
    Audio {
        /// The stream.
        index: u32,
        /// Bytes at the front that were already received.
        skip: usize,
        /// The `id` to acknowledge.
        reply_to: Option<String>,
    },
    /// Acknowledge once all received so far has passed every sink.
    Flush(u32, Option<String>),
    /// Drain, close and answer.
    End(u32, Option<String>),
    /// Throw away and answer.
    Cancel(u32, Option<String>),
    /// Begin to listen.
    Listen(ListenTarget, Option<String>),
    /// Stop listening.
    StopListening(String, Option<String>),
    /// What the client wants to be told has changed.
    Subscriptions(EventSet),
    /// Answer a text, in a conversation or outside of any.
    Respond {
        /// What was said.
        text: String,
        /// Where.
        conversation_id: Option<String>,
        /// The `id` to answer.
        reply_to: Option<String>,
    },
    /// Answer a question.
    Ask(Query, Option<String>),
    /// Conversations, broadcasts, preferences.
    People(PeopleAct, Option<String>),
    /// Verify a token, then report [`Session::authenticated`](super::Session::authenticated).
    Authenticate(String, Option<String>),
    /// Go on with another session.
    Resume(ResumeRequest, Option<String>),
    /// Do what an administrator asks for; that he is one has been checked.
    Admin(AdminCommand, Option<String>),
    /// Close the connection.
    Close(CloseCode, &'static str),
}
