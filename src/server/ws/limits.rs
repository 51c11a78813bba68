//! How much one connection may say: messages and broadcasts, by `governor`'s cells. Audio counts among the bytes alone, by which the
//! reading is slowed down and nothing refused. An idle connection has no cell.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::config::LimitsConfig;
use crate::protocol::{ErrorCode, ProtocolError};

/// Messages at once, against those a second: a page that loads says much at first.
const MESSAGES_BURST: u32 = 4;

/// How much of the bytes a second may come at once, in microseconds of them.
const BYTES_BURST_US: u64 = 1_000_000;

/// A connection's cells.
pub(super) struct Limits {
    messages_per_s: u32,
    broadcasts_per_s: u32,
    messages: Option<Box<DefaultDirectRateLimiter>>,
    broadcasts: Option<Box<DefaultDirectRateLimiter>>,
    /// Messages refused since the last one that was not.
    refused: u32,
    bytes_per_s: Option<u64>,
    /// When all bytes so far may have come, at that rate.
    bytes_due_us: u64,
}

impl Limits {
    pub(super) fn new(config: &LimitsConfig) -> Self {
        Self {
            messages_per_s: config.messages_per_s,
            broadcasts_per_s: config.broadcasts_per_s,
            messages: None,
            broadcasts: None,
            refused: 0,
            bytes_per_s: config.bytes_per_s,
            bytes_due_us: 0,
        }
    }

    /// Counts a message that is not audio.
    ///
    /// # Errors
    /// `RATE_LIMITED`, with the time after which one will be taken.
    pub(super) fn message(&mut self) -> Result<(), ProtocolError> {
        let (per_s, burst) = (self.messages_per_s, self.messages_per_s.saturating_mul(MESSAGES_BURST));
        let taken = take(self.messages.get_or_insert_with(|| cell(per_s, burst)), "messages", per_s);
        self.refused = if taken.is_ok() { 0 } else { self.refused + 1 };
        taken
    }

    /// Whether the client does not heed what it is told: a whole burst was refused in a row.
    pub(super) fn are_ignored(&self) -> bool {
        self.refused >= self.messages_per_s.saturating_mul(MESSAGES_BURST)
    }

    /// Counts bytes that were read. Returns how many milliseconds none shall be read.
    pub(super) fn bytes(&mut self, count: usize, now_us: u64) -> Option<u64> {
        let per_s = self.bytes_per_s?.max(1);
        let lasts_us = (count as u64).saturating_mul(1_000_000) / per_s;
        self.bytes_due_us = self.bytes_due_us.max(now_us.saturating_sub(BYTES_BURST_US)).saturating_add(lasts_us);
        Some(self.bytes_due_us.saturating_sub(now_us).div_ceil(1_000)).filter(|&ms| ms > 0)
    }

    /// Counts a broadcast.
    ///
    /// # Errors
    /// `RATE_LIMITED`, with the time after which one will be taken.
    pub(super) fn broadcast(&mut self) -> Result<(), ProtocolError> {
        let per_s = self.broadcasts_per_s;
        take(self.broadcasts.get_or_insert_with(|| cell(per_s, per_s)), "broadcasts", per_s)
    }
}

fn cell(per_s: u32, burst: u32) -> Box<DefaultDirectRateLimiter> {
    let at_least_one = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
    Box::new(RateLimiter::direct(Quota::per_second(at_least_one(per_s)).allow_burst(at_least_one(burst))))
}

fn take(cell: &DefaultDirectRateLimiter, what: &str, per_s: u32) -> Result<(), ProtocolError> {
    cell.check().map_err(|e| {
        let wait: Duration = e.wait_time_from(DefaultClock::default().now());
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
        ProtocolError::new(ErrorCode::RateLimited, format!("more than {per_s} {what} a second: this one was not taken"))
            .retry_after_ms(wait_ms)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_beyond_a_second_worth_of_them_wait_as_long_as_they_last() {
        let mut none = Limits::new(&LimitsConfig::default());
        assert_eq!(none.bytes(usize::MAX, 0), None);
        let mut limits = Limits::new(&LimitsConfig { bytes_per_s: Some(10_000), ..LimitsConfig::default() });
        assert_eq!(limits.bytes(10_000, 5_000_000), None, "a second's worth at once");
        assert_eq!(limits.bytes(5_000, 5_000_000), Some(500));
        assert_eq!(limits.bytes(1_000, 5_500_000), Some(100));
        assert_eq!(limits.bytes(10_000, 60_000_000), None, "rest is not saved up beyond a second");
        assert_eq!(limits.bytes(100, 60_000_000), Some(10));
    }
}
