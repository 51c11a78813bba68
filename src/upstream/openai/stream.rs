//! A response's body as pieces of an answer: server-sent events, or one JSON document from a service that does not stream. Bounds what
//! one event may hold and how long nothing may come. Knows no question and no client.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use eventsource_stream::{EventStream, EventStreamError};
use futures_core::Stream;
use memchr::{memchr2, memrchr2};
use tokio::time::{Instant, Sleep};

use super::wire::{self, Part};
use crate::upstream::RespondError;

/// Bytes of an event, or of a whole JSON answer. A chunk has a few hundred; this is room for the largest answer in one.
const EVENT_BYTES_MAX: usize = 1 << 20;
/// The parser moves all it has not read yet at each line: handed some kilobytes at a time, that is little.
const PIECE_BYTES: usize = 4 * 1024;
/// How a stream of events ends.
const DONE: &str = "[DONE]";
const BYTE_ORDER_MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

type Body = Pin<Box<dyn Stream<Item = Result<Bytes, reqwest::Error>> + Send>>;

/// The pieces of an answer that is coming.
pub(super) enum Parts {
    /// As events.
    Events {
        events: Box<EventStream<Bounded>>,
        /// The model said that it is done; some services close without `[DONE]` then.
        finished: bool,
    },
    /// As one document.
    Document(Option<Bounded>),
}

impl Parts {
    /// The pieces of a successful response.
    pub(super) fn of(response: reqwest::Response, stall: Duration) -> Result<Self, RespondError> {
        let kind = response.headers().get(reqwest::header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let kind = kind.map(|k| k.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        let body = |response: reqwest::Response| Bounded::new(Box::pin(response.bytes_stream()), stall);
        match kind.as_deref() {
            None | Some("text/event-stream") => {
                Ok(Self::Events { events: Box::new(EventStream::new(body(response))), finished: false })
            }
            Some("application/json") => Ok(Self::Document(Some(body(response)))),
            Some(_) => Err(RespondError::Malformed { what: "neither events nor JSON" }),
        }
    }

    /// The next piece; `None` when the answer is whole.
    pub(super) async fn next(&mut self) -> Result<Option<Part>, RespondError> {
        match self {
            Self::Events { events, finished } => {
                match std::future::poll_fn(|cx| Pin::new(events.as_mut()).poll_next(cx)).await {
                    Some(Ok(event)) if event.data.trim() == DONE => Ok(None),
                    Some(Ok(event)) => {
                        let part = wire::part(event.data.as_bytes())?;
                        *finished |= part.last;
                        Ok(Some(part))
                    }
                    None if *finished => Ok(None),
                    None => Err(RespondError::BrokeOff),
                    // What is lost after the last word is no loss.
                    Some(Err(_)) if *finished => Ok(None),
                    Some(Err(EventStreamError::Transport(e))) => Err(e),
                    Some(Err(EventStreamError::Utf8(_))) => Err(RespondError::Malformed { what: "not UTF-8" }),
                    Some(Err(EventStreamError::Parser(_))) => Err(RespondError::Malformed { what: "no events" }),
                }
            }
            Self::Document(body) => {
                let Some(mut body) = body.take() else { return Ok(None) };
                let mut document = Vec::new();
                while let Some(piece) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_next(cx)).await {
                    document.extend_from_slice(&piece?);
                    if document.len() > EVENT_BYTES_MAX {
                        return Err(RespondError::Malformed { what: "a document without end" });
                    }
                }
                wire::part(&document).map(Some)
            }
        }
    }
}

/// A body that is neither endless without an event nor silent for too long, in whole lines (the parser reads a line from its beginning
/// whenever more of it comes) and without a byte order mark (at which eventsource-stream 0.2.3 panics).
pub(super) struct Bounded {
    body: Body,
    /// Whole lines not handed out yet.
    lines: Bytes,
    /// The beginning of a line whose end has not come.
    begun: BytesMut,
    stall: Duration,
    silence: Pin<Box<Sleep>>,
    /// Bytes of a byte order mark seen so far; none can come any more past its length.
    mark: usize,
    event_bytes: usize,
    line_bytes: usize,
    after_cr: bool,
}

impl Bounded {
    fn new(body: Body, stall: Duration) -> Self {
        Self {
            body,
            lines: Bytes::new(),
            begun: BytesMut::new(),
            stall,
            silence: Box::pin(tokio::time::sleep(stall)),
            mark: 0,
            event_bytes: 0,
            line_bytes: 0,
            after_cr: false,
        }
    }

    fn take_in(&mut self, arrived: &Bytes) -> Result<(), RespondError> {
        let arrived = self.without_mark(arrived);
        self.measure(arrived)?;
        self.begun.extend_from_slice(arrived);
        if let Some(end) = memrchr2(b'\n', b'\r', arrived) {
            self.lines = self.begun.split_to(self.begun.len() - (arrived.len() - end - 1)).freeze();
        }
        Ok(())
    }

    fn without_mark<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        while let (Some(expected), Some((byte, rest))) = (BYTE_ORDER_MARK.get(self.mark), bytes.split_first()) {
            if byte != expected {
                self.mark = BYTE_ORDER_MARK.len();
                break;
            }
            self.mark += 1;
            bytes = rest;
        }
        bytes
    }

    /// Counts the bytes since the last empty line, which is what the parser holds.
    fn measure(&mut self, bytes: &[u8]) -> Result<(), RespondError> {
        for &byte in bytes {
            self.event_bytes += 1;
            match byte {
                b'\n' if self.after_cr => {}
                b'\r' | b'\n' => {
                    if self.line_bytes == 0 {
                        self.event_bytes = 0;
                    }
                    self.line_bytes = 0;
                }
                _ => self.line_bytes += 1,
            }
            self.after_cr = byte == b'\r';
            if self.event_bytes > EVENT_BYTES_MAX {
                return Err(RespondError::Malformed { what: "an event without end" });
            }
        }
        Ok(())
    }

    /// Some lines, until about a piece's worth.
    fn piece(&mut self) -> Bytes {
        let from = PIECE_BYTES.min(self.lines.len());
        let end = memchr2(b'\n', b'\r', &self.lines[from..]).map_or(self.lines.len(), |at| from + at + 1);
        self.lines.split_to(end)
    }
}

impl Stream for Bounded {
    type Item = Result<Bytes, RespondError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if !this.lines.is_empty() {
                return Poll::Ready(Some(Ok(this.piece())));
            }
            match this.body.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(bytes))) => {
                    this.silence.as_mut().reset(Instant::now() + this.stall);
                    if let Err(e) = this.take_in(&bytes) {
                        return Poll::Ready(Some(Err(e)));
                    }
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Some(Err(RespondError::BrokeOff))),
                Poll::Ready(None) if this.begun.is_empty() => return Poll::Ready(None),
                Poll::Ready(None) => return Poll::Ready(Some(Ok(this.begun.split().freeze()))),
                Poll::Pending => {
                    return match this.silence.as_mut().poll(cx) {
                        Poll::Ready(()) => Poll::Ready(Some(Err(RespondError::Stalled { after: this.stall }))),
                        Poll::Pending => Poll::Pending,
                    };
                }
            }
        }
    }
}
