//! How a stream is set up, and what is said of it while it runs and at its end.

use crate::audio::StreamFormat;
use crate::decode::DecodeError;
use crate::protocol::Overflow;

/// How a stream behaves.
#[derive(Clone, Copy, Debug)]
pub struct StreamSettings {
    /// What is sent.
    pub format: StreamFormat,
    /// What happens when the queue is full.
    pub overflow: Overflow,
    /// Audio the queue may hold.
    pub queue_ms: u64,
    /// Audio between acknowledgements; 0: only when asked.
    pub ack_interval_ms: u32,
}

/// What a step left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// Nothing waits.
    Idle,
    /// The budget is spent, audio still waits.
    More,
    /// A sink is full; run again when it calls.
    Blocked,
    /// The stream was asked to end and everything has passed.
    Finished,
}

/// Why a stream cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// Its bytes.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A decoder panicked: our fault, told as `INTERNAL`.
    #[error("the decoder failed")]
    Panicked,
}

/// What an acknowledgement says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes decoded and handed to every sink.
    pub received_bytes: u64,
    /// Frames likewise.
    pub received_frames: u64,
    /// Audio time decoded.
    pub decoded_ms: u64,
    /// Output samples per channel handed to the sinks.
    pub output_samples: u64,
    /// Audio time that waits in the queue, estimated where the encoding does not tell.
    pub buffered_ms: u64,
    /// Audio time dropped.
    pub dropped_ms: u64,
    /// When the newest of those frames came, in microseconds of the server's clock.
    pub newest_arrival_us: u64,
}

/// What is said of a stream at its end.
#[derive(Clone, Copy, Debug)]
pub struct StreamReport {
    /// The last progress.
    pub progress: Progress,
    /// Bytes that came, decoded or not.
    pub arrived_bytes: u64,
    /// Output time.
    pub duration_ms: u64,
    /// Largest magnitude in dB below full scale.
    pub peak_dbfs: f32,
    /// Root mean square in dB below full scale.
    pub rms_dbfs: f32,
    /// Damage survived.
    pub warnings: u64,
}
