//! Traces as a collector gets them: the server as a process, a collector that reads the protobuf by itself. Needs the feature `otel`.
#![allow(clippy::unwrap_used, missing_docs)]
#![allow(dead_code, unreachable_pub, reason = "the support of tests/it is more than is used here")]

#[path = "it/support/mod.rs"]
mod support;
mod wire;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use support::process::ServerProcess;
use support::{http, sine16k};
use wire::{Batch, Span};

const SECRET: &str = "s3cr3t-t0ken";

type Batches = Arc<Mutex<Vec<Batch>>>;

/// A collector, and beside it a service that answers questions.
struct Collector {
    url: String,
    got: Batches,
}

impl Collector {
    async fn start() -> Self {
        let got = Batches::default();
        let routes = Router::new()
            .route("/v1/traces", post(take))
            .route("/chat/completions", post(answer))
            .with_state(Arc::clone(&got));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, routes).await });
        Self { url, got }
    }

    fn spans(&self) -> Vec<Span> {
        self.got.lock().unwrap().iter().flat_map(|b| b.spans.clone()).collect()
    }
}

async fn take(State(got): State<Batches>, headers: HeaderMap, body: Bytes) -> (StatusCode, &'static str) {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    got.lock().unwrap().push(Batch::read(&body));
    (StatusCode::OK, "")
}

/// What a responder that does not stream says.
async fn answer() -> Json<Value> {
    Json(json!({"choices": [{"message": {"role": "assistant", "content": "well"}}]}))
}

/// A request, a connection with a stream and, where there is a responder, a question.
async fn use_all(server: &ServerProcess, asks: bool) {
    let (status, _, _) = http(server.addr, "GET", &format!("/health?token={SECRET}"), "", b"").await;
    assert_eq!(status, 200);
    let mut c = support::Client::to(server.addr, &format!("/ws?client_id=desk&token={SECRET}")).await;
    let format = json!({"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1});
    let ended = c.stream(format, &sine16k(16_000), 640).await;
    assert_eq!(ended["received_bytes"], 32_000);
    if asks {
        c.send(json!({"type": "text", "text": SECRET})).await;
        assert_eq!(c.expect("response").await["text"], "well");
    }
    c.close().await;
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let mut found = spans.iter().filter(|s| s.name == name);
    let first = found.next().unwrap_or_else(|| panic!("no span {name} in {spans:#?}"));
    assert!(found.next().is_none(), "more than one {name}");
    first
}

#[tokio::test]
async fn a_collector_gets_what_was_done_and_nothing_secret() {
    let collector = Collector::start().await;
    let data = tempfile::tempdir().unwrap();
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()),
        ("OTEL_SERVICE_NAME", "front desk"),
        ("VOXGATE__RESPONDER__KIND", "openai"),
        ("VOXGATE__RESPONDER__BASE_URL", collector.url.as_str()),
        ("VOXGATE__RESPONDER__MODEL", "m"),
    ];
    let mut server = ServerProcess::start(data.path(), &settings);
    use_all(&server, true).await;
    server.terminate();
    assert_eq!(server.exit_code().await, Some(0));

    let spans = collector.spans();
    for batch in collector.got.lock().unwrap().iter() {
        assert_eq!(batch.resource["service.name"], "front desk");
        assert_eq!(batch.resource["service.version"], env!("CARGO_PKG_VERSION"));
    }
    let request = named(&spans, "GET /health");
    assert_eq!((request["http.route"].as_str(), request["http.response.status_code"].as_str()), ("/health", "200"));
    let (connection, stream) = (named(&spans, "connection"), named(&spans, "stream"));
    assert_eq!(connection["voxgate.close_code"], "1000");
    assert_eq!((&stream.trace_id, &stream.parent_id), (&connection.trace_id, &connection.span_id));
    assert_eq!(stream["voxgate.connection_id"], connection["voxgate.connection_id"]);
    assert_eq!((stream["voxgate.encoding"].as_str(), stream["voxgate.end_reason"].as_str()), ("pcm_s16le", "end"));
    assert_eq!((stream["voxgate.received_bytes"].as_str(), stream["voxgate.duration_ms"].as_str()), ("32000", "1000"));
    assert!(stream.attributes.contains_key("voxgate.stream_uid"));
    let question = named(&spans, "chat m");
    assert_eq!(question["voxgate.session_id"], connection["voxgate.session_id"]);
    assert_eq!(spans.len(), 5, "the upgrade is the fifth, and no frame is one: {spans:#?}");
    assert!(!format!("{spans:?}").contains(SECRET));
}

#[tokio::test]
async fn a_collector_that_does_not_answer_harms_nothing() {
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(); // takes connections, never reads
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap(); // nobody there any more
    for address in [deaf.local_addr().unwrap(), closed] {
        let data = tempfile::tempdir().unwrap();
        let url = format!("http://{address}");
        // Sent at once and not waited for: what follows meets an exporter that hangs, its queue full.
        let settings = [
            ("VOXGATE__TELEMETRY__OTLP_ENDPOINT", url.as_str()),
            ("OTEL_BSP_SCHEDULE_DELAY", "1"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1"),
        ];
        let mut server = ServerProcess::start(data.path(), &settings);
        let threads = server.threads();
        for _ in 0..50 {
            use_all(&server, false).await;
        }
        assert!(server.threads() <= threads + 2, "threads are started for spans");
        server.terminate();
        let begun = Instant::now();
        assert_eq!(server.exit_code().await, Some(0));
        assert!(begun.elapsed() < Duration::from_secs(10), "it ended after {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn without_an_address_nothing_is_exported() {
    let data = tempfile::tempdir().unwrap();
    let mut server = ServerProcess::start(data.path(), &[("OTEL_SERVICE_NAME", "alone")]);
    use_all(&server, false).await;
    server.terminate();
    assert_eq!(server.exit_code().await, Some(0));
}
