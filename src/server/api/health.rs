//! `/health*`: how the server is.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::clock;
use crate::resilience::BreakerState;
use crate::server::guard::Admin;
use crate::server::monitor::{Finding, HealthStatus, assess};
use crate::server::router::Shared;
use crate::server::state::App;
use crate::sink::recorder;
use crate::telemetry::SystemReading;
use crate::upstream::RESPONDER;

/// How the server is.
#[derive(Serialize, JsonSchema)]
pub(in crate::server) struct Health {
    status: HealthStatus,
    /// RFC 3339.
    timestamp: String,
    active_connections: usize,
}

/// How it is part by part. What a part tells beside its status differs from part to part.
#[derive(Serialize, JsonSchema)]
pub(in crate::server) struct DetailedHealth {
    #[serde(flatten)]
    brief: Health,
    uptime_ms: u64,
    /// What keeps it from being well.
    findings: Vec<Finding>,
    components: Components,
    circuit_breakers: Vec<Breaker>,
    errors: ErrorRates,
    system: SystemReading,
}

/// Minutes of [`ErrorRates`].
const ERROR_MINUTES: u64 = 5;

/// Errors of the last minutes.
#[derive(Serialize, JsonSchema)]
struct ErrorRates {
    minutes: u64,
    total: u64,
    per_minute: f64,
    by_kind: BTreeMap<&'static str, u64>,
    by_severity: BTreeMap<&'static str, u64>,
}

/// The parts of the server. Each has a `status`: `healthy`, `degraded` or `off`.
#[derive(Serialize, JsonSchema)]
pub(super) struct Components {
    recorder: Map<String, Value>,
    journal: Map<String, Value>,
    streams: Map<String, Value>,
    responder: Map<String, Value>,
    store: Map<String, Value>,
}

/// A service that is left alone for a while when it fails too often.
#[derive(Serialize, JsonSchema)]
pub(super) struct Breaker {
    name: &'static str,
    state: BreakerState,
    /// Failures in a row.
    failures: u64,
    /// RFC 3339; none while it is closed.
    opened_at: Option<String>,
}

fn brief(app: &App, status: HealthStatus) -> Health {
    Health { status, timestamp: clock::rfc3339(clock::unix_ms()), active_connections: app.connections.len() }
}

/// `GET /health`.
pub(in crate::server) async fn summary(State(app): State<Shared>) -> Json<Health> {
    Json(brief(&app, app.health()))
}

/// `GET /health/live`: that it answers is the answer.
pub(in crate::server) async fn live(State(app): State<Shared>) -> Json<Health> {
    Json(brief(&app, app.health()))
}

/// `GET /health/ready`: 503 while no new work is taken.
pub(in crate::server) async fn ready(State(app): State<Shared>) -> (StatusCode, Json<Health>) {
    let health = app.health();
    let status = match health {
        HealthStatus::Healthy | HealthStatus::Degraded => StatusCode::OK,
        HealthStatus::Unhealthy | HealthStatus::Critical => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(brief(&app, health)))
}

/// `GET /health/detailed`.
pub(in crate::server) async fn detailed(State(app): State<Shared>, _: Admin) -> Json<DetailedHealth> {
    Json(detail(&app))
}

/// The body of `/health/detailed`, or its status alone.
pub(in crate::server) fn body(app: &App, whole: bool) -> Map<String, Value> {
    if !whole {
        return Map::from_iter([("status".to_owned(), json!(app.health()))]);
    }
    object(json!(detail(app)))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn detail(app: &App) -> DetailedHealth {
    let (status, findings) = assess(app);
    DetailedHealth {
        brief: brief(app, status),
        uptime_ms: app.clock.now_ms(),
        findings,
        components: components(app),
        circuit_breakers: breakers(app),
        errors: errors(app),
        system: app.system.read(),
    }
}

/// The state of each part.
pub(super) fn components(app: &App) -> Components {
    let recorder = match &app.recorder {
        None => json!({"status": "off"}),
        Some(r) => {
            let (s, state) = (r.status(), app.breakers.get(recorder::BREAKER).status().state);
            json!({
                "status": if s.degraded || state != BreakerState::Closed { "degraded" } else { "healthy" },
                "open": s.open, "bytes": s.bytes, "failures": s.failures,
                "circuit_breaker": state,
            })
        }
    };
    let journal = match &app.journal {
        None => json!({"status": "off"}),
        Some(j) => {
            let s = j.status();
            json!({
                "status": if s.degraded { "degraded" } else { "healthy" },
                "streams": s.streams, "bytes": s.bytes, "syncs": s.syncs, "failures": s.failures, "refused": s.refused,
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
    Components {
        recorder: object(recorder),
        journal: object(journal),
        streams: object(streams),
        responder: object(responder(app)),
        store: object(store),
    }
}

/// Error rates of the last minutes.
fn errors(app: &App) -> ErrorRates {
    let s = app.monitor.journal.summary(ERROR_MINUTES);
    ErrorRates {
        minutes: ERROR_MINUTES,
        total: s.total,
        per_minute: s.per_minute,
        by_kind: s.by_kind,
        by_severity: s.by_severity,
    }
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
pub(super) fn breakers(app: &App) -> Vec<Breaker> {
    let one = |b: crate::resilience::BreakerStatus| Breaker {
        name: b.name,
        state: b.state,
        failures: b.failures,
        opened_at: b.opened_unix_ms.map(clock::rfc3339),
    };
    app.breakers.list().into_iter().map(one).collect()
}
