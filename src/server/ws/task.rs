//! A connection's task: one hand-written future that reads, lets the session decide, runs the streams and writes. It never waits
//! in the middle, so it holds no buffer between two polls and an idle connection costs little more than this struct.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;
use uuid::Uuid;

use super::lane::{Lane, with_lane};
use super::limits::Limits;
use super::mail::{Mail, Said};
use super::restore::Rebuilding;
use super::stream::Stream;
use super::turn::Turn;
use crate::hub::{Connection, OutboxItem};
use crate::journal::Log;
use crate::protocol::{CloseCode, EndReason, Event, ResumeRequest, ServerState};
use crate::server::accept::Slot;
use crate::server::socket::Socket;
use crate::server::state::App;
use crate::session::Session;
use crate::telemetry::{Span, SpanKind};
use crate::websocket::{self, OpCode, Reader};

/// Rounds of read, work and write before other connections of the thread get their turn, though its time may not be over.
const ROUNDS_MAX: usize = 8;
/// Bytes of unsent output past which no more is read: own answers never grow without bound.
pub(super) const OUT_PAUSES_READING_BYTES: usize = 64 * 1024;
/// How long the peer may take to answer a close.
const CLOSE_WAIT_MS: u64 = 2_000;
/// Longest sleep: a stream's stall and age are looked at that often.
pub(super) const TICK_MS: u64 = 1_000;

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// The client goes over into the session it resumes: what it says is kept for that one.
    Leaving,
    /// The socket is gone; the session waits for another until then.
    Detached(u64),
    /// Our close frame is on its way; the peer's is awaited until then.
    Closing(u64),
    /// The session is over; streams are being brought to their end.
    Gone,
}

/// A socket, what reads its frames, and its place.
pub(super) struct Wire {
    pub(super) socket: Socket,
    pub(super) reader: Reader,
    pub(super) slot: Slot,
}

/// A connection's task. What every poll looks at stands first and together: with a thousand connections each line of it has left the
/// cache since the last.
#[repr(C)]
pub(super) struct Task {
    pub(super) app: Arc<App>,
    pub(super) connection: Arc<Connection>,
    /// None while the session waits for another.
    pub(super) socket: Option<Socket>,
    pub(super) phase: Phase,
    /// What the socket would not take yet, or is not to be given yet.
    pub(super) out: Vec<u8>,
    #[allow(
        clippy::vec_box,
        reason = "most connections have one stream: room for four would cost each of them kilobytes"
    )]
    pub(super) streams: Vec<Box<Stream>>,
    /// Before this time the timer, once asked, cannot be due: a socket calls a task a hundred times as often as the time does.
    pub(super) timer_due_ms: u64,
    /// Last time it took something.
    pub(super) wrote_ms: u64,
    /// `out` waits for the next poll only: the thread's other connections shall read first.
    pub(super) deferred: bool,
    /// A token is being checked.
    pub(super) verifying: bool,
    /// The session ends with the socket.
    pub(super) over: bool,
    /// A newer connection of the same client took this one's place.
    pub(super) superseded: bool,
    /// The client was not heard since it resumed.
    pub(super) unsettled: bool,
    /// What is still to be made again after a kill; nothing is told meanwhile.
    pub(super) rebuilding: Option<Box<Rebuilding>>,
    /// Notes of the session in the journal so far.
    pub(super) note_version: u64,
    /// What must be on the disk, and how far, before anything more is told.
    pub(super) gate: Vec<(Log, u64)>,
    /// The store knows of the session.
    pub(super) noted: bool,
    drain_told: bool,
    /// How often in a row the timer has put off what it decides for a last look at the socket.
    pub(super) looks: u8,
    /// No more is read until then: the client sends more bytes a second than it may.
    pub(super) read_after_ms: u64,
    /// Away only while it hands out messages.
    pub(super) reader: Option<Reader>,
    pub(super) session: Session,
    pub(super) timer: Pin<Box<Sleep>>,
    pub(super) listeners: Vec<Uuid>,
    pub(super) rtt_ms: Option<u64>,
    pub(super) pinged_ms: Option<u64>,
    pub(super) limits: Limits,
    pub(super) mail: Arc<Mail>,
    /// Its place among the server's; held, not looked at.
    pub(super) slot: Option<Slot>,
    /// Which session the client wants to go on with, and the `id` to answer.
    pub(super) resuming: Option<Box<(ResumeRequest, Option<String>)>>,
    /// What it said meanwhile.
    pub(super) said: Vec<Said>,
    /// The connection in traces: as long as its session.
    pub(super) trace: Span,
}

