//! `GET /api/sessions/{id}`: a session, for the user whose it is and for administrators.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::clock::rfc3339;
use crate::server::guard::{Caller, Segment};
use crate::server::problem::Problem;
use crate::server::router::Shared;
use crate::server::ws;
use crate::store::SessionRecord;

/// A session, running or ended.
#[derive(Serialize, JsonSchema)]
pub(in crate::server) struct Session {
    session_id: Uuid,
    client_id: String,
    user_id: Option<String>,
    /// RFC 3339.
    created_at: String,
    /// `open`, `recovering`, `closing` or `ended`.
    state: &'static str,
    connection_id: Option<Uuid>,
    /// RFC 3339.
    ended_at: Option<String>,
    /// Why it ended.
    reason: Option<String>,
}

/// `GET /api/sessions/{id}`. Another's seems not to exist, so that nobody can probe.
pub(in crate::server) async fn one(
    State(app): State<Shared>,
    caller: Caller,
    Segment(id): Segment,
) -> Result<Json<Session>, Problem> {
    let missing = || Problem::not_found("no such session");
    let id: Uuid = id.parse().map_err(|_| missing())?;
    let live = app.connections.of_session(id);
    let kept = match &live {
        Some(c) => SessionRecord {
            id,
            client_id: c.client_id().to_owned(),
            user_id: c.identity().user_id.clone(),
            created_at_ms: c.created_unix_ms(),
            ended: None,
        },
        None => app.store.session(id).await.map_err(|e| Problem(ws::store_error(&e)))?.ok_or_else(missing)?,
    };
    caller.must_be(kept.user_id.as_deref()).map_err(|_| missing())?;
    let state = live.as_ref().map_or("ended", |c| c.state());
    Ok(Json(Session {
        session_id: id,
        client_id: kept.client_id,
        user_id: kept.user_id,
        created_at: rfc3339(kept.created_at_ms),
        state,
        connection_id: live.map(|c| c.id()),
        ended_at: kept.ended.as_ref().map(|e| rfc3339(e.at_ms)),
        reason: kept.ended.map(|e| e.reason),
    }))
}
