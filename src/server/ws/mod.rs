//! The WebSocket: from the handshake to the connection's task.

mod acks;
mod durable;
mod echo;
mod identity;
mod input;
mod lane;
mod limits;
mod mail;
mod messages;
mod opening;
mod output;
mod people;
mod report;
mod restore;
mod resume;
mod sessions;
mod stream;
mod task;
mod timer;
mod turn;
mod welcome;

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use hyper_util::rt::TokioIo;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

pub(super) use echo::echo;
pub(super) use messages::connection_info;

pub(super) use identity::refusal;
pub(super) use people::{Post, deliver, history, store_error};
pub(super) use restore::Restored;
pub(super) use sessions::Sessions;

use self::welcome::Guest;
use super::accept::Slot;
use super::guard::{self, Asked, Segment};
use super::lanes::Load;
use super::peer::Peer;
use super::problem::Problem;
use super::router::Shared;
use super::socket::Socket;
use super::state::App;
use crate::audio::{Encoding, OutputChannels, OutputFormat, StreamFormat};
use crate::hub::ConnectionMeta;
use crate::protocol::{ErrorCode, NAME_PATTERN, ProtocolError, check_name};
use crate::session::StreamDefaults;
use crate::websocket::{self, HandshakeError};

/// Memory set aside for an ordinary stream: its decoder, resampler, sinks and a full queue of 48 kHz stereo.
pub(super) const STREAM_RESERVED_BYTES: u64 = 256 * 1024;
/// The subprotocol's name.
const SUBPROTOCOL: &str = "voxgate.v1";
/// When a client refused for lack of room may try again.
const RETRY_AFTER_MS: u64 = 2_000;
/// What is kept of what a client calls itself.
const USER_AGENT_CHARS_MAX: usize = 256;

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

    /// Counts the connection as the client's whom a trusted proxy names.
    ///
    /// # Errors
    /// `RATE_LIMITED` where that one has all it may have.
    fn count(&self, peer: Peer) -> Result<(), Problem> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((slot, _)) = held.as_mut().filter(|(slot, _)| slot.address.is_none()) else { return Ok(()) };
        let counted = slot.addresses.count(peer.addr.ip()).filter(|c| !c.is_surplus).ok_or_else(crowded)?;
        slot.address = Some(counted);
        Ok(())
    }

    fn take(&self) -> Option<(Slot, Load)> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((slot, _)) = &mut held {
            slot.handshake = None;
        }
        held
    }
}

/// What one is told whose address has all the connections it may have.
pub(super) fn crowded() -> Problem {
    let told = ProtocolError::new(ErrorCode::RateLimited, "your address has all the connections it may have");
    Problem(told.retry_after_ms(RETRY_AFTER_MS))
}

/// The query of `/ws`; what else is in it is ignored.
#[derive(Default, Deserialize, JsonSchema)]
pub(super) struct Params {
    /// A JSON Web Token, for what cannot set a header. It is never logged.
    token: Option<String>,
    /// What the client calls itself; made up where absent.
    #[schemars(regex(pattern = NAME_PATTERN))]
    client_id: Option<String>,
    /// A conversation to join at once.
    #[schemars(regex(pattern = NAME_PATTERN))]
    conversation_id: Option<String>,
    /// The format of streams that do not say theirs; `auto` where absent.
    #[schemars(with = "Option<Encoding>")]
    encoding: Option<String>,
    /// In hertz; required for raw encodings.
    sample_rate: Option<u32>,
    /// Required for raw encodings.
    channels: Option<u32>,
}

/// `GET /ws`.
pub(super) async fn upgrade(
    State(app): State<Shared>,
    peer: Peer,
    Asked(params): Asked<Params>,
    request: Request,
) -> Result<Response, Problem> {
    accept(&app, peer, None, params, request).await
}

/// `GET /ws/{client_id}`.
pub(super) async fn upgrade_client(
    State(app): State<Shared>,
    peer: Peer,
    Segment(client_id): Segment,
    Asked(params): Asked<Params>,
    request: Request,
) -> Result<Response, Problem> {
    accept(&app, peer, Some(client_id), params, request).await
}

