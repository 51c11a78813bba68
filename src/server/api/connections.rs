//! `/api/connections*` and `/api/clients/*`: who is connected, for administrators.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::atomic::Ordering::Relaxed;
use uuid::Uuid;

use super::{List, Page};
use crate::protocol::{CloseCode, ConnectionInfo, ErrorCode, check_name};
use crate::server::guard::Admin;
use crate::server::problem::Problem;
use crate::server::router::Shared;
use crate::server::ws::connection_info;

fn id(text: &str) -> Result<Uuid, Problem> {
    text.parse().map_err(|_| Problem::not_found("no such connection"))
}

/// `GET /api/connections`.
pub(in crate::server) async fn list(
    State(app): State<Shared>,
    _: Admin,
    Query(page): Query<Page>,
) -> Json<List<ConnectionInfo>> {
    let limit = page.limit();
    let rows = app.connections.all().into_iter().filter(|c| page.after.is_none_or(|a| c.meta.id > a)).take(limit + 1);
    let rows = rows.map(|c| connection_info(&app, &c, None)).collect();
    Json(List::page(rows, limit, |c: &ConnectionInfo| c.connection_id.to_string()))
}

/// `GET /api/connections/stats`.
pub(in crate::server) async fn stats(State(app): State<Shared>, _: Admin) -> Json<Value> {
    let all = app.connections.all();
    let sum = |f: fn(&crate::hub::Counters) -> &std::sync::atomic::AtomicU64| {
        all.iter().map(|c| f(&c.counters).load(Relaxed)).sum::<u64>()
    };
    Json(json!({
        "connections": all.len(),
        "streams": app.streams.len(),
        "messages_in": sum(|c| &c.messages_in),
        "messages_out": sum(|c| &c.messages_out),
        "bytes_in": sum(|c| &c.bytes_in),
        "bytes_out": sum(|c| &c.bytes_out),
        "errors": sum(|c| &c.errors),
        "uptime_ms": app.clock.now_ms(),
    }))
}

/// `GET /api/connections/{id}`.
pub(in crate::server) async fn one(
    State(app): State<Shared>,
    _: Admin,
    Path(text): Path<String>,
) -> Result<Json<ConnectionInfo>, Problem> {
    let c = app.connections.get(id(&text)?).ok_or_else(|| Problem::not_found("no such connection"))?;
    Ok(Json(connection_info(&app, &c, None)))
}

/// `DELETE /api/connections/{id}`: closes it with 4010.
pub(in crate::server) async fn disconnect(
    State(app): State<Shared>,
    admin: Admin,
    Path(text): Path<String>,
) -> Result<StatusCode, Problem> {
    let c = app.connections.get(id(&text)?).ok_or_else(|| Problem::not_found("no such connection"))?;
    c.outbox.close(CloseCode::Disconnected, "disconnected by an administrator");
    tracing::info!(by = %admin.0.0, connection = %c.meta.id, "connection closed by an administrator");
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /api/clients/{client_id}/connections`.
pub(in crate::server) async fn of_client(
    State(app): State<Shared>,
    _: Admin,
    Path(client_id): Path<String>,
) -> Result<Json<List<ConnectionInfo>>, Problem> {
    checked(&client_id)?;
    let rows = app.connections.of_client(&client_id).iter().map(|c| connection_info(&app, c, None)).collect();
    Ok(Json(List { items: rows, next: None }))
}

/// `DELETE /api/clients/{client_id}`: closes all of them with 4010.
pub(in crate::server) async fn disconnect_client(
    State(app): State<Shared>,
    admin: Admin,
    Path(client_id): Path<String>,
) -> Result<Json<Value>, Problem> {
    checked(&client_id)?;
    let all = app.connections.of_client(&client_id);
    for c in &all {
        c.outbox.close(CloseCode::Disconnected, "disconnected by an administrator");
    }
    tracing::info!(by = %admin.0.0, client = client_id, connections = all.len(), "client closed by an administrator");
    Ok(Json(json!({"disconnected": all.len()})))
}

/// The query of the clean-up.
#[derive(Debug, Deserialize)]
pub(in crate::server) struct Cleanup {
    max_inactive_minutes: u64,
}

/// `POST /api/connections/cleanup`: closes those without a message for that long with 4108.
pub(in crate::server) async fn cleanup(
    State(app): State<Shared>,
    admin: Admin,
    query: Result<Query<Cleanup>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(q) = query.map_err(|e| Problem::new(ErrorCode::InvalidMessage, e.body_text()))?;
    let closed = app.connections.close_inactive(app.clock.now_ms(), q.max_inactive_minutes.saturating_mul(60_000));
    tracing::info!(by = %admin.0.0, minutes = q.max_inactive_minutes, closed, "inactive connections closed");
    Ok(Json(json!({"closed": closed})))
}

fn checked(client_id: &str) -> Result<(), Problem> {
    check_name("client_id", client_id).map_err(|e| Problem::new(ErrorCode::InvalidMessage, e.to_string()))
}
