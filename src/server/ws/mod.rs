//! The WebSocket: from the handshake to the connection's task.

mod echo;
mod lane;
mod messages;
mod opening;
mod output;
mod report;
mod stream;
mod task;

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

pub(super) use echo::echo;
pub(super) use messages::connection_info;

use super::accept::Slot;
use super::guard::Peer;
use super::lanes::Load;
use super::problem::Problem;
use super::router::Shared;
use super::state::App;
use crate::audio::{Encoding, OutputChannels, OutputFormat, StreamFormat};
use crate::dialect::native::DecodeLimits;
use crate::hub::{Connection, ConnectionMeta, OutboxLimits};
use crate::protocol::{
    CloseCode, ConnectionEstablished, ConnectionLimits, ErrorCode, Event, HeartbeatInfo, ServerInfo, SessionInfo,
    check_name,
};
use crate::session::{Session, SessionLimits, StreamDefaults};
use crate::websocket::{self, Limits, OpCode, Reader, Role};

/// Memory set aside for an ordinary stream: its decoder, resampler, sinks and a full queue of 48 kHz stereo.
pub(super) const STREAM_RESERVED_BYTES: u64 = 256 * 1024;
/// The subprotocol's name.
const SUBPROTOCOL: &str = "voxgate.v1";
/// Fragments of a message: a megabyte in kilobytes.
const FRAGMENTS_MAX: u32 = 1_024;
/// Time for all fragments of a message.
const ASSEMBLY_MS: u64 = 10_000;
/// Listeners' audio that may wait for a slow reader: four seconds of 16 kHz.
const AUDIO_QUEUE_BYTES: usize = 128 * 1024;
/// Conversations a connection may join.
const CONVERSATIONS_MAX: usize = 32;
/// When a client refused for lack of room may try again.
const RETRY_AFTER_MS: u64 = 2_000;

/// What a handshake takes over from the HTTP connection it came on.
#[derive(Clone)]
pub(super) struct Handover {
    tasks: TaskTracker,
    held: Arc<Mutex<Option<(Slot, Load)>>>,
}

impl Handover {
    pub(super) fn new(tasks: TaskTracker, slot: Slot, load: Load) -> Self {
        Self { tasks, held: Arc::new(Mutex::new(Some((slot, load)))) }
    }

    fn take(&self) -> Option<(Slot, Load)> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((slot, _)) = &mut held {
            slot.handshake = None;
        }
        held
    }
}

/// The query of `/ws`; `token` waits for identity and is ignored, like unknown ones.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Params {
    client_id: Option<String>,
    conversation_id: Option<String>,
    encoding: Option<String>,
    sample_rate: Option<u32>,
    channels: Option<u32>,
}

/// `GET /ws`.
pub(super) async fn upgrade(
    State(app): State<Shared>,
    peer: Peer,
    params: Result<Query<Params>, axum::extract::rejection::QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    accept(&app, peer, None, params, request)
}

/// `GET /ws/{client_id}`.
pub(super) async fn upgrade_client(
    State(app): State<Shared>,
    peer: Peer,
    Path(client_id): Path<String>,
    params: Result<Query<Params>, axum::extract::rejection::QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    accept(&app, peer, Some(client_id), params, request)
}

fn accept(
    app: &Arc<App>,
    peer: Peer,
    path_id: Option<String>,
    params: Result<Query<Params>, axum::extract::rejection::QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let bad = |e: String| Problem::new(ErrorCode::InvalidMessage, e);
    let Query(params) = params.map_err(|e| bad(e.body_text()))?;
    let client_id = path_id.or(params.client_id).unwrap_or_else(|| Uuid::now_v7().to_string());
    check_name("client_id", &client_id).map_err(|e| bad(e.to_string()))?;
    if let Some(c) = &params.conversation_id {
        check_name("conversation_id", c).map_err(|e| bad(e.to_string()))?;
    }
    let format = default_format(params.encoding.as_deref(), params.sample_rate, params.channels)
        .map_err(|e| bad(e.to_string()))?;
    let user_agent = request.headers().get(header::USER_AGENT).and_then(|v| v.to_str().ok());
    let meta = ConnectionMeta {
        id: Uuid::now_v7(),
        client_id,
        admin: peer.is_admin(),
        remote_addr: peer.0,
        user_agent: user_agent.map(|s| s.chars().take(256).collect()),
        conversation_id: params.conversation_id,
        connected_unix_ms: crate::clock::unix_ms(),
        connected_ms: app.clock.now_ms(),
    };
    let defaults = StreamDefaults {
        format,
        output: OutputFormat { rate_hz: app.config.audio.output_rate_hz, channels: OutputChannels::Mono },
    };
    let app = Arc::clone(app);
    switch(request, move |socket, early, held| {
        let task = prepare(&app, meta, defaults, socket, &early);
        async move {
            let _held = held;
            if let Some(task) = task {
                task.await;
            }
        }
    })
}

