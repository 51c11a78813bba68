//! One WebSocket connection, as its client. Reading and writing go on side by side: a server that stops reading is felt as
//! queued bytes, never as a lost acknowledgement.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::error::ClientError;
use super::transport::{Transport, Trust};
use super::url::WsUrl;
use crate::websocket::{Incoming, Limits, OpCode, Reader, Role, accept_key, close_payload, encode_masked};

/// Time for the TCP connection, for TLS and for the handshake, each.
const CONNECT_TIMEOUT_S: u64 = 10;
/// A response head that is longer is no handshake.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Of a refusal's body, what fits an error message.
const REFUSAL_BYTES_MAX: usize = 2 << 10;
/// What one read takes.
const READ_BYTES: usize = 16 << 10;
/// A server's largest message: a page of history of 500 messages of 16 KiB.
const LIMITS: Limits = Limits { message_bytes: 16 << 20, fragments: 4_096, assembly_ms: 60_000 };

/// A message from the server. Pings are answered by the connection itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
    /// The server closes.
    Close {
        /// Why, in a number.
        code: u16,
        /// Why, in words.
        reason: String,
    },
}

/// A connection. Calls: [`Connection::open`], then any of the `queue_*` and [`Connection::drive`], which alone moves bytes.
#[derive(Debug)]
pub struct Connection {
    stream: Transport,
    reader: Reader,
    opened: Instant,
    buffer: Vec<u8>,
    inbox: VecDeque<Message>,
    out: Vec<u8>,
    written: usize,
    mask_state: u64,
    closing: bool,
}

impl Connection {
    /// Connects and upgrades.
    ///
    /// # Errors
    /// [`ClientError`]: nobody there, or not a WebSocket, or refused.
    pub async fn open(url: &WsUrl, token: Option<&str>) -> Result<Self, ClientError> {
        let limit = Duration::from_secs(CONNECT_TIMEOUT_S);
        let expired = || io::Error::new(io::ErrorKind::TimedOut, "no answer");
        let stream = timeout(limit, TcpStream::connect(url.host_and_port()))
            .await
            .unwrap_or_else(|_| Err(expired()))
            .map_err(|source| ClientError::Connect { address: url.authority(), source })?;
        stream.set_nodelay(true)?;
        let system = if url.is_secure() && url.trust().is_none() { Some(Trust::of_system()?) } else { None };
        let trust = url.trust().or(system.as_ref());
        let stream = timeout(limit, Transport::open(stream, url.host_and_port().0, trust))
            .await
            .unwrap_or_else(|_| Err(expired()))
            .map_err(|source| ClientError::Tls { address: url.authority(), source })?;
        let mut seed = [0; 24];
        getrandom::fill(&mut seed).map_err(|_| io::Error::other("the system gives no random numbers"))?;
        let mut connection = Self {
            stream,
            reader: Reader::new(Role::Client, LIMITS),
            opened: Instant::now(),
            buffer: vec![0; READ_BYTES],
            inbox: VecDeque::new(),
            out: Vec::new(),
            written: 0,
            mask_state: u64::from_le_bytes(seed[16..].try_into().expect("eight bytes are left")) | 1,
            closing: false,
        };
        let key = STANDARD.encode(&seed[..16]);
        timeout(limit, connection.upgrade(url, token, &key))
            .await
            .map_err(|_| ClientError::Timeout { what: "answer to the handshake", seconds: CONNECT_TIMEOUT_S })??;
        Ok(connection)
    }

