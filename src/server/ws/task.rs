//! A connection's task: one hand-written future that reads, lets the session decide, runs the streams and writes. It never waits
//! in the middle, so it holds no buffer between two polls and an idle connection costs little more than this struct.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use uuid::Uuid;

use super::lane::{Lane, with_lane};
use super::limits::Limits;
use super::mail::Mail;
use super::stream::Stream;
use crate::dialect::native;
use crate::hub::{Connection, Notice, OutboxItem};
use crate::protocol::{CloseCode, EndReason, Event, ServerState};
use crate::server::state::App;
use crate::session::Session;
use crate::websocket::{self, Incoming, OpCode, Reader};

/// Rounds of read, work and write before other connections of the thread get their turn.
const ROUNDS_MAX: usize = 8;
/// Bytes of unsent output past which no more is read: own answers never grow without bound.
const OUT_PAUSES_READING_BYTES: usize = 64 * 1024;
/// How long the peer may take to answer a close.
const CLOSE_WAIT_MS: u64 = 2_000;
/// Longest sleep: a stream's stall and age are looked at that often.
pub(super) const TICK_MS: u64 = 1_000;

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Our close frame is on its way; the peer's is awaited until then.
    Closing(u64),
    /// The socket is gone; streams are being brought to their end.
    Gone,
}

/// A connection's task.
pub(super) struct Task {
    pub(super) app: Arc<App>,
    pub(super) connection: Arc<Connection>,
    pub(super) session: Session,
    #[allow(
        clippy::vec_box,
        reason = "most connections have one stream: room for four would cost each of them kilobytes"
    )]
    pub(super) streams: Vec<Box<Stream>>,
    pub(super) listeners: Vec<Uuid>,
    pub(super) rtt_ms: Option<u64>,
    pub(super) limits: Limits,
    pub(super) mail: Arc<Mail>,
    /// A token is being checked.
    pub(super) verifying: bool,
    socket: TcpStream,
    /// Away only while it hands out messages.
    reader: Option<Reader>,
    phase: Phase,
    /// What the socket would not take yet.
    out: Vec<u8>,
    /// Last time it took something.
    wrote_ms: u64,
    pinged_ms: Option<u64>,
    drain_told: bool,
    /// No more is read until then: the client sends more bytes a second than it may.
    read_after_ms: u64,
    timer: Pin<Box<Sleep>>,
}

impl Task {
    pub(super) fn new(
        app: Arc<App>,
        connection: Arc<Connection>,
        session: Session,
        reader: Reader,
        socket: TcpStream,
    ) -> Self {
        let wrote_ms = app.clock.now_ms();
        Self {
            limits: Limits::new(&app.config.limits),
            mail: Arc::default(),
            verifying: false,
            app,
            connection,
            session,
            streams: Vec::new(),
            listeners: Vec::new(),
            rtt_ms: None,
            socket,
            reader: Some(reader),
            phase: Phase::Open,
            out: Vec::new(),
            wrote_ms,
            pinged_ms: None,
            drain_told: false,
            read_after_ms: 0,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
        }
    }

    /// Says hello, enters the conversation that the address names, and takes what was read together with the handshake.
    pub(super) fn greet(&mut self, hello: &Event, conversation_id: Option<String>, early: &[u8]) {
        with_lane(|lane| {
            self.send(hello, None, lane);
            if let Some(c) = conversation_id {
                let mut effects = Vec::new();
                match self.session.join(c, None, &mut effects) {
                    Ok(()) => self.carry_out_all(effects, lane),
                    Err(e) => self.fault(e, None, lane),
                }
            }
            if !early.is_empty() {
                let n = early.len().min(lane.read.len());
                lane.read[..n].copy_from_slice(&early[..n]);
                self.input(n, lane);
            }
            self.out.extend_from_slice(&lane.out);
        });
    }

    /// Encodes an event to the client.
    pub(super) fn send(&mut self, event: &Event, reply_to: Option<&str>, lane: &mut Lane) {
        if self.phase != Phase::Open {
            return;
        }
        self.write_text(event.is_session_event(), reply_to, lane, |envelope, out| native::encode(event, envelope, out));
    }

