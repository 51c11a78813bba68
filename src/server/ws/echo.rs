//! `GET /ws/echo`: what comes goes back, through the same accept loop, framing and limits; for conformance suites.

use axum::extract::{Request, State};
use axum::response::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::server::problem::Problem;
use crate::server::router::Shared;
use crate::server::socket::Socket;
use crate::websocket::{self, Incoming, Limits, OpCode, Reader, Role};

/// Largest message here: conformance suites send 16 MiB.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Conformance suites cut 4 MiB into pieces of 64 bytes.
const FRAGMENTS_MAX: u32 = 1 << 17;
/// Time for all fragments of a message.
const ASSEMBLY_MS: u64 = 60_000;
const READ_BYTES: usize = 64 * 1024;

/// Answers the handshake.
pub(in crate::server) async fn echo(State(app): State<Shared>, request: Request) -> Result<Response, Problem> {
    super::switch(request, move |socket, early, slot| {
        Some(Box::pin(async move {
            let _slot = slot;
            if let Err(e) = run(socket, &early, app.clock).await {
                tracing::debug!(error = %e, "echo connection ended");
            }
        }))
    })
}

async fn run(mut socket: Socket, early: &[u8], clock: crate::clock::Clock) -> std::io::Result<()> {
    let limits = Limits { message_bytes: MESSAGE_BYTES_MAX, fragments: FRAGMENTS_MAX, assembly_ms: ASSEMBLY_MS };
    let mut reader = Reader::new(Role::Server, limits);
    let mut buf = vec![0; READ_BYTES];
    buf[..early.len()].copy_from_slice(early);
    let mut n = early.len();
    let mut out = Vec::new();
    loop {
        let mut closed = false;
        let fed = reader.feed(&mut buf[..n], clock.now_ms(), &mut |m| {
            if closed {
                return;
            }
            match m {
                Incoming::Text(t) => websocket::encode(&mut out, OpCode::Text, t.as_bytes()),
                Incoming::Binary(b) => websocket::encode(&mut out, OpCode::Binary, b),
                Incoming::Ping(p) => websocket::encode(&mut out, OpCode::Pong, p),
                Incoming::Pong(_) => {}
                Incoming::Close(code, _) => {
                    websocket::encode(
                        &mut out,
                        OpCode::Close,
                        &websocket::close_payload(if code == 1005 { 1000 } else { code }, ""),
                    );
                    closed = true;
                }
            }
        });
        if let (Err(e), false) = (&fed, closed) {
            websocket::encode(&mut out, OpCode::Close, &websocket::close_payload(e.close_code(), &e.to_string()));
        }
        socket.write_all(&out).await?;
        socket.flush().await?;
        out.clear();
        if closed || fed.is_err() {
            return socket.shutdown().await;
        }
        n = socket.read(&mut buf).await?;
        if n == 0 {
            return Ok(());
        }
    }
}
