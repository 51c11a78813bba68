//! `/api/connections*`, `/api/clients/*` and `/api/users/*`: who is connected, for administrators, and for users of themselves.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;

use super::{Disconnected, List, Page};
use crate::hub::Connection;
use crate::protocol::{ConnectionInfo, DisconnectTarget, ErrorCode, check_name};
use crate::server::admin;
use crate::server::guard::{Admin, Asked, Caller, Segment};
use crate::server::problem::Problem;
use crate::server::router::Shared;
use crate::server::state::App;
use crate::server::ws::connection_info;

fn missing() -> Problem {
    Problem::not_found("no such connection")
}

fn id(text: &str) -> Result<Uuid, Problem> {
    text.parse().map_err(|_| missing())
}

/// `GET /api/connections`.
pub(in crate::server) async fn list(
    State(app): State<Shared>,
    _: Admin,
    Asked(page): Asked<Page>,
) -> Json<List<ConnectionInfo>> {
    let limit = page.limit();
    let rows = page.of_connections(&app).map(|c| connection_info(&app, &c)).collect();
    Json(List::page(rows, limit, |c: &ConnectionInfo| c.connection_id.to_string()))
}

/// `GET /api/connections/stats`.
pub(in crate::server) async fn stats(State(app): State<Shared>, _: Admin) -> Json<admin::ConnectionStats> {
    Json(admin::connection_stats(&app))
}

/// `GET /api/connections/{id}`.
pub(in crate::server) async fn one(
    State(app): State<Shared>,
    _: Admin,
    Segment(text): Segment,
) -> Result<Json<ConnectionInfo>, Problem> {
    let c = app.connections.get(id(&text)?).ok_or_else(missing)?;
    Ok(Json(connection_info(&app, &c)))
}

/// `DELETE /api/connections/{id}`: closes it with 4010.
pub(in crate::server) async fn disconnect(
    State(app): State<Shared>,
    Admin(by): Admin,
    Segment(text): Segment,
) -> Result<StatusCode, Problem> {
    match admin::disconnect(&app, &DisconnectTarget::Connection(id(&text)?), None, &by.name()) {
        0 => Err(missing()),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// `GET /api/clients/{client_id}/connections`: all of them for administrators, one's own for others.
pub(in crate::server) async fn of_client(
    State(app): State<Shared>,
    caller: Caller,
    Segment(client_id): Segment,
) -> Result<Json<List<ConnectionInfo>>, Problem> {
    checked(&client_id)?;
    let all = app.connections.of_client(&client_id);
    Ok(Json(rows(&app, &theirs(&caller, all)?)))
}

/// `DELETE /api/clients/{client_id}`: closes all of them (not an administrator: one's own) with 4010.
pub(in crate::server) async fn disconnect_client(
    State(app): State<Shared>,
    caller: Caller,
    Segment(client_id): Segment,
) -> Result<Json<Disconnected>, Problem> {
    checked(&client_id)?;
    let all = theirs(&caller, app.connections.of_client(&client_id))?;
    let disconnected = admin::close_all(&all, &format!("client {client_id}"), None, &caller.name());
    Ok(Json(Disconnected { disconnected }))
}

/// A user who is connected.
#[derive(Serialize, JsonSchema)]
pub(in crate::server) struct ConnectedUser {
    user_id: String,
    connections: List<ConnectionInfo>,
}

/// `GET /api/users/{user_id}`: a user and his connections.
pub(in crate::server) async fn of_user(
    State(app): State<Shared>,
    caller: Caller,
    Segment(user_id): Segment,
) -> Result<Json<ConnectedUser>, Problem> {
    caller.must_be(Some(&user_id))?;
    let all = app.connections.of_user(&user_id);
    Ok(Json(ConnectedUser { user_id, connections: rows(&app, &all) }))
}

/// `DELETE /api/users/{user_id}`: closes all his connections with 4010.
pub(in crate::server) async fn disconnect_user(
    State(app): State<Shared>,
    caller: Caller,
    Segment(user_id): Segment,
) -> Result<Json<Disconnected>, Problem> {
    caller.must_be(Some(&user_id))?;
    let disconnected = admin::disconnect(&app, &DisconnectTarget::User(user_id), None, &caller.name());
    Ok(Json(Disconnected { disconnected }))
}

/// Of a client's connections those the caller may know of: an administrator all, a user his own. Someone else's are refused.
fn theirs(caller: &Caller, mut all: Vec<Arc<Connection>>) -> Result<Vec<Arc<Connection>>, Problem> {
    if !caller.identity.admin {
        caller.must_be(caller.identity.user_id.as_deref())?;
        all.retain(|c| c.identity().user_id == caller.identity.user_id);
    }
    Ok(all)
}

fn rows(app: &App, all: &[Arc<Connection>]) -> List<ConnectionInfo> {
    List { items: all.iter().map(|c| connection_info(app, c)).collect(), next: None }
}

/// The query of the clean-up.
#[derive(Debug, Deserialize, JsonSchema)]
pub(in crate::server) struct Cleanup {
    /// Without a message for so long.
    max_inactive_minutes: u64,
}

/// What a clean-up did.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::server) struct CleanedUp {
    closed: usize,
}

/// `POST /api/connections/cleanup`: closes those without a message for that long with 4108.
pub(in crate::server) async fn cleanup(
    State(app): State<Shared>,
    Admin(by): Admin,
    Asked(q): Asked<Cleanup>,
) -> Json<CleanedUp> {
    let closed = app.connections.close_inactive(app.clock.now_ms(), q.max_inactive_minutes.saturating_mul(60_000));
    tracing::info!(by = by.name(), minutes = q.max_inactive_minutes, closed, "inactive connections closed");
    Json(CleanedUp { closed })
}

fn checked(client_id: &str) -> Result<(), Problem> {
    check_name("client_id", client_id).map_err(|e| Problem::new(ErrorCode::InvalidMessage, e.to_string()))
}
