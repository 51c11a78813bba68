//! What a client says, validated field by field; borrowed from the message where it is large.

use std::borrow::Cow;

use uuid::Uuid;

use super::json::Json;
use super::people::AlertSeverity;
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
    JoinConversation { conversation_id: String },
    LeaveConversation { conversation_id: String },
    Message { conversation_id: String, content: Json },
    Typing { conversation_id: String, active: bool },
    PresenceRequest { conversation_id: String },
    HistoryRequest { conversation_id: String, after_seq: u64, limit: u32 },
    BroadcastRequest(BroadcastRequest),
    SetPreferences { preferences: Json },
    GetPreferences,
    Resume(ResumeRequest),
    Admin(AdminCommand),
}

/// Who shall get a broadcast. What is given adds up; nothing given means everyone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BroadcastTarget {
    /// These connections.
    pub connection_ids: Vec<Uuid>,
    /// All connections of these clients.
    pub client_ids: Vec<String>,
    /// All members of this conversation.
    pub conversation_id: Option<String>,
}

/// `broadcast_request`.
#[derive(Clone, Debug, PartialEq)]
pub struct BroadcastRequest {
    /// What is said.
    pub content: Json,
    /// To whom; none: everyone.
    pub target: Option<BroadcastTarget>,
    /// But not to these connections.
    pub exclude: Vec<Uuid>,
    /// Whether the sender gets it too.
    pub include_self: bool,
}

/// `resume`: go on with the session of a dropped socket (protocol section 6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumeRequest {
    /// The session.
    pub session_id: Uuid,
    /// Its newest token.
    pub resume_token: String,
    /// The `seq` of the last session event the client has; none: nothing is replayed.
    pub last_seq: Option<u64>,
}

/// What only administrators may ask for.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names are the protocol's own, section 3")]
pub enum AdminCommand {
    GetConnectionStats,
    GetRouterStats,
    GetAllConnections,
    GetEventQueueStatus,
    ClearEventQueue,
    GetSystemMetrics,
    DisconnectUser { whom: DisconnectTarget, reason: Option<String> },
    BroadcastAdminMessage { content: Json, severity: AlertSeverity },
}

impl AdminCommand {
    /// Its name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::GetConnectionStats => "get_connection_stats",
            Self::GetRouterStats => "get_router_stats",
            Self::GetAllConnections => "get_all_connections",
            Self::GetEventQueueStatus => "get_event_queue_status",
            Self::ClearEventQueue => "clear_event_queue",
            Self::GetSystemMetrics => "get_system_metrics",
            Self::DisconnectUser { .. } => "disconnect_user",
            Self::BroadcastAdminMessage { .. } => "broadcast_admin_message",
        }
    }
}

/// Whom an administrator disconnects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DisconnectTarget {
    /// All connections of a user.
    User(String),
    /// All connections of a client.
    Client(String),
    /// One connection.
    Connection(Uuid),
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
