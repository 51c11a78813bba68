//! A stream as its connection's task owns it: fed, acknowledged, ended, its recording awaited.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use tracing::span::EnteredSpan;

use super::STREAM_RESERVED_BYTES;
use super::acks::Flush;
use super::durable;
use super::lane::Lane;
use super::report::{decode_error, ended, not_recorded, reason_name, sink_fault};
use super::task::Task;
use crate::hub::{Connection, LiveStream};
use crate::journal::Log;
use crate::pipeline::{Progress, Reservation, RunState, StreamError, StreamPipeline};
use crate::protocol::{AudioDropped, AudioLevel, EndReason, ErrorCode, Event, ProtocolError, Topic};
use crate::server::state::App;
use crate::session::OpenStream;
use crate::sink::SinkEvent;
use crate::sink::recorder::{self, RecordError, Recorded, RecordingHandle};
use crate::telemetry::{Span, SpanKind};

/// Output samples of what waits that a stream may produce before the connection's others get their turn: a second of 16 kHz.
const STEP_BUDGET_SAMPLES: usize = 16_000;

/// What a stream that drops its oldest may decode of a frame at once, whoever waits: it would lose what is put off.
const DROPPING_BUDGET_SAMPLES: usize = 32_000;

/// How a stream ends.
#[derive(Debug)]
pub(super) enum End {
    /// It goes on.
    No,
    /// It drains; then the answer goes to that `id`.
    Draining(EndReason, Option<String>),
    /// Its recording is being closed.
    Closing(EndReason, Option<String>),
}

pub(super) type RecordingResult = Result<Recorded, RecordError>;

/// A stream of a connection.
pub(super) struct Stream {
    pub(super) index: u32,
    pub(super) stream_id: Arc<str>,
    pub(super) implicit: bool,
    pub(super) pipeline: StreamPipeline,
    pub(super) live: Arc<LiveStream>,
    /// Where its bytes are kept, where they are.
    pub(super) log: Option<Log>,
    /// An acknowledgement that is due once the log has reached a position.
    pub(super) unkept_ack: Option<(Progress, u64)>,
    pub(super) recording: Option<RecordingHandle>,
    /// The client knows that it ended before the stream.
    pub(super) recording_fault_told: bool,
    pub(super) closing: Option<oneshot::Receiver<RecordingResult>>,
    pub(super) end: End,
    /// Frames that came, and who wants to know when which of them has passed.
    pub(super) frames_in: u64,
    pub(super) flushes: Vec<Flush>,
    /// Speech of the whole stream, where detection was on from its start.
    pub(super) speech_ms: Option<u64>,
    pub(super) counts_speech: bool,
    pub(super) reserved: Reservation,
    pub(super) started_ms: u64,
    pub(super) heard_ms: u64,
    /// There may be something to do though no audio came.
    pub(super) busy: bool,
    /// It in traces.
    pub(super) trace: Span,
}

/// What names a stream and its connection in every line logged until it is dropped. Not for every frame: see [`Task::span`].
pub(super) fn stream_span(by: &Connection, uid: uuid::Uuid, stream_id: &str) -> EnteredSpan {
    tracing::error_span!("stream", connection = %by.id(), client = by.client_id(), stream = %uid, stream_id).entered()
}

/// A stream in the traces of its connection. What the client calls it is not shown: it may be a name.
pub(super) fn stream_trace(connection: &Span, by: &Connection, meta: &OpenStream) -> Span {
    let mut trace = Span::start(SpanKind::Internal, &"stream", Some(connection));
    trace.text("voxgate.connection_id", &by.id());
    trace.text("voxgate.stream_uid", &meta.uid);
    trace.text("voxgate.encoding", &meta.format.encoding);
    trace
}

impl Stream {
    fn span(&self) -> EnteredSpan {
        stream_span(&self.live.meta.connection, self.live.meta.uid, &self.stream_id)
    }

    /// Whether the socket must not be read because of it.
    pub(super) fn is_full(&self) -> bool {
        self.pipeline.is_full() || self.log.as_ref().is_some_and(Log::is_full)
    }

