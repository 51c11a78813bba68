//! `/api/conversations/*`: what was said and who is there, for those who may enter.

use std::num::NonZeroU32;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{List, TextBody};
use crate::clock::rfc3339;
use crate::dialect::native::{self, HISTORY_LIMIT_DEFAULT, HISTORY_LIMIT_MAX};
use crate::protocol::{HistoryMessage, Member};
use crate::server::guard::{Asked, Caller, Segment};
use crate::server::problem::Problem;
use crate::server::router::Shared;
use crate::server::ws;

/// A conversation.
#[derive(Serialize, JsonSchema)]
pub(in crate::server) struct Conversation {
    conversation_id: String,
    /// RFC 3339; none before its first message.
    created_at: Option<String>,
    last_message_seq: u64,
    /// How many messages are kept.
    messages: u64,
    members: Vec<Member>,
}

/// `GET /api/conversations/{id}`.
pub(in crate::server) async fn one(
    State(app): State<Shared>,
    caller: Caller,
    Segment(id): Segment,
) -> Result<Json<Conversation>, Problem> {
    caller.may_enter(&id)?;
    let kept = app.store.conversation(&id).await.map_err(|e| Problem(ws::store_error(&e)))?;
    let members = app.conversations.members(&id);
    if kept.is_none() && members.is_empty() {
        return Err(Problem::not_found("no such conversation"));
    }
    Ok(Json(Conversation {
        conversation_id: id,
        created_at: kept.as_ref().map(|c| rfc3339(c.created_at_ms)),
        last_message_seq: kept.as_ref().map_or(0, |c| c.last_message_seq),
        messages: kept.as_ref().map_or(0, |c| c.messages),
        members,
    }))
}

/// Who is in a conversation.
#[derive(Serialize, JsonSchema)]
pub(in crate::server) struct ConversationPresence {
    conversation_id: String,
    members: Vec<Member>,
}

/// `GET /api/conversations/{id}/presence`.
pub(in crate::server) async fn presence(
    State(app): State<Shared>,
    caller: Caller,
    Segment(id): Segment,
) -> Result<Json<ConversationPresence>, Problem> {
    caller.may_enter(&id)?;
    let members = app.conversations.members(&id);
    Ok(Json(ConversationPresence { conversation_id: id, members }))
}

/// The query of the history.
#[derive(Deserialize, JsonSchema)]
pub(in crate::server) struct Range {
    /// The newest `message_seq` one has.
    after_seq: Option<u64>,
    /// The same, as every list has it.
    after: Option<u64>,
    /// Messages at the most; more than 500 is 500.
    #[schemars(extend("default" = HISTORY_LIMIT_DEFAULT))]
    limit: Option<NonZeroU32>,
}

/// `GET /api/conversations/{id}/messages`, oldest first.
pub(in crate::server) async fn messages(
    State(app): State<Shared>,
    caller: Caller,
    Segment(id): Segment,
    Asked(range): Asked<Range>,
) -> Result<Json<List<HistoryMessage>>, Problem> {
    caller.may_enter(&id)?;
    let after_seq = range.after_seq.or(range.after).unwrap_or(0);
    let limit = range.limit.map_or(HISTORY_LIMIT_DEFAULT, |limit| limit.get().min(HISTORY_LIMIT_MAX));
    let (messages, more) = ws::history(&app, &id, after_seq, limit).await.map_err(Problem)?;
    let next = messages.last().filter(|_| more).map(|m: &HistoryMessage| m.message_seq.to_string());
    Ok(Json(List { items: messages, next }))
}

/// A message that is durable.
#[derive(Serialize, JsonSchema)]
pub(in crate::server) struct MessageAccepted {
    /// `message_accepted`, as on the socket.
    #[serde(rename = "type")]
    kind: &'static str,
    conversation_id: String,
    message_seq: u64,
}

/// `POST /api/conversations/{id}/messages`: answers 201 once the message is durable.
pub(in crate::server) async fn post(
    State(app): State<Shared>,
    caller: Caller,
    Segment(id): Segment,
    TextBody(body): TextBody,
) -> Result<(StatusCode, Json<MessageAccepted>), Problem> {
    caller.may_enter(&id)?;
    let content = native::read_content(&body, app.decode_limits()).map_err(Problem)?;
    let (told, answer) = tokio::sync::oneshot::channel();
    let posted = ws::Post { conversation_id: id.clone(), from: caller.speaker(), content, request: None, sender: None };
    let refused = |e| Problem(ws::store_error(&e));
    posted.keep(&app, move |seq| drop(told.send(seq))).map_err(refused)?;
    let seq = answer.await.unwrap_or(Err(crate::store::StoreError::Closed)).map_err(refused)?;
    let accepted = MessageAccepted { kind: "message_accepted", conversation_id: id, message_seq: seq };
    Ok((StatusCode::CREATED, Json(accepted)))
}