    async fn upgrade(&mut self, url: &WsUrl, token: Option<&str>, key: &str) -> Result<(), ClientError> {
        let mut request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: voxgate.v1\r\nUser-Agent: voxgate/{}\r\n",
            url.path_and_query(),
            url.authority(),
            env!("CARGO_PKG_VERSION"),
        );
        if let Some(token) = token {
            request.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        request.push_str("\r\n");
        self.stream.write_all(request.as_bytes()).await?;
        let fail = |problem| ClientError::Handshake { address: url.authority(), problem };
        let mut head = Vec::with_capacity(1_024);
        let end = loop {
            if self.stream.read(&mut head).await? == 0 {
                return Err(fail("it closed the connection"));
            }
            if let Some(at) = memchr::memmem::find(&head, b"\r\n\r\n") {
                break at + 4;
            }
            if head.len() > HEAD_BYTES_MAX {
                return Err(fail("its answer is too long"));
            }
        };
        let text = String::from_utf8_lossy(&head[..end]).into_owned();
        let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse::<u16>().ok());
        match status {
            Some(101) => {}
            None => return Err(fail("its answer is not HTTP")),
            Some(status) => {
                let detail = self.refusal(head.split_off(end), header(&text, "content-length")).await;
                return Err(ClientError::Refused { status, detail });
            }
        }
        if header(&text, "sec-websocket-accept") != Some(accept_key(key).as_str()) {
            return Err(fail("its Sec-WebSocket-Accept is wrong"));
        }
        self.take(&mut head.split_off(end))
    }

    /// The words of a refusal, out of its JSON where it has any.
    async fn refusal(&mut self, mut body: Vec<u8>, length: Option<&str>) -> String {
        let length = length.and_then(|n| n.parse().ok()).unwrap_or(0).min(REFUSAL_BYTES_MAX);
        while body.len() < length {
            match self.stream.read(&mut body).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        let json: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        let words = ["detail", "message", "title"].iter().find_map(|key| json.as_ref()?.get(key)?.as_str());
        match words {
            // What a server says is shown on a terminal: it must not drive it.
            Some(words) => format!(": {}", words.chars().filter(|c| !c.is_control()).collect::<String>()),
            None => String::new(),
        }
    }

    /// Queues a request to enter a conversation, which must be done before one listens or speaks there.
    pub fn join(&mut self, conversation_id: &str) {
        let join = serde_json::json!({"type": "join_conversation", "id": "join", "conversation_id": conversation_id});
        self.queue_text(&join.to_string());
    }

    /// Queues a text message.
    pub fn queue_text(&mut self, text: &str) {
        self.queue(OpCode::Text, text.as_bytes());
    }

    /// Queues a binary message.
    pub fn queue_binary(&mut self, bytes: &[u8]) {
        self.queue(OpCode::Binary, bytes);
    }

    fn queue(&mut self, opcode: OpCode, payload: &[u8]) {
        if self.closing {
            return;
        }
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        // xorshift64: masks need only be unforeseeable to the page that chose the payload (RFC 6455 section 10.3), here ourselves.
        let mut x = self.mask_state;
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.mask_state = x;
        encode_masked(&mut self.out, opcode, payload, (x as u32).to_le_bytes());
    }

    /// Bytes that the socket has not taken yet.
    pub fn queued_bytes(&self) -> usize {
        self.out.len() - self.written
    }

    /// The next message that has come.
    pub fn next_message(&mut self) -> Option<Message> {
        self.inbox.pop_front()
    }

    /// Waits until bytes came, or bytes went, or `until` passed, and moves what can be moved. Does not wait while a message is in
    /// the inbox: the first one often comes together with the handshake.
    ///
    /// # Errors
    /// [`ClientError`] where the connection ended; messages before that are in the inbox.
    pub async fn drive(&mut self, until: Option<Instant>) -> Result<(), ClientError> {
        if !self.inbox.is_empty() {
            return self.flush();
        }
        let interest =
            if self.queued_bytes() > 0 { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        let ready = match until {
            None => self.stream.ready(interest).await?,
            Some(until) => match timeout_at(until, self.stream.ready(interest)).await {
                Ok(ready) => ready?,
                Err(_) => return Ok(()),
            },
        };
        if ready.is_readable() {
            let mut buffer = std::mem::take(&mut self.buffer);
            let read = match self.stream.try_read(&mut buffer) {
                Ok(0) => Err(ClientError::Closed { code: 1006, reason: String::new() }),
                Ok(got) => self.take(&mut buffer[..got]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                Err(error) => Err(error.into()),
            };
            self.buffer = buffer;
            read?;
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), ClientError> {
        while self.written < self.out.len() {
            match self.stream.try_write(&self.out[self.written..]) {
                Ok(taken) => self.written += taken,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn take(&mut self, bytes: &mut [u8]) -> Result<(), ClientError> {
        let now_ms = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut answers = Vec::new();
        let inbox = &mut self.inbox;
        self.reader.feed(bytes, now_ms, &mut |incoming| match incoming {
            Incoming::Text(text) => inbox.push_back(Message::Text(text.to_owned())),
            Incoming::Binary(bytes) => inbox.push_back(Message::Binary(bytes.to_owned())),
            Incoming::Ping(payload) => answers.push((OpCode::Pong, payload.to_owned())),
            Incoming::Pong(_) => {}
            Incoming::Close(code, reason) => {
                // RFC 6455 section 5.5.1: answered with the same code, where there was one.
                answers.push((OpCode::Close, if code == 1005 { Vec::new() } else { close_payload(code, "") }));
                inbox.push_back(Message::Close { code, reason: reason.to_owned() });
            }
        })?;
        for (opcode, payload) in answers {
            self.queue(opcode, &payload);
            self.closing |= opcode == OpCode::Close;
        }
        Ok(())
    }

    /// Closes with 1000 and waits a moment for the answer, so that the server sees an orderly end.
    pub async fn close(mut self) {
        const PATIENCE_MS: u64 = 1_000;
        self.queue(OpCode::Close, &close_payload(1000, ""));
        self.closing = true;
        let until = Instant::now() + Duration::from_millis(PATIENCE_MS);
        while Instant::now() < until {
            let closed =
                std::iter::from_fn(|| self.next_message()).any(|message| matches!(message, Message::Close { .. }));
            // Whatever happens now, the connection is over.
            if (closed && self.queued_bytes() == 0) || self.drive(Some(until)).await.is_err() {
                break;
            }
        }
    }
}

/// A header's value in a response head; names in lower case.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

impl Connection {
    /// The socket and the reader, for a caller that moves bytes itself. Messages that came already are dropped: the first is
    /// `connection_established`, which such a caller does not need.
    pub(super) fn into_parts(self) -> (Transport, Reader) {
        (self.stream, self.reader)
    }
}
