//! `/admin/revocations`: tokens that shall no longer be accepted. Whoever is connected with one is cut at once.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Body, Disconnected, List};
use crate::clock::{rfc3339, unix_s};
use crate::protocol::{self, CloseCode, ErrorCode};
use crate::server::guard::Admin;
use crate::server::problem::Problem;
use crate::server::router::Shared;
use crate::server::ws;
use crate::store;

/// A token's id, or a user, all of whose tokens until now are meant.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "RevocationRequest", extend("anyOf" = [{"required": ["jti"]}, {"required": ["user_id"]}]))]
pub(in crate::server) struct Request {
    /// The id of a token.
    #[schemars(length(min = 1, max = NAME_CHARS_MAX))]
    jti: Option<String>,
    /// A user, all of whose tokens until now are meant.
    #[schemars(length(min = 1, max = NAME_CHARS_MAX))]
    user_id: Option<String>,
}

/// A revocation in force.
#[derive(Serialize, JsonSchema)]
pub(in crate::server) struct Revocation {
    jti: Option<String>,
    user_id: Option<String>,
    /// RFC 3339.
    revoked_at: String,
}

/// Characters of a token's id or a user's name, as tokens themselves may have.
const NAME_CHARS_MAX: usize = 256;

/// `POST /admin/revocations`: in force at once, answered 201 once it will survive a restart.
pub(in crate::server) async fn revoke(
    State(app): State<Shared>,
    Admin(by): Admin,
    Body(request): Body<Request>,
) -> Result<(StatusCode, Json<Disconnected>), Problem> {
    let invalid = |what: &str| Problem::new(ErrorCode::InvalidMessage, what);
    let auth = app.auth.as_ref().ok_or_else(|| invalid("authentication is off: there is no token to revoke"))?;
    let Request { jti, user_id } = request;
    if jti.is_none() && user_id.is_none() {
        return Err(invalid("give jti, user_id or both"));
    }
    for (what, text) in [("jti", &jti), ("user_id", &user_id)] {
        if text.as_ref().is_some_and(|t| t.is_empty() || t.chars().count() > NAME_CHARS_MAX) {
            return Err(invalid(&format!("{what} must have 1 to {NAME_CHARS_MAX} characters")));
        }
    }
    let order = protocol::Revocation { jti, user_id, at_unix_s: unix_s(), until_unix_s: None };
    auth.revoke(order.clone()).map_err(|e| Problem::new(ErrorCode::QuotaExceeded, e.to_string()))?;
    let mut cut = 0;
    app.connections.for_each(|c| {
        if auth.is_revoked(&c.identity()) {
            cut += usize::from(c.outbox.close(CloseCode::Unauthenticated, "the token has been revoked"));
        }
    });
    tracing::warn!(by = by.name(), jti = order.jti, user_id = order.user_id, cut, "tokens revoked by an administrator");
    let (told, kept) = tokio::sync::oneshot::channel();
    let failed = |e| Problem(ws::store_error(&e));
    app.store.revoke(order, Box::new(move |r| drop(told.send(r)))).map_err(failed)?;
    kept.await.unwrap_or(Err(store::StoreError::Closed)).map_err(failed)?;
    Ok((StatusCode::CREATED, Json(Disconnected { disconnected: cut })))
}

/// `GET /admin/revocations`: those in force.
pub(in crate::server) async fn list(State(app): State<Shared>, _: Admin) -> Result<Json<List<Revocation>>, Problem> {
    let all = app.store.revocations(unix_s()).await.map_err(|e| Problem(ws::store_error(&e)))?;
    let row = |r: protocol::Revocation| Revocation {
        jti: r.jti,
        user_id: r.user_id,
        revoked_at: rfc3339(r.at_unix_s.saturating_mul(1_000)),
    };
    Ok(Json(List { items: all.into_iter().map(row).collect(), next: None }))
}
