//! From a socket to a connection: its place in the hub, its session, its first message.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use uuid::Uuid;

use super::RETRY_AFTER_MS;
use super::identity::{expires_ms, revoked};
use super::mail::Mail;
use super::task::{Task, Wire};
use crate::hub::{Connection, ConnectionMeta, OutboxLimits};
use crate::protocol::{
    CloseCode, ConnectionEstablished, ConnectionLimits, Event, HeartbeatInfo, Identity, ServerInfo, SessionInfo,
};
use crate::server::accept::Slot;
use crate::server::socket::Socket;
use crate::server::state::App;
use crate::session::{Authentication, Session, SessionLimits, StreamDefaults};
use crate::websocket::{self, Limits, OpCode, Reader, Role};

/// Fragments of a message: a megabyte in kilobytes.
const FRAGMENTS_MAX: u32 = 1_024;
/// Time for all fragments of a message.
const ASSEMBLY_MS: u64 = 10_000;
/// Bytes of a message of someone who has not said who he is: the largest token and its envelope.
const STRANGER_MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// Listeners' audio that may wait for a slow reader: four seconds of 16 kHz.
const AUDIO_QUEUE_BYTES: usize = 128 * 1024;

/// Someone whose handshake was accepted.
pub(super) struct Guest {
    pub(super) client_id: String,
    pub(super) meta: ConnectionMeta,
    /// None where it must still say who it is.
    pub(super) identity: Option<Arc<Identity>>,
    pub(super) conversation_id: Option<String>,
    pub(super) defaults: StreamDefaults,
}

impl Guest {
    /// Makes its task, or refuses it. What lives as long as the connection is in the task and nothing else: the handshake's buffers are
    /// gone when this returns.
    pub(super) fn welcome(self, app: &Arc<App>, socket: Socket, slot: Slot, early: &[u8]) -> Option<Task> {
        if app.memory_is_short() {
            refuse(socket, CloseCode::Overloaded, "the server's memory is in use");
            return None;
        }
        let config = &app.config;
        let connection =
            match app.connections.insert(self.client_id, self.meta, self.identity.clone(), outbox_limits(app)) {
                Ok(c) => c,
                Err(e) => {
                    refuse(socket, e.close_code(), &e.to_string());
                    return None;
                }
            };
        let now_ms = app.clock.now_ms();
        connection.counters.last_activity_ms.store(now_ms, Relaxed);
        connection.counters.last_message_ms.store(now_ms, Relaxed);
        if revoked(app, &connection) {
            connection.outbox.close(CloseCode::Unauthenticated, "the token has been revoked");
        }
        let message_bytes = match self.identity {
            Some(_) => config.limits.message_bytes,
            None => config.limits.message_bytes.min(STRANGER_MESSAGE_BYTES_MAX),
        };
        let authentication = match self.identity {
            Some(identity) => Authentication::Known { expires_ms: expires_ms(&app.clock, &identity), identity },
            None => Authentication::Awaited { now_ms },
        };
        let session = Session::new(session_limits(app), self.defaults, authentication, Uuid::now_v7);
        let reader =
            Reader::new(Role::Server, Limits { message_bytes, fragments: FRAGMENTS_MAX, assembly_ms: ASSEMBLY_MS });
        let mail = Arc::new(Mail::default());
        let resume_token = app.sessions.open(&connection, &mail);
        let hello = hello(app, &connection, resume_token);
        tracing::debug!(connection = %connection.id(), client = connection.client_id(), "connected");
        let mut task = Task::new(Arc::clone(app), connection, session, mail, Some(Wire { socket, reader, slot }));
        task.greet(&hello, self.conversation_id, early);
        Some(task)
    }
}

/// What may wait for a connection.
pub(super) fn outbox_limits(app: &App) -> OutboxLimits {
    OutboxLimits {
        messages: app.config.connections.queue_messages,
        message_bytes: app.config.connections.queue_bytes,
        audio_bytes: AUDIO_QUEUE_BYTES,
    }
}

/// What a session may do.
pub(super) fn session_limits(app: &App) -> SessionLimits {
    SessionLimits {
        streams_max: app.config.audio.max_streams_per_connection,
        conversations_max: app.config.limits.conversations,
        faults_max: app.config.connections.max_consecutive_errors,
        event_ring: app.config.session.event_ring,
        decode: app.decode_limits(),
    }
}

/// Closes, saying why and when to come back.
fn refuse(mut socket: Socket, code: CloseCode, why: &str) {
    let mut frame = Vec::new();
    let reason = format!("{why}; retry after {RETRY_AFTER_MS} ms");
    let reason = if code == CloseCode::Forbidden { why } else { &reason };
    websocket::encode(&mut frame, OpCode::Close, &websocket::close_payload(code.code(), reason));
    socket.try_write(&frame); // a fresh socket takes 100 bytes, and if not, it is closed all the same
}

fn hello(app: &App, connection: &Connection, resume_token: String) -> Event {
    let (config, identity) = (&app.config, connection.identity());
    Event::ConnectionEstablished(Box::new(ConnectionEstablished {
        connection_id: connection.id(),
        client_id: connection.client_id().to_owned(),
        user_id: identity.user_id.clone(),
        roles: identity.roles.clone(),
        session: SessionInfo {
            id: connection.session_id(),
            resume_token,
            resume_window_ms: config.session.resume_window_ms,
        },
        heartbeat: HeartbeatInfo {
            interval_ms: config.connections.heartbeat_interval_ms,
            timeout_ms: config.connections.heartbeat_timeout_ms,
        },
        limits: ConnectionLimits {
            max_message_bytes: config.limits.message_bytes,
            max_streams: config.audio.max_streams_per_connection,
            max_conversations: config.limits.conversations,
        },
        server: ServerInfo { name: "voxgate", version: env!("CARGO_PKG_VERSION"), node: app.node.clone() },
    }))
}