    /// Whether more audio may come.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.end, End::No)
    }

    /// Takes it out of the list of running streams.
    pub(super) fn unlist(&self, app: &App) {
        if app.streams.remove(&self.live)
            && let Some(c) = &self.live.meta.conversation_id
        {
            app.conversations.streaming(&self.live.meta.connection, c, false);
        }
    }
}

impl Task {
    /// Hands a frame to its stream.
    pub(super) fn audio(&mut self, index: u32, frame: &[u8], now_us: u64, lane: &mut Lane) {
        let Some(at) = self.streams.iter().position(|s| s.index == index) else { return };
        let s = &mut self.streams[at];
        s.heard_ms = now_us / 1_000;
        if let Err(e) = durable::keep(s.log.as_ref(), frame) {
            return self.break_off(at, e, lane);
        }
        s.frames_in += 1;
        let mut whole = DROPPING_BUDGET_SAMPLES;
        let budget = if s.pipeline.drops_oldest() { &mut whole } else { lane.turn.samples(self.app.clock) };
        let scratch = &mut lane.scratch;
        let offered = s.pipeline.guarded(|p| p.offer(frame, now_us, scratch, budget));
        s.busy |= s.pipeline.has_news() || !s.flushes.is_empty();
        if let Err(e) = offered {
            self.fail_stream(at, &e, lane);
        } else if !self.grow_reservation(at) {
            let e = ProtocolError::new(ErrorCode::Overloaded, "the server's memory for streams is in use")
                .retry_after_ms(1_000);
            self.break_off(at, e, lane);
        }
    }

    fn grow_reservation(&mut self, at: usize) -> bool {
        /// Growth is accounted for in strides, so that the shared counter is rarely touched.
        const STRIDE_BYTES: u64 = 1 << 20;
        let s = &mut self.streams[at];
        let held = s.pipeline.held_bytes() as u64;
        held <= STREAM_RESERVED_BYTES || s.reserved.grow_to(held.next_multiple_of(STRIDE_BYTES))
    }

    /// Lets a stream drain, then answers.
    pub(super) fn finish_stream(&mut self, index: u32, reply_to: Option<String>) {
        if let Some(at) = self.streams.iter().position(|s| s.index == index) {
            self.end_stream(at, EndReason::End, reply_to);
        }
    }

    /// Throws a stream away, then answers.
    pub(super) fn cancel_stream(&mut self, index: u32, reply_to: Option<String>) {
        if let Some(s) = self.streams.iter_mut().find(|s| s.index == index) {
            if let Some(r) = s.recording.take() {
                r.cancel();
            }
            s.pipeline.abandon();
            s.end = End::Closing(EndReason::Cancelled, reply_to);
            s.busy = true;
        }
    }

    /// Ends every stream for one reason.
    pub(super) fn end_streams(&mut self, reason: EndReason) {
        for at in 0..self.streams.len() {
            self.end_stream(at, reason, None);
        }
    }

    fn end_stream(&mut self, at: usize, reason: EndReason, reply_to: Option<String>) {
        let s = &mut self.streams[at];
        if let End::No = s.end {
            s.pipeline.end();
            s.end = End::Draining(reason, reply_to);
            s.busy = true;
            let index = s.index;
            self.session.ending(index);
        }
    }

    /// A stream cannot go on: says why and closes what it has.
    fn fail_stream(&mut self, at: usize, error: &StreamError, lane: &mut Lane) {
        let s = &self.streams[at];
        let told = match error {
            StreamError::Decode(e) => decode_error(e, s.implicit),
            StreamError::Panicked => {
                let _span = s.span();
                tracing::error!("a decoder panicked");
                ProtocolError::new(ErrorCode::Internal, "the decoder failed; the stream ends here")
            }
        };
        self.break_off(at, told, lane);
    }

