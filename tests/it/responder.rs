//! Texts answered by a chat endpoint over the network, and what happens to the rest when it fails.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde_json::json;
use voxgate::app::Server;
use voxgate::config::{Config, ResponderKind, ServiceUrl};

use crate::support::{TestServer, http, http_json, sine16k};

/// A chat endpoint; the number of requests it got.
async fn endpoint(script: impl Fn(usize) -> Response + Send + Sync + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (asked, script) = (Arc::new(AtomicUsize::new(0)), Arc::new(script));
    let router = axum::Router::new().fallback({
        let asked = Arc::clone(&asked);
        move || std::future::ready(script(asked.fetch_add(1, Ordering::SeqCst)))
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    (addr, asked)
}

fn events(texts: &[&str]) -> Vec<String> {
    let chunk = |t: &&str| format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {"content": t}}]}));
    texts.iter().map(chunk).collect()
}

fn sse(texts: &[&str], last: &'static str) -> Response {
    let pieces = stream::iter(events(texts).into_iter().chain([last.to_owned()]).map(Ok::<_, Infallible>));
    ([("content-type", "text/event-stream")], Body::from_stream(pieces)).into_response()
}

fn hang(texts: &[&str]) -> Response {
    let pieces = stream::iter(events(texts).into_iter().map(Ok::<_, Infallible>)).chain(stream::pending());
    ([("content-type", "text/event-stream")], Body::from_stream(pieces)).into_response()
}

fn asks(addr: SocketAddr) -> impl FnOnce(&mut Config) {
    move |config| {
        config.responder.kind = ResponderKind::Openai;
        config.responder.base_url = Some(ServiceUrl::new(format!("http://{addr}/v1")));
        config.responder.model = Some("small".to_owned());
    }
}

#[tokio::test]
async fn a_text_is_answered_in_chunks_and_then_whole() {
    let (addr, _) = endpoint(|_| sse(&["Grüße", ", ", "世界"], "data: [DONE]\n\n")).await;
    let server = TestServer::with(asks(addr));
    let mut c = server.connect().await;
    c.send(json!({"type": "text", "id": "q1", "text": "hello"})).await;
    let first = c.next().await;
    assert_eq!(
        (&first["type"], &first["state"], &first["reply_to"]),
        (&json!("status_update"), &json!("processing"), &json!("q1"))
    );
    let mut said = String::new();
    let end = loop {
        let m = c.next().await;
        assert_eq!(m["reply_to"], "q1", "{m}");
        if m["type"] != "response_chunk" {
            break m;
        }
        said.push_str(m["text"].as_str().unwrap());
    };
    assert_eq!((&end["type"], &end["text"]), (&json!("response"), &json!("Grüße, 世界")));
    assert_eq!(said, "Grüße, 世界");
    assert!(end["processing_ms"].is_u64());
}

/// Row 35: the responder hangs; audio and messages do not notice, and whoever asked is told.
#[tokio::test]
async fn a_responder_that_hangs_holds_up_nothing_else() {
    let (addr, asked) = endpoint(|_| hang(&["I think"])).await;
    let server = TestServer::with(|config| {
        asks(addr)(config);
        config.responder.timeout_ms = 5_000;
    });
    let (mut asking, mut speaking) = (server.connect().await, server.connect().await);
    // As many as are asked at once and as many as may wait, and five too many.
    for n in 0..77 {
        asking.send(json!({"type": "text", "id": n.to_string(), "text": "hello"})).await;
    }
    let mut refused = 0;
    while refused < 4 {
        let m = asking.next().await;
        if m["type"] == "error" {
            assert_eq!((&m["code"], m["retry_after_ms"].is_u64()), (&json!("OVERLOADED"), true), "{m}");
            refused += 1;
        }
    }
    while asked.load(Ordering::SeqCst) < 8 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let pcm = sine16k(32_000);
    let began = Instant::now();
    speaking.start(json!({"encoding": "pcm_s16le", "sample_rate": 16000, "channels": 1})).await;
    for piece in pcm.chunks(3_200) {
        speaking.send_binary(piece).await;
        speaking.send(json!({"type": "ping"})).await;
        speaking.expect("pong").await;
    }
    let ended = speaking.end().await;
    assert_eq!(ended["output_samples"], 32_000);
    assert!(began.elapsed() < Duration::from_secs(4), "took {:?}", began.elapsed());
    assert_eq!(asked.load(Ordering::SeqCst), 8, "no more are asked at once");
    // The connection that asked speaks too.
    asking.send(json!({"type": "ping", "payload": "still"})).await;
    let (mut pong, mut told) = (false, None);
    while !pong || told.is_none() {
        let m = asking.next().await;
        pong |= m["type"] == "pong";
        if m["code"] == "UPSTREAM_UNAVAILABLE" {
            told = Some(m);
        }
    }
    let told = told.unwrap();
    assert!(told["message"].as_str().unwrap().contains("5000 ms"), "{told}");
}

