//! Names that clients give, and the topics they subscribe to: small closed alphabets, checked at the edge.

use schemars::JsonSchema;
use serde::Serialize;

/// Characters a client's name for itself, a stream or a conversation may have.
pub const NAME_CHARS_MAX: usize = 64;

/// The same as a regular expression, for the documents.
pub const NAME_PATTERN: &str = "^[A-Za-z0-9_-]{1,64}$";

/// A name outside `[A-Za-z0-9_-]{1,64}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be 1 to 64 characters of A-Z, a-z, 0-9, '_' and '-'")]
pub struct IdError {
    /// The field at fault.
    pub field: &'static str,
}

/// Checks a client-given name.
///
/// # Errors
/// [`IdError`] where it is empty, too long or has another character.
pub fn check_name(field: &'static str, name: &str) -> Result<(), IdError> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if (1..=NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(good) { Ok(()) } else { Err(IdError { field }) }
}

/// A kind of event one can subscribe to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are the protocol's own, section 3")]
pub enum Topic {
    Presence,
    Typing,
    Speech,
    Levels,
    Transcripts,
    System,
    Alerts,
    Connections,
    Errors,
    Metrics,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 10] = [
        Self::Presence,
        Self::Typing,
        Self::Speech,
        Self::Levels,
        Self::Transcripts,
        Self::System,
        Self::Alerts,
        Self::Connections,
        Self::Errors,
        Self::Metrics,
    ];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::Typing => "typing",
            Self::Speech => "speech",
            Self::Levels => "levels",
            Self::Transcripts => "transcripts",
            Self::System => "system",
            Self::Alerts => "alerts",
            Self::Connections => "connections",
            Self::Errors => "errors",
            Self::Metrics => "metrics",
        }
    }

    /// The topic of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.name() == name)
    }

    /// Whether only administrators may have it.
    pub fn is_admin_only(self) -> bool {
        matches!(self, Self::Connections | Self::Errors | Self::Metrics)
    }
}

/// A set of topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventSet(u16);

impl EventSet {
    /// What is on without asking.
    pub const DEFAULT: Self = Self(
        1 << Topic::Presence as u16
            | 1 << Topic::Typing as u16
            | 1 << Topic::Transcripts as u16
            | 1 << Topic::System as u16,
    );

    /// As a number, for an atomic cell.
    pub fn bits(self) -> u16 {
        self.0
    }

    /// From that number.
    pub fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// Whether a topic is in it.
    pub fn has(self, topic: Topic) -> bool {
        self.0 & 1 << topic as u16 != 0
    }

    /// Adds a topic.
    pub fn insert(&mut self, topic: Topic) {
        self.0 |= 1 << topic as u16;
    }

    /// Takes a topic out.
    pub fn remove(&mut self, topic: Topic) {
        self.0 &= !(1 << topic as u16);
    }

    /// The topics in it, in the protocol's order.
    pub fn topics(self) -> Vec<Topic> {
        Topic::ALL.into_iter().filter(|&t| self.has(t)).collect()
    }
}
