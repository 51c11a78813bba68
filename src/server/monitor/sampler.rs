//! Once a second: a reading, a point of the history, and what changed for the worse or the better. Runs on the services' thread, away
//! from every connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::events::{self, Told};
use super::health::{HealthStatus, assess};
use super::reading::Reading;
use super::{lock, point};
use crate::clock::{rfc3339, unix_ms};
use crate::protocol::{ConnectionRow, Severity, Topic};
use crate::server::state::App;
use crate::telemetry::{Fault, Part};

/// From sample to sample: the finest points, and how soon subscribers are told.
const EVERY: Duration = Duration::from_secs(1);

/// Samples until it is stopped.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    let mut sampler = Sampler::new(&app);
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + EVERY, EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => sampler.sample(&app),
        }
    }
}

/// What the last sample saw.
pub(super) struct Sampler {
    last: Reading,
    /// The reading the coarse point under way begins with.
    coarse_from: Reading,
    health: HealthStatus,
    recorder_failures: u64,
    store_healthy: bool,
    /// The newest error subscribers were told of.
    errors_told: u64,
    /// The connections subscribers know of; none while nobody is subscribed.
    known: Option<HashMap<uuid::Uuid, ConnectionRow>>,
}

impl Sampler {
    pub(super) fn new(app: &App) -> Self {
        let now = Reading::take(app);
        Self {
            health: assess(app).0,
            recorder_failures: now.recorder.map_or(0, |r| r.failures),
            store_healthy: now.store.healthy,
            errors_told: app.monitor.journal.newest(),
            known: None,
            coarse_from: now.clone(),
            last: now,
        }
    }

    pub(super) fn sample(&mut self, app: &App) {
        let now = Reading::take(app);
        let (point, latency) = point::between(&self.last, &now, rfc3339(unix_ms()));
        app.monitor.lag_us.store(now.lag.since(&self.last.lag).max_us().unwrap_or(0), Relaxed);
        let interval_ms = app.config.monitoring.sample_interval_s * 1_000;
        {
            let mut history = lock(&app.monitor.history);
            history.push_fine(now.at_ms, point.clone(), &latency);
            if now.at_ms.saturating_sub(self.coarse_from.at_ms) >= interval_ms {
                let (coarse, latency) = point::between(&self.coarse_from, &now, point.at.clone());
                history.push_coarse(now.at_ms, coarse, &latency);
                self.coarse_from = now.clone();
            }
        }
        self.note_failures(app, &now);
        self.tell_changes(app);
        let wanted = now.wanted;
        if wanted.has(Topic::Metrics) {
            events::tell(app, Topic::Metrics, &crate::protocol::Event::Metrics(Box::new(point)));
        }
        let newest = app.monitor.journal.newest();
        if wanted.has(Topic::Errors) && newest > self.errors_told {
            events::errors(app, self.errors_told);
        }
        self.errors_told = newest;
        match (wanted.has(Topic::Connections), &mut self.known) {
            (true, Some(known)) => events::connections(app, known, &now),
            (true, none) => *none = Some(events::all_connections(app)),
            (false, known) => *known = None,
        }
        self.last = now;
    }

    /// Parts that began to fail since the last sample go into the journal.
    fn note_failures(&mut self, app: &App, now: &Reading) {
        let failures = now.recorder.map_or(0, |r| r.failures);
        if failures > self.recorder_failures {
            let what = format!("{} recordings failed", failures - self.recorder_failures);
            app.monitor.journal.note(Fault::of_server("RECORDING_FAILED", Severity::High, Part::Recorder, what));
        }
        self.recorder_failures = failures;
        if self.store_healthy && !now.store.healthy {
            let what = now.store.last_error.clone().unwrap_or_else(|| "writes were not kept".to_owned());
            app.monitor.journal.note(Fault::of_server("STORE_FAILED", Severity::High, Part::Store, what));
        }
        self.store_healthy = now.store.healthy;
    }

    /// Tells of breakers that changed, and of the server's health where it did.
    fn tell_changes(&mut self, app: &App) {
        for change in std::mem::take(&mut *lock(&app.monitor.breaker_changes)) {
            events::alert(app, &Told::Breaker(change));
        }
        let (health, findings) = assess(app);
        if health != self.health {
            tracing::warn!(from = ?self.health, to = ?health, because = ?findings, "the server's health changed");
            if health == HealthStatus::Critical || findings.iter().any(|f| f.status == HealthStatus::Critical) {
                let what = "worker threads do not answer";
                app.monitor.journal.note(Fault::of_server("WORKER_SILENT", Severity::Critical, Part::Worker, what));
            }
            events::alert(app, &Told::Health { from: self.health, to: health, findings });
            events::system(app);
            self.health = health;
        }
    }
}