impl Task {
    pub(super) fn new(
        app: Arc<App>,
        connection: Arc<Connection>,
        session: Session,
        mail: Arc<Mail>,
        wire: Option<Wire>,
    ) -> Self {
        let wrote_ms = app.clock.now_ms();
        let (socket, slot, reader) = match wire {
            Some(w) => (Some(w.socket), Some(w.slot), Some(w.reader)),
            None => (None, None, None),
        };
        let mut trace = Span::start(SpanKind::Server, &"connection", None);
        trace.text("voxgate.connection_id", &connection.id());
        trace.text("voxgate.session_id", &connection.session_id());
        Self {
            trace,
            limits: Limits::new(&app.config.limits),
            mail,
            verifying: false,
            over: false,
            superseded: false,
            resuming: None,
            said: Vec::new(),
            unsettled: false,
            noted: false,
            rebuilding: None,
            note_version: 0,
            gate: Vec::new(),
            app,
            connection,
            session,
            streams: Vec::new(),
            listeners: Vec::new(),
            rtt_ms: None,
            socket,
            slot,
            reader,
            phase: Phase::Open,
            out: Vec::new(),
            deferred: false,
            wrote_ms,
            pinged_ms: None,
            drain_told: false,
            looks: 0,
            read_after_ms: 0,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            timer_due_ms: 0,
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

    /// What names this connection in every line logged until it is dropped. Costs an allocation: not for audio.
    pub(super) fn span(&self) -> tracing::span::EnteredSpan {
        tracing::error_span!("connection", connection = %self.connection.id(), client = self.connection.client_id())
            .entered()
    }

    /// Closes the connection and says why. Streams end where the session does.
    pub(super) fn close(&mut self, code: CloseCode, reason: &str, lane: &mut Lane) {
        if self.phase != Phase::Open {
            return;
        }
        websocket::encode(&mut lane.out, OpCode::Close, &websocket::close_payload(code.code(), reason));
        self.connection.outbox.set_shortcut(None);
        self.phase = Phase::Closing(self.app.clock.now_ms() + CLOSE_WAIT_MS);
        self.look_within(CLOSE_WAIT_MS);
        self.superseded = code == CloseCode::Superseded;
        if code.ends_session() {
            self.over = true;
            self.app.sessions.end(self.connection.session_id());
            self.end_streams(if code == CloseCode::Draining { EndReason::Drained } else { EndReason::Disconnected });
        }
        lane.figures.closed(code);
        self.trace.number("voxgate.close_code", code.code().into());
        let _span = self.span();
        tracing::debug!(code = code.code(), reason, "closing");
    }

    /// A stranger's messages are small; who is known may send those of the configuration.
    pub(super) fn take_large_messages(&mut self) {
        if let Some(reader) = &mut self.reader {
            reader.set_message_bytes(self.app.config.limits.message_bytes);
        }
    }

    /// The session is over: streams end, listeners leave.
    pub(super) fn gone(&mut self, reason: EndReason) {
        if self.phase != Phase::Gone {
            self.phase = Phase::Gone;
            self.app.sessions.end(self.connection.session_id());
            self.connection.outbox.set_shortcut(None);
            (self.socket, self.slot, self.out) = (None, None, Vec::new());
            self.end_streams(reason);
        }
    }

    fn poll_with(&mut self, cx: &mut Context<'_>, lane: &mut Lane) -> Poll<()> {
        lane.now_us = self.app.clock.now_us();
        lane.turn = Turn::new(lane.now_us);
        if self.deferred {
            self.poll_write(cx, lane);
        }
        self.poll_timer(cx, lane);
        for round in 0..ROUNDS_MAX {
            // Most connections are through after one round: no look at the clock for them.
            if round > 1 && lane.turn.is_over(self.app.clock) {
                break;
            }
            let mut progress = self.poll_outbox(cx, lane);
            progress |= self.is_rebuilding() && self.rebuild(lane);
            progress |= self.work_streams(cx, lane);
            let read = self.poll_read(cx, lane);
            progress |= read;
            if read && self.defer(lane) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
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
        after_others(cx);
        Poll::Pending
    }

    /// Takes what others want the client to be told. True where the connection may be through with it.
    fn poll_outbox(&mut self, cx: &Context<'_>, lane: &mut Lane) -> bool {
        let open = self.phase == Phase::Open;
        let room = if open { OUT_PAUSES_READING_BYTES.saturating_sub(self.out.len()) } else { 0 };
        let Some(left) = self.connection.outbox.poll_take(cx, room, &mut lane.items) else { return false };
        if left.woken {
            self.check_drain(lane);
            if !self.is_rebuilding() {
                self.read_mail(lane);
            }
            for s in &mut self.streams {
                s.set_busy(); // it may have been a sink with room again
            }
        }
        let mut items = std::mem::take(&mut lane.items);
        for item in items.drain(..) {
            match item {
                OutboxItem::Notice(notice, reply_to) => self.pass_on(&notice, reply_to.as_deref(), lane),
                OutboxItem::Audio(frame) if self.phase == Phase::Open => lane.out.extend_from_slice(&frame),
                OutboxItem::Audio(_) => {}
            }
        }
        lane.items = items;
        if let Phase::Detached(_) = self.phase {
            self.keep_notices(lane);
            return true;
        }
        if left.more && room > 0 {
            self.connection.outbox.wake(); // the rest in the next round
        }
        if left.closing
            && let Some((code, reason)) = self.connection.outbox.closing()
        {
            self.close(code, &reason, lane);
        }
        self.phase != Phase::Open
    }

    pub(super) fn check_drain(&mut self, lane: &mut Lane) {
        let Some(deadline_ms) = self.app.drain_deadline_ms() else { return };
        if let Phase::Detached(_) = self.phase {
            // Nobody can come back; but what is being rebuilt is first made whole.
            if !self.is_rebuilding() {
                self.gone(EndReason::Drained);
            }
            return;
        }
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

    /// The answer to our ping, or one that nothing asked for.
    pub(super) fn pong(&mut self, now_ms: u64, lane: &mut Lane) {
        match self.pinged_ms.take() {
            Some(sent_ms) => self.rtt_ms = Some(now_ms.saturating_sub(sent_ms)),
            None => _ = self.is_control_taken(lane),
        }
    }
}

/// Has the task called again once all others that are ready, and those whose sockets have become so, were called. By its waker alone
/// it would be called sixty times before the runtime looks at another socket.
fn after_others(cx: &mut Context<'_>) {
    let _ = std::pin::pin!(tokio::task::yield_now()).poll(cx);
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.streams.iter().filter(|s| s.live.is_handing_on()).for_each(|s| s.live.hand_on());
        let polled = with_lane(|lane| self.poll_with(cx, lane));
        if self.streams.iter().any(|s| s.live.is_handing_on()) {
            after_others(cx);
        }
        polled
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
        self.note_end();
        self.app.sessions.end(self.connection.session_id());
        self.app.conversations.gone(&self.connection);
        self.app.connections.remove(&self.connection);
    }
}
