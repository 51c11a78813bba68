//! How healthy the server is, and because of what. The thresholds stand here, with their reasons; `docs/OBSERVABILITY.md` repeats them.

use std::sync::atomic::Ordering::Relaxed;

use schemars::JsonSchema;
use serde::Serialize;

use super::lock;
use crate::resilience::BreakerState;
use crate::server::state::App;

/// How healthy the server is (protocol section 8), best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// All well.
    Healthy,
    /// Something fails, audio flows.
    Degraded,
    /// No new work should come here.
    Unhealthy,
    /// Connections are not served: restart it.
    Critical,
}

/// The server's own critical errors in one to two minutes (not those of recordings, which the recorder's state tells of) that are more
/// than an accident.
const ERRORS_DEGRADED: u64 = 10;
/// And those that mean it does little else than fail.
const ERRORS_UNHEALTHY: u64 = 200;
/// What connections wait for each other that people hear; far beyond what a loaded machine shows.
const LAG_DEGRADED_US: u64 = 1_000_000;
/// Acknowledgements come too late for anyone.
const LAG_UNHEALTHY_US: u64 = 5_000_000;
/// A worker whose timer was not called for so long hangs or is gone.
const SILENT_CRITICAL_MS: u64 = 15_000;
/// Parts that fail at once for which it is no accident of one of them.
const PARTS_UNHEALTHY: usize = 3;

/// Something that keeps the server from being well.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(in crate::server) struct Finding {
    /// What it is about.
    pub(in crate::server) part: &'static str,
    /// How bad it is.
    pub(in crate::server) status: HealthStatus,
    /// For people.
    pub(in crate::server) reason: String,
}

/// The server's health: the worst of what is found; unhealthy where many parts fail at once.
pub(in crate::server) fn assess(app: &App) -> (HealthStatus, Vec<Finding>) {
    let mut found = parts(app);
    let mut failing: Vec<_> = found.iter().map(|f| f.part).collect();
    failing.sort_unstable();
    failing.dedup();
    if failing.len() >= PARTS_UNHEALTHY {
        let reason = format!("{} parts fail at once", failing.len());
        found.push(Finding { part: "parts", status: HealthStatus::Unhealthy, reason });
    }
    found.extend(errors(app));
    found.extend(workers(app));
    if app.drain_deadline_ms().is_some() {
        found.push(finding("server", HealthStatus::Unhealthy, "it drains"));
    }
    let worst = found.iter().map(|f| f.status).max().unwrap_or(HealthStatus::Healthy);
    (worst, found)
}

fn finding(part: &'static str, status: HealthStatus, reason: impl Into<String>) -> Finding {
    Finding { part, status, reason: reason.into() }
}

fn parts(app: &App) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut degraded = |part, reason: String| found.push(finding(part, HealthStatus::Degraded, reason));
    if app.recorder.as_ref().is_some_and(|r| r.status().degraded) {
        degraded("recorder", "the newest recording to end failed".to_owned());
    }
    if app.journal.as_ref().is_some_and(|j| j.status().degraded) {
        degraded("journal", "a stream could not be kept".to_owned());
    }
    if !app.store.status().healthy {
        degraded("store", "the last writes were not kept".to_owned());
    }
    if app.memory_is_short() {
        degraded("memory", "the memory for streams is in use: no more are taken".to_owned());
    }
    for b in app.breakers.list().iter().filter(|b| b.state != BreakerState::Closed) {
        // By the name of what it guards: a store that fails is one part, its breaker open or not.
        degraded(b.name, "it failed too often and is left alone for a while".to_owned());
    }
    found
}

fn errors(app: &App) -> Option<Finding> {
    let n = app.monitor.journal.own_critical();
    let status = match n {
        ..ERRORS_DEGRADED => return None,
        ERRORS_DEGRADED..ERRORS_UNHEALTHY => HealthStatus::Degraded,
        ERRORS_UNHEALTHY.. => HealthStatus::Unhealthy,
    };
    Some(finding("errors", status, format!("{n} critical errors in the last two minutes")))
}

fn workers(app: &App) -> Vec<Finding> {
    let mut found = Vec::new();
    let lag_us = app.monitor.lag_us.load(Relaxed);
    if lag_us >= LAG_DEGRADED_US {
        let status = if lag_us >= LAG_UNHEALTHY_US { HealthStatus::Unhealthy } else { HealthStatus::Degraded };
        found.push(finding("workers", status, format!("connections wait {} ms for each other", lag_us / 1_000)));
    }
    let now_ms = app.clock.now_ms();
    let silent = |alive_ms: u64| now_ms.saturating_sub(alive_ms) >= SILENT_CRITICAL_MS;
    let hung = lock(&app.monitor.lanes).iter().filter(|l| silent(l.figures.alive_ms.load(Relaxed))).count();
    if hung > 0 && app.drain_deadline_ms().is_none() {
        found.push(finding("workers", HealthStatus::Critical, format!("{hung} of them do not answer")));
    }
    found
}
