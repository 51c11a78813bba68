//! Where clean PCM goes: one file a sink. A sink takes blocks in its stream's own task and never waits; what must wait
//! (a disk, a network) sits behind the sink's own bounded queue. A sink knows no socket and no message.

pub mod levels;
pub mod listeners;
pub mod recorder;
pub mod voice;

use crate::audio::PcmSpec;

/// A run of output samples, in stream order.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// Rate and channels of the stream's output.
    pub spec: PcmSpec,
    /// Position of the first sample (per channel) on the stream's timeline.
    pub position: u64,
    /// Interleaved samples, full scale at ±1.0.
    pub samples: &'a [f32],
    /// The same samples as 16-bit integers; empty where no sink wanted them.
    pub s16: &'a [i16],
    /// Audio was dropped just before this block; its time is filled with silence.
    pub after_gap: bool,
}

/// A sink's answer to a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// Taken.
    Taken,
    /// Its queue is full and its policy is to wait: nothing was taken, offer the same block again after its waker was called.
    Full,
}

/// What a sink tells of the sound while it passes.
#[derive(Clone, Debug, PartialEq)]
pub enum SinkEvent {
    /// Speech began.
    SpeechStarted {
        /// On the stream's timeline.
        at_ms: u64,
    },
    /// Speech ended.
    SpeechEnded {
        /// When it began, on the stream's timeline.
        start_ms: u64,
        /// When it ended.
        end_ms: u64,
    },
    /// Level of the last tenth of a second.
    Level {
        /// End of the measured interval on the stream's timeline.
        at_ms: u64,
        /// Root mean square in dB below full scale; a full-scale square wave is 0.
        rms_dbfs: f32,
        /// Largest magnitude in dB below full scale.
        peak_dbfs: f32,
        /// Whether a sample reached full scale.
        clipped: bool,
    },
    /// Audio was dropped before any sink saw it; silence takes its place.
    Dropped {
        /// Where the hole begins, on the stream's timeline.
        from_ms: u64,
        /// How long it is.
        dropped_ms: u64,
    },
    /// All speech of the stream, told at its end.
    SpeechTotal {
        /// Its sum.
        speech_ms: u64,
    },
    /// The sink failed and takes nothing any more; the stream goes on without it.
    Failed {
        /// The sink's name.
        sink: &'static str,
        /// It reached a limit that was set; else something is wrong.
        by_limit: bool,
        /// When another stream may have better luck, in milliseconds; `None` where nothing is known of it.
        retry_after_ms: Option<u64>,
        /// For people; no path, no internals.
        message: String,
    },
}

/// A place PCM goes to. The port every sink is written against.
pub trait Sink: Send {
    /// Its name, for messages and metrics.
    fn name(&self) -> &'static str;

    /// Whether it uses the next block's 16-bit samples; where no sink does, [`Block::s16`] is empty.
    fn wants_s16(&self) -> bool {
        true
    }

    /// Takes a block or refuses it whole; never blocks, never allocates per block once running.
    fn push(&mut self, block: &Block<'_>, events: &mut Vec<SinkEvent>) -> Push;

    /// No more blocks come: hands out the last events. What lasts longer (closing a file) goes on behind the sink.
    fn finish(&mut self, events: &mut Vec<SinkEvent>);
}
