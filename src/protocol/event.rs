//! What the server says. Field names and order are the protocol's.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::error::ProtocolError;
use super::names::Topic;
use crate::audio::StreamFormat;

/// A message to a client; `timestamp`, `reply_to` and `seq` are added by the dialect.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are the protocol's own, sections 2 to 5")]
pub enum Event {
    ConnectionEstablished(Box<ConnectionEstablished>),
    Authenticated {
        user_id: Option<String>,
        roles: Vec<String>,
        expires_at: Option<String>,
    },
    Ping,
    Pong {
        payload: Option<String>,
    },
    StatusUpdate(ServerState),
    ResponseChunk {
        text: String,
    },
    Response {
        text: String,
        processing_ms: u64,
    },
    ConnectionInfo(Box<ConnectionInfo>),
    AudioStarted(Box<AudioStarted>),
    AudioReceived(AudioReceived),
    AudioDropped(AudioDropped),
    AudioEnded(Box<AudioEnded>),
    AudioLevel(AudioLevel),
    SpeechStarted {
        stream_id: String,
        at_ms: u64,
    },
    SpeechEnded {
        stream_id: String,
        start_ms: u64,
        end_ms: u64,
    },
    Listening {
        listener_id: String,
        streams: Vec<ListenedStream>,
    },
    ListeningChanged {
        listener_id: String,
        added: Vec<ListenedStream>,
        removed: Vec<u16>,
    },
    ListeningStopped {
        listener_id: String,
    },
    SubscriptionUpdated {
        active: Vec<Topic>,
        denied: Vec<String>,
    },
    ConnectionStatus {
        state: &'static str,
        connected_ms: u64,
        last_activity: String,
        rtt_ms: Option<u64>,
        consecutive_errors: u32,
        queue: QueueInfo,
    },
    Health(Map<String, Value>),
    Error(ProtocolError),
}

impl Event {
    /// Whether a client that was away must be told: such events carry `seq` and are replayed on resume (protocol section 1).
    pub fn is_session_event(&self) -> bool {
        match self {
            Self::ConnectionEstablished(_)
            | Self::AudioReceived(_)
            | Self::Ping
            | Self::Pong { .. }
            | Self::AudioLevel(_)
            | Self::Error(_)
            | Self::StatusUpdate(_)
            | Self::ConnectionInfo(_)
            | Self::ConnectionStatus { .. }
            | Self::Health(_) => false,
            Self::Authenticated { .. }
            | Self::ResponseChunk { .. }
            | Self::Response { .. }
            | Self::AudioStarted(_)
            | Self::AudioDropped(_)
            | Self::AudioEnded(_)
            | Self::SpeechStarted { .. }
            | Self::SpeechEnded { .. }
            | Self::Listening { .. }
            | Self::ListeningChanged { .. }
            | Self::ListeningStopped { .. }
            | Self::SubscriptionUpdated { .. } => true,
        }
    }
}

/// The first message on a socket (protocol section 2).
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct ConnectionEstablished {
    pub connection_id: Uuid,
    pub client_id: String,
    pub user_id: Option<String>,
    pub roles: Vec<String>,
    pub session: SessionInfo,
    pub heartbeat: HeartbeatInfo,
    pub limits: ConnectionLimits,
    pub server: ServerInfo,
}

/// The session a connection belongs to.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct SessionInfo {
    pub id: Uuid,
    pub resume_token: String,
    pub resume_window_ms: u64,
}

/// When the server pings and when it gives up.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct HeartbeatInfo {
    pub interval_ms: u64,
    pub timeout_ms: u64,
}

/// What one connection may do.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct ConnectionLimits {
    pub max_message_bytes: usize,
    pub max_streams: usize,
    pub max_conversations: usize,
}

/// Who answers.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct ServerInfo {
    pub name: &'static str,
    pub version: &'static str,
    pub node: String,
}

