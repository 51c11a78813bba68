//! The JSON shapes of client messages. Unknown fields are ignored; absent optional ones are `None`.

use std::borrow::Cow;

use serde::Deserialize;
use uuid::Uuid;

use crate::protocol::{AlertSeverity, Json};

/// What every message has.
#[derive(Deserialize)]
pub(super) struct Head<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) id: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct Ping {
    pub(super) payload: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Authenticate {
    pub(super) token: String,
}

#[derive(Deserialize)]
pub(super) struct Text {
    pub(super) text: String,
    pub(super) conversation_id: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct ConnectionInfoRequest {
    pub(super) connection_id: Option<Uuid>,
}

#[derive(Deserialize)]
pub(super) struct StreamRef {
    pub(super) stream_id: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct ListenStart {
    pub(super) stream_id: Option<String>,
    pub(super) conversation_id: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct ListenStop {
    pub(super) listener_id: String,
}

#[derive(Deserialize)]
pub(super) struct Events {
    pub(super) events: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct Format<'a> {
    #[serde(borrow)]
    pub(super) encoding: Option<Cow<'a, str>>,
    pub(super) sample_rate: Option<u32>,
    pub(super) channels: Option<u32>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Channels {
    Count(i64),
    Name(String),
}

#[derive(Deserialize, Default)]
pub(super) struct Output {
    pub(super) sample_rate: Option<u32>,
    pub(super) channels: Option<Channels>,
}

#[derive(Deserialize)]
pub(super) struct AudioStart<'a> {
    pub(super) stream_id: Option<String>,
    #[serde(borrow)]
    pub(super) format: Option<Format<'a>>,
    pub(super) output: Option<Output>,
    pub(super) ack_ms: Option<u32>,
    pub(super) record: Option<bool>,
    pub(super) framing: Option<String>,
    pub(super) overflow: Option<String>,
    pub(super) conversation_id: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct AudioData<'a> {
    #[serde(borrow, default)]
    pub(super) id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) data: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) stream_id: Option<Cow<'a, str>>,
    pub(super) offset: Option<u64>,
    #[serde(borrow, default)]
    pub(super) format: Option<Format<'a>>,
}

#[derive(Deserialize)]
pub(super) struct ConversationRef {
    pub(super) conversation_id: String,
}

#[derive(Deserialize)]
pub(super) struct Message {
    pub(super) conversation_id: String,
    pub(super) content: Json,
}

#[derive(Deserialize)]
pub(super) struct Typing {
    pub(super) conversation_id: String,
    pub(super) active: bool,
}

#[derive(Deserialize)]
pub(super) struct HistoryRequest {
    pub(super) conversation_id: String,
    pub(super) after_seq: Option<u64>,
    pub(super) limit: Option<u32>,
}

#[derive(Deserialize)]
pub(super) struct Content {
    pub(super) content: Json,
}

#[derive(Deserialize)]
pub(super) struct BroadcastTarget {
    pub(super) connection_ids: Option<Vec<Uuid>>,
    pub(super) client_ids: Option<Vec<String>>,
    pub(super) conversation_id: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct BroadcastRequest {
    pub(super) content: Json,
    pub(super) target: Option<BroadcastTarget>,
    pub(super) exclude: Option<Vec<Uuid>>,
    pub(super) include_self: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct Preferences {
    pub(super) preferences: Json,
}

#[derive(Deserialize)]
pub(super) struct Resume {
    pub(super) session_id: Uuid,
    pub(super) resume_token: String,
    pub(super) last_seq: Option<u64>,
}

#[derive(Deserialize)]
pub(super) struct DisconnectUser {
    pub(super) user_id: Option<String>,
    pub(super) client_id: Option<String>,
    pub(super) connection_id: Option<Uuid>,
    pub(super) reason: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct BroadcastAdminMessage {
    pub(super) content: Json,
    pub(super) severity: Option<AlertSeverity>,
}
