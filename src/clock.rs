//! The server's two clocks: a monotonic one that timers use, and the wall clock that only timestamps follow (failures.md row 30).

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::protocol::Timestamp;

/// A monotonic clock that starts with the server.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// A clock at 0.
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// Microseconds since the start.
    pub fn now_us(self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Milliseconds since the start.
    pub fn now_ms(self) -> u64 {
        self.now_us() / 1_000
    }

    /// The wall-clock time of a moment of this clock, in milliseconds since the Unix epoch.
    pub fn unix_ms_of(self, at_ms: u64) -> u64 {
        unix_ms().saturating_sub(self.now_ms().saturating_sub(at_ms))
    }
}

/// Milliseconds since the Unix epoch.
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// Seconds since the Unix epoch: for the dates in tokens, which their issuer wrote in wall-clock time. No timer goes by it.
pub fn unix_s() -> u64 {
    unix_ms() / 1_000
}

/// A moment as RFC 3339 in UTC with milliseconds.
pub fn rfc3339(unix_ms: u64) -> String {
    Timestamp(unix_ms).to_string()
}
