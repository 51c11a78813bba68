//! What subscribers are told by the sampler: `metrics`, `connections` and `errors` for administrators, `alert` and `status_update` for
//! whoever asked. Encoded once; a second's news in one message, of bounded size.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::json;
use uuid::Uuid;

use super::health::{Finding, HealthStatus};
use super::reading::Reading;
use crate::clock::rfc3339;
use crate::hub::{Connection, Notice};
use crate::protocol::{AlertSeverity, ConnectionRow, Event, Json, Topic};
use crate::resilience::{BreakerChange, BreakerState};
use crate::server::state::App;

/// Rows of one message: what a page can show; the lists have the rest.
const ROWS_MAX: usize = 100;

/// What an alert is about.
pub(super) enum Told {
    Breaker(BreakerChange),
    Health { from: HealthStatus, to: HealthStatus, findings: Vec<Finding> },
}

/// Tells everyone who subscribed; topics of administrators only while they are one.
pub(super) fn tell(app: &App, topic: Topic, event: &Event) {
    let notice = Notice::new(event);
    app.connections.for_each_known(|c| {
        if c.wants(topic) && !c.is_detached() && (!topic.is_admin_only() || c.identity().admin) {
            c.outbox.share(&notice);
        }
    });
}

/// The errors after a number.
pub(super) fn errors(app: &App, after: u64) {
    let (errors, more) = app.monitor.journal.after(after, ROWS_MAX);
    tell(app, Topic::Errors, &Event::Errors { errors, more });
}

/// The connections there are now.
pub(super) fn all_connections(app: &App) -> HashMap<Uuid, ConnectionRow> {
    let mut all = HashMap::new();
    app.connections.for_each(|c| {
        let row = row(c);
        all.insert(row.connection_id, row);
    });
    all
}

fn row(c: &Arc<Connection>) -> ConnectionRow {
    let meta = c.meta();
    ConnectionRow {
        connection_id: meta.id,
        client_id: c.client_id().to_owned(),
        user_id: c.identity().user_id.clone(),
        remote_addr: meta.remote_addr.to_string(),
        connected_at: rfc3339(meta.connected_unix_ms),
    }
}

/// Who came and went since `known` was made; brings it up to date.
pub(super) fn connections(app: &App, known: &mut HashMap<Uuid, ConnectionRow>, now: &Reading) {
    let mut opened = Vec::new();
    let mut gone = std::mem::take(known);
    app.connections.for_each(|c| {
        let id = c.id();
        let row = gone.remove(&id).unwrap_or_else(|| {
            let row = row(c);
            opened.push(row.clone());
            row
        });
        known.insert(id, row);
    });
    if opened.is_empty() && gone.is_empty() {
        return;
    }
    let mut closed: Vec<_> = gone.into_values().collect();
    let more = opened.len().saturating_sub(ROWS_MAX) + closed.len().saturating_sub(ROWS_MAX);
    opened.truncate(ROWS_MAX);
    closed.truncate(ROWS_MAX);
    let event = Event::Connections { connections: now.connections, recovering: now.recovering, opened, closed, more };
    tell(app, Topic::Connections, &event);
}

/// An `alert` to those who want alerts.
pub(super) fn alert(app: &App, told: &Told) {
    let (content, severity) = match told {
        Told::Breaker(change) => {
            let severity = if change.to == BreakerState::Open { AlertSeverity::Critical } else { AlertSeverity::Info };
            (json!({"kind": "circuit_breaker", "name": change.name, "state": change.to}), severity)
        }
        Told::Health { from, to, findings } => {
            let severity = match to {
                HealthStatus::Healthy => AlertSeverity::Info,
                HealthStatus::Degraded => AlertSeverity::Warning,
                HealthStatus::Unhealthy | HealthStatus::Critical => AlertSeverity::Critical,
            };
            // Why is for administrators, in `/health/detailed`; which parts is not.
            let parts: Vec<_> = findings.iter().map(|f| f.part).collect();
            (json!({"kind": "health", "from": from, "to": to, "parts": parts}), severity)
        }
    };
    let Ok(content) = Json::parse(content.to_string()) else { return };
    tell(app, Topic::Alerts, &Event::Alert { content, severity, from: None });
}

/// The server's state to those who want to know of it.
pub(super) fn system(app: &App) {
    if app.drain_deadline_ms().is_none() {
        tell(app, Topic::System, &Event::StatusUpdate(app.server_state()));
    }
}
