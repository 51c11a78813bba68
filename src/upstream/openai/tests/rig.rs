//! A responder that runs, asked by one connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::super::*;
use super::server::Upstream;
use crate::hub::{Connection, ConnectionMeta, Connections, OutboxItem, OutboxLimits};
use crate::protocol::{ErrorCode, Event, ProtocolError};
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

/// What a client got for a question.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) chunks: Vec<String>,
    pub(super) end: Event,
}

impl Got {
    pub(super) fn text(self) -> String {
        match self.end {
            Event::Response { text, .. } => {
                assert_eq!(self.chunks.concat(), text, "the chunks are the answer");
                text
            }
            other => panic!("an answer, not {other:?}"),
        }
    }

    pub(super) fn error(self) -> ProtocolError {
        match self.end {
            Event::Error(e) => e,
            other => panic!("an error, not {other:?}"),
        }
    }

    pub(super) fn code(self) -> ErrorCode {
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
            session_id: self.connection.meta.id,
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
        client_id: "client".into(),
        admin: false,
        remote_addr: ([127, 0, 0, 1], 1).into(),
        user_agent: None,
        conversation_id: None,
        connected_unix_ms: 0,
        connected_ms: 0,
    };
    all.insert(meta, OutboxLimits { messages, audio_bytes: 1_000 }, 10).unwrap()
}

/// Everything up to the next end, and the `id` it answers.
pub(super) async fn got(connection: &Connection) -> (Option<String>, Got) {
    let mut chunks = Vec::new();
    loop {
        while let Some(item) = connection.outbox.pop() {
            let OutboxItem::Event(event, id) = item else { panic!("no audio here") };
            match *event {
                Event::ResponseChunk { text } => chunks.push(text),
                end => return (id, Got { chunks, end }),
            }
        }
        std::future::poll_fn(|cx| match connection.outbox.poll_signal(cx) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
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
