//! How much one connection may say: messages and broadcasts, by `governor`'s cells. Audio does not count, flow control bounds it. An idle
//! connection has no cell.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::config::LimitsConfig;
use crate::protocol::{ErrorCode, ProtocolError};

/// Messages at once, against those a second: a page that loads says much at first.
const MESSAGES_BURST: u32 = 4;

/// A connection's cells.
pub(super) struct Limits {
    messages_per_s: u32,
    broadcasts_per_s: u32,
    messages: Option<Box<DefaultDirectRateLimiter>>,
    broadcasts: Option<Box<DefaultDirectRateLimiter>>,
    /// Messages refused since the last one that was not.
    refused: u32,
}

impl Limits {
    pub(super) fn new(config: &LimitsConfig) -> Self {
        Self {
            messages_per_s: config.messages_per_s,
            broadcasts_per_s: config.broadcasts_per_s,
            messages: None,
            broadcasts: None,
            refused: 0,
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
