//! What clients can say and hear, as plain types: commands, events, errors, close codes. How it looks on the wire is a dialect's
//! business; what happens then is the session's.

mod audio;
mod close;
mod command;
mod error;
mod event;
mod identity;
mod json;
mod kinds;
mod monitoring;
mod names;
mod people;
mod timestamp;

pub use audio::{
    AudioDropped, AudioEnded, AudioLevel, AudioReceived, AudioStarted, ChannelsInfo, EndReason, OutputInfo,
    RecordingInfo,
};
pub use close::CloseCode;
pub use command::{
    AdminCommand, AudioData, AudioStart, BroadcastRequest, BroadcastTarget, Command, DisconnectTarget, Envelope,
    Framing, ListenTarget, OutputRequest, Overflow, ResumeRequest,
};
pub use error::{ErrorCode, ProtocolError, Severity};
pub use event::{
    ConnectionEstablished, ConnectionInfo, ConnectionLimits, Event, HeartbeatInfo, ListenedStream, QueueInfo,
    ResumedStream, ServerInfo, ServerState, SessionInfo, Speaker, StreamInfo,
};
pub use identity::{ConversationRule, Identity, Revocation};
pub use json::Json;
pub use kinds::{BINARY, MESSAGE_TYPES, UNREADABLE};
pub use monitoring::{ConnectionRow, ErrorEntry, MetricsPoint};
pub use names::{EventSet, IdError, NAME_CHARS_MAX, NAME_PATTERN, Topic, check_name};
pub use people::{AlertSeverity, HistoryMessage, Member, MemberId, PresenceChange};
pub use timestamp::Timestamp;
