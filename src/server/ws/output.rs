//! What a connection's task writes, and when: at once, or after the thread's other connections have read. What is said is others' business.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use super::lane::Lane;
use super::task::{Phase, Task};
use crate::dialect::native;
use crate::hub::Notice;
use crate::protocol::Event;
use crate::server::lanes::answers_together;
use crate::server::socket::Socket;
use crate::telemetry::{Fault, count};
use crate::websocket::{self, OpCode};

/// Largest output that waits for the thread's other connections to read: a few acknowledgements. More is worth a write of its own.
const DEFERRED_BYTES_MAX: usize = 1_024;

impl Task {
    /// Encodes an event to the client.
    pub(super) fn send(&mut self, event: &Event, reply_to: Option<&str>, lane: &mut Lane) {
        if let Event::Error(e) = event {
            self.app.monitor.journal.note(Fault::told(e, self.connection.id()));
        }
        self.write_text(event.is_session_event(), reply_to, lane, |envelope, out| native::encode(event, envelope, out));
    }

    /// Writes what others want the client to be told.
    pub(super) fn pass_on(&mut self, notice: &Notice, reply_to: Option<&str>, lane: &mut Lane) {
        if let Some(e) = notice.error() {
            count(&self.connection.counters.errors, 1);
            self.app.monitor.journal.note(Fault::told(e, self.connection.id()));
        }
        self.write_text(notice.is_session_event(), reply_to, lane, |envelope, out| notice.write(envelope, out));
    }

    fn write_text(
        &mut self,
        is_session_event: bool,
        reply_to: Option<&str>,
        lane: &mut Lane,
        encode: impl FnOnce(native::Envelope<'_>, &mut Vec<u8>),
    ) {
        let comes_back = matches!(self.phase, Phase::Closing(_) | Phase::Detached(_)) && !self.over;
        if self.is_rebuilding() || (self.phase != Phase::Open && !(comes_back && is_session_event)) {
            return;
        }
        let seq = is_session_event.then(|| self.session.next_seq());
        let envelope = native::Envelope { unix_ms: crate::clock::unix_ms(), reply_to, seq };
        // The frame header's size depends on the text's: leave room for the usual one, move only where it is larger.
        const HEADER_BYTES: usize = 4;
        let from = lane.out.len();
        lane.out.extend_from_slice(&[0; HEADER_BYTES]);
        encode(envelope, &mut lane.out);
        if is_session_event {
            self.session.keep(&lane.out[from + HEADER_BYTES..]);
            self.journal_event(self.session.last_seq(), &lane.out[from + HEADER_BYTES..]);
        }
        if self.phase != Phase::Open {
            lane.out.truncate(from);
            return;
        }
        let text_bytes = lane.out.len() - from - HEADER_BYTES;
        if let Ok(n @ 126..) = u16::try_from(text_bytes) {
            let [hi, lo] = n.to_be_bytes();
            lane.out[from..from + HEADER_BYTES].copy_from_slice(&[0x81, 126, hi, lo]);
        } else {
            let mut header = Vec::new();
            websocket::encode_header(&mut header, OpCode::Text, text_bytes);
            lane.out.splice(from..from + HEADER_BYTES, header);
        }
        count(&self.connection.counters.messages_out, 1);
    }

    /// Keeps a small answer for the next poll where several connections of the thread have something to do. Each write wakes the
    /// other end or rings the network card: all reads of a turn, then all writes, cost a tenth less with two hundred streams.
    pub(super) fn defer(&mut self, lane: &mut Lane) -> bool {
        let usual = 1..=DEFERRED_BYTES_MAX;
        if self.phase != Phase::Open || !usual.contains(&lane.out.len()) || !self.out.is_empty() || !answers_together()
        {
            return false;
        }
        self.out.extend_from_slice(&lane.out);
        lane.out.clear();
        self.deferred = true;
        true
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, lane: &mut Lane) {
        let deferred = std::mem::take(&mut self.deferred);
        if self.socket.is_none() {
            lane.out.clear();
            return;
        }
        let was_blocked = self.connection.outbox.is_blocked();
        if was_blocked {
            self.finish_cut(lane.now_us);
        }
        if self.has_unsent() && self.out.is_empty() && !self.flush(cx) {
            self.lost();
        }
        if self.output_is_held() {
            self.out.append(&mut lane.out);
        } else if !self.out.is_empty() {
            self.out.extend_from_slice(&lane.out);
            lane.out.clear();
            let mut pending = std::mem::take(&mut self.out);
            let written = self.write(cx, &pending, lane.now_us);
            match written {
                Some(n) if n == pending.len() => {
                    if !deferred {
                        self.connection.outbox.wake(); // what was held back may go now
                    } else if !self.streams.is_empty() {
                        pending.clear();
                        self.out = pending; // the next acknowledgement finds its place made
                    }
                }
                Some(n) => {
                    pending.drain(..n);
                    self.out = pending;
                }
                None => self.lost(),
            }
        } else if !lane.out.is_empty() {
            let n = self.write(cx, &lane.out, lane.now_us);
            match n {
                Some(n) => self.out.extend_from_slice(&lane.out[n..]),
                None => self.lost(),
            }
            lane.out.clear();
        }
        if !self.out.is_empty() && !was_blocked {
            self.wrote_ms = lane.now_us / 1_000; // others may have written till now
        }
        self.connection.outbox.set_blocked(!self.out.is_empty());
        if self.phase == Phase::Closing(0) && !self.has_unsent() {
            self.lost();
        }
        if self.out.len() > self.app.config.connections.queue_bytes {
            self.lost(); // a frame may be cut in the middle: not even a close can follow
        }
    }

    /// What a speaker could write of a frame in part only is the first to go.
    pub(super) fn finish_cut(&mut self, now_us: u64) {
        let cut = self.connection.outbox.take_cut();
        if !cut.is_empty() {
            self.wrote_ms = now_us / 1_000;
            self.out.splice(0..0, cut);
        }
    }

    /// Lends the socket to those who speak to this listener on the same thread: a thousand tasks need not be called for each frame.
    pub(super) fn lend_socket(&mut self) {
        self.connection.outbox.set_shortcut(self.socket.as_ref().and_then(Socket::lend));
    }

    /// Whether the client was not sent all it was told.
    pub(super) fn has_unsent(&self) -> bool {
        !self.out.is_empty() || self.socket.as_ref().is_some_and(Socket::has_unsent)
    }

    /// Sends on what TLS holds. False where the socket is broken.
    fn flush(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(socket) = self.socket.as_mut() else { return true };
        match Pin::new(socket).poll_flush(cx) {
            Poll::Ready(sent) => sent.is_ok(),
            Poll::Pending => true,
        }
    }

    /// Writes what the socket takes. `None` where it is broken.
    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8], now_us: u64) -> Option<usize> {
        let mut at = 0;
        let socket = self.socket.as_mut()?;
        while at < bytes.len() {
            match Pin::new(&mut *socket).poll_write(cx, &bytes[at..]) {
                Poll::Pending => break,
                Poll::Ready(Ok(n)) if n > 0 => at += n,
                Poll::Ready(_) => return None,
            }
        }
        if at > 0 {
            self.wrote_ms = now_us / 1_000;
            count(&self.connection.outbox.bytes_out, at as u64);
        }
        Some(at)
    }
}
