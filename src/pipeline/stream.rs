//! One stream, live: its queue, its signal path, its sinks and its figures. Run in steps by its one owner.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::chain::{Chain, Scratch};
use super::fan::{Stalled, all, push_all};
use super::figures::{Progress, RunState, StreamError, StreamReport, StreamSettings};
use super::queue::AudioQueue;
use crate::analysis::levels::Meter;
use crate::audio::convert::f32_to_s16;
use crate::audio::{Encoding, PcmSpec};
use crate::decode::DecodeWarning;
use crate::protocol::Overflow;
use crate::sink::{Block, Sink, SinkEvent};

/// Queue bytes of a stream whose bit rate is not known yet: a second of 512 kbit/s.
const QUEUE_BYTES_UNKNOWN: usize = 64 * 1024;
/// Queue bytes at the most, whatever rate a stream claims.
const QUEUE_BYTES_MAX: usize = 4 << 20;

/// How far a stream has come in what it was sent.
#[derive(Clone, Copy, Debug, Default)]
struct Passed {
    bytes: u64,
    ms: u64,
    frames: u64,
}

/// A live stream.
pub struct StreamPipeline {
    settings: StreamSettings,
    queue: AudioQueue,
    chain: Chain,
    sinks: Vec<Box<dyn Sink>>,
    meter: Meter,
    stalled: Option<Box<Stalled>>,
    /// Source frames dropped at the front of the queue whose silence is still to come.
    gap_frames: u64,
    after_gap: bool,
    ending: bool,
    finished: bool,
    closed: bool,
    arrived_bytes: u64,
    frames_done: u64,
    /// What every sink had before the block one of them refuses.
    handed: Passed,
    newest_arrival_us: u64,
    output_samples: u64,
    dropped_ms: u64,
    acked_ms: u64,
    warnings: u64,
    /// What the sinks said and damage met, for the owner to take.
    pub sink_events: Vec<SinkEvent>,
    /// Damage met since the owner last looked: the first of it and how often.
    pub damage: Option<(DecodeWarning, u64)>,
}

