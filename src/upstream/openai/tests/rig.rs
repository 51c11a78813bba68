//! A responder that runs, asked by one connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::super::*;
use super::server::Upstream;
use crate::dialect::native::Envelope;
use crate::hub::{Connection, ConnectionMeta, Connections, OutboxItem, OutboxLimits};
use crate::resilience::{BreakerSettings, BreakerState, Breakers};
use crate::upstream::MemoryHistory;

pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A responder that runs, asked by one connection.
pub(super) struct Rig {
    pub(super) front: OpenAi,
    pub(super) breakers: Breakers,
    pub(super) connections: Connections,
    pub(super) connection: Arc<Connection>,
    pub(super) stop: CancellationToken,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What a client got for a question: the messages, as they go over the wire.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) chunks: Vec<String>,
    pub(super) end: serde_json::Value,
}

/// The error a client was told.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) code: String,
    pub(super) message: String,
    pub(super) retry_suggested: bool,
    pub(super) retry_after_ms: Option<u64>,
}

impl Got {
    pub(super) fn is_answer(&self) -> bool {
        self.end["type"] == "response"
    }

    pub(super) fn text(self) -> String {
        assert!(self.is_answer(), "an answer, not {}", self.end);
        let text = self.end["text"].as_str().unwrap().to_owned();
        assert_eq!(self.chunks.concat(), text, "the chunks are the answer");
        text
    }

    pub(super) fn error(self) -> Told {
        assert_eq!(self.end["type"], "error", "{}", self.end);
        Told {
            code: self.end["code"].as_str().unwrap().to_owned(),
            message: self.end["message"].as_str().unwrap().to_owned(),
            retry_suggested: self.end["retry_suggested"].as_bool().unwrap(),
            retry_after_ms: self.end["retry_after_ms"].as_u64(),
        }
    }

    pub(super) fn code(self) -> String {
        self.error().code
    }
}

pub(super) fn settings(upstream: &Upstream) -> OpenAiSettings {
    let mut s = OpenAiSettings::new(upstream.base_url(), "small");
    s.retry = RetryPolicy { delay_min: Duration::from_millis(1), delay_max: Duration::from_millis(2), ..s.retry };
    s
}

impl Rig {
    pub(super) fn new(settings: OpenAiSettings) -> Self {
        Self::with(settings, BreakerSettings::default(), 100)
    }

    pub(super) fn with(settings: OpenAiSettings, breaker: BreakerSettings, queue_messages: usize) -> Self {
        let breakers = Breakers::new(breaker);
        let history = Arc::new(MemoryHistory::default());
        let (front, worker) = OpenAi::new(settings, history, breakers.get("responder")).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(worker.run(stop.clone()));
        let connections = Connections::default();
        let connection = connect(&connections, queue_messages);
        Self { front, breakers, connections, connection, stop }
    }

    pub(super) fn put(&self, text: &str, id: &str) {
        let question = Question {
            text: text.to_owned(),
            conversation_id: None,
            session_id: self.connection.session_id(),
            user: Some("somebody".to_owned()),
        };
        self.front.respond(question, Reply::new(Arc::clone(&self.connection), Some(id.to_owned())));
    }

    pub(super) async fn got(&self) -> Got {
        tokio::time::timeout(PATIENCE, got(&self.connection)).await.expect("an end in time").1
    }

    pub(super) async fn ask(&self, text: &str) -> Got {
        self.put(text, "1");
        self.got().await
    }

    pub(super) fn state(&self) -> BreakerState {
        self.breakers.list()[0].state
    }
}

pub(super) fn connect(all: &Connections, messages: usize) -> Arc<Connection> {
    let meta = ConnectionMeta {
        id: Uuid::now_v7(),
        remote_addr: ([127, 0, 0, 1], 1).into(),
        user_agent: None,
        connected_unix_ms: 0,
        connected_ms: 0,
    };
    let limits = OutboxLimits { messages, message_bytes: 1 << 20, audio_bytes: 1_000 };
    all.insert("client".into(), meta, Some(Arc::default()), limits).unwrap()
}

/// Everything up to the next end, and the `id` it answers.
pub(super) async fn got(connection: &Connection) -> (Option<String>, Got) {
    let mut chunks = Vec::new();
    loop {
        while let Some(item) = connection.outbox.pop() {
            let OutboxItem::Notice(notice, id) = item else { panic!("no audio here") };
            let mut text = Vec::new();
            notice.write(Envelope { unix_ms: 0, reply_to: None, seq: None }, &mut text);
            let message: serde_json::Value = serde_json::from_slice(&text).unwrap();
            if message["type"] == "response_chunk" {
                chunks.push(message["text"].as_str().unwrap().to_owned());
            } else {
                return (id.map(String::from), Got { chunks, end: message });
            }
        }
        std::future::poll_fn(|cx| match connection.outbox.poll_take(cx, 0, &mut Vec::new()) {
            Some(_) => std::task::Poll::Ready(()),
            None => std::task::Poll::Pending,
        })
        .await;
    }
}

pub(super) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
