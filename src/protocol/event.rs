//! What the server says. Field names and order are the protocol's.

use schemars::JsonSchema;
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
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are the protocol's own, sections 2 to 5")]
pub enum Event {
    /// The first message on a socket, before any other.
    ConnectionEstablished(Box<ConnectionEstablished>),
    /// Who the client is now. Where a token is still to come, `connection_established` had no `user_id` and no roles.
    Authenticated {
        user_id: Option<String>,
        roles: Vec<String>,
        /// When the token ends, RFC 3339.
        expires_at: Option<String>,
    },
    /// Are you there? Any traffic answers it, best a `pong`.
    Ping,
    /// The answer to a `ping`.
    Pong { payload: Option<String> },
    /// How the server is: asked for, when it begins to drain, and as the sign that a `text` is worked on.
    StatusUpdate(ServerState),
    /// A part of the answer to a `text`.
    ResponseChunk { text: String },
    /// The whole answer to a `text`; nothing follows.
    Response {
        text: String,
        /// From the question to the last word.
        processing_ms: u64,
    },
    /// What the server knows of a connection.
    ConnectionInfo(Box<ConnectionInfo>),
    /// A stream is open.
    AudioStarted(Box<AudioStarted>),
    /// How far a stream is. Every byte below `received_bytes` has been decoded and handed to every sink, and will not be needed again.
    AudioReceived(AudioReceived),
    /// Audio of a `drop_oldest` stream was lost; the timeline keeps its place.
    AudioDropped(AudioDropped),
    /// A stream is over; all that was received has been decoded, unless `reason` says otherwise.
    AudioEnded(Box<AudioEnded>),
    /// Ten times a second, for subscribers of `levels`.
    AudioLevel(AudioLevel),
    /// Somebody speaks, for subscribers of `speech`.
    SpeechStarted {
        stream_id: String,
        /// Position on the stream's timeline.
        at_ms: u64,
    },
    /// He no longer does.
    SpeechEnded {
        stream_id: String,
        /// Position on the stream's timeline.
        start_ms: u64,
        /// Position on the stream's timeline.
        end_ms: u64,
    },
    /// What is listened to; binary frames follow.
    Listening { listener_id: String, streams: Vec<ListenedStream> },
    /// A stream began or ended in a conversation one listens to.
    ListeningChanged {
        listener_id: String,
        added: Vec<ListenedStream>,
        /// Their `stream_index`.
        removed: Vec<u16>,
    },
    /// No binary frame of this listener follows.
    ListeningStopped { listener_id: String },
    /// What one is subscribed to now.
    SubscriptionUpdated {
        active: Vec<Topic>,
        /// Asked for, but unknown or for administrators.
        denied: Vec<String>,
    },
    /// How one's own connection is.
    ConnectionStatus {
        /// `open`; `recovering` while the socket is lost and the session waits for its return; `closing`.
        state: &'static str,
        connected_ms: u64,
        /// When the client was last heard of, RFC 3339.
        last_activity: String,
        /// Round trip of the newest ping; none before the first.
        rtt_ms: Option<u64>,
        /// Faults in a row; five close the connection with 4005.
        consecutive_errors: u32,
        queue: QueueInfo,
    },
    /// For administrators the body of `GET /health/detailed`, for others `status` alone.
    Health(Map<String, Value>),
    /// One is a member now.
    ConversationJoined {
        conversation_id: String,
        members: Vec<Member>,
        /// None where the store cannot tell now.
        last_message_seq: Option<u64>,
    },
    /// One is no longer a member.
    ConversationLeft { conversation_id: String },
    /// A message is durable and on its way to the other members.
    MessageAccepted {
        conversation_id: String,
        /// Counts from 1 in each conversation.
        message_seq: u64,
    },
    /// Another member said something.
    Message { conversation_id: String, message_seq: u64, from: Speaker, content: Json },
    /// Another member types, or no longer does.
    Typing { conversation_id: String, from: Speaker, active: bool },
    /// Who is in a conversation.
    Presence { conversation_id: String, members: Vec<Member> },
    /// Somebody came, left or changed.
    PresenceChanged {
        conversation_id: String,
        member: MemberId,
        change: PresenceChange,
        /// On how many connections he is there now.
        connections: usize,
        /// Whether he sends audio into the conversation.
        streaming: bool,
    },
    /// What was said, oldest first.
    History {
        conversation_id: String,
        messages: Vec<HistoryMessage>,
        /// Whether there is more after the last one.
        more: bool,
    },
    /// Something for many.
    Broadcast { from: Speaker, content: Json },
    /// A broadcast is on its way.
    BroadcastConfirmation {
        /// To how many connections.
        delivered: usize,
    },
    /// From an administrator, or of the server itself.
    Alert {
        content: Json,
        severity: AlertSeverity,
        /// None: the server itself.
        from: Option<Speaker>,
    },
    /// What is kept for the user.
    Preferences {
        /// An object of the user's own.
        #[schemars(with = "Map<String, Value>")]
        preferences: Json,
        /// It answers `set_preferences`.
        #[serde(skip)]
        changed: bool,
    },
    /// The session goes on; missed events follow.
    Resumed {
        session: SessionInfo,
        streams: Vec<ResumedStream>,
        /// Session events that follow.
        replayed: usize,
        /// Session events that were no longer kept.
        missed: u64,
    },
    /// What an administrator asked for.
    AdminResult {
        /// The type of the message it answers.
        request: &'static str,
        data: Value,
    },
    /// A message or a stream failed. The socket and the other streams go on, unless a close frame follows.
    Error(ProtocolError),
    /// The server's figures, each second.
    Metrics(Box<MetricsPoint>),
    /// Who came and went in the last second.
    Connections {
        /// So many there are now.
        connections: usize,
        /// Sessions whose client may come back.
        recovering: usize,
        opened: Vec<ConnectionRow>,
        closed: Vec<ConnectionRow>,
        /// Of those that came or went and have no row.
        more: usize,
    },
    /// What went wrong in the last second.
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
            | Self::Preferences { changed: false, .. }
            | Self::Metrics(_)
            | Self::Connections { .. }
            | Self::Errors { .. }
            | Self::Resumed { .. } => false,
            Self::AdminResult { request, .. } => !request.starts_with("get_"), // those only read
            Self::Preferences { changed: true, .. }
            | Self::Authenticated { .. }
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
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct ConnectionEstablished {
    pub connection_id: Uuid,
    pub client_id: String,
    /// None where authentication is off or still to come.
    pub user_id: Option<String>,
    /// Empty where authentication is still to come.
    pub roles: Vec<String>,
    pub session: SessionInfo,
    pub heartbeat: HeartbeatInfo,
    pub limits: ConnectionLimits,
    pub server: ServerInfo,
}

/// The session a connection belongs to.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct SessionInfo {
    pub id: Uuid,
    /// For `resume`; the newest one counts. Keep it secret.
    pub resume_token: String,
    /// How long the session waits for a lost client.
    pub resume_window_ms: u64,
}

