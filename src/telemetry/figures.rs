//! What one worker thread counts: plain loads and stores of its own cache lines, so that a frame pays a few nanoseconds and no lock.
//! Others read and add up. Knows no connection.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::histogram::{Histogram, count};
use crate::protocol::{CloseCode, EndReason, MESSAGE_TYPES};

/// Close codes counted by themselves; [`OTHER_CODE`] takes the rest.
pub const CLOSE_CODES: [u16; 18] =
    [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1013, 4001, 4003, 4005, 4009, 4010, 4108, 4111, 4129, 4202];
/// Where a close code that is none of [`CLOSE_CODES`] counts.
pub const OTHER_CODE: usize = CLOSE_CODES.len();
/// The reasons a stream ends for, as on the wire, in the order of their counters.
pub const END_REASONS: [&str; 6] = ["end", "cancelled", "disconnected", "timeout", "error", "drained"];

/// A worker's figures; only its own thread writes them.
#[derive(Debug, Default)]
pub struct LaneFigures {
    /// From the arrival of the newest frame an acknowledgement is of until it is written.
    pub ack_latency: Histogram,
    /// From the moment a message other than audio was read until its effects were carried out.
    pub processing: Histogram,
    /// How late the thread's timer was called: what its connections wait because of each other.
    pub lag: Histogram,
    /// When that timer was called last, on the server's monotonic clock.
    pub alive_ms: AtomicU64,
    messages: MessageCounts,
    closed: [AtomicU64; CLOSE_CODES.len() + 1],
    ended: [AtomicU64; END_REASONS.len()],
    dropped_ms: AtomicU64,
    resumed: AtomicU64,
}

#[derive(Debug)]
struct MessageCounts([AtomicU64; MESSAGE_TYPES.len()]);

impl Default for MessageCounts {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; MESSAGE_TYPES.len()])
    }
}

impl LaneFigures {
    /// A message of a type came: its place in [`MESSAGE_TYPES`].
    #[inline]
    pub fn message(&self, kind: usize) {
        count(&self.messages.0[kind], 1);
    }

    /// A connection is closed by the server.
    pub fn closed(&self, code: CloseCode) {
        let at = CLOSE_CODES.iter().position(|c| *c == code.code()).unwrap_or(OTHER_CODE);
        count(&self.closed[at], 1);
    }

    /// A stream ended.
    pub fn ended(&self, reason: EndReason) {
        let at = match reason {
            EndReason::End => 0,
            EndReason::Cancelled => 1,
            EndReason::Disconnected => 2,
            EndReason::Timeout => 3,
            EndReason::Error => 4,
            EndReason::Drained => 5,
        };
        count(&self.ended[at], 1);
    }

    /// Audio was dropped because a queue was full.
    pub fn dropped(&self, ms: u64) {
        count(&self.dropped_ms, ms);
    }

    /// A session went on with another socket.
    pub fn resumed(&self) {
        count(&self.resumed, 1);
    }
}

/// What all workers counted, added up.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are those of LaneFigures")]
pub struct LaneTotals {
    pub messages: [u64; MESSAGE_TYPES.len()],
    pub closed: [u64; CLOSE_CODES.len() + 1],
    pub ended: [u64; END_REASONS.len()],
    pub dropped_ms: u64,
    pub resumed: u64,
}

impl Default for LaneTotals {
    fn default() -> Self {
        Self {
            messages: [0; MESSAGE_TYPES.len()],
            closed: [0; CLOSE_CODES.len() + 1],
            ended: [0; END_REASONS.len()],
            dropped_ms: 0,
            resumed: 0,
        }
    }
}

impl LaneTotals {
    /// Adds a worker's.
    pub fn take_in(&mut self, lane: &LaneFigures) {
        let add = |sums: &mut [u64], each: &[AtomicU64]| {
            sums.iter_mut().zip(each).for_each(|(sum, n)| *sum += n.load(Relaxed));
        };
        add(&mut self.messages, &lane.messages.0);
        add(&mut self.closed, &lane.closed);
        add(&mut self.ended, &lane.ended);
        self.dropped_ms += lane.dropped_ms.load(Relaxed);
        self.resumed += lane.resumed.load(Relaxed);
    }
}
