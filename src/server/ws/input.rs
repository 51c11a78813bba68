//! What a connection's task reads: from the socket to its messages. What a message means is the session's to say.

use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

use super::lane::Lane;
use super::mail::Said;
use super::task::{OUT_PAUSES_READING_BYTES, Phase, Task};
use crate::protocol::CloseCode;
use crate::server::lanes::served;
use crate::telemetry::count;
use crate::websocket::{self, Incoming, OpCode};

impl Task {
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, lane: &mut Lane) -> bool {
        if self.is_paused(lane.now_us) {
            return false;
        }
        let Some(socket) = &mut self.socket else { return false };
        let most = lane.read.len().min(self.limits.read_bytes_max());
        let mut buf = ReadBuf::new(&mut lane.read[..most]);
        match Pin::new(socket).poll_read(cx, &mut buf) {
            Poll::Pending => false,
            Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                let n = buf.filled().len();
                self.input(n, lane);
                true
            }
            Poll::Ready(_) => {
                self.lost();
                true
            }
        }
    }

    /// Whether nothing is read now, whatever waits in the socket.
    pub(super) fn is_paused(&mut self, now_us: u64) -> bool {
        let paused = self.out.len() >= OUT_PAUSES_READING_BYTES
            || self.streams.iter().any(|s| s.is_full())
            || (self.read_after_ms > 0 && self.is_paced(now_us));
        paused && self.phase == Phase::Open
    }

    /// Whether the client, which sent more bytes a second than it may, shall wait on.
    fn is_paced(&mut self, now_us: u64) -> bool {
        if now_us / 1_000 >= self.read_after_ms {
            self.read_after_ms = 0;
            self.pace(0, now_us);
        }
        self.read_after_ms > 0
    }

    /// Counts bytes against the rate a client may send at.
    fn pace(&mut self, n: usize, now_us: u64) {
        if let Some(wait_ms) = self.limits.bytes(n, now_us) {
            self.read_after_ms = now_us / 1_000 + wait_ms;
            self.look_within(wait_ms);
        }
    }

    /// Takes `n` bytes from the lane's read buffer.
    pub(super) fn input(&mut self, n: usize, lane: &mut Lane) {
        let now_us = lane.now_us;
        let counters = &self.connection.counters;
        count(&counters.bytes_in, n as u64);
        served();
        counters.last_activity_ms.store(now_us / 1_000, Relaxed);
        self.pace(n, now_us);
        let mut read = std::mem::take(&mut lane.read);
        let Some(mut reader) = self.reader.take() else { return };
        let fed = reader.feed(&mut read[..n], now_us / 1_000, &mut |message| self.message(&message, now_us, lane));
        lane.read = read;
        self.reader = Some(reader);
        if self.phase == Phase::Leaving {
            self.hand_over(lane);
        }
        if let Err(e) = fed {
            self.close(CloseCode::WebSocket(e.close_code()), &e.to_string(), lane);
        }
        self.acknowledge(lane);
    }

    fn message(&mut self, message: &Incoming<'_>, now_us: u64, lane: &mut Lane) {
        match (self.phase, message) {
            (Phase::Open, _) => {}
            (Phase::Leaving, Incoming::Binary(payload)) => return self.keep_said(Said::Binary(payload.to_vec())),
            (Phase::Leaving, Incoming::Text(text)) => return self.keep_said(Said::Text((*text).to_owned())),
            (Phase::Closing(_), Incoming::Close(..)) => {
                self.phase = Phase::Closing(0);
                return;
            }
            (Phase::Leaving | Phase::Closing(_) | Phase::Detached(_) | Phase::Gone, _) => return,
        }
        count(&self.connection.counters.messages_in, 1);
        if self.unsettled {
            self.settle();
        }
        match message {
            Incoming::Binary(payload) => self.binary(payload, now_us, lane),
            Incoming::Text(text) => self.text(text, now_us, lane),
            Incoming::Ping(payload) => {
                // One pong at the most waits: where output is stuck, a later ping's pong replaces nothing and is left out.
                if self.is_control_taken(lane) && self.out.is_empty() {
                    websocket::encode(&mut lane.out, OpCode::Pong, payload);
                }
            }
            Incoming::Pong(_) => self.pong(now_us / 1_000, lane),
            Incoming::Close(code, _) => {
                let answer = if matches!(code, 1000 | 1005) { CloseCode::Normal } else { CloseCode::WebSocket(*code) };
                self.close(answer, "", lane);
                self.phase = Phase::Closing(0);
            }
        }
        if !self.noted {
            self.note_session();
        }
    }
}
