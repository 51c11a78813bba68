//! Seeing the server while it runs: its figures read once a second, their history, its health, and what subscribers are told of them.
//! Nothing here is on a frame's way; what is read are counters that others keep anyway.

mod events;
mod exposition;
mod health;
mod point;
mod reading;
mod sampler;

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::router::Shared;
use crate::clock::Clock;
use crate::config::MonitoringConfig;
use crate::protocol::{MetricsPoint, Severity};
use crate::resilience::{BreakerChange, BreakerState, Breakers};
use crate::telemetry::{Fault, History, Journal, LaneFigures, Part, Span, SpanKind};

pub(super) use exposition::{exposition, plain};
pub use health::HealthStatus;
pub(super) use health::{Finding, assess};
pub use sampler::run;

/// Breaker changes that may wait for the next sample: a breaker changes a few times a minute at the most.
const CHANGES_MAX: usize = 64;

/// A worker as it is looked at from outside.
pub(super) struct Lane {
    pub(super) figures: Arc<LaneFigures>,
    /// Its connections.
    pub(super) load: Arc<std::sync::atomic::AtomicUsize>,
}

/// What is known of the running server beside its state.
pub(super) struct Monitor {
    pub(super) journal: Journal,
    lanes: Mutex<Vec<Lane>>,
    pub(super) history: Mutex<History>,
    /// The newest sample's worst lag, in microseconds.
    lag_us: AtomicU64,
    breaker_changes: Mutex<Vec<BreakerChange>>,
    breakers_opened: AtomicU64,
    /// HTTP answers by hundreds: 1xx to 5xx.
    responses: [AtomicU64; 5],
}

impl Monitor {
    /// Nothing seen yet.
    pub(super) fn new(config: &MonitoringConfig, clock: Clock) -> Arc<Self> {
        let points = config.retention_s / config.sample_interval_s.max(1);
        Arc::new(Self {
            journal: Journal::new(clock),
            lanes: Mutex::default(),
            history: Mutex::new(History::new(usize::try_from(points).unwrap_or(usize::MAX))),
            lag_us: AtomicU64::new(0),
            breaker_changes: Mutex::default(),
            breakers_opened: AtomicU64::new(0),
            responses: Default::default(),
        })
    }

    /// A worker that starts.
    pub(super) fn add_lane(&self, lane: Lane) {
        lock(&self.lanes).push(lane);
    }

    /// The newest point of the history.
    pub(super) fn newest(&self) -> Option<MetricsPoint> {
        lock(&self.history).newest().cloned()
    }

    /// Is told of every change of every breaker from now on.
    pub(super) fn watch(self: &Arc<Self>, breakers: &Breakers) {
        let monitor = Arc::clone(self);
        breakers.observe(move |change| monitor.breaker_changed(change));
    }

    fn breaker_changed(&self, change: &BreakerChange) {
        if change.to == BreakerState::Open {
            self.breakers_opened.fetch_add(1, Relaxed);
            let what = format!("{} failed {} times in a row and is left alone", change.name, change.failures);
            self.journal.note(Fault::of_server("CIRCUIT_OPEN", Severity::High, Part::CircuitBreaker, what));
        }
        let mut changes = lock(&self.breaker_changes);
        if changes.len() < CHANGES_MAX {
            changes.push(*change);
        }
    }

    /// Forgets the history and the journal. Returns how many errors went.
    pub(super) fn reset(&self) -> usize {
        lock(&self.history).reset();
        self.journal.reset()
    }
}

/// A request in traces, by its route: paths hold names, queries tokens.
fn request_span(request: &Request) -> Span {
    let (method, route) = (request.method(), request.extensions().get::<MatchedPath>().map(MatchedPath::as_str));
    let mut span = Span::start(SpanKind::Server, &format_args!("{method} {}", route.unwrap_or("unknown")), None);
    span.text("http.request.method", method);
    if let Some(route) = route {
        span.text("http.route", &route);
    }
    span
}

/// Counts HTTP answers, and notes those that are the server's fault.
pub(super) async fn count_response(State(app): State<Shared>, request: Request, next: Next) -> Response {
    let mut span = request_span(&request);
    let response = next.run(request).await;
    let status = response.status();
    span.number("http.response.status_code", status.as_u16().into());
    if status.is_server_error() {
        span.fail("server_error");
    }
    let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
    app.monitor.responses[class].fetch_add(1, Relaxed);
    if status == axum::http::StatusCode::INTERNAL_SERVER_ERROR {
        app.monitor.journal.note(Fault::of_server(
            "INTERNAL",
            Severity::Critical,
            Part::Http,
            "an HTTP request failed",
        ));
    }
    response
}

pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
