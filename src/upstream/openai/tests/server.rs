//! A chat endpoint on a real port that answers each request by a script.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use serde_json::{Value, json};

/// A request as it came.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) body: Value,
    pub(super) authorization: Option<String>,
    pub(super) path: String,
}

/// The endpoint.
pub(super) struct Upstream {
    addr: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    open: Arc<AtomicUsize>,
}

impl Upstream {
    /// Serves `script`, which gets the number of the request from 0, and its body.
    pub(super) async fn start(script: impl Fn(usize, &Value) -> Response + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (asked, open) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let router = Router::new().fallback({
            let (asked, open, script) = (Arc::clone(&asked), Arc::clone(&open), Arc::new(script));
            move |uri: Uri, headers: HeaderMap, body: Bytes| {
                let body: Value = serde_json::from_slice(&body).unwrap();
                let number = {
                    let mut all = asked.lock().unwrap();
                    let authorization = headers.get("authorization").map(|v| v.to_str().unwrap().to_owned());
                    all.push(Asked { body: body.clone(), authorization, path: uri.path().to_owned() });
                    all.len() - 1
                };
                let counted = Open::new(&open);
                let response = script(number, &body).map(|body| {
                    Body::from_stream(body.into_data_stream().inspect(move |_| {
                        let _ = &counted;
                    }))
                });
                std::future::ready(response)
            }
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { addr, asked, open }
    }

    pub(super) fn base_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Responses that are still being sent.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The JSON of a chunk.
pub(super) fn delta(text: &str) -> String {
    json!({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": text}}]}).to_string()
}

/// A whole answer's events.
pub(super) fn answer(texts: &[&str]) -> Vec<String> {
    let role = json!({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}).to_string();
    let stop = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}).to_string();
    let usage = json!({"choices": [], "usage": {"total_tokens": 1}}).to_string();
    let texts = texts.iter().map(|t| delta(t));
    std::iter::once(role).chain(texts).chain([stop, usage, "[DONE]".to_owned()]).collect()
}

/// Events as they are on the wire.
pub(super) fn events(all: &[String]) -> String {
    all.iter().map(|data| format!("data: {data}\n\n")).collect()
}

/// Bytes in pieces.
pub(super) fn cut(bytes: &[u8], size: usize) -> Vec<Vec<u8>> {
    bytes.chunks(size).map(<[u8]>::to_vec).collect()
}

/// What a body is made of: events, or bytes as they are.
pub(super) trait Pieces {
    fn pieces(self) -> Vec<Vec<u8>>;
}

impl Pieces for Vec<String> {
    fn pieces(self) -> Vec<Vec<u8>> {
        self.iter().map(|data| format!("data: {data}\n\n").into_bytes()).collect()
    }
}

impl Pieces for Vec<Vec<u8>> {
    fn pieces(self) -> Vec<Vec<u8>> {
        self
    }
}

type Piece = Result<Vec<u8>, std::io::Error>;

fn body(pieces: impl Stream<Item = Piece> + Send + 'static) -> Response {
    ([("content-type", "text/event-stream; charset=utf-8")], Body::from_stream(pieces)).into_response()
}

pub(super) fn sse(pieces: impl Pieces) -> Response {
    body(stream::iter(pieces.pieces().into_iter().map(Ok)))
}

pub(super) fn raw(pieces: Vec<Vec<u8>>) -> Response {
    sse(pieces)
}

/// Events, then the end of the body, or of the connection in its middle.
pub(super) fn stream(pieces: Vec<String>, broken: bool) -> Response {
    let end = broken.then(|| Err(std::io::Error::other("cut")));
    // hyper sends what it has when a body makes it wait, and throws it away when a body fails.
    let end = stream::iter(end).then(|e| async {
        tokio::task::yield_now().await;
        e
    });
    body(stream::iter(pieces.pieces().into_iter().map(Ok)).chain(end))
}

/// Events, and then nothing for ever.
pub(super) fn hang(pieces: Vec<String>) -> Response {
    body(stream::iter(pieces.pieces().into_iter().map(Ok)).chain(stream::pending()))
}

/// The same event for ever.
pub(super) fn drip(data: &str, pause: Duration) -> Response {
    body(stream::repeat(format!("data: {data}\n\n").into_bytes()).then(move |piece| async move {
        tokio::time::sleep(pause).await;
        Ok(piece)
    }))
}

pub(super) fn status(code: u16) -> Response {
    (StatusCode::from_u16(code).unwrap(), "{\"error\":{\"message\":\"m\"}}").into_response()
}

pub(super) fn typed(kind: &'static str, text: impl IntoResponse) -> Response {
    ([("content-type", kind)], text).into_response()
}

pub(super) fn html(text: &'static str) -> Response {
    typed("text/html; charset=utf-8", text)
}
