//! A server on a free port with its data in a temporary folder, and a WebSocket client that is not ours (tungstenite).

pub mod certs;
pub mod disk;
pub mod faults;
pub mod jwt;
pub mod ordinary;
pub mod process;
pub mod proxy;
pub mod sound;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use voxgate::app::Server;
use voxgate::config::Config;

/// Longer than anything here takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server.
pub struct TestServer {
    pub addr: SocketAddr,
    pub data: tempfile::TempDir,
    server: Option<Server>,
}

impl TestServer {
    pub fn start() -> Self {
        Self::with(|_| ())
    }

    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::in_dir(tempfile::tempdir().unwrap(), change)
    }

    pub fn in_dir(data: tempfile::TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.server.bind = ([127, 0, 0, 1], 0).into();
        config.server.data_dir = data.path().to_owned();
        change(&mut config);
        let server = Server::start(config).unwrap();
        Self { addr: server.local_addr(), data, server: Some(server) }
    }

    pub async fn connect(&self) -> Client {
        self.connect_to("/ws").await
    }

    pub async fn connect_to(&self, path: &str) -> Client {
        Client::to(self.addr, path).await
    }

    pub fn drain(&self) {
        self.server.as_ref().unwrap().drain();
    }

    /// Drains and waits; gives the folder back.
    pub fn stop(mut self) -> tempfile::TempDir {
        let server = self.server.take().unwrap();
        server.drain();
        server.join().unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::mem::replace(&mut self.data, dir)
    }

    pub fn recording_path(&self, id: &str) -> PathBuf {
        self.data.path().join("recordings").join(format!("{id}.wav"))
    }

    /// The samples of a finished recording, and its spec.
    pub fn recording(&self, ended: &Value) -> (hound::WavSpec, Vec<i16>) {
        let id = ended["recording"]["id"].as_str().expect("a recording");
        let path = self.recording_path(id);
        let mut r = hound::WavReader::open(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), ended["recording"]["bytes"].as_u64().unwrap());
        (r.spec(), r.samples::<i16>().map(Result::unwrap).collect())
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(s) = self.server.take() {
            s.drain();
        }
    }
}

/// A connected client.
pub struct Client {
    pub ws: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub hello: Value,
    /// Binary messages met while waiting for text.
    pub binary: Vec<Vec<u8>>,
    /// Text messages met while waiting for binary ones: the two have queues of their own and overtake each other.
    pub text: VecDeque<Value>,
    /// The subprotocol the server chose.
    pub subprotocol: Option<String>,
}

impl Client {
    pub async fn to(addr: SocketAddr, path: &str) -> Self {
        let (ws, _) = tokio_tungstenite::connect_async(format!("ws://{addr}{path}")).await.unwrap();
        Self::of(ws).await
    }

    /// Takes a socket whose handshake is done.
    pub async fn of(mut ws: WebSocketStream<MaybeTlsStream<TcpStream>>) -> Self {
        let hello = next_json(&mut ws).await;
        assert_eq!(hello["type"], "connection_established");
        Self::over(ws, hello)
    }

    pub fn over(ws: WebSocketStream<MaybeTlsStream<TcpStream>>, hello: Value) -> Self {
        Self { ws, hello, binary: Vec::new(), text: VecDeque::new(), subprotocol: None }
    }

