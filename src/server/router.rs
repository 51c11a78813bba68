//! Every route in one list, and how a connection is served them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::middleware;
use axum::routing::{delete, get, post};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::lanes::{Accepted, Load};
use super::peer::Peer;
use super::problem::{self, Problem};
use super::socket::Socket;
use super::state::App;
use super::ws::Handover;
use super::{api, dashboard, documents, monitor, pages, ws};
use super::{body, guard};
use crate::protocol::{ErrorCode, ProtocolError};

/// The shared state in handlers.
pub(super) type Shared = Arc<App>;

/// Largest request head; a token in the query fits.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long a browser need not ask again; none keeps an answer longer than two hours.
const PREFLIGHT_AGE: Duration = Duration::from_secs(2 * 3_600);
/// What is left for a request at the least; a timer of nothing fires before the first byte is read.
const SHORTEST_WAIT: Duration = Duration::from_millis(10);

/// The routes of one worker.
#[derive(Clone)]
pub(super) struct Routes {
    app: Arc<App>,
    tasks: TaskTracker,
    router: Router,
}

impl Routes {
    pub(super) fn new(app: &Arc<App>, tasks: &TaskTracker) -> Self {
        Self { app: Arc::clone(app), tasks: tasks.clone(), router: router(app) }
    }

    /// Serves one socket: HTTP until it ends or is handed over to the WebSocket.
    pub(super) async fn serve(self, accepted: Accepted, load: Load) {
        let Accepted { socket, peer, slot } = accepted;
        let Ok(socket) = TcpStream::from_std(socket) else { return };
        let _ = socket.set_nodelay(true); // without it answers wait, that is all
        let begun = Instant::now();
        let patience = Duration::from_millis(self.app.config.server.handshake_timeout_ms);
        let Some(socket) = secure(&self.app, socket, peer, patience).await else { return };
        let is_surplus = slot.address.as_ref().is_some_and(|counted| counted.is_surplus);
        let handover = Handover::new(self.tasks.clone(), slot, load);
        let router = if is_surplus { Router::new().fallback(|| async { ws::crowded() }) } else { self.router };
        let trusted = &self.app.config.server.trusted_proxies;
        let service = hyper::service::service_fn(|request: hyper::Request<Incoming>| {
            let mut request: Request = request.map(body::timed);
            let from = Peer::of(peer, request.headers(), trusted);
            request.extensions_mut().insert(from);
            request.extensions_mut().insert(handover.clone());
            router.clone().oneshot(request)
        });
        // The request must be whole before the handshake's time is over, TLS included.
        let timeout = patience.saturating_sub(begun.elapsed()).max(SHORTEST_WAIT);
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(timeout)
            .keep_alive(!is_surplus)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(socket), service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.app.draining.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(e) = ended {
            tracing::debug!(%peer, error = %e, "HTTP connection ended");
        }
    }
}

/// The socket as HTTP is spoken on it, after the TLS handshake where there is one.
async fn secure(app: &App, tcp: TcpStream, peer: SocketAddr, patience: Duration) -> Option<Socket> {
    let Some(tls) = &app.tls else { return Some(Socket::Plain(tcp)) };
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(patience, tls.accept(tcp)) => shaken,
        () = app.draining.cancelled() => return None,
    };
    match shaken {
        Ok(Ok(socket)) => return Some(socket),
        Ok(Err(e)) => tracing::debug!(%peer, error = %e, "TLS handshake failed"),
        Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
    }
    None
}

/// Lets the scripts of pages that may connect read answers, and asks nobody for cookies: none is ever a credential here.
fn cross_origin(app: &Arc<App>) -> CorsLayer {
    let app = Arc::clone(app);
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |_, parts| guard::origin_may(&app, &parts.headers)))
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, header::RANGE])
        .expose_headers([header::ACCEPT_RANGES, header::CONTENT_RANGE, header::ETAG, header::RETRY_AFTER])
        .max_age(PREFLIGHT_AGE)
}

fn router(app: &Arc<App>) -> Router {
    let mut router = Router::new()
        .route("/ws", get(ws::upgrade))
        .route("/ws/{client_id}", get(ws::upgrade_client))
        .route("/ws/protocol", get(documents::protocol))
        .route("/health", get(api::health::summary))
        .route("/health/live", get(api::health::live))
        .route("/health/ready", get(api::health::ready))
        .route("/health/detailed", get(api::health::detailed))
        .route("/api/connections", get(api::connections::list))
        .route("/api/connections/stats", get(api::connections::stats))
        .route("/api/connections/cleanup", post(api::connections::cleanup))
        .route("/api/connections/{id}", get(api::connections::one).delete(api::connections::disconnect))
        .route("/api/clients/{client_id}/connections", get(api::connections::of_client))
        .route("/api/clients/{client_id}", delete(api::connections::disconnect_client))
        .route("/api/users/{user_id}", get(api::connections::of_user).delete(api::connections::disconnect_user))
        .route("/api/broadcast", post(api::broadcast::broadcast))
        .route("/api/conversations/{id}", get(api::conversations::one))
        .route("/api/conversations/{id}/messages", get(api::conversations::messages).post(api::conversations::post))
        .route("/api/conversations/{id}/presence", get(api::conversations::presence))
        .route("/api/sessions/{id}", get(api::sessions::one))
        .route("/admin/revocations", post(api::revocations::revoke).get(api::revocations::list))
        .route("/api/recordings", get(api::recordings::list))
        .route("/api/recordings/{id}", get(api::recordings::one).delete(api::recordings::delete))
        .route("/api/decode", post(api::decode::decode))
        .route("/api/openapi.json", get(documents::openapi))
        .route("/admin/circuit-breakers/reset", post(api::breakers::reset))
        .route("/admin/errors/recent", get(api::monitoring::recent))
        .route("/admin/monitoring/reset", post(api::monitoring::reset))
        .route("/admin/log-level", get(api::monitoring::log_level).post(api::monitoring::set_log_level))
        .route("/metrics", get(api::monitoring::metrics))
        .route("/monitoring/dashboard", get(dashboard::index))
        .route("/monitoring/dashboard/{file}", get(dashboard::file))
        .route("/monitoring/metrics", get(api::monitoring::series))
        .route("/monitoring/realtime", get(api::monitoring::realtime))
        .route("/monitoring/connections", get(api::monitoring::connections))
        .route("/monitoring/errors", get(api::monitoring::errors))
        .route("/", get(pages::index))
        .route("/page/{file}", get(pages::file));
    if app.config.server.echo {
        router = router.route("/ws/echo", get(ws::echo));
    }
    router
        .fallback(|| async { Problem::not_found("there is nothing at this address") })
        .method_not_allowed_fallback(|| async {
            let e = ProtocolError::new(ErrorCode::InvalidMessage, "this address does not take that method");
            problem::respond(StatusCode::METHOD_NOT_ALLOWED, e)
        })
        .layer(cross_origin(app))
        .layer(middleware::from_fn_with_state(Arc::clone(app), guard::check_origin))
        .layer(middleware::from_fn(problem::mend))
        .layer(middleware::from_fn_with_state(Arc::clone(app), monitor::count_response))
        .with_state(Arc::clone(app))
}
