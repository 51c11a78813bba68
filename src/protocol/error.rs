//! The one error shape clients see, over the socket and over HTTP (protocol section 7).

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::audio::FormatError;

/// How bad it is, for the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// One message was wrong.
    Low,
    /// A stream or a request failed.
    Medium,
    /// The connection suffers.
    High,
    /// The server suffers.
    Critical,
}

impl Severity {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What went wrong, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// Not JSON, or nested too deeply.
    InvalidJson,
    /// JSON, but not a message as it should be.
    InvalidMessage,
    /// No message of that type.
    UnknownMessageType,
    /// A field is over its own limit.
    MessageTooLarge,
    /// `audio_data.data` is not base64.
    InvalidBase64,
    /// The format can neither be told from the bytes nor was it said.
    FormatRequired,
    /// A format the server does not take.
    UnsupportedFormat,
    /// The audio is damaged; `details.stream_continues` tells whether the stream goes on.
    DecodeFailed,
    /// Bytes are missing before `offset`; `details.expected_offset` says where to go on.
    AudioGap,
    /// No such stream, or not yours.
    StreamNotFound,
    /// A stream of that name is open.
    StreamExists,
    /// As many streams or listeners as one may have.
    StreamLimit,
    /// The stream had no audio for too long and has ended.
    StreamStalled,
    /// A token is needed.
    Unauthenticated,
    /// The token is not accepted.
    TokenInvalid,
    /// The token has run out, or soon will.
    TokenExpired,
    /// Not allowed to you.
    Forbidden,
    /// Nothing of that name.
    NotFound,
    /// As many conversations as one may be in.
    ConversationLimit,
    /// Too much in too short a time; `retry_after_ms` says when to go on.
    RateLimited,
    /// More than may be kept.
    QuotaExceeded,
    /// The session cannot be resumed: begin a new one.
    ResumeFailed,
    /// Messages were not read in time.
    SlowConsumer,
    /// The server has no room now.
    Overloaded,
    /// The server ends and takes nothing new.
    Draining,
    /// A service the server asks does not answer.
    UpstreamUnavailable,
    /// The server failed.
    Internal,
}

impl ErrorCode {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidJson => "INVALID_JSON",
            Self::InvalidMessage => "INVALID_MESSAGE",
            Self::UnknownMessageType => "UNKNOWN_MESSAGE_TYPE",
            Self::MessageTooLarge => "MESSAGE_TOO_LARGE",
            Self::InvalidBase64 => "INVALID_BASE64",
            Self::FormatRequired => "FORMAT_REQUIRED",
            Self::UnsupportedFormat => "UNSUPPORTED_FORMAT",
            Self::DecodeFailed => "DECODE_FAILED",
            Self::AudioGap => "AUDIO_GAP",
            Self::StreamNotFound => "STREAM_NOT_FOUND",
            Self::StreamExists => "STREAM_EXISTS",
            Self::StreamLimit => "STREAM_LIMIT",
            Self::StreamStalled => "STREAM_STALLED",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::TokenInvalid => "TOKEN_INVALID",
            Self::TokenExpired => "TOKEN_EXPIRED",
            Self::Forbidden => "FORBIDDEN",
            Self::NotFound => "NOT_FOUND",
            Self::ConversationLimit => "CONVERSATION_LIMIT",
            Self::RateLimited => "RATE_LIMITED",
            Self::QuotaExceeded => "QUOTA_EXCEEDED",
            Self::ResumeFailed => "RESUME_FAILED",
            Self::SlowConsumer => "SLOW_CONSUMER",
            Self::Overloaded => "OVERLOADED",
            Self::Draining => "DRAINING",
            Self::UpstreamUnavailable => "UPSTREAM_UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }

    /// Whether it counts towards the faults in a row that close a connection.
    pub fn is_fault(self) -> bool {
        matches!(self, Self::InvalidJson | Self::InvalidMessage | Self::UnknownMessageType | Self::InvalidBase64)
    }

    /// The default severity and whether trying again may help.
    fn nature(self) -> (Severity, bool) {
        match self {
            Self::InvalidJson
            | Self::InvalidMessage
            | Self::UnknownMessageType
            | Self::MessageTooLarge
            | Self::StreamNotFound
            | Self::StreamExists
            | Self::NotFound => (Severity::Low, false),
            Self::InvalidBase64 | Self::AudioGap => (Severity::Low, true),
            Self::FormatRequired
            | Self::UnsupportedFormat
            | Self::DecodeFailed
            | Self::StreamStalled
            | Self::Unauthenticated
            | Self::TokenInvalid
            | Self::TokenExpired
            | Self::Forbidden
            | Self::ResumeFailed => (Severity::Medium, false),
            Self::StreamLimit
            | Self::ConversationLimit
            | Self::RateLimited
            | Self::QuotaExceeded
            | Self::UpstreamUnavailable => (Severity::Medium, true),
            Self::SlowConsumer | Self::Draining => (Severity::High, true),
            Self::Overloaded | Self::Internal => (Severity::Critical, true),
        }
    }
}

/// An error as a client sees it. Holds nothing of the server's inside: no path, no source line, no other client's data.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ProtocolError {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what was wrong and what would be right.
    pub message: String,
    /// How bad it is.
    pub severity: Severity,
    /// Whether the same again may work.
    pub retry_suggested: bool,
    /// When, where that is known.
    pub retry_after_ms: Option<u64>,
    /// The stream it is about.
    pub stream_id: Option<String>,
    /// More, for programs. Boxed, because errors are returned by value everywhere.
    pub details: Box<Map<String, Value>>,
}

impl From<FormatError> for ProtocolError {
    fn from(e: FormatError) -> Self {
        let code = match e {
            FormatError::Missing { .. } => ErrorCode::FormatRequired,
            FormatError::Encoding { .. }
            | FormatError::Range { .. }
            | FormatError::OutputRate { .. }
            | FormatError::OutputChannels { .. } => ErrorCode::UnsupportedFormat,
        };
        Self::new(code, e.to_string())
    }
}

impl ProtocolError {
    /// An error with its code's usual severity and advice.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let (severity, retry_suggested) = code.nature();
        Self {
            code,
            message: message.into(),
            severity,
            retry_suggested,
            retry_after_ms: None,
            stream_id: None,
            details: Box::default(),
        }
    }

    /// Names the stream it is about.
    #[must_use]
    pub fn on_stream(mut self, stream_id: impl Into<String>) -> Self {
        self.stream_id = Some(stream_id.into());
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after_ms(mut self, ms: u64) -> Self {
        self.retry_after_ms = Some(ms);
        self.retry_suggested = true;
        self
    }

    /// Adds a detail.
    #[must_use]
    pub fn detail(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.details.insert(key.to_owned(), value.into());
        self
    }
}