/// A stream that outlived its socket: the client goes on from `received_bytes`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct ResumedStream {
    pub stream_id: String,
    pub stream_index: u32,
    /// The next byte to send.
    pub received_bytes: u64,
}

/// When the server pings and when it gives up.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct HeartbeatInfo {
    /// The server pings after so long a silence.
    pub interval_ms: u64,
    /// The server closes with 4108 after so long a silence.
    pub timeout_ms: u64,
}

/// What one connection may do.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct ConnectionLimits {
    /// Of one WebSocket message; a larger one closes with 1009.
    pub max_message_bytes: usize,
    pub max_streams: usize,
    pub max_conversations: usize,
}

/// Who answers.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct ServerInfo {
    pub name: &'static str,
    pub version: &'static str,
    /// This server's name among others.
    pub node: String,
}

/// `status_update`, in its three uses.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub enum ServerState {
    /// A `text` is worked on.
    Processing,
    /// All well.
    Ok { uptime_ms: u64, connections: usize, streams: usize },
    /// Something fails, audio flows.
    Degraded { uptime_ms: u64, connections: usize, streams: usize },
    /// The server ends: finish your streams.
    Draining { uptime_ms: u64, connections: usize, streams: usize, deadline_ms: u64 },
}

/// `connection_info`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct ConnectionInfo {
    pub connection_id: Uuid,
    pub client_id: String,
    pub user_id: Option<String>,
    pub roles: Vec<String>,
    pub remote_addr: String,
    pub user_agent: Option<String>,
    /// `open`; `recovering` while the socket is lost and the session waits for its return; `closing`.
    pub state: &'static str,
    /// RFC 3339.
    pub connected_at: String,
    /// When the client was last heard of, RFC 3339.
    pub last_activity: String,
    pub messages_in: u64,
    pub messages_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Errors told to the client.
    pub errors: u64,
    pub conversations: Vec<String>,
    pub subscriptions: Vec<Topic>,
    pub streams: Vec<StreamInfo>,
}

/// An open stream in a list.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct StreamInfo {
    pub stream_id: String,
    /// Unique on the server: what others listen by.
    pub stream_uid: String,
    pub encoding: &'static str,
    pub conversation_id: Option<String>,
    /// RFC 3339.
    pub started_at: String,
    /// Audio decoded so far.
    pub decoded_ms: u64,
    pub recording_id: Option<Uuid>,
    pub listeners: usize,
}

/// A stream one listens to.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct ListenedStream {
    /// Unique on the server.
    pub stream_uid: String,
    /// The speaker's own name for it.
    pub stream_id: String,
    /// In bytes 2 and 3 of its binary frames.
    pub stream_index: u16,
    pub sample_rate: u32,
    pub channels: ChannelsInfo,
    pub from: Speaker,
}

/// Who speaks.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct Speaker {
    pub connection_id: Uuid,
    pub client_id: String,
    pub user_id: Option<String>,
}

/// How full a connection's outbound queue is.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct QueueInfo {
    /// Messages that wait.
    pub messages: usize,
    /// Bytes that wait.
    pub bytes: usize,
    /// Messages that may wait; one more closes with 4111.
    pub limit: usize,
}
