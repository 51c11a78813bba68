//! What the server says of a stream: how it began, how far it is, how it ended.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::audio::StreamFormat;

/// `audio_started`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct AudioStarted {
    pub stream_id: String,
    /// Unique on the server: what others listen by.
    pub stream_uid: String,
    /// What tagged binary frames begin with.
    pub stream_index: u32,
    pub format: StreamFormat,
    pub output: OutputInfo,
    /// None where it is not recorded.
    pub recording_id: Option<Uuid>,
}

/// What a stream is turned into.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct OutputInfo {
    /// Always `pcm_s16le`.
    pub encoding: &'static str,
    /// In hertz.
    pub sample_rate: u32,
    /// A number, or `"source"` while the source has not told.
    pub channels: ChannelsInfo,
}

/// Channels of an output: a count, or the source's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum ChannelsInfo {
    /// That many.
    Count(u16),
    /// `"source"`.
    #[serde(serialize_with = "source")]
    Source,
}

fn source<S: serde::Serializer>(s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str("source")
}

/// `audio_received`: cumulative, see protocol section 4 for what each promises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct AudioReceived {
    pub stream_id: Arc<str>,
    /// Every byte below it has been handed to every sink.
    pub received_bytes: u64,
    /// Binary frames and `audio_data` messages.
    pub received_frames: u64,
    /// Audio decoded.
    pub decoded_ms: u64,
    /// Samples put out, per channel.
    pub output_samples: u64,
    /// Audio that waits undecoded.
    pub buffered_ms: u64,
    /// Audio lost to `drop_oldest`.
    pub dropped_ms: u64,
    /// From the newest acknowledged frame's arrival to its acknowledgement.
    pub processing_us: u64,
}

/// `audio_dropped`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct AudioDropped {
    pub stream_id: String,
    /// Position of the first lost sample on the timeline.
    pub from_ms: u64,
    pub dropped_ms: u64,
}

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub enum EndReason {
    End,
    Cancelled,
    Disconnected,
    Timeout,
    Error,
    Drained,
}

/// `audio_ended`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct AudioEnded {
    pub stream_id: String,
    pub reason: EndReason,
    pub received_bytes: u64,
    pub duration_ms: u64,
    /// Samples put out, per channel.
    pub output_samples: u64,
    /// Audio lost to `drop_oldest`.
    pub dropped_ms: u64,
    /// Of the whole stream, 0 being full scale.
    pub peak_dbfs: f32,
    /// Of the whole stream, 0 being a full-scale square wave.
    pub rms_dbfs: f32,
    /// How long somebody spoke; none where nobody had subscribed to `speech` when the stream opened.
    pub speech_ms: Option<u64>,
    /// Damaged packets and gaps survived.
    pub warnings: u64,
    /// None where it was not recorded, or the recording failed.
    pub recording: Option<RecordingInfo>,
}

/// A finished recording.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct RecordingInfo {
    pub id: Uuid,
    pub url: String,
    /// Of the whole file.
    pub bytes: u64,
    /// Of the whole file, in hexadecimal.
    pub sha256: String,
}

/// `audio_level`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct AudioLevel {
    pub stream_id: String,
    /// Position on the stream's timeline.
    pub at_ms: u64,
    pub rms_dbfs: f32,
    pub peak_dbfs: f32,
    /// Whether a sample stood at full scale.
    pub clipped: bool,
}
