//! `POST /api/broadcast`: something for many, from an administrator.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::TextBody;
use crate::dialect::native;
use crate::hub::Notice;
use crate::protocol::Event;
use crate::server::guard::Admin;
use crate::server::problem::Problem;
use crate::server::router::Shared;
use crate::server::ws;

/// What became of a broadcast.
#[derive(Serialize, JsonSchema)]
pub(in crate::server) struct Delivered {
    /// To how many connections it went.
    delivered: usize,
}

/// `POST /api/broadcast`: the fields of `broadcast_request`.
pub(in crate::server) async fn broadcast(
    State(app): State<Shared>,
    Admin(by): Admin,
    TextBody(body): TextBody,
) -> Result<Json<Delivered>, Problem> {
    let request = native::read_broadcast(&body, app.decode_limits()).map_err(Problem)?;
    let notice = Notice::new(&Event::Broadcast { from: by.speaker(), content: request.content.clone() });
    let delivered = ws::deliver(&app, &request, &notice, None);
    tracing::info!(by = by.name(), delivered, "broadcast by an administrator");
    Ok(Json(Delivered { delivered }))
}
