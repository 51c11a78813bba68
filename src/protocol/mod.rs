//! What clients can say and hear, as plain types: commands, events, errors, close codes. How it looks on the wire is a dialect's
//! business; what happens then is the session's.

mod close;
mod command;
mod error;
mod event;
mod identity;
mod names;
mod timestamp;

pub use close::CloseCode;
pub use command::{AudioData, AudioStart, Command, Envelope, Framing, ListenTarget, OutputRequest, Overflow};
pub use error::{ErrorCode, ProtocolError, Severity};
pub use event::{
    AudioDropped, AudioEnded, AudioLevel, AudioReceived, AudioStarted, ChannelsInfo, ConnectionEstablished,
    ConnectionInfo, ConnectionLimits, EndReason, Event, HeartbeatInfo, ListenedStream, OutputInfo, QueueInfo,
    RecordingInfo, ServerInfo, ServerState, SessionInfo, Speaker, StreamInfo,
};
pub use identity::{ConversationRule, Identity};
pub use names::{EventSet, IdError, NAME_CHARS_MAX, Topic, check_name};
pub use timestamp::Timestamp;