    /// Writes what others want the client to be told.
    fn pass_on(&mut self, notice: &Notice, reply_to: Option<&str>, lane: &mut Lane) {
        if self.phase != Phase::Open {
            return;
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
        let seq = is_session_event.then(|| self.session.next_seq());
        let envelope = native::Envelope { unix_ms: crate::clock::unix_ms(), reply_to, seq };
        // The frame header's size depends on the text's: leave room for the usual one, move only where it is larger.
        const HEADER_BYTES: usize = 4;
        let from = lane.out.len();
        lane.out.extend_from_slice(&[0; HEADER_BYTES]);
        encode(envelope, &mut lane.out);
        let text_bytes = lane.out.len() - from - HEADER_BYTES;
        if let Ok(n @ 126..) = u16::try_from(text_bytes) {
            let [hi, lo] = n.to_be_bytes();
            lane.out[from..from + HEADER_BYTES].copy_from_slice(&[0x81, 126, hi, lo]);
        } else {
            let mut header = Vec::new();
            websocket::encode_header(&mut header, OpCode::Text, text_bytes);
            lane.out.splice(from..from + HEADER_BYTES, header);
        }
        self.connection.counters.messages_out.fetch_add(1, Relaxed);
    }

    /// Closes the connection: says why, ends the streams.
    pub(super) fn close(&mut self, code: CloseCode, reason: &str, lane: &mut Lane) {
        if self.phase != Phase::Open {
            return;
        }
        websocket::encode(&mut lane.out, OpCode::Close, &websocket::close_payload(code.code(), reason));
        self.phase = Phase::Closing(self.app.clock.now_ms() + CLOSE_WAIT_MS);
        self.look_within(CLOSE_WAIT_MS);
        let end = if code == CloseCode::Draining { EndReason::Drained } else { EndReason::Disconnected };
        self.end_streams(end);
        tracing::debug!(connection = %self.connection.id(), code = code.code(), reason, "closing");
    }

    /// A stranger's messages are small; who is known may send those of the configuration.
    pub(super) fn take_large_messages(&mut self) {
        if let Some(reader) = &mut self.reader {
            reader.set_message_bytes(self.app.config.limits.message_bytes);
        }
    }

    /// Brings the timer forward: something was begun that time will end.
    pub(super) fn look_within(&mut self, ms: u64) {
        let at = Instant::now() + Duration::from_millis(ms);
        if at < self.timer.deadline() {
            self.timer.as_mut().reset(at);
            self.connection.outbox.wake(); // the timer must be polled again to count
        }
    }

    /// The socket is gone: streams end, listeners leave.
    fn gone(&mut self) {
        if self.phase != Phase::Gone {
            self.phase = Phase::Gone;
            self.out = Vec::new();
            self.end_streams(EndReason::Disconnected);
        }
    }

    fn poll_with(&mut self, cx: &mut Context<'_>, lane: &mut Lane) -> Poll<()> {
        self.poll_timer(cx, lane);
        for _ in 0..ROUNDS_MAX {
            let mut progress = self.poll_outbox(cx, lane);
            progress |= self.work_streams(cx, lane);
            progress |= self.poll_read(cx, lane);
            let phase = self.phase;
            self.poll_write(cx, lane);
            progress |= self.phase != phase; // streams have to end
            if self.phase == Phase::Gone && self.streams.is_empty() {
                return Poll::Ready(());
            }
            if !progress {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_outbox(&mut self, cx: &Context<'_>, lane: &mut Lane) -> bool {
        if !self.connection.outbox.poll_signal(cx) {
            return false;
        }
        self.check_drain(lane);
        self.read_mail(lane);
        for s in &mut self.streams {
            s.set_busy(); // it may have been a sink with room again
        }
        while self.phase == Phase::Open && self.out.len() < OUT_PAUSES_READING_BYTES {
            match self.connection.outbox.pop() {
                Some(OutboxItem::Notice(notice, reply_to)) => self.pass_on(&notice, reply_to.as_deref(), lane),
                Some(OutboxItem::Audio(frame)) => lane.out.extend_from_slice(&frame),
                None => break,
            }
            if lane.out.len() >= OUT_PAUSES_READING_BYTES {
                self.connection.outbox.wake(); // the rest in the next round
                break;
            }
        }
        if let Some((code, reason)) = self.connection.outbox.closing() {
            self.close(code, &reason, lane);
        }
        true
    }

    fn check_drain(&mut self, lane: &mut Lane) {
        let Some(deadline_ms) = self.app.drain_deadline_ms() else { return };
        if !std::mem::replace(&mut self.drain_told, true) {
            let state: ServerState = self.app.server_state();
            self.send(&Event::StatusUpdate(state), None, lane);
        }
        if self.streams.is_empty() {
            self.close(CloseCode::Draining, "the server is stopping: connect again", lane);
        } else if self.app.clock.now_ms() >= deadline_ms {
            self.end_streams(EndReason::Drained);
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, lane: &mut Lane) -> bool {
        let paused = self.out.len() >= OUT_PAUSES_READING_BYTES
            || self.streams.iter().any(|s| s.is_full())
            || (self.read_after_ms > 0 && self.app.clock.now_ms() < self.read_after_ms);
        if self.phase == Phase::Gone || (paused && self.phase == Phase::Open) {
            return false;
        }
        let mut buf = ReadBuf::new(&mut lane.read);
        match Pin::new(&mut self.socket).poll_read(cx, &mut buf) {
            Poll::Pending => false,
            Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                let n = buf.filled().len();
                self.input(n, lane);
                true
            }
            Poll::Ready(_) => {
                self.gone();
                true
            }
        }
    }

    /// Takes `n` bytes from the lane's read buffer.
    fn input(&mut self, n: usize, lane: &mut Lane) {
        let now_us = self.app.clock.now_us();
        let counters = &self.connection.counters;
        counters.bytes_in.fetch_add(n as u64, Relaxed);
        counters.last_activity_ms.store(now_us / 1_000, Relaxed);
        if let Some(wait_ms) = self.limits.bytes(n, now_us) {
            self.read_after_ms = now_us / 1_000 + wait_ms;
            self.look_within(wait_ms);
        }
        let mut read = std::mem::take(&mut lane.read);
        let Some(mut reader) = self.reader.take() else { return };
        let fed = reader.feed(&mut read[..n], now_us / 1_000, &mut |message| self.message(&message, now_us, lane));
        lane.read = read;
        self.reader = Some(reader);
        if let Err(e) = fed {
            self.close(CloseCode::WebSocket(e.close_code()), &e.to_string(), lane);
        }
        self.acknowledge(lane);
    }

    fn message(&mut self, message: &Incoming<'_>, now_us: u64, lane: &mut Lane) {
        if self.phase != Phase::Open {
            if let (Phase::Closing(_), Incoming::Close(..)) = (self.phase, message) {
                self.phase = Phase::Closing(0);
            }
            return;
        }
        self.connection.counters.messages_in.fetch_add(1, Relaxed);
        match message {
            Incoming::Binary(payload) => self.binary(payload, now_us, lane),
            Incoming::Text(text) => self.text(text, now_us, lane),
            Incoming::Ping(payload) => {
                // One pong at the most waits: where output is stuck, a later ping's pong replaces nothing and is left out.
                if self.out.is_empty() {
                    websocket::encode(&mut lane.out, OpCode::Pong, payload);
                }
            }
            Incoming::Pong(_) => self.pong(now_us / 1_000),
            Incoming::Close(code, _) => {
                let answer = if *code == 1005 { CloseCode::Normal } else { CloseCode::WebSocket(*code) };
                self.close(answer, "", lane);
                self.phase = Phase::Closing(0);
            }
        }
    }

    /// The answer to our ping.
    pub(super) fn pong(&mut self, now_ms: u64) {
        if let Some(sent_ms) = self.pinged_ms.take() {
            self.rtt_ms = Some(now_ms.saturating_sub(sent_ms));
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>, lane: &mut Lane) {
        while self.timer.as_mut().poll(cx).is_ready() {
            let now_ms = self.app.clock.now_ms();
            let next_ms = self.on_timer(now_ms, lane);
            let wait = Duration::from_millis(next_ms.saturating_sub(now_ms).max(1));
            self.timer.as_mut().reset(Instant::now() + wait);
        }
    }

    /// Looks at everything that depends on time. Returns when to look again.
    fn on_timer(&mut self, now_ms: u64, lane: &mut Lane) -> u64 {
        if let Phase::Closing(until_ms) = self.phase
            && now_ms >= until_ms
        {
            self.gone();
        }
        let config = &self.app.config.connections;
        let (interval_ms, timeout_ms) = (config.heartbeat_interval_ms, config.heartbeat_timeout_ms);
        let heard_ms = self.connection.counters.last_activity_ms.load(Relaxed);
        let stuck = !self.out.is_empty() && now_ms.saturating_sub(self.wrote_ms) >= timeout_ms;
        if stuck {
            self.gone(); // a close frame could not be written either
        } else if now_ms.saturating_sub(heard_ms) >= timeout_ms {
            self.close(CloseCode::Idle, "no traffic", lane);
        } else if now_ms.saturating_sub(heard_ms) >= interval_ms
            && self.pinged_ms.is_none_or(|p| now_ms >= p + interval_ms)
        {
            self.pinged_ms = Some(now_ms);
            self.send(&Event::Ping, None, lane);
            websocket::encode(&mut lane.out, OpCode::Ping, b"");
        }
        self.check_drain(lane);
        self.check_stream_times(now_ms, lane);
        let mut next_ms = heard_ms.max(self.pinged_ms.unwrap_or(0)) + interval_ms;
        if let Phase::Closing(until_ms) = self.phase {
            next_ms = next_ms.min(until_ms);
        }
        if !self.streams.is_empty() || !self.out.is_empty() {
            next_ms = next_ms.min(now_ms + TICK_MS);
        }
        if self.read_after_ms > now_ms {
            next_ms = next_ms.min(self.read_after_ms);
        }
        let mut effects = Vec::new();
        if let Some(at_ms) = self.session.on_time(now_ms, &mut effects) {
            next_ms = next_ms.min(at_ms);
        }
        self.carry_out_all(effects, lane);
        next_ms.min(heard_ms + timeout_ms).max(now_ms + 1)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, lane: &mut Lane) {
        if self.phase == Phase::Gone {
            lane.out.clear();
            return;
        }
        if !self.out.is_empty() {
            self.out.extend_from_slice(&lane.out);
            lane.out.clear();
            let mut pending = std::mem::take(&mut self.out);
            let written = self.write(cx, &pending);
            match written {
                Some(n) if n == pending.len() => {
                    self.connection.outbox.wake(); // what was held back may go now
                }
                Some(n) => {
                    pending.drain(..n);
                    self.out = pending;
                }
                None => self.gone(),
            }
        } else if !lane.out.is_empty() {
            let n = self.write(cx, &lane.out);
            match n {
                Some(n) => self.out.extend_from_slice(&lane.out[n..]),
                None => self.gone(),
            }
            lane.out.clear();
        }
        if self.phase == Phase::Closing(0) && self.out.is_empty() {
            self.gone();
        }
        if self.out.len() > self.app.config.connections.queue_bytes {
            self.gone(); // a frame may be cut in the middle: not even a close can follow
        }
    }

    /// Writes what the socket takes. `None` where it is broken.
    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            match Pin::new(&mut self.socket).poll_write(cx, &bytes[at..]) {
                Poll::Pending => break,
                Poll::Ready(Ok(n)) if n > 0 => at += n,
                Poll::Ready(_) => return None,
            }
        }
        if at > 0 {
            self.wrote_ms = self.app.clock.now_ms();
            self.connection.counters.bytes_out.fetch_add(at as u64, Relaxed);
        }
        Some(at)
    }
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        ready!(with_lane(|lane| self.poll_with(cx, lane)));
        Poll::Ready(())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        for id in self.listeners.drain(..) {
            self.app.streams.stop_listening(id);
        }
        for s in &self.streams {
            s.unlist(&self.app); // only where the task was dropped or panicked: else they have ended
        }
        self.app.conversations.gone(&self.connection);
        self.app.connections.remove(&self.connection);
    }
}
