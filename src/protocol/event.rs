//! What the server says. Field names and order are the protocol's.

use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::audio::{AudioDropped, AudioEnded, AudioLevel, AudioReceived, AudioStarted, ChannelsInfo};
use super::error::ProtocolError;
use super::json::Json;
use super::monitoring::{ConnectionRow, ErrorEntry, MetricsPoint};
use super::names::Topic;
use super::people::{AlertSeverity, HistoryMessage, Member, MemberId, PresenceChange};

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
    ConversationJoined {
        conversation_id: String,
        members: Vec<Member>,
        /// None where the store cannot tell now.
        last_message_seq: Option<u64>,
    },
    ConversationLeft {
        conversation_id: String,
    },
    MessageAccepted {
        conversation_id: String,
        message_seq: u64,
    },
    Message {
        conversation_id: String,
        message_seq: u64,
        from: Speaker,
        content: Json,
    },
    Typing {
        conversation_id: String,
        from: Speaker,
        active: bool,
    },
    Presence {
        conversation_id: String,
        members: Vec<Member>,
    },
    PresenceChanged {
        conversation_id: String,
        member: MemberId,
        change: PresenceChange,
        connections: usize,
        streaming: bool,
    },
    History {
        conversation_id: String,
        messages: Vec<HistoryMessage>,
        more: bool,
    },
    Broadcast {
        from: Speaker,
        content: Json,
    },
    BroadcastConfirmation {
        delivered: usize,
    },
    Alert {
        content: Json,
        severity: AlertSeverity,
        from: Option<Speaker>,
    },
    Preferences {
        preferences: Json,
    },
    Resumed {
        session: SessionInfo,
        streams: Vec<ResumedStream>,
        replayed: usize,
        missed: u64,
    },
    AdminResult {
        request: &'static str,
        data: Value,
    },
    Error(ProtocolError),
    Metrics(Box<MetricsPoint>),
    Connections {
        connections: usize,
        recovering: usize,
        opened: Vec<ConnectionRow>,
        closed: Vec<ConnectionRow>,
        /// Of those that came or went and have no row.
        more: usize,
    },
    Errors {
        errors: Vec<ErrorEntry>,
        /// Of those that have no row.
        more: u64,
    },
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
            | Self::Health(_)
            | Self::Typing { .. }
            | Self::Presence { .. }
            | Self::History { .. }
            | Self::Preferences { .. }
            | Self::Metrics(_)
            | Self::Connections { .. }
            | Self::Errors { .. }
            | Self::Resumed { .. }
            | Self::AdminResult { .. } => false,
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
            | Self::SubscriptionUpdated { .. }
            | Self::ConversationJoined { .. }
            | Self::ConversationLeft { .. }
            | Self::MessageAccepted { .. }
            | Self::Message { .. }
            | Self::PresenceChanged { .. }
            | Self::Broadcast { .. }
            | Self::BroadcastConfirmation { .. }
            | Self::Alert { .. } => true,
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

/// A stream that outlived its socket: the client goes on from `received_bytes`.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct ResumedStream {
    pub stream_id: String,
    pub stream_index: u32,
    pub received_bytes: u64,
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
