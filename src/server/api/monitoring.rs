//! `/metrics`, `/monitoring/*`, `/admin/errors/recent`, `/admin/monitoring/reset`, `/admin/log-level`: the running server, seen by those who run it.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Body, List, Page};
use crate::clock::{self, rfc3339};
use crate::protocol::{ConnectionInfo, ErrorCode, QueueInfo};
use crate::server::guard::{Admin, Asked};
use crate::server::monitor::{self, assess};
use crate::server::problem::Problem;
use crate::server::router::Shared;
use crate::server::state::App;
use crate::server::ws::connection_info;
use crate::telemetry::{self, ENTRIES_MAX, LogError, MINUTES_MAX, Window};

/// The window of `/monitoring/realtime`, and of `/monitoring/metrics` where none is named.
const REALTIME_S: u64 = 300;
const HOUR_S: u64 = 3_600;
/// Minutes of errors where none are named.
const MINUTES_DEFAULT: u64 = 60;

/// `GET /metrics`, in the format the scraper prefers.
pub(in crate::server) async fn metrics(State(app): State<Shared>, headers: HeaderMap) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";
    let accepts = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let text = monitor::exposition(&app);
    if accepts.contains("application/openmetrics-text") {
        ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response()
    } else {
        ([(header::CONTENT_TYPE, PLAIN)], monitor::plain(&text)).into_response()
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    Json,
    Prometheus,
}

/// The query of the history.
#[derive(Deserialize, JsonSchema)]
pub(in crate::server) struct History {
    window_s: Option<u64>,
    format: Option<Format>,
}

/// A window of the history, with what it is of.
#[derive(Serialize)]
struct HistoryBody {
    window_s: u64,
    /// Time from point to point.
    interval_s: u64,
    from: String,
    to: String,
    #[serde(flatten)]
    window: Window,
}

fn history(app: &App, window_s: u64) -> HistoryBody {
    let now_ms = app.clock.now_ms();
    let from_ms = now_ms.saturating_sub(window_s.saturating_mul(1_000));
    let window = monitor::lock(&app.monitor.history).window(window_s, now_ms);
    let interval_s = if window_s <= REALTIME_S { 1 } else { app.config.monitoring.sample_interval_s };
    let at = |ms| rfc3339(app.clock.unix_ms_of(ms));
    HistoryBody { window_s, interval_s, from: at(from_ms), to: at(now_ms), window }
}

/// `GET /monitoring/metrics?window_s=&format=`.
pub(in crate::server) async fn series(State(app): State<Shared>, _: Admin, Asked(q): Asked<History>) -> Response {
    match q.format {
        Some(Format::Prometheus) => metrics(State(app), HeaderMap::new()).await,
        Some(Format::Json) | None => {
            let window_s = q.window_s.unwrap_or(HOUR_S).min(app.config.monitoring.retention_s.max(REALTIME_S));
            Json(history(&app, window_s)).into_response()
        }
    }
}

/// `GET /monitoring/realtime`: the last five minutes second by second, and how everything is now.
pub(in crate::server) async fn realtime(State(app): State<Shared>, _: Admin) -> Json<Value> {
    let (status, findings) = assess(&app);
    let mut body = json!({
        "status": status,
        "findings": findings,
        "uptime_ms": app.clock.now_ms(),
        "now": app.monitor.newest(),
        "circuit_breakers": super::health::breakers(&app),
        "components": super::health::components(&app),
    });
    if let (Some(body), Ok(Value::Object(history))) =
        (body.as_object_mut(), serde_json::to_value(history(&app, REALTIME_S)))
    {
        body.extend(history);
    }
    Json(body)
}

/// A connection with what waits for it.
#[derive(Serialize)]
pub(in crate::server) struct ConnectionRow {
    #[serde(flatten)]
    info: ConnectionInfo,
    connected_ms: u64,
    queue: QueueInfo,
}

/// `GET /monitoring/connections`: the connections there are, with their figures.
pub(in crate::server) async fn connections(
    State(app): State<Shared>,
    _: Admin,
    Asked(page): Asked<Page>,
) -> Json<List<ConnectionRow>> {
    let limit = page.limit();
    let now_ms = app.clock.now_ms();
    let rows = page.of_connections(&app).map(|c| ConnectionRow {
        info: connection_info(&app, &c),
        connected_ms: now_ms.saturating_sub(c.meta().connected_ms),
        queue: c.outbox.info(),
    });
    Json(List::page(rows.collect(), limit, |r: &ConnectionRow| r.info.connection_id.to_string()))
}

/// The query of the error journal.
#[derive(Deserialize, JsonSchema)]
pub(in crate::server) struct Minutes {
    minutes: Option<u64>,
    limit: Option<usize>,
}

impl Minutes {
    fn minutes(&self) -> u64 {
        self.minutes.unwrap_or(MINUTES_DEFAULT).clamp(1, MINUTES_MAX)
    }
}

/// `GET /monitoring/errors?minutes=`: rates by kind and severity, minute by minute, and the newest.
pub(in crate::server) async fn errors(State(app): State<Shared>, _: Admin, Asked(q): Asked<Minutes>) -> Json<Value> {
    let mut body = json!(app.monitor.journal.summary(q.minutes()));
    body["minutes"] = q.minutes().into();
    body["recent"] = json!(app.monitor.journal.recent(q.minutes(), q.limit.unwrap_or(super::PAGE_DEFAULT)));
    Json(body)
}

/// `GET /admin/errors/recent?minutes=`: the newest errors, newest first.
pub(in crate::server) async fn recent(State(app): State<Shared>, _: Admin, Asked(q): Asked<Minutes>) -> Json<Value> {
    let items = app.monitor.journal.recent(q.minutes(), q.limit.unwrap_or(ENTRIES_MAX));
    Json(json!({"minutes": q.minutes(), "items": items, "next": null}))
}

/// `POST /admin/monitoring/reset`: forgets the history and the journal. Counters of `/metrics` go on: they must not fall.
pub(in crate::server) async fn reset(State(app): State<Shared>, Admin(by): Admin) -> Json<Value> {
    let errors = app.monitor.reset();
    tracing::warn!(by = by.name(), errors, "history and error journal reset by an administrator");
    Json(json!({"reset": true, "errors_forgotten": errors, "timestamp": rfc3339(clock::unix_ms())}))
}

/// The body of a new log level.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct Level {
    level: String,
}

/// `GET /admin/log-level`.
pub(in crate::server) async fn log_level(_: Admin) -> Result<Json<Value>, Problem> {
    let level = telemetry::level().map_err(|e| log_problem(&e))?;
    Ok(Json(json!({"level": level})))
}

/// `POST /admin/log-level` `{level}`: what is logged from now on, until the next start.
pub(in crate::server) async fn set_log_level(
    Admin(by): Admin,
    Body(wanted): Body<Level>,
) -> Result<Json<Value>, Problem> {
    let before = telemetry::set_level(&wanted.level).map_err(|e| log_problem(&e))?;
    tracing::warn!(by = by.name(), before, level = wanted.level, "log level changed by an administrator");
    Ok(Json(json!({"level": wanted.level, "before": before})))
}

fn log_problem(e: &LogError) -> Problem {
    match e {
        LogError::Level(_) | LogError::Directives(_) => Problem::new(ErrorCode::InvalidMessage, e.to_string()),
        LogError::NotSetUp | LogError::Twice | LogError::File { .. } => {
            Problem::new(ErrorCode::UpstreamUnavailable, e.to_string())
        }
    }
}
