//! What the server says of a stream: how it began, how far it is, how it ended.

use std::sync::Arc;

use serde::Serialize;
use uuid::Uuid;

use crate::audio::StreamFormat;

/// `audio_started`.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct AudioStarted {
    pub stream_id: String,
    pub stream_uid: String,
    pub stream_index: u32,
    pub format: StreamFormat,
    pub output: OutputInfo,
    pub recording_id: Option<Uuid>,
}

/// What a stream is turned into.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct OutputInfo {
    /// Always `pcm_s16le`.
    pub encoding: &'static str,
    /// In hertz.
    pub sample_rate: u32,
    /// A number, or `"source"` while the source has not told.
    pub channels: ChannelsInfo,
}

/// Channels of an output: a count, or the source's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct AudioReceived {
    pub stream_id: Arc<str>,
    pub received_bytes: u64,
    pub received_frames: u64,
    pub decoded_ms: u64,
    pub output_samples: u64,
    pub buffered_ms: u64,
    pub dropped_ms: u64,
    pub processing_us: u64,
}

/// `audio_dropped`.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct AudioDropped {
    pub stream_id: String,
    pub from_ms: u64,
    pub dropped_ms: u64,
}

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct AudioEnded {
    pub stream_id: String,
    pub reason: EndReason,
    pub received_bytes: u64,
    pub duration_ms: u64,
    pub output_samples: u64,
    pub dropped_ms: u64,
    pub peak_dbfs: f32,
    pub rms_dbfs: f32,
    pub speech_ms: Option<u64>,
    pub warnings: u64,
    pub recording: Option<RecordingInfo>,
}

/// A finished recording.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct RecordingInfo {
    pub id: Uuid,
    pub url: String,
    pub bytes: u64,
    pub sha256: String,
}

/// `audio_level`.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct AudioLevel {
    pub stream_id: String,
    pub at_ms: u64,
    pub rms_dbfs: f32,
    pub peak_dbfs: f32,
    pub clipped: bool,
}
