//! `[audio]` and `[recording]`: what streams become, how many there may be, and what is kept of them.

use crate::audio::OUTPUT_RATES_HZ;

use super::check::Checker;
use super::setting::{choice, section};

choice! {
    /// What an acknowledgement promises.
    Durability, "\"memory\" or \"journal\"" {
        /// The bytes have been decoded: they survive a socket that drops.
        Memory,
        /// They are on the disk besides: the stream survives a server that dies.
        Journal,
    }
}

section! {
    /// What streams become and how many there may be.
    AudioConfig {
        /// Output rate of a stream that asks for none.
        output_rate_hz: u32 = 16_000,
        /// Audio that may wait for its decoder.
        queue_ms: u64 = 1_000,
        /// Streams open at once on the server.
        max_streams: usize = 2_000,
        /// Streams open at once on one connection.
        max_streams_per_connection: usize = 8,
        /// Longest stream.
        max_stream_s: Option<u64> = None,
        /// Silence of the sender after which an open stream ends with `STREAM_STALLED`: longer than a pause in a conversation.
        stall_timeout_ms: u64 = 300_000,
        /// Memory of all streams together, past which new ones are `OVERLOADED`. The default holds `max_streams` of ordinary
        /// ones four times over; it bounds the files that must be held whole before they decode.
        memory_budget_bytes: u64 = 1 << 30,
        /// What an acknowledgement promises.
        durability: Durability = Durability::Memory,
        /// With `durability = "journal"`, how much of one stream may be kept; one that is longer ends with `QUOTA_EXCEEDED`. The
        /// default holds nine hours of 16 kHz PCM.
        journal_stream_bytes: u64 = 1 << 30,
        /// The same for all streams together. The default holds an hour and a half of a hundred such streams.
        journal_total_bytes: u64 = 16 << 30,
    }
}

section! {
    /// What is kept of streams.
    RecordingConfig {
        /// Whether streams are recorded unless they say otherwise.
        enabled: bool = true,
        /// Longest recording.
        max_file_bytes: Option<u64> = None,
        /// All recordings together.
        quota_bytes: Option<u64> = None,
        /// Age at which a recording is deleted.
        retain_days: Option<u64> = None,
    }
}

/// A stream index is 16 bits on the wire (protocol section 5).
const STREAMS_MAX: u64 = 65_536;
/// One frame of the usual length fits in the shortest queue.
const QUEUE_MS_MIN: u64 = 20;
/// A minute of audio a stream is more than any live use forgives.
const QUEUE_MS_MAX: u64 = 60_000;
/// Under this not one stream fits.
const MEMORY_BUDGET_BYTES_MIN: u64 = 1 << 20;
/// Under this hardly more than a stream's head fits.
const JOURNAL_BYTES_MIN: u64 = 64 << 10;

impl AudioConfig {
    pub(super) fn check(&self, checker: &mut Checker<'_>) {
        if !OUTPUT_RATES_HZ.contains(&self.output_rate_hz) {
            checker.fault(
                "audio.output_rate_hz",
                format!("{} is not offered", self.output_rate_hz),
                "use 8000, 16000, 24000 or 48000",
            );
        }
        checker.range("audio.queue_ms", self.queue_ms, QUEUE_MS_MIN..=QUEUE_MS_MAX);
        checker.range("audio.max_streams", self.max_streams as u64, 1..=STREAMS_MAX);
        checker.range("audio.max_streams_per_connection", self.max_streams_per_connection as u64, 1..=STREAMS_MAX);
        checker.optional_limit("audio.max_stream_s", self.max_stream_s);
        checker.range("audio.stall_timeout_ms", self.stall_timeout_ms, 1..=u64::from(u32::MAX));
        checker.range("audio.memory_budget_bytes", self.memory_budget_bytes, MEMORY_BUDGET_BYTES_MIN..=i64::MAX as u64);
        let journal = JOURNAL_BYTES_MIN..=i64::MAX as u64;
        checker.range("audio.journal_stream_bytes", self.journal_stream_bytes, journal.clone());
        checker.range("audio.journal_total_bytes", self.journal_total_bytes, journal);
    }
}

impl RecordingConfig {
    pub(super) fn check(&self, checker: &mut Checker<'_>) {
        checker.optional_limit("recording.max_file_bytes", self.max_file_bytes);
        checker.optional_limit("recording.quota_bytes", self.quota_bytes);
        checker.optional_limit("recording.retain_days", self.retain_days);
    }
}
