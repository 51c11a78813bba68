//! Acknowledgements: those that fall due and those that were asked for. One is sent once what it promises has passed every sink and, where the
//! stream is kept, is on the disk.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::lane::Lane;
use super::stream::Stream;
use super::task::Task;
use crate::journal::Log;
use crate::pipeline::Progress;
use crate::protocol::{AudioReceived, Event};

/// An acknowledgement that was asked for.
pub(super) struct Flush {
    /// Once so many frames have passed.
    frames: u64,
    /// What to tell, once the log has reached a position.
    passed: Option<(Progress, u64)>,
    reply_to: Option<String>,
}

impl Stream {
    /// Whether all that was put in the log by then survives.
    pub(super) fn is_kept(&self, position: u64) -> bool {
        self.log.as_ref().is_none_or(|log| log.reached(position))
    }

    /// Whether an acknowledgement still waits for the disk.
    pub(super) fn owes_acknowledgement(&self) -> bool {
        let due = self.unkept_ack.is_some() || self.flushes.iter().any(|f| f.passed.is_some());
        due && self.log.as_ref().is_some_and(|log| log.failure().is_none())
    }

    /// Where its log stands.
    pub(super) fn log_position(&self) -> u64 {
        self.log.as_ref().map_or(0, Log::position)
    }

    /// Looks at the stream's work again, because a sink called.
    pub(super) fn set_busy(&mut self) {
        self.busy = true;
    }

    pub(super) fn progress_event(&self, p: &Progress, now_us: u64) -> AudioReceived {
        AudioReceived {
            stream_id: Arc::clone(&self.stream_id),
            received_bytes: p.received_bytes,
            received_frames: p.received_frames,
            decoded_ms: p.decoded_ms,
            output_samples: p.output_samples,
            buffered_ms: p.buffered_ms,
            dropped_ms: p.dropped_ms,
            processing_us: now_us.saturating_sub(p.newest_arrival_us),
        }
    }
}

impl Task {
    /// Acknowledges once all received so far has passed every sink.
    pub(super) fn flush_stream(&mut self, index: u32, reply_to: Option<String>) {
        if let Some(s) = self.streams.iter_mut().find(|s| s.index == index) {
            s.flushes.push(Flush { frames: s.frames_in, passed: None, reply_to });
            s.busy = true;
        }
    }

    /// Sends the acknowledgements that are due after a read.
    pub(super) fn acknowledge(&mut self, lane: &mut Lane) {
        for at in 0..self.streams.len() {
            self.acknowledge_stream(at, lane);
        }
    }

    pub(super) fn acknowledge_stream(&mut self, at: usize, lane: &mut Lane) {
        let s = &mut self.streams[at];
        let due = match &s.log {
            None => s.pipeline.take_due_ack(),
            Some(log) => {
                // One waits at a time: the next will tell what came meanwhile.
                if s.unkept_ack.is_none() {
                    s.unkept_ack = s.pipeline.take_due_ack().map(|p| (p, log.position()));
                }
                s.unkept_ack.take_if(|(_, position)| log.reached(*position)).map(|(p, _)| p)
            }
        };
        if let Some(p) = due {
            lane.now_us = self.app.clock.now_us();
            let ack = s.progress_event(&p, lane.now_us);
            lane.figures.ack_latency.add(ack.processing_us);
            s.live.buffered_ms.store(p.buffered_ms, Relaxed);
            self.send(&Event::AudioReceived(ack), None, lane);
        }
    }

    /// Sends the acknowledgements that were asked for and are due.
    pub(super) fn tell_flushes(&mut self, at: usize, lane: &mut Lane) {
        let s = &mut self.streams[at];
        if s.flushes.is_empty() {
            return;
        }
        let p = s.pipeline.progress();
        let passed = if s.pipeline.is_drained() { u64::MAX } else { p.received_frames };
        let now_us = self.app.clock.now_us();
        let position = s.log_position();
        let mut flushes = std::mem::take(&mut s.flushes);
        flushes.iter_mut().filter(|f| f.frames <= passed).for_each(|f| {
            f.passed.get_or_insert((p, position));
        });
        let due: Vec<_> = flushes.extract_if(.., |f| f.passed.is_some_and(|(_, at)| s.is_kept(at))).collect();
        s.flushes = flushes;
        for Flush { passed, reply_to, .. } in due {
            let s = &self.streams[at];
            let ack = passed.map(|(p, _)| Event::AudioReceived(s.progress_event(&p, now_us)));
            if let Some(ack) = ack {
                self.send(&ack, reply_to.as_deref(), lane);
            }
        }
    }
}