async fn accept(
    app: &Arc<App>,
    peer: Peer,
    path_id: Option<String>,
    params: Params,
    request: Request,
) -> Result<Response, Problem> {
    let bad = |e: String| Problem::new(ErrorCode::InvalidMessage, e);
    let client_id = path_id.or(params.client_id).unwrap_or_else(|| Uuid::now_v7().to_string());
    check_name("client_id", &client_id).map_err(|e| bad(e.to_string()))?;
    if let Some(c) = &params.conversation_id {
        check_name("conversation_id", c).map_err(|e| bad(e.to_string()))?;
    }
    let format = default_format(params.encoding.as_deref(), params.sample_rate, params.channels)
        .map_err(|e| bad(e.to_string()))?;
    let user_agent = request.headers().get(header::USER_AGENT).and_then(|v| v.to_str().ok());
    let user_agent = user_agent.map(|s| s.chars().take(USER_AGENT_CHARS_MAX).collect());
    let identity = guard::identify(app, peer, request.headers(), params.token.as_deref()).await?;
    let meta = ConnectionMeta {
        id: Uuid::now_v7(),
        remote_addr: peer.addr,
        user_agent,
        connected_unix_ms: crate::clock::unix_ms(),
        connected_ms: app.clock.now_ms(),
    };
    let output = OutputFormat { rate_hz: app.config.audio.output_rate_hz, channels: OutputChannels::Mono };
    let defaults = StreamDefaults { format, output };
    let guest =
        Guest { client_id, meta, identity: identity.map(Arc::new), conversation_id: params.conversation_id, defaults };
    let app = Arc::clone(app);
    switch(request, move |socket, early, slot| guest.welcome(&app, socket, slot, &early).map(Box::pin))
}

/// Answers a handshake with 101 and runs on the socket, once the answer is out, what `then` makes of it. Both are boxed: what waits here
/// and what runs later would else each take the room of the larger, for as long as the connection lives.
fn switch<F, Fut>(mut request: Request, then: F) -> Result<Response, Problem>
where
    F: FnOnce(Socket, bytes::Bytes, Slot) -> Option<Pin<Box<Fut>>> + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let accept_key = match accept_key(&request) {
        Ok(key) => key,
        Err(e) => return Ok(no_handshake(e)),
    };
    let subprotocol = offers_subprotocol(request.headers());
    let internal = || Problem::new(ErrorCode::Internal, "the connection cannot be upgraded");
    let handover = request.extensions().get::<Handover>().cloned().ok_or_else(internal)?;
    handover.count(*request.extensions().get::<Peer>().ok_or_else(internal)?)?;
    let upgrade = hyper::upgrade::on(&mut request);
    let then = Box::new(then);
    handover.tasks.clone().spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let Some((served, _load)) = upgraded.downcast::<TokioIo<Socket>>().ok().and_then(move |parts| {
            let (slot, load) = handover.take()?;
            Some((then(parts.io.into_inner(), parts.read_buf, slot)?, load))
        }) else {
            return;
        };
        served.await;
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

/// What answers the key of a handshake.
fn accept_key(request: &Request) -> Result<String, HandshakeError> {
    if request.version() < Version::HTTP_11 || !request.headers().contains_key(header::HOST) {
        return Err(HandshakeError::Http);
    }
    let value = |name: header::HeaderName| request.headers().get(name).and_then(|v| v.to_str().ok());
    // Lists may come in several lines.
    let list = |name: header::HeaderName| {
        request.headers().get_all(name).iter().filter_map(|v| v.to_str().ok()).collect::<Vec<_>>().join(",")
    };
    let key = value(header::SEC_WEBSOCKET_KEY);
    let version = value(header::SEC_WEBSOCKET_VERSION);
    websocket::check_upgrade(&list(header::CONNECTION), &list(header::UPGRADE), version, key)?;
    Ok(websocket::accept_key(key.unwrap_or_default()))
}

/// The answer to what is no handshake; to one of another version with ours (RFC 6455 section 4.4).
fn no_handshake(e: HandshakeError) -> Response {
    match e {
        HandshakeError::Version => {
            let offered = [(header::SEC_WEBSOCKET_VERSION, "13"), (header::UPGRADE, "websocket")];
            (StatusCode::UPGRADE_REQUIRED, offered, e.to_string()).into_response()
        }
        HandshakeError::Http | HandshakeError::NotUpgrade | HandshakeError::Key => {
            Problem::new(ErrorCode::InvalidMessage, e.to_string()).into_response()
        }
    }
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
