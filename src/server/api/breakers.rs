//! `/admin/circuit-breakers/*`: letting calls to a service through again before its time.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TextBody;
use crate::dialect::native::read_body;
use crate::server::guard::Admin;
use crate::server::problem::Problem;
use crate::server::router::Shared;

/// The body of a reset.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct Reset {
    /// Which breaker; all of them where none is named.
    name: Option<String>,
}

/// Which breakers are closed now.
#[derive(Serialize, JsonSchema)]
pub(in crate::server) struct ResetBreakers {
    reset: Vec<&'static str>,
}

/// `POST /admin/circuit-breakers/reset`: closes the named breaker, or without a body all of them.
pub(in crate::server) async fn reset(
    State(app): State<Shared>,
    Admin(by): Admin,
    TextBody(body): TextBody,
) -> Result<Json<ResetBreakers>, Problem> {
    let wanted: Reset = if body.is_empty() { Reset::default() } else { read_body(&body).map_err(Problem)? };
    let reset = app.breakers.reset(wanted.name.as_deref());
    if reset.is_empty() && wanted.name.is_some() {
        return Err(Problem::not_found("no such circuit breaker"));
    }
    tracing::info!(by = by.name(), breakers = ?reset, "circuit breakers reset by an administrator");
    Ok(Json(ResetBreakers { reset }))
}
