//! `[limits]`: the size and rate of what one connection sends.

use super::check::Checker;
use super::setting::section;

section! {
    /// The size and rate of what one connection sends.
    LimitsConfig {
        /// Largest WebSocket message.
        message_bytes: usize = 1 << 20,
        /// Deepest nesting of a JSON message.
        json_depth: usize = 16,
        /// Messages a second, with a burst of four times as many; audio does not count, flow control bounds it.
        messages_per_s: u32 = 50,
        /// Bytes a second, audio included; what comes faster is read later. A second's worth may come at once.
        bytes_per_s: Option<u64> = None,
        /// Broadcasts a second: each costs as many messages as there are receivers.
        broadcasts_per_s: u32 = 5,
        /// Conversations a connection may be in.
        conversations: usize = 32,
        /// Messages kept of a conversation; the oldest go. Twenty full pages of history.
        history_messages: u64 = 10_000,
    }
}

/// Seconds' worth of messages that may come at once: the default of 50 a second makes a burst of 200.
pub const MESSAGES_BURST_S: u32 = 4;

/// Under this not even `connection_established`'s counterpart, an `authenticate` with its token, fits.
const MESSAGE_BYTES_MIN: u64 = 4 << 10;
/// A message is held whole in memory; longer audio is cut into more of them.
const MESSAGE_BYTES_MAX: u64 = 64 << 20;
/// A read takes up to 64 KiB: slower than this, one of them would outlast the heartbeat.
const BYTES_PER_S_MIN: u64 = 4 << 10;
/// `broadcast_request` needs four levels; the parser recurses, so its stack bounds the other end.
const JSON_DEPTH: std::ops::RangeInclusive<u64> = 4..=128;

/// Each is looked through when a message comes.
const CONVERSATIONS_MAX: u64 = 10_000;

impl LimitsConfig {
    pub(super) fn check(&self, checker: &mut Checker<'_>) {
        checker.range("limits.message_bytes", self.message_bytes as u64, MESSAGE_BYTES_MIN..=MESSAGE_BYTES_MAX);
        checker.range("limits.json_depth", self.json_depth as u64, JSON_DEPTH);
        checker.range("limits.messages_per_s", self.messages_per_s.into(), 1..=1_000_000);
        if let Some(per_s) = self.bytes_per_s {
            checker.range("limits.bytes_per_s", per_s, BYTES_PER_S_MIN..=u64::MAX >> 1);
        }
        checker.range("limits.broadcasts_per_s", self.broadcasts_per_s.into(), 1..=1_000_000);
        checker.range("limits.conversations", self.conversations as u64, 1..=CONVERSATIONS_MAX);
        checker.range("limits.history_messages", self.history_messages, 1..=i64::MAX as u64);
    }
}
