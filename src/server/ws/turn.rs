//! How much a connection may do before its thread's other connections have their turn. Knows no socket and no stream.

use crate::clock::Clock;

/// What the others wait for one connection at the most, but for a step of each of its streams: so many of them busy at once are
/// hardly heard. Most turns are over a hundred times sooner.
const TURN_US: u64 = 2_000;
/// Output samples between two looks at the clock: frames in real time never see one.
const STRIDE_SAMPLES: usize = 16_000;

/// A connection's turn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turn {
    until_us: u64,
    /// Samples left until the clock is looked at.
    samples: usize,
}

impl Turn {
    pub(super) fn new(now_us: u64) -> Self {
        Self { until_us: now_us + TURN_US, samples: STRIDE_SAMPLES }
    }

    /// Output samples that may be made now, to be counted down. None once the turn is over: what comes then is queued.
    pub(super) fn samples(&mut self, clock: Clock) -> &mut usize {
        if self.samples == 0 && !self.is_over(clock) {
            self.samples = STRIDE_SAMPLES;
        }
        &mut self.samples
    }

    /// Whether the others shall have theirs.
    pub(super) fn is_over(&self, clock: Clock) -> bool {
        clock.now_us() >= self.until_us
    }
}