    /// Ends a stream without what still waits in it, and says why.
    pub(super) fn break_off(&mut self, at: usize, told: ProtocolError, lane: &mut Lane) {
        let s = &mut self.streams[at];
        let told = told.on_stream(&*s.stream_id);
        let reply_to = match std::mem::replace(&mut s.end, End::No) {
            End::Draining(_, id) | End::Closing(_, id) => id,
            End::No => None,
        };
        s.pipeline.abandon();
        let unknown = s.implicit && told.code == ErrorCode::FormatRequired;
        if unknown {
            // It never was a stream: no recording of nothing.
            if let Some(r) = s.recording.take() {
                r.cancel();
            }
        }
        s.closing = s.recording.take().map(|r| r.close("error"));
        s.end = End::Closing(EndReason::Error, reply_to);
        s.busy = true;
        let index = s.index;
        self.session.ending(index);
        if unknown {
            self.session.refuse_binary();
        }
        self.fault(told, None, lane);
    }

    /// Runs every stream that has work, tells what came of it and closes those that are done.
    pub(super) fn work_streams(&mut self, cx: &mut Context<'_>, lane: &mut Lane) -> bool {
        let mut again = false;
        let mut at = 0;
        while at < self.streams.len() {
            if self.streams[at].busy {
                again |= self.work_stream(at, lane);
            }
            if self.poll_end(at, cx, lane) {
                again = true;
            } else {
                at += 1;
            }
        }
        again
    }

    /// One step of a stream. True where more of it can be done at once.
    fn work_stream(&mut self, at: usize, lane: &mut Lane) -> bool {
        let s = &mut self.streams[at];
        s.busy = false;
        if let End::Closing(..) = s.end {
            self.tell(at, lane);
            return false;
        }
        if let Some(e) = durable::failure(s.log.as_ref()) {
            self.break_off(at, e, lane);
            return true;
        }
        let mut budget = STEP_BUDGET_SAMPLES;
        let scratch = &mut lane.scratch;
        let state = s.pipeline.guarded(|p| p.run(scratch, &mut budget));
        match state {
            Err(e) => {
                self.tell_damage(at, lane);
                self.fail_stream(at, &e, lane);
                return true;
            }
            Ok(RunState::More) => s.busy = true,
            Ok(RunState::Idle | RunState::Blocked) => {}
            Ok(RunState::Finished) => {
                let (reason, reply_to) = match std::mem::replace(&mut s.end, End::No) {
                    End::Draining(reason, id) | End::Closing(reason, id) => (reason, id),
                    End::No => (EndReason::End, None),
                };
                s.closing = s.recording.take().map(|r| r.close(reason_name(reason)));
                s.end = End::Closing(reason, reply_to);
            }
        }
        let more = s.busy;
        self.tell(at, lane);
        more
    }

    /// Sends what a stream has to say: levels, speech, damage, acknowledgements that were asked for.
    fn tell(&mut self, at: usize, lane: &mut Lane) {
        let events = std::mem::take(&mut self.streams[at].pipeline.sink_events);
        for e in events {
            self.tell_sink_event(at, e, lane);
        }
        self.tell_damage(at, lane);
        self.acknowledge_stream(at, lane);
        self.tell_flushes(at, lane);
    }

    fn tell_damage(&mut self, at: usize, lane: &mut Lane) {
        let Some((warning, times)) = self.streams[at].pipeline.damage.take() else { return };
        let text = if times > 1 { format!("{warning} (and {} more like it)", times - 1) } else { warning.to_string() };
        let e = ProtocolError::new(ErrorCode::DecodeFailed, text)
            .on_stream(&*self.streams[at].stream_id)
            .detail("warnings", times)
            .detail("stream_continues", true);
        self.fault(e, None, lane);
    }