    /// One whose socket holds little, so that what it does not read waits at the server.
    pub async fn narrow(addr: SocketAddr, path: &str) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(8 * 1024).unwrap();
        let stream = MaybeTlsStream::Plain(socket.connect(addr).await.unwrap());
        let (mut ws, _) = tokio_tungstenite::client_async(format!("ws://{addr}{path}"), stream).await.unwrap();
        let hello = next_json(&mut ws).await;
        Self::over(ws, hello)
    }

    pub async fn send(&mut self, message: Value) {
        self.ws.send(Message::text(message.to_string())).await.unwrap();
    }

    pub async fn send_text(&mut self, text: &str) {
        self.ws.send(Message::text(text)).await.unwrap();
    }

    pub async fn send_binary(&mut self, bytes: &[u8]) {
        self.ws.send(Message::binary(bytes.to_vec())).await.unwrap();
    }

    /// The next text message; binary ones are kept aside.
    pub async fn next(&mut self) -> Value {
        if let Some(m) = self.text.pop_front() {
            return m;
        }
        loop {
            match tokio::time::timeout(PATIENCE, self.ws.next()).await.expect("a message in time") {
                Some(Ok(Message::Text(t))) => return serde_json::from_str(&t).unwrap(),
                Some(Ok(Message::Binary(b))) => self.binary.push(b.to_vec()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("a text message, not {other:?}"),
            }
        }
    }

    /// Sends a request with an `id` and awaits the answer to it, whatever it is; what comes between is kept for later.
    pub async fn ask(&mut self, mut request: Value) -> Value {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        if request["id"].is_null() {
            let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            request["id"] = format!("ask-{n}").into();
        }
        let id = request["id"].clone();
        self.send(request).await;
        let mut others = VecDeque::new();
        let answer = loop {
            let m = self.next().await;
            if m["reply_to"] == id {
                break m;
            }
            others.push_back(m);
        };
        others.extend(self.text.drain(..));
        self.text = others;
        answer
    }

    /// Everything that was told so far, by asking for something after it.
    pub async fn told(&mut self) -> Vec<Value> {
        self.ask(json!({"type": "ping"})).await;
        self.text.drain(..).collect()
    }

    /// The next message of a type; others are skipped, but an error never is.
    pub async fn expect(&mut self, kind: &str) -> Value {
        loop {
            let m = self.next().await;
            if m["type"] == kind {
                return m;
            }
            assert_ne!(m["type"], "error", "waiting for {kind}: {m}");
        }
    }

    pub async fn expect_error(&mut self, code: &str) -> Value {
        loop {
            let m = self.next().await;
            if m["type"] == "error" {
                assert_eq!(m["code"], code, "{m}");
                return m;
            }
        }
    }

    /// Binary messages until `count` are there.
    pub async fn binaries(&mut self, count: usize) -> Vec<Vec<u8>> {
        while self.binary.len() < count {
            match tokio::time::timeout(PATIENCE, self.ws.next()).await.expect("a message in time") {
                Some(Ok(Message::Binary(b))) => self.binary.push(b.to_vec()),
                Some(Ok(Message::Text(t))) => self.text.push_back(serde_json::from_str(&t).unwrap()),
                Some(Ok(_)) => {}
                other => panic!("a binary message, not {other:?}"),
            }
        }
        self.binary.drain(..count).collect()
    }

    /// Reads on until the server closes; the code.
    pub async fn closed(&mut self) -> u16 {
        self.closed_with().await.0
    }

    /// The same, and the reason.
    pub async fn closed_with(&mut self) -> (u16, String) {
        loop {
            if let Err(closed) = self.next_or_closed().await {
                return closed;
            }
        }
    }

    /// The next text message, or the code the server closes with.
    pub async fn next_or_close(&mut self) -> Result<Value, u16> {
        self.next_or_closed().await.map_err(|(code, _)| code)
    }

    async fn next_or_closed(&mut self) -> Result<Value, (u16, String)> {
        loop {
            match tokio::time::timeout(PATIENCE, self.ws.next()).await.expect("a message or a close in time") {
                Some(Ok(Message::Text(t))) => return Ok(serde_json::from_str(&t).unwrap()),
                Some(Ok(Message::Close(frame))) => {
                    return Err(frame.map_or((1005, String::new()), |f| (u16::from(f.code), f.reason.to_string())));
                }
                Some(Ok(_)) => {}
                other => panic!("a close frame, not {other:?}"),
            }
        }
    }

    pub async fn close(mut self) {
        let frame = tokio_tungstenite::tungstenite::protocol::CloseFrame { code: CloseCode::Normal, reason: "".into() };
        self.ws.close(Some(frame)).await.unwrap();
        while let Some(Ok(_)) = self.ws.next().await {}
    }

    pub async fn start(&mut self, format: Value) -> Value {
        self.start_with(json!({"format": format})).await
    }

    pub async fn start_with(&mut self, mut fields: Value) -> Value {
        fields["type"] = "audio_start".into();
        self.send(fields).await;
        self.expect("audio_started").await
    }

    pub async fn end(&mut self) -> Value {
        self.send(json!({"type": "audio_end"})).await;
        self.expect("audio_ended").await
    }

    /// Opens a stream by these fields of `audio_start`, streams the pieces and ends it; the end's report.
    pub async fn stream_pieces(&mut self, fields: Value, pieces: &[&[u8]]) -> Value {
        self.start_with(fields).await;
        for piece in pieces {
            self.send_binary(piece).await;
        }
        self.end().await
    }

    /// Streams bytes in pieces of `cut` and ends; the end's report.
    pub async fn stream(&mut self, format: Value, bytes: &[u8], cut: usize) -> Value {
        self.start(format).await;
        for part in bytes.chunks(cut) {
            self.send_binary(part).await;
        }
        self.end().await
    }
}

async fn next_json(ws: &mut WebSocketStream<MaybeTlsStream<TcpStream>>) -> Value {
    match tokio::time::timeout(PATIENCE, ws.next()).await.expect("a message in time") {
        Some(Ok(Message::Text(t))) => serde_json::from_str(&t).unwrap(),
        other => panic!("a text message, not {other:?}"),
    }
}

/// A file of `fixtures/`.
pub fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// `n` samples of a 440 Hz sine at half scale, 16 kHz, as bytes.
pub fn sine16k(n: usize) -> Vec<u8> {
    (0..n)
        .flat_map(|i| {
            let x = (i as f64 * 440.0 * std::f64::consts::TAU / 16_000.0).sin() * 16_384.0;
            (x.round() as i16).to_le_bytes()
        })
        .collect()
}

pub fn samples(bytes: &[u8]) -> Vec<i16> {
    bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect()
}

/// A bare HTTP/1.1 request; status, headers and body.
pub async fn http(addr: SocketAddr, method: &str, path: &str, extra: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut s = TcpStream::connect(addr).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nContent-Length: {}\r\n{extra}\r\n",
        body.len()
    );
    s.write_all(head.as_bytes()).await.unwrap();
    s.write_all(body).await.unwrap();
    let mut all = Vec::new();
    tokio::time::timeout(PATIENCE, s.read_to_end(&mut all)).await.expect("an answer in time").unwrap();
    let end = all.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(all[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut body = all[end + 4..].to_vec();
    if head.to_lowercase().contains("transfer-encoding: chunked") {
        body = unchunk(&body);
    }
    (status, head, body)
}

fn unchunk(mut b: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let line = b.windows(2).position(|w| w == b"\r\n").unwrap();
        let n = usize::from_str_radix(std::str::from_utf8(&b[..line]).unwrap().trim(), 16).unwrap();
        b = &b[line + 2..];
        if n == 0 {
            return out;
        }
        out.extend_from_slice(&b[..n]);
        b = &b[n + 2..];
    }
}

pub async fn http_json(addr: SocketAddr, method: &str, path: &str) -> (u16, Value) {
    let (status, _, body) = http(addr, method, path, "", b"").await;
    (status, if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() })
}