/// Answers a handshake with 101 and runs `then` on the socket once the answer is out.
fn switch<F, Fut>(mut request: Request, then: F) -> Result<Response, Problem>
where
    F: FnOnce(TcpStream, bytes::Bytes, (Slot, Load)) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let value = |name: header::HeaderName| request.headers().get(name).and_then(|v| v.to_str().ok());
    let key = value(header::SEC_WEBSOCKET_KEY);
    websocket::check_upgrade(
        value(header::CONNECTION),
        value(header::UPGRADE),
        value(header::SEC_WEBSOCKET_VERSION),
        key,
    )
    .map_err(|e| Problem::new(ErrorCode::InvalidMessage, e.to_string()))?;
    let accept_key = websocket::accept_key(key.unwrap_or_default());
    let subprotocol = offers_subprotocol(request.headers());
    let internal = || Problem::new(ErrorCode::Internal, "the connection cannot be upgraded");
    let handover = request.extensions().get::<Handover>().cloned().ok_or_else(internal)?;
    let upgrade = hyper::upgrade::on(&mut request);
    handover.tasks.clone().spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else { return };
        let Some(held) = handover.take() else { return };
        drop(handover);
        Box::pin(then(parts.io.into_inner(), parts.read_buf, held)).await;
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept_key.parse().map_err(|_| internal())?);
    if subprotocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    Ok(response)
}

/// Makes a connection's task, or refuses it. What lives as long as the connection is in the task and nothing else: the handshake's
/// buffers are gone when this returns.
fn prepare(
    app: &Arc<App>,
    meta: ConnectionMeta,
    defaults: StreamDefaults,
    socket: TcpStream,
    early: &[u8],
) -> Option<task::Task> {
    let outbox = OutboxLimits { messages: app.config.connections.queue_messages, audio_bytes: AUDIO_QUEUE_BYTES };
    let now_ms = app.clock.now_ms();
    let admin = meta.admin;
    if app.memory_is_short() {
        refuse(&socket, "the server's memory is in use");
        return None;
    }
    let Some(connection) = app.connections.insert(meta, outbox, app.config.server.max_connections) else {
        refuse(&socket, "the server is full");
        return None;
    };
    connection.counters.last_activity_ms.store(now_ms, std::sync::atomic::Ordering::Relaxed);
    let limits = SessionLimits {
        streams_max: app.config.audio.max_streams_per_connection,
        faults_max: app.config.connections.max_consecutive_errors,
        decode: DecodeLimits { json_depth: app.config.limits.json_depth },
    };
    let session = Session::new(limits, defaults, admin, Uuid::now_v7);
    let reader = Reader::new(
        Role::Server,
        Limits { message_bytes: app.config.limits.message_bytes, fragments: FRAGMENTS_MAX, assembly_ms: ASSEMBLY_MS },
    );
    let hello = hello(app, &connection);
    tracing::debug!(connection = %connection.meta.id, client = connection.meta.client_id, "connected");
    let mut task = task::Task::new(Arc::clone(app), connection, session, reader, socket);
    task.greet(&hello, early);
    Some(task)
}

/// Closes with 1013, saying when to come back.
fn refuse(socket: &TcpStream, why: &str) {
    let mut frame = Vec::new();
    let reason = format!("{why}; retry after {RETRY_AFTER_MS} ms");
    websocket::encode(&mut frame, OpCode::Close, &websocket::close_payload(CloseCode::Overloaded.code(), &reason));
    let _ = socket.try_write(&frame); // a fresh socket takes 100 bytes, and if not, it is closed all the same
}

fn hello(app: &App, connection: &Connection) -> Event {
    let config = &app.config;
    Event::ConnectionEstablished(Box::new(ConnectionEstablished {
        connection_id: connection.meta.id,
        client_id: connection.meta.client_id.clone(),
        user_id: None,
        roles: connection.roles(),
        session: SessionInfo {
            id: Uuid::now_v7(),
            resume_token: format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()),
            resume_window_ms: 0,
        },
        heartbeat: HeartbeatInfo {
            interval_ms: config.connections.heartbeat_interval_ms,
            timeout_ms: config.connections.heartbeat_timeout_ms,
        },
        limits: ConnectionLimits {
            max_message_bytes: config.limits.message_bytes,
            max_streams: config.audio.max_streams_per_connection,
            max_conversations: CONVERSATIONS_MAX,
        },
        server: ServerInfo { name: "voxgate", version: env!("CARGO_PKG_VERSION"), node: app.node.clone() },
    }))
}

fn offers_subprotocol(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .any(|v| v.split(',').any(|p| p.trim() == SUBPROTOCOL))
}

fn default_format(
    encoding: Option<&str>,
    sample_rate: Option<u32>,
    channels: Option<u32>,
) -> Result<StreamFormat, crate::audio::FormatError> {
    let encoding = encoding.map_or(Ok(Encoding::Auto), str::parse)?;
    StreamFormat::new(encoding, sample_rate, channels)
}