    fn tell_sink_event(&mut self, at: usize, event: SinkEvent, lane: &mut Lane) {
        let wants = self.session.subscriptions();
        let s = &mut self.streams[at];
        let stream_id = s.stream_id.to_string();
        let event = match event {
            SinkEvent::SpeechTotal { speech_ms } => {
                s.speech_ms = s.counts_speech.then_some(speech_ms);
                return;
            }
            SinkEvent::Dropped { from_ms, dropped_ms } => {
                lane.figures.dropped(dropped_ms);
                Event::AudioDropped(AudioDropped { stream_id, from_ms, dropped_ms })
            }
            SinkEvent::SpeechStarted { at_ms } if wants.has(Topic::Speech) => Event::SpeechStarted { stream_id, at_ms },
            SinkEvent::SpeechEnded { start_ms, end_ms } if wants.has(Topic::Speech) => {
                Event::SpeechEnded { stream_id, start_ms, end_ms }
            }
            SinkEvent::Level { at_ms, rms_dbfs, peak_dbfs, clipped } if wants.has(Topic::Levels) => {
                Event::AudioLevel(AudioLevel { stream_id, at_ms, rms_dbfs, peak_dbfs, clipped })
            }
            SinkEvent::SpeechStarted { .. } | SinkEvent::SpeechEnded { .. } | SinkEvent::Level { .. } => return,
            SinkEvent::Failed { sink, by_limit, retry_after_ms, message } => {
                let _span = s.span();
                tracing::warn!(sink, message, "a sink failed");
                s.recording_fault_told |= sink == recorder::NAME;
                let e = sink_fault(sink, by_limit, retry_after_ms, &message).on_stream(stream_id);
                return self.fault(e, None, lane);
            }
        };
        self.send(&event, None, lane);
    }

    /// Where a stream's recording is closed (or it has none) and its end is due: tells it and removes the stream.
    fn poll_end(&mut self, at: usize, cx: &mut Context<'_>, lane: &mut Lane) -> bool {
        let s = &mut self.streams[at];
        let End::Closing(reason, _) = s.end else { return false };
        if s.owes_acknowledgement() {
            return false;
        }
        let mut fault = None;
        let recorded = match &mut s.closing {
            None => None,
            Some(closing) => match Pin::new(closing).poll(cx) {
                Poll::Pending => return false,
                Poll::Ready(Ok(Ok(r))) => Some(r),
                Poll::Ready(Ok(Err(e))) => {
                    let _span = stream_span(&self.connection, s.live.meta.uid, &s.stream_id);
                    tracing::warn!(error = %e, "recording not closed");
                    fault = (!s.recording_fault_told).then_some(e);
                    None
                }
                Poll::Ready(Err(_)) => None,
            },
        };
        self.tell(at, lane);
        if let Some(e) = fault {
            self.tell_sink_event(at, not_recorded(&e), lane);
        }
        let mut s = self.streams.remove(at);
        s.unlist(&self.app);
        self.end_log(&s);
        self.session.closed(s.index);
        let reply_to = match std::mem::replace(&mut s.end, End::No) {
            End::Closing(_, id) | End::Draining(_, id) => id,
            End::No => None,
        };
        lane.figures.ended(reason);
        let ended = ended(&s, reason, recorded);
        s.trace.text("voxgate.end_reason", &reason_name(reason));
        s.trace.number("voxgate.received_bytes", ended.received_bytes);
        s.trace.number("voxgate.duration_ms", ended.duration_ms);
        {
            let (_span, bytes, duration_ms) = (s.span(), ended.received_bytes, ended.duration_ms);
            tracing::debug!(reason = reason_name(reason), bytes, duration_ms, "stream ended");
        }
        self.send(&Event::AudioEnded(Box::new(ended)), reply_to.as_deref(), lane);
        self.connection.outbox.wake(); // a drain may wait for the last stream
        true
    }

    /// Ends streams that are too old or whose sender fell silent.
    pub(super) fn check_stream_times(&mut self, now_ms: u64, lane: &mut Lane) {
        let (stall_ms, max_s) = (self.app.config.audio.stall_timeout_ms, self.app.config.audio.max_stream_s);
        for at in 0..self.streams.len() {
            let s = &self.streams[at];
            if !matches!(s.end, End::No) {
                continue;
            }
            let stalled = now_ms.saturating_sub(s.heard_ms) >= stall_ms && s.pipeline.is_drained();
            if stalled {
                let e =
                    ProtocolError::new(ErrorCode::StreamStalled, format!("no audio came for {} s", stall_ms / 1_000))
                        .on_stream(&*s.stream_id);
                self.fault(e, None, lane);
            }
            if stalled || max_s.is_some_and(|m| now_ms.saturating_sub(self.streams[at].started_ms) >= m * 1_000) {
                self.end_stream(at, EndReason::Timeout, None);
            }
        }
    }
}
