//! What is said of people in a conversation, and to them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::Speaker;
use super::json::Json;

/// Who a member is: a client, and the user it speaks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct MemberId {
    pub client_id: String,
    /// None where authentication is off.
    pub user_id: Option<String>,
}

/// A member of a conversation.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Member {
    /// Who.
    #[serde(flatten)]
    pub id: MemberId,
    /// On how many connections.
    pub connections: usize,
    /// Since when, RFC 3339.
    pub since: String,
    /// Whether he types.
    pub typing: bool,
    /// Whether he sends audio into the conversation.
    pub streaming: bool,
}

/// What became of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PresenceChange {
    /// He came.
    Joined,
    /// His last connection left.
    Left,
    /// His connections or his streaming changed.
    Updated,
}

/// A message as history shows it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct HistoryMessage {
    /// Counts from 1 in each conversation.
    pub message_seq: u64,
    pub from: Speaker,
    pub content: Json,
    /// When it was accepted, RFC 3339.
    pub sent_at: String,
}

/// How urgent an administrator's message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub enum AlertSeverity {
    Info,
    Warning,
    Critical,
}
