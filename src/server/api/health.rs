//! `/health*`: how the server is.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use crate::clock;
use crate::resilience::BreakerState;
use crate::server::guard::Admin;
use crate::server::monitor::{HealthStatus, assess};
use crate::server::router::Shared;
use crate::server::state::App;
use crate::upstream::RESPONDER;

fn brief(app: &App) -> Map<String, Value> {
    let mut m = Map::new();
    m.insert("status".into(), json!(app.health()));
    m.insert("timestamp".into(), clock::rfc3339(clock::unix_ms()).into());
    m.insert("active_connections".into(), app.connections.len().into());
    m
}

/// `GET /health`.
pub(in crate::server) async fn summary(State(app): State<Shared>) -> Json<Map<String, Value>> {
    Json(brief(&app))
}

/// `GET /health/live`: that it answers is the answer.
pub(in crate::server) async fn live(State(app): State<Shared>) -> Json<Map<String, Value>> {
    Json(brief(&app))
}

/// `GET /health/ready`: 503 while no new work is taken.
pub(in crate::server) async fn ready(State(app): State<Shared>) -> (StatusCode, Json<Map<String, Value>>) {
    let status = match app.health() {
        HealthStatus::Healthy | HealthStatus::Degraded => StatusCode::OK,
        HealthStatus::Unhealthy | HealthStatus::Critical => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(brief(&app)))
}

/// `GET /health/detailed`.
pub(in crate::server) async fn detailed(State(app): State<Shared>, _: Admin) -> Json<Map<String, Value>> {
    Json(body(&app, true))
}

/// The body of `/health/detailed`, or its status alone.
pub(in crate::server) fn body(app: &App, whole: bool) -> Map<String, Value> {
    if !whole {
        return Map::from_iter([("status".to_owned(), json!(app.health()))]);
    }
    let mut m = brief(app);
    m.insert("uptime_ms".into(), app.clock.now_ms().into());
    m.insert("findings".into(), json!(assess(app).1));
    m.insert("components".into(), components(app));
    m.insert("circuit_breakers".into(), breakers(app));
    m.insert("errors".into(), errors(app));
    m.insert("system".into(), json!(app.system.read()));
    m
}

/// The state of each part.
pub(super) fn components(app: &App) -> Value {
    let recorder = match &app.recorder {
        None => json!({"status": "off"}),
        Some(r) => {
            let s = r.status();
            json!({
                "status": if s.degraded { "degraded" } else { "healthy" },
                "open": s.open, "bytes": s.bytes, "failures": s.failures,
            })
        }
    };
    let streams = json!({
        "status": if app.streams.is_full() || app.memory_is_short() { "degraded" } else { "healthy" },
        "open": app.streams.len(),
        "memory_reserved_bytes": app.memory.used_bytes(),
        "memory_budget_bytes": app.config.audio.memory_budget_bytes,
    });
    let s = app.store.status();
    let store = json!({
        "status": if s.healthy { "healthy" } else { "degraded" },
        "queued": s.queued, "writes": s.writes, "commits": s.commits, "last_error": s.last_error,
    });
    json!({"store": store, "recorder": recorder, "streams": streams, "responder": responder(app)})
}

/// Error rates of the last five minutes.
fn errors(app: &App) -> Value {
    const MINUTES: u64 = 5;
    let s = app.monitor.journal.summary(MINUTES);
    json!({
        "minutes": MINUTES, "total": s.total, "per_minute": s.per_minute, "by_kind": s.by_kind, "by_severity": s.by_severity,
    })
}

fn responder(app: &App) -> Value {
    let Some(responder) = &app.responder else { return json!({"status": "off"}) };
    let s = responder.status();
    let breaker = app.breakers.list().into_iter().find(|b| b.name == RESPONDER);
    let well = breaker.is_none_or(|b| b.state == BreakerState::Closed);
    json!({
        "status": if well { "healthy" } else { "degraded" },
        "kind": s.kind, "waiting": s.waiting, "running": s.running,
        "circuit_breaker": breaker.map(|b| b.state),
    })
}

/// The state of each circuit breaker.
pub(super) fn breakers(app: &App) -> Value {
    let one = |b: crate::resilience::BreakerStatus| {
        json!({
            "name": b.name, "state": b.state, "failures": b.failures,
            "opened_at": b.opened_unix_ms.map(clock::rfc3339),
        })
    };
    app.breakers.list().into_iter().map(one).collect()
}
