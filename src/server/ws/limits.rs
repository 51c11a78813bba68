//! How much one connection may say: messages and broadcasts, by `governor`'s cells. Audio counts among the bytes alone, by which the
//! reading is slowed down and nothing refused. An idle connection has no cell.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::config::LimitsConfig;
use crate::protocol::{ErrorCode, ProtocolError};

/// Messages at once, against those a second: a page that loads says much at first.
const MESSAGES_BURST: u32 = 4;

/// A limited connection is read in at least so many parts a second, none of which is more than governor lets through at once.
const READS_PER_S_MIN: u64 = 8;

/// A connection's cells.
pub(super) struct Limits {
    messages_per_s: u32,
    broadcasts_per_s: u32,
    messages: Option<Box<DefaultDirectRateLimiter>>,
    broadcasts: Option<Box<DefaultDirectRateLimiter>>,
    /// Messages refused since the last one that was not.
    refused: u32,
    bytes_per_s: Option<u64>,
    read_bytes_max: usize,
    bytes: Option<Box<ByteCell>>,
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
            read_bytes_max: config
                .bytes_per_s
                .map_or(usize::MAX, |per_s| usize::try_from(per_s / READS_PER_S_MIN).unwrap_or(usize::MAX)),
            bytes: None,
        }
    }

    /// Counts a message that is not audio, or a control frame.
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

    /// Bytes that may be read at once.
    pub(super) fn read_bytes_max(&self) -> usize {
        self.read_bytes_max
    }

    /// Counts bytes that were read, a second's worth of which may come at once. Returns for how many milliseconds none shall be read;
    /// then it is to be asked again, with none, for that may have been too soon.
    pub(super) fn bytes(&mut self, count: usize, now_us: u64) -> Option<u64> {
        let per_s = self.bytes_per_s?;
        self.bytes.get_or_insert_with(|| Box::new(ByteCell::new(per_s))).take(count as u64, now_us)
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

/// Cells a second at the most: governor counts their spacing in whole nanoseconds, of which that leaves a thousand.
const CELLS_PER_S_MAX: u64 = 1_000_000;

/// The time of the connection that reads: asking the system for each frame would cost more than the counting.
#[derive(Debug, Default)]
struct ReadTime(AtomicU64);

impl Clock for ReadTime {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_micros(self.0.load(Relaxed))
    }
}

/// What may be read. Bytes are counted when they are there, so governor is asked to let them through afterwards: until it has, no
/// more are read.
struct ByteCell {
    limiter: RateLimiter<NotKeyed, InMemoryState, ReadTime, NoOpMiddleware<Duration>>,
    /// Bytes a cell stands for.
    cell_bytes: u64,
    /// Cells that may pass at once.
    burst: NonZeroU32,
    /// Bytes that were read and not let through yet.
    owed: u64,
}

impl ByteCell {
    fn new(per_s: u64) -> Self {
        let cell_bytes = per_s.div_ceil(CELLS_PER_S_MAX).max(1);
        let per_s = u32::try_from(per_s / cell_bytes).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        let limiter = RateLimiter::direct_with_clock(Quota::per_second(per_s), ReadTime::default());
        Self { limiter, cell_bytes, burst: per_s, owed: 0 }
    }

    fn take(&mut self, bytes: u64, now_us: u64) -> Option<u64> {
        self.limiter.clock().0.store(now_us, Relaxed);
        self.owed = self.owed.saturating_add(bytes);
        // More than a burst never passes at once, however long one waits. What does not fill a cell waits for more.
        while let Some(cells) = NonZeroU32::new(u32::try_from(self.owed / self.cell_bytes).unwrap_or(u32::MAX)) {
            let cells = cells.min(self.burst);
            match self.limiter.check_n(cells).expect("no more than a burst") {
                Ok(()) => self.owed -= u64::from(cells.get()) * self.cell_bytes,
                Err(not_until) => {
                    let wait = not_until.wait_time_from(Duration::from_micros(now_us));
                    return Some(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX).div_ceil(1_000).max(1));
                }
            }
        }
        None
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
        assert!(none.bytes.is_none(), "who is not limited is not counted");
        let mut limits = Limits::new(&LimitsConfig { bytes_per_s: Some(10_000), ..LimitsConfig::default() });
        assert_eq!(limits.bytes(10_000, 5_000_000), None, "a second's worth at once");
        assert_eq!(limits.bytes(5_000, 5_000_000), Some(500));
        assert_eq!(limits.bytes(0, 5_400_000), Some(100), "too soon");
        assert_eq!(limits.bytes(1_000, 5_500_000), Some(100));
        assert_eq!(limits.bytes(0, 5_600_000), None);
        assert_eq!(limits.bytes(10_000, 60_000_000), None, "rest is not saved up beyond a second");
        assert_eq!(limits.bytes(100, 60_000_000), Some(10));
    }

    /// Bytes read in ten seconds by a task that reads whenever it may.
    fn read_in_ten_seconds(per_s: u64, read_bytes: usize) -> u64 {
        let mut limits = Limits::new(&LimitsConfig { bytes_per_s: Some(per_s), ..LimitsConfig::default() });
        let (mut now_us, mut total, mut came) = (7_000_000, 0, 0);
        while now_us < 17_000_000 {
            match limits.bytes(std::mem::take(&mut came), now_us) {
                Some(wait_ms) => now_us += wait_ms * 1_000,
                None => {
                    (came, total) = (read_bytes, total + read_bytes as u64);
                    now_us += 10;
                }
            }
        }
        total
    }

    #[test]
    fn reads_beyond_a_second_and_rates_beyond_nanoseconds_keep_to_the_rate() {
        for (per_s, read_bytes) in
            [(4_096, 65_536), (64_000, 8_000), (64_001, 7), (10_000_001, 65_536), (3_000_000_000, 65_536)]
        {
            let total = read_in_ten_seconds(per_s, read_bytes);
            let (low, high) = (per_s * 10, per_s * 11 + 2 * read_bytes as u64); // with the second's worth that comes at once
            assert!((low..=high + high / 500).contains(&total), "{per_s} by {read_bytes}: {total}");
        }
    }
}
