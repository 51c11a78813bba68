//! What administrators may do, once for the socket and for HTTP. Each act is logged with who did it; asking is no act.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::state::App;
use super::ws::connection_info;
use crate::hub::{Connection, Notice, Traffic};
use crate::protocol::{AdminCommand, AlertSeverity, CloseCode, DisconnectTarget, Event, Json, Speaker};

/// Connections listed in one answer on the socket; the HTTP list has pages.
const LIST_MAX: usize = 1_000;

/// Carries out what was asked for. `by`: who asks, for the log and the receivers.
pub(super) fn carry_out(app: &App, command: AdminCommand, by: &Speaker) -> Value {
    match command {
        AdminCommand::GetConnectionStats => json!(connection_stats(app)),
        AdminCommand::GetRouterStats => router_stats(app),
        AdminCommand::GetAllConnections => all_connections(app),
        AdminCommand::GetEventQueueStatus => queue_status(app),
        AdminCommand::ClearEventQueue => clear_queues(app, &name(by)),
        AdminCommand::GetSystemMetrics => json!(app.system.read()),
        AdminCommand::DisconnectUser { whom, reason } => {
            json!({"disconnected": disconnect(app, &whom, reason.as_deref(), &name(by))})
        }
        AdminCommand::BroadcastAdminMessage { content, severity } => {
            json!({"delivered": alert(app, content, severity, by)})
        }
    }
}

/// Who someone is in the log.
pub(super) fn name(who: &Speaker) -> String {
    who.user_id.clone().unwrap_or_else(|| format!("{} ({})", who.client_id, who.connection_id))
}

/// Sums over the connections there are.
#[derive(Serialize, JsonSchema)]
pub(super) struct ConnectionStats {
    connections: usize,
    /// Sessions that wait for the return of a lost client.
    recovering: usize,
    streams: usize,
    conversations: usize,
    messages_in: u64,
    messages_out: u64,
    bytes_in: u64,
    bytes_out: u64,
    errors: u64,
    uptime_ms: u64,
}

/// Sums over all connections.
pub(super) fn connection_stats(app: &App) -> ConnectionStats {
    let (mut traffic, mut count, mut recovering) = (Traffic::default(), 0, 0);
    app.connections.for_each(|c| {
        traffic.take_in(c);
        count += 1;
        recovering += usize::from(c.is_detached());
    });
    let Traffic { messages_in, messages_out, bytes_in, bytes_out, errors, .. } = traffic;
    ConnectionStats {
        connections: count - recovering,
        recovering,
        streams: app.streams.len(),
        conversations: app.conversations.len(),
        messages_in,
        messages_out,
        bytes_in,
        bytes_out,
        errors,
        uptime_ms: app.clock.now_ms(),
    }
}

fn router_stats(app: &App) -> Value {
    let store = app.store.status();
    json!({
        "connections": app.connections.len(),
        "conversations": app.conversations.len(),
        "streams": app.streams.len(),
        "store": {"queued": store.queued, "writes": store.writes, "commits": store.commits, "healthy": store.healthy},
        "responder": app.responder.as_ref().map(|r| {
            let s = r.status();
            json!({"kind": s.kind, "waiting": s.waiting, "running": s.running})
        }),
    })
}

fn all_connections(app: &App) -> Value {
    let all = app.connections.all();
    let rows: Vec<_> = all.iter().take(LIST_MAX).map(|c| connection_info(app, c)).collect();
    json!({"total": all.len(), "connections": rows})
}

fn queue_status(app: &App) -> Value {
    let (mut messages, mut bytes, mut waiting) = (0, 0, Vec::new());
    app.connections.for_each(|c| {
        let q = c.outbox.info();
        messages += q.messages;
        bytes += q.bytes;
        if waiting.len() < LIST_MAX && (q.messages > 0 || q.bytes > 0) {
            waiting.push(
                json!({"connection_id": c.id(), "client_id": c.client_id(), "messages": q.messages, "bytes": q.bytes}),
            );
        }
    });
    json!({"messages": messages, "bytes": bytes, "limit": app.config.connections.queue_messages, "connections": waiting})
}

/// Throws away what waits to be sent, everywhere.
fn clear_queues(app: &App, by: &str) -> Value {
    let mut cleared = 0;
    app.connections.for_each(|c| cleared += c.outbox.clear());
    tracing::warn!(by, cleared, "outbound queues cleared by an administrator");
    json!({"cleared": cleared})
}

/// Closes connections with 4010. Returns how many.
pub(super) fn disconnect(app: &App, whom: &DisconnectTarget, reason: Option<&str>, by: &str) -> usize {
    let all: Vec<Arc<Connection>> = match whom {
        DisconnectTarget::User(id) => app.connections.of_user(id),
        DisconnectTarget::Client(id) => app.connections.of_client(id),
        DisconnectTarget::Connection(id) => app.connections.get(*id).into_iter().collect(),
    };
    close_all(&all, &format!("{whom:?}"), reason, by)
}

/// Closes connections with 4010 and logs it. Returns how many.
pub(super) fn close_all(all: &[Arc<Connection>], whom: &str, reason: Option<&str>, by: &str) -> usize {
    let mut closed = 0;
    for c in all {
        let told = reason.map_or("disconnected by an administrator".into(), |r| std::borrow::Cow::Owned(r.to_owned()));
        closed += usize::from(c.outbox.close(CloseCode::Disconnected, told));
    }
    tracing::warn!(by, whom, reason, connections = closed, "disconnected by an administrator");
    closed
}

/// Tells everyone. Returns how many that were.
pub(super) fn alert(app: &App, content: Json, severity: AlertSeverity, by: &Speaker) -> usize {
    let notice = Notice::new(&Event::Alert { content, severity, from: Some(by.clone()) });
    let mut delivered = 0;
    app.connections.for_each_known(|c| delivered += usize::from(c.outbox.share(&notice)));
    tracing::warn!(by = name(by), ?severity, delivered, "message to all by an administrator");
    delivered
}
