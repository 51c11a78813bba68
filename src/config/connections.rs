//! `[connections]` and `[session]`: how many connections a client may have, when one is dead, and what outlives a dropped socket.

use super::check::Checker;
use super::setting::{choice, section};

choice! {
    /// What happens when a `client_id` that is connected connects again.
    OnDuplicate, "\"allow\", \"replace\" or \"reject\"" {
        /// Both stay.
        Allow,
        /// The older is closed with 4009.
        Replace,
        /// The newer is refused.
        Reject,
    }
}

section! {
    /// How many connections a client may have, and when one is dead.
    ConnectionsConfig {
        /// Connections of one user.
        per_user_max: Option<usize> = None,
        /// Connections of one `client_id`.
        per_client_max: Option<usize> = None,
        /// What a second connection of the same `client_id` does.
        on_duplicate: OnDuplicate = OnDuplicate::Allow,
        /// How often the server pings a quiet connection.
        heartbeat_interval_ms: u64 = 30_000,
        /// Silence after which a connection is dead.
        heartbeat_timeout_ms: u64 = 90_000,
        /// Faulty messages in a row that close a connection with 4005.
        max_consecutive_errors: u32 = 5,
        /// Messages that may wait for a slow reader before it is closed with 4111.
        queue_messages: usize = 100,
        /// Bytes of them: eight of the largest single messages fit.
        queue_bytes: usize = 1 << 20,
        /// Time without a message after which a connection is removed; the heartbeat does not count.
        inactive_after_ms: Option<u64> = None,
    }
}

section! {
    /// What outlives a dropped socket.
    SessionConfig {
        /// How long a session waits for its client to come back.
        resume_window_ms: u64 = 60_000,
        /// Events kept for it.
        event_ring: usize = 256,
    }
}

/// A day: whatever is longer is a mistake in the unit.
const DAY_MS: u64 = 86_400_000;
/// A broadcast's 16 KiB, each byte escaped as six, is the largest single message.
const QUEUE_BYTES_MIN: u64 = 128 << 10;
/// Beyond this a slow reader is a memory leak.
const QUEUE_BYTES_MAX: u64 = 1 << 30;
const QUEUE_MESSAGES_MAX: u64 = 1_000_000;
const EVENT_RING_MAX: u64 = 65_536;

impl ConnectionsConfig {
    pub(super) fn check(&self, checker: &mut Checker<'_>) {
        checker.optional_limit("connections.per_user_max", self.per_user_max.map(|n| n as u64));
        checker.optional_limit("connections.per_client_max", self.per_client_max.map(|n| n as u64));
        checker.range("connections.heartbeat_interval_ms", self.heartbeat_interval_ms, 1..=DAY_MS);
        checker.range("connections.heartbeat_timeout_ms", self.heartbeat_timeout_ms, 1..=DAY_MS);
        if self.heartbeat_timeout_ms <= self.heartbeat_interval_ms {
            checker.fault(
                "connections.heartbeat_timeout_ms",
                format!(
                    "{} is not longer than heartbeat_interval_ms, {}: a live connection would be taken for dead",
                    self.heartbeat_timeout_ms, self.heartbeat_interval_ms
                ),
                "use three times the interval",
            );
        }
        checker.range("connections.max_consecutive_errors", self.max_consecutive_errors.into(), 1..=1_000_000);
        checker.range("connections.queue_messages", self.queue_messages as u64, 1..=QUEUE_MESSAGES_MAX);
        checker.range("connections.queue_bytes", self.queue_bytes as u64, QUEUE_BYTES_MIN..=QUEUE_BYTES_MAX);
        checker.optional_limit("connections.inactive_after_ms", self.inactive_after_ms);
    }
}

impl SessionConfig {
    pub(super) fn check(&self, checker: &mut Checker<'_>) {
        checker.range("session.resume_window_ms", self.resume_window_ms, 1..=DAY_MS);
        checker.range("session.event_ring", self.event_ring as u64, 1..=EVENT_RING_MAX);
    }
}