impl std::fmt::Debug for StreamPipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamPipeline").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl StreamPipeline {
    /// A stream with nothing in it.
    pub fn new(settings: StreamSettings, chain: Chain, sinks: Vec<Box<dyn Sink>>) -> Self {
        Self {
            settings,
            queue: AudioQueue::default(),
            chain,
            sinks,
            meter: Meter::default(),
            stalled: None,
            gap_frames: 0,
            after_gap: false,
            ending: false,
            finished: false,
            closed: false,
            arrived_bytes: 0,
            frames_done: 0,
            handed: Passed::default(),
            newest_arrival_us: 0,
            output_samples: 0,
            dropped_ms: 0,
            acked_ms: 0,
            warnings: 0,
            sink_events: Vec::new(),
            damage: None,
        }
    }

    /// Runs `work`; a panic in it is an error of this stream and of nothing else (failures.md row 15). After one only
    /// [`StreamPipeline::abandon`] and the figures are of use.
    ///
    /// # Errors
    /// What `work` returns, or [`StreamError::Panicked`].
    pub fn guarded<R>(&mut self, work: impl FnOnce(&mut Self) -> Result<R, StreamError>) -> Result<R, StreamError> {
        catch_unwind(AssertUnwindSafe(|| work(self))).unwrap_or(Err(StreamError::Panicked))
    }

    /// Adds a sink from here on, unless one of its name is there.
    pub fn add_sink(&mut self, sink: Box<dyn Sink>) {
        if !self.has_sink(sink.name()) {
            self.sinks.push(sink);
        }
    }

    /// Whether a sink of that name is there.
    pub fn has_sink(&self, name: &str) -> bool {
        self.sinks.iter().any(|s| s.name() == name)
    }

    /// Takes a sink out. The block it may be refusing is forgotten.
    pub fn remove_sink(&mut self, name: &str) {
        if let Some(at) = self.sinks.iter().position(|s| s.name() == name) {
            let mut sink = self.sinks.remove(at);
            sink.finish(&mut self.sink_events);
            if let Some(s) = &mut self.stalled {
                let low = s.taken & ((1 << at) - 1);
                s.taken = low | (s.taken >> (at + 1)) << at;
            }
        }
    }

    /// Rate and channels of the output.
    pub fn spec(&self) -> PcmSpec {
        self.chain.spec()
    }

    /// Whether the encoding tells packets by frames, so that a frame must stay whole.
    fn queue_bytes_max(&self) -> usize {
        let per_s = match self.settings.format.bytes_per_s() {
            Some(n) => n as u64,
            None if self.chain.decoded_ms() > 0 => self.chain.decoded_bytes() * 1_000 / self.chain.decoded_ms(),
            None => 0,
        };
        let floor = if self.settings.format.bytes_per_s().is_some() { 0 } else { QUEUE_BYTES_UNKNOWN };
        let bytes = usize::try_from(per_s.saturating_mul(self.settings.queue_ms) / 1_000).unwrap_or(QUEUE_BYTES_MAX);
        bytes.clamp(floor, QUEUE_BYTES_MAX)
    }

    /// Whether the queue is at its bound and the policy is to wait: the socket must not be read.
    pub fn is_full(&self) -> bool {
        !self.drops_oldest() && !self.queue.is_empty() && self.queue.len_bytes() >= self.queue_bytes_max()
    }

    /// Whether what its queue cannot hold is dropped.
    pub fn drops_oldest(&self) -> bool {
        self.settings.overflow == Overflow::DropOldest
    }

    /// Bytes of audio the stream holds: its queue, its decoder's unfinished part, a refused block.
    pub fn held_bytes(&self) -> usize {
        let stalled = self.stalled.as_ref().map_or(0, |s| s.samples.len() * 6);
        self.queue.len_bytes() + self.chain.pending_bytes() + stalled
    }

    /// Takes one frame: decodes it at once while nothing waits before it and `budget` (output samples) lasts, queues the rest.
    ///
    /// # Errors
    /// What ends the stream.
    pub fn offer(
        &mut self,
        frame: &[u8],
        arrived_us: u64,
        scratch: &mut Scratch,
        budget: &mut usize,
    ) -> Result<(), StreamError> {
        self.arrived_bytes += frame.len() as u64;
        let mut at = 0;
        if self.queue.is_empty() && self.stalled.is_none() && self.gap_frames == 0 {
            while *budget > 0 {
                let step = self.chain.step(&frame[at..], scratch)?;
                at += step.consumed;
                self.deliver(scratch, budget);
                if at == frame.len() && !step.more {
                    self.frame_done(arrived_us);
                    return Ok(());
                }
                if self.stalled.is_some() {
                    break;
                }
            }
        }
        self.queue.push(&frame[at..], arrived_us);
        if self.drops_oldest() {
            self.shed(scratch)?;
        }
        Ok(())
    }

    /// Works on what waits until the budget (output samples) is spent.
    ///
    /// # Errors
    /// What ends the stream.
    pub fn run(&mut self, scratch: &mut Scratch, budget: &mut usize) -> Result<RunState, StreamError> {
        loop {
            if !self.retry_stalled() {
                return Ok(RunState::Blocked);
            }
            if self.gap_frames > 0 {
                if *budget == 0 {
                    return Ok(RunState::More);
                }
                self.gap_frames -= self.chain.silence(self.gap_frames, scratch)?;
                self.deliver(scratch, budget);
                self.after_gap = true;
                continue;
            }
            let Some(front) = self.queue.front() else { return self.finish_if_ending(scratch, budget) };
            if *budget == 0 {
                return Ok(RunState::More);
            }
            let step = self.chain.step(front, scratch)?;
            self.queue.consume(step.consumed);
            self.deliver(scratch, budget);
            self.pop_done(step.more);
        }
    }

    /// No more audio comes; [`StreamPipeline::run`] on until it says [`RunState::Finished`].
    pub fn end(&mut self) {
        self.ending = true;
    }

    /// Whether something waits, or there is something to tell.
    pub fn has_news(&self) -> bool {
        !self.is_drained() || !self.sink_events.is_empty() || self.damage.is_some() || self.ending
    }

    /// Whether no more audio is taken.
    pub fn is_ending(&self) -> bool {
        self.ending
    }

    /// Closes the sinks without the audio that still waits.
    pub fn abandon(&mut self) {
        self.ending = true;
        self.close_sinks();
    }

    /// Whether everything that arrived has been decoded and handed to every sink.
    pub fn is_drained(&self) -> bool {
        self.queue.is_empty() && self.stalled.is_none() && self.gap_frames == 0
    }

    /// The acknowledgement, where enough audio came since the last one.
    pub fn take_due_ack(&mut self) -> Option<Progress> {
        let interval_ms = u64::from(self.settings.ack_interval_ms);
        if interval_ms == 0 || self.passed().ms < self.acked_ms + interval_ms {
            return None;
        }
        let p = self.progress();
        self.acked_ms = p.decoded_ms;
        Some(p)
    }

    /// What every sink has: nothing of a block that waits for one of them.
    fn passed(&self) -> Passed {
        match self.stalled {
            Some(_) => self.handed,
            None => Passed { bytes: self.chain.decoded_bytes(), ms: self.chain.decoded_ms(), frames: self.frames_done },
        }
    }

    /// Where the stream stands.
    pub fn progress(&self) -> Progress {
        let passed = self.passed();
        let (decoded_ms, decoded_bytes) = (self.chain.decoded_ms(), self.chain.decoded_bytes());
        let waiting = self.queue.len_bytes() as u64 + decoded_bytes.saturating_sub(passed.bytes);
        let buffered_ms = match self.settings.format.bytes_per_s() {
            Some(per_s) => waiting * 1_000 / per_s as u64,
            None if decoded_bytes > 0 => waiting * decoded_ms / decoded_bytes,
            None => 0,
        };
        Progress {
            received_bytes: passed.bytes,
            received_frames: passed.frames,
            decoded_ms: passed.ms,
            output_samples: self.output_samples,
            buffered_ms,
            dropped_ms: self.dropped_ms,
            newest_arrival_us: self.newest_arrival_us,
        }
    }

    /// The figures of the whole stream.
    pub fn report(&self) -> StreamReport {
        StreamReport {
            progress: self.progress(),
            arrived_bytes: self.arrived_bytes,
            duration_ms: self.output_samples * 1_000 / u64::from(self.spec().rate_hz),
            peak_dbfs: self.meter.peak_dbfs(),
            rms_dbfs: self.meter.rms_dbfs(),
            warnings: self.warnings,
        }
    }

    fn frame_done(&mut self, arrived_us: u64) {
        self.frames_done += 1;
        self.newest_arrival_us = arrived_us;
    }

    fn pop_done(&mut self, more: bool) {
        if !more
            && self.queue.front().is_some_and(<[u8]>::is_empty)
            && let Some(arrived_us) = self.queue.pop()
        {
            self.frame_done(arrived_us);
        }
    }

    /// Hands the scratch buffer's output to every sink; what one refuses is kept.
    fn deliver(&mut self, scratch: &mut Scratch, budget: &mut usize) {
        self.note_damage(scratch);
        if scratch.shaped.is_empty() {
            *budget = budget.saturating_sub(1); // even a step without sound costs
            self.handed = self.passed();
            return;
        }
        *budget = budget.saturating_sub(scratch.shaped.len());
        scratch.s16.clear();
        if self.sinks.iter().any(|s| s.wants_s16()) {
            f32_to_s16(&scratch.shaped, &mut scratch.s16);
        }
        self.meter.add(&scratch.shaped);
        let after_gap = std::mem::take(&mut self.after_gap);
        let block = self.block(&scratch.shaped, &scratch.s16, after_gap);
        let taken = push_all(&mut self.sinks, &block, 0, &mut self.sink_events);
        if taken == all(self.sinks.len()) {
            self.output_samples += (scratch.shaped.len() / usize::from(self.spec().channels)) as u64;
            self.handed = self.passed();
        } else {
            self.handed.frames = self.frames_done;
            self.stalled =
                Some(Box::new(Stalled { samples: scratch.shaped.clone(), s16: scratch.s16.clone(), after_gap, taken }));
        }
    }

    fn block<'a>(&self, samples: &'a [f32], s16: &'a [i16], after_gap: bool) -> Block<'a> {
        Block { spec: self.spec(), position: self.output_samples, samples, s16, after_gap }
    }

    /// Offers a refused block again. False while it is still refused.
    fn retry_stalled(&mut self) -> bool {
        let Some(mut s) = self.stalled.take() else { return true };
        let block = self.block(&s.samples, &s.s16, s.after_gap);
        s.taken = push_all(&mut self.sinks, &block, s.taken, &mut self.sink_events);
        if s.taken != all(self.sinks.len()) {
            self.stalled = Some(s);
            return false;
        }
        self.output_samples += (s.samples.len() / usize::from(self.spec().channels)) as u64;
        self.handed = self.passed();
        true
    }

    /// Drops the oldest undecoded audio until the queue is within its bound; only its time is kept.
    fn shed(&mut self, scratch: &mut Scratch) -> Result<(), StreamError> {
        let bound = self.queue_bytes_max();
        let before_ms = self.chain.decoded_ms();
        while self.queue.len_bytes() > bound {
            let excess = self.queue.len_bytes() - bound;
            let Some(front) = self.queue.front() else { break };
            // No more than must go; only a packet of raw Opus goes whole.
            let whole = self.settings.format.encoding == Encoding::Opus;
            let part = if whole { front } else { &front[..front.len().min(excess)] };
            let step = self.chain.discard(part, scratch)?;
            self.queue.consume(step.consumed);
            self.gap_frames += step.source_frames;
            self.note_damage(scratch);
            self.pop_done(step.more);
        }
        self.handed = self.passed();
        let dropped_ms = self.chain.decoded_ms() - before_ms;
        if dropped_ms > 0 {
            self.dropped_ms += dropped_ms;
            self.sink_events.push(SinkEvent::Dropped { from_ms: before_ms, dropped_ms });
        }
        Ok(())
    }

    fn note_damage(&mut self, scratch: &Scratch) {
        for w in scratch.warnings() {
            self.warnings += 1;
            match &mut self.damage {
                Some((_, times)) => *times += 1,
                None => self.damage = Some((w.clone(), 1)),
            }
        }
    }

    fn finish_if_ending(&mut self, scratch: &mut Scratch, budget: &mut usize) -> Result<RunState, StreamError> {
        if !self.ending {
            return Ok(RunState::Idle);
        }
        while !self.finished {
            if *budget == 0 {
                return Ok(RunState::More);
            }
            self.finished = !self.chain.finish(scratch)?;
            self.deliver(scratch, budget);
            if self.stalled.is_some() {
                return Ok(RunState::Blocked);
            }
        }
        self.close_sinks();
        Ok(RunState::Finished)
    }

    /// Lets the sinks finish, once. They live on with the stream: its owner decides what becomes of what they made.
    fn close_sinks(&mut self) {
        if !std::mem::replace(&mut self.closed, true) {
            for sink in &mut self.sinks {
                sink.finish(&mut self.sink_events);
            }
        }
    }
}