/// `status_update`, in its three uses.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub enum ServerState {
    Processing,
    Ok { uptime_ms: u64, connections: usize, streams: usize },
    Degraded { uptime_ms: u64, connections: usize, streams: usize },
    Draining { uptime_ms: u64, connections: usize, streams: usize, deadline_ms: u64 },
}

/// `connection_info`.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct ConnectionInfo {
    pub connection_id: Uuid,
    pub client_id: String,
    pub user_id: Option<String>,
    pub roles: Vec<String>,
    pub remote_addr: String,
    pub user_agent: Option<String>,
    pub state: &'static str,
    pub connected_at: String,
    pub last_activity: String,
    pub messages_in: u64,
    pub messages_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub errors: u64,
    pub conversations: Vec<String>,
    pub subscriptions: Vec<Topic>,
    pub streams: Vec<StreamInfo>,
}

/// An open stream in a list.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct StreamInfo {
    pub stream_id: String,
    pub stream_uid: String,
    pub encoding: &'static str,
    pub conversation_id: Option<String>,
    pub started_at: String,
    pub decoded_ms: u64,
    pub recording_id: Option<Uuid>,
    pub listeners: usize,
}

/// `audio_started`.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct AudioStarted {
    pub stream_id: String,
    pub stream_uid: String,
    pub stream_index: u32,
    pub format: StreamFormat,
    pub output: OutputInfo,
    pub recording_id: Option<Uuid>,
}

/// What a stream is turned into.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct OutputInfo {
    /// Always `pcm_s16le`.
    pub encoding: &'static str,
    /// In hertz.
    pub sample_rate: u32,
    /// A number, or `"source"` while the source has not told.
    pub channels: ChannelsInfo,
}

/// Channels of an output: a count, or the source's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ChannelsInfo {
    /// That many.
    Count(u16),
    /// `"source"`.
    #[serde(serialize_with = "source")]
    Source,
}

fn source<S: serde::Serializer>(s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str("source")
}

/// `audio_received`: cumulative, see protocol section 4 for what each promises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct AudioReceived {
    pub stream_id: Arc<str>,
    pub received_bytes: u64,
    pub received_frames: u64,
    pub decoded_ms: u64,
    pub output_samples: u64,
    pub buffered_ms: u64,
    pub dropped_ms: u64,
    pub processing_us: u64,
}

/// `audio_dropped`.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct AudioDropped {
    pub stream_id: String,
    pub from_ms: u64,
    pub dropped_ms: u64,
}

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub enum EndReason {
    End,
    Cancelled,
    Disconnected,
    Timeout,
    Error,
    Drained,
}

/// `audio_ended`.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct AudioEnded {
    pub stream_id: String,
    pub reason: EndReason,
    pub received_bytes: u64,
    pub duration_ms: u64,
    pub output_samples: u64,
    pub dropped_ms: u64,
    pub peak_dbfs: f32,
    pub rms_dbfs: f32,
    pub speech_ms: Option<u64>,
    pub warnings: u64,
    pub recording: Option<RecordingInfo>,
}

/// A finished recording.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct RecordingInfo {
    pub id: Uuid,
    pub url: String,
    pub bytes: u64,
    pub sha256: String,
}

/// `audio_level`.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct AudioLevel {
    pub stream_id: String,
    pub at_ms: u64,
    pub rms_dbfs: f32,
    pub peak_dbfs: f32,
    pub clipped: bool,
}

/// A stream one listens to.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct ListenedStream {
    pub stream_uid: String,
    pub stream_id: String,
    pub stream_index: u16,
    pub sample_rate: u32,
    pub channels: ChannelsInfo,
    pub from: Speaker,
}

/// Who speaks.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct Speaker {
    pub connection_id: Uuid,
    pub client_id: String,
    pub user_id: Option<String>,
}

/// How full a connection's outbound queue is.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct QueueInfo {
    pub messages: usize,
    pub bytes: usize,
    pub limit: usize,
}
