//! What a client says, validated field by field; borrowed from the message where it is large.

use std::borrow::Cow;

use uuid::Uuid;

use crate::audio::{OutputChannels, StreamFormat};

/// A command and the `id` its answers refer to.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope<'a> {
    /// The client's own name for the message.
    pub id: Option<String>,
    /// What it asks for.
    pub command: Command<'a>,
}

/// What a client asks for (protocol section 3).
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names are the protocol's own, section 3")]
pub enum Command<'a> {
    Authenticate { token: String },
    Ping { payload: Option<String> },
    Pong,
    Text { text: String, conversation_id: Option<String> },
    StatusRequest,
    ConnectionInfoRequest { connection_id: Option<Uuid> },
    AudioStart(AudioStart),
    AudioData(AudioData<'a>),
    AudioFlush { stream_id: Option<String> },
    AudioEnd { stream_id: Option<String> },
    AudioCancel { stream_id: Option<String> },
    ListenStart(ListenTarget),
    ListenStop { listener_id: String },
    SubscribeEvents { events: Vec<String> },
    UnsubscribeEvents { events: Vec<String> },
    GetConnectionStatus,
    HealthCheck,
}

/// Whose audio is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenTarget {
    /// One stream: its `stream_uid`, or one's own name for it.
    Stream(String),
    /// Every stream of a conversation, now and later.
    Conversation(String),
}

/// How binary frames find their stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Binary goes to the newest open raw stream.
    Raw,
    /// Each binary frame begins with its stream's index.
    Tagged,
}

/// What happens when a stream's queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The socket is not read until there is room.
    Block,
    /// The oldest undecoded audio goes, its time is kept.
    DropOldest,
}

/// What is asked for as output; what is left out comes from the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputRequest {
    /// Sample rate in hertz.
    pub rate_hz: Option<u32>,
    /// Channel choice.
    pub channels: Option<OutputChannels>,
}

/// `audio_start`.
#[derive(Clone, Debug, PartialEq)]
pub struct AudioStart {
    /// The client's own name for the stream.
    pub stream_id: Option<String>,
    /// What it sends; `None` means the connection's default.
    pub format: Option<StreamFormat>,
    /// What shall come out.
    pub output: OutputRequest,
    /// Audio between acknowledgements in milliseconds; 0: only when asked.
    pub ack_interval_ms: u32,
    /// Whether it is recorded.
    pub record: bool,
    /// How binary frames find it.
    pub framing: Framing,
    /// What happens when its queue is full.
    pub overflow: Overflow,
    /// The conversation it belongs to.
    pub conversation_id: Option<String>,
}

/// `audio_data`: audio in base64.
#[derive(Clone, Debug, PartialEq)]
pub struct AudioData<'a> {
    /// Base64, standard alphabet, padding optional.
    pub data: Cow<'a, str>,
    /// The stream; the newest open one where absent.
    pub stream_id: Option<Cow<'a, str>>,
    /// Stream position of the first byte, which makes the message idempotent.
    pub offset: Option<u64>,
    /// Counts where the message opens a stream by itself.
    pub format: Option<StreamFormat>,
}