#[tokio::test]
async fn a_failing_responder_shows_in_health_until_it_is_reset() {
    let (addr, asked) = endpoint(|n| {
        if n < 5 { axum::http::StatusCode::NOT_FOUND.into_response() } else { sse(&["back"], "data: [DONE]\n\n") }
    })
    .await;
    let server = TestServer::with(asks(addr));
    let mut c = server.connect().await;
    for _ in 0..5 {
        c.send(json!({"type": "text", "text": "x"})).await;
        c.expect_error("UPSTREAM_UNAVAILABLE").await;
    }
    let (_, health) = http_json(server.addr, "GET", "/health/detailed").await;
    assert_eq!(
        (&health["status"], &health["components"]["responder"]["status"]),
        (&json!("degraded"), &json!("degraded"))
    );
    let breakers = health["circuit_breakers"].as_array().unwrap();
    let breaker = breakers.iter().find(|b| b["name"] == "responder").unwrap();
    assert_eq!(
        (&breaker["name"], &breaker["state"], &breaker["failures"]),
        (&json!("responder"), &json!("open"), &json!(5))
    );
    assert!(breaker["opened_at"].is_string());
    c.send(json!({"type": "text", "text": "x"})).await;
    let told = c.expect_error("UPSTREAM_UNAVAILABLE").await;
    assert!((1..=30_000).contains(&told["retry_after_ms"].as_u64().unwrap()));
    assert_eq!(asked.load(Ordering::SeqCst), 5, "it is left alone");

    let reset = async |body: &str| {
        let (status, _, answer) = http(server.addr, "POST", "/admin/circuit-breakers/reset", "", body.as_bytes()).await;
        (status, serde_json::from_slice::<serde_json::Value>(&answer).unwrap())
    };
    assert_eq!(reset(r#"{"name":"other"}"#).await.0, 404);
    assert_eq!(reset(r#"{"nam":"responder"}"#).await.0, 400);
    assert_eq!(reset(r#"{"name":"responder"}"#).await, (200, json!({"reset": ["responder"]})));
    assert_eq!(http_json(server.addr, "GET", "/health").await.1["status"], "healthy");
    c.send(json!({"type": "text", "text": "x"})).await;
    assert_eq!(c.expect("response").await["text"], "back");
    assert_eq!(reset("").await, (200, json!({"reset": ["store", "recorder", "responder"]})));
}

#[tokio::test]
async fn a_hanging_answer_does_not_hold_up_the_end() {
    let (addr, asked) = endpoint(|_| hang(&[])).await;
    let server = TestServer::with(asks(addr));
    let mut c = server.connect().await;
    c.send(json!({"type": "text", "text": "x"})).await;
    while asked.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let began = Instant::now();
    let stopping = tokio::task::spawn_blocking(move || server.stop());
    assert_eq!(c.closed().await, 4202);
    stopping.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(20), "took {:?}", began.elapsed());
}

#[test]
fn a_key_that_is_not_there_is_told_at_the_start() {
    let mut config = Config::default();
    config.server.bind = ([127, 0, 0, 1], 0).into();
    config.recording.enabled = false;
    asks(([127, 0, 0, 1], 9).into())(&mut config);
    config.responder.api_key_env = Some("VOXGATE_TEST_NO_SUCH_KEY".to_owned());
    let told = Server::start(config).err().unwrap().to_string();
    assert!(told.contains("VOXGATE_TEST_NO_SUCH_KEY"), "{told}");
}

/// What was said in a conversation is the context after a restart too; what was said outside of any belongs to the session.
#[tokio::test]
async fn the_context_of_a_conversation_outlives_a_restart() {
    let bodies: Arc<std::sync::Mutex<Vec<serde_json::Value>>> = Arc::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let seen = Arc::clone(&bodies);
    let router = axum::Router::new().fallback(move |axum::Json(body): axum::Json<serde_json::Value>| {
        seen.lock().unwrap().push(body);
        std::future::ready(sse(&["noted"], "data: [DONE]\n\n"))
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    let say = async |server: &TestServer, path: &str, conversation: serde_json::Value, text: &str| {
        let mut c = server.connect_to(path).await;
        let mut request = json!({"type": "text", "text": text});
        if conversation.is_string() {
            request["conversation_id"] = conversation;
        }
        c.send(request).await;
        assert_eq!(c.expect("response").await["text"], "noted");
    };
    let server = TestServer::with(asks(addr));
    say(&server, "/ws?conversation_id=hall", json!("hall"), "my name is Ann").await;
    say(&server, "/ws", json!(null), "a word aside").await;
    let server = TestServer::in_dir(server.stop(), asks(addr));
    say(&server, "/ws?conversation_id=hall", json!("hall"), "what is my name?").await;
    say(&server, "/ws?conversation_id=other", json!("other"), "and here?").await;
    let bodies = bodies.lock().unwrap();
    let texts = |n: usize| {
        let all = bodies[n]["messages"].as_array().unwrap();
        all.iter().filter(|m| m["role"] != "system").map(|m| m["content"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(texts(2), ["my name is Ann", "noted", "what is my name?"]);
    assert_eq!(texts(3), ["and here?"]);
}
