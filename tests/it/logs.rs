//! Row 34: what clients send must not write log lines of its own, nor colour the terminal of who reads them, and no token is ever logged.
//! The real binary, everything logged that can be.

use std::path::Path;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::support::process::ServerProcess;
use crate::support::{http, sine16k};

const SECRET: &str = "SECRET-eyJhbGciOiJIUzI1NiJ9";
/// Ends a line and fakes another; colours; rings; the same with C1 characters; what JSON does not escape.
const EVIL: &str =
    "x\r\n2026-01-01T00:00:00Z ERROR forged\n{\"level\":\"ERROR\"}\u{1b}[31m\u{7}\u{8}\u{0}\u{9b}31m\u{85}\u{7f}";

/// The same for a URL.
fn percent(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02X}")).collect()
}

/// All that answers with an error, or with none, to names and headers as bad as HTTP lets them be.
async fn requests(server: &ServerProcess) {
    let evil = percent(EVIL);
    let headers = format!(
        "User-Agent: a\tb\u{9b}31m\u{85}\r\nAuthorization: Bearer {SECRET}\r\nCookie: token={SECRET}\r\nX-Api-Key: {SECRET}\r\n"
    );
    let upgrade =
        "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n";
    for (method, path) in [
        ("GET", format!("/ws/{evil}?token={SECRET}")),
        ("GET", format!("/ws?client_id={evil}&token={SECRET}")),
        ("GET", format!("/ws?conversation_id={evil}&token={SECRET}")),
        ("GET", format!("/ws?encoding={evil}&sample_rate={evil}&token={SECRET}")),
        ("GET", format!("/ws?token={SECRET}")),
        ("GET", format!("/{evil}?token={SECRET}")),
        ("GET", format!("/api/clients/{evil}/connections?token={SECRET}")),
        ("DELETE", format!("/api/clients/{evil}?token={SECRET}")),
        ("DELETE", format!("/api/clients/nobody?token={SECRET}")),
        ("GET", format!("/api/connections/{evil}?token={SECRET}")),
        ("POST", format!("/api/connections/cleanup?max_inactive_minutes={evil}&token={SECRET}")),
        ("DELETE", format!("/api/recordings/{evil}?token={SECRET}")),
        ("GET", format!("/api/recordings/{evil}.wav?token={SECRET}")),
        ("POST", format!("/api/decode?encoding={evil}&token={SECRET}")),
    ] {
        let (status, _, _) = http(server.addr, method, &path, &headers, EVIL.as_bytes()).await;
        assert!(status >= 200, "{method} {path}");
        http(server.addr, method, &path, &format!("{headers}{upgrade}Origin: http://{SECRET}\r\n"), b"").await;
    }
}

/// No HTTP, or HTTP that the library refuses.
async fn broken_requests(server: &ServerProcess) {
    for bytes in [
        format!("{EVIL}\r\n\r\n"),
        format!("GET /?token={SECRET}{EVIL} HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: x\r\nX-\u{1b}[31m: {SECRET}\u{1b}\r\n\r\n"),
        format!("GET / HTTP/9.9\r\nAuthorization: {SECRET}\u{7}\r\n\r\n"),
    ] {
        let mut socket = TcpStream::connect(server.addr).await.unwrap();
        socket.write_all(bytes.as_bytes()).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
    }
}

/// A connection that says evil things in every field that takes text, and closes with one more.
async fn conversation(server: &ServerProcess) {
    let mut request = format!("ws://{}/ws/caller-1?token={SECRET}", server.addr).into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("User-Agent", "a\tb".parse().unwrap());
    headers.insert("Authorization", format!("Bearer {SECRET}").parse().unwrap());
    headers.insert("Sec-WebSocket-Protocol", format!("voxgate.v1, bearer.{SECRET}").parse().unwrap());
    let (mut ws, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let pcm = json!({"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1});
    let messages = [
        json!({"type": "authenticate", "token": SECRET}),
        json!({"type": EVIL, "id": EVIL}),
        json!({"type": "text", "text": EVIL, "id": EVIL, "conversation_id": EVIL}),
        json!({"type": "text", "text": EVIL}),
        json!({"type": "audio_start", "stream_id": EVIL, "format": pcm}),
        json!({"type": "audio_start", "stream_id": "s", "format": {"encoding": EVIL}}),
        json!({"type": "audio_start", "stream_id": "s", "format": pcm}),
        json!({"type": "listen_start", "stream_id": EVIL}),
        json!({"type": "subscribe_events", "events": [EVIL]}),
    ];
    for message in messages {
        ws.send(Message::text(message.to_string())).await.unwrap();
        // Faults in a row would close the connection.
        ws.send(Message::text(json!({"type": "ping", "payload": EVIL}).to_string())).await.unwrap();
    }
    ws.send(Message::text(format!("{{\"token\": \"{SECRET}\", {EVIL}"))).await.unwrap();
    ws.send(Message::binary(sine16k(1_600))).await.unwrap();
    ws.send(Message::text(json!({"type": "audio_end", "id": EVIL}).to_string())).await.unwrap();
    let reason = format!("{SECRET}{}", EVIL.chars().take(40).collect::<String>());
    ws.send(Message::Close(Some(CloseFrame { code: 4000.into(), reason: reason.into() }))).await.unwrap();
    while let Some(Ok(_)) = ws.next().await {}
}

/// A sidecar somebody wrote into the recordings' folder: its error quotes it.
fn forge_sidecar(data: &Path) {
    let folder = data.join("recordings");
    std::fs::create_dir_all(&folder).unwrap();
    let id = "0198c0de-0000-7000-8000-000000000001";
    std::fs::write(folder.join(format!("{id}.json")), json!({"id": id, "state": EVIL}).to_string()).unwrap();
}

/// Everything the server logs meanwhile, in this format.
async fn logged(format: &str) -> String {
    let data = tempfile::tempdir().unwrap();
    forge_sidecar(data.path());
    let log = data.path().join("stderr.log");
    let server = ServerProcess::start_logging(&log, data.path(), format);
    requests(&server).await;
    broken_requests(&server).await;
    conversation(&server).await;
    http(server.addr, "GET", "/health", "", b"").await;
    server.kill();
    let log = std::fs::read(&log).unwrap();
    String::from_utf8(log).expect("text")
}

fn check(log: &str) {
    assert!(log.contains("forged"), "the sidecar's error quotes it: {log}");
    for line in log.split('\n') {
        assert!(!line.chars().any(char::is_control), "a raw control character: {line:?}");
        assert!(!line.starts_with("2026-01-01"), "a forged line: {line:?}");
        assert!(!line.contains("SECRET"), "a token: {line}");
    }
}

#[tokio::test]
async fn what_clients_send_forges_no_json_line_and_no_token_is_logged() {
    let log = logged("json").await;
    check(&log);
    for line in log.lines() {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(value["level"].is_string() && value["timestamp"].is_string(), "{line}");
    }
}

#[tokio::test]
async fn what_clients_send_forges_no_line_for_people_and_no_token_is_logged() {
    let log = logged("human").await;
    check(&log);
    for line in log.lines() {
        let level = line.split_whitespace().nth(1).unwrap_or_default();
        assert!(["TRACE", "DEBUG", "INFO", "WARN", "ERROR"].contains(&level), "no line of ours: {line}");
    }
}
