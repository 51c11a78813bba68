//! How a stream's end and its errors are told.

use super::stream::Stream;
use crate::decode::DecodeError;
use crate::protocol::{AudioEnded, EndReason, ErrorCode, ProtocolError, RecordingInfo};
use crate::sink::SinkEvent;
use crate::sink::recorder::{self, RecordError, Recorded};

/// A stream is not recorded, or no longer.
pub(super) fn not_recorded(e: &RecordError) -> SinkEvent {
    let retry_after_ms = match e {
        RecordError::LeftAlone { retry_after } => {
            Some(u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX).max(1))
        }
        _ => None,
    };
    let by_limit = matches!(e, RecordError::Limit { .. });
    SinkEvent::Failed { sink: recorder::NAME, by_limit, retry_after_ms, message: e.to_string() }
}

/// A sink failed, the stream goes on.
pub(super) fn sink_fault(sink: &str, by_limit: bool, retry_after_ms: Option<u64>, message: &str) -> ProtocolError {
    let code = match retry_after_ms {
        Some(_) => ErrorCode::UpstreamUnavailable,
        None if by_limit => ErrorCode::QuotaExceeded,
        None => ErrorCode::Internal,
    };
    let e = ProtocolError::new(code, format!("{sink}: {message}; the stream goes on without it")).detail("sink", sink);
    match retry_after_ms {
        Some(ms) => e.retry_after_ms(ms),
        None => e,
    }
}

/// The figures of a stream that is over.
pub(super) fn ended(s: &Stream, reason: EndReason, recorded: Option<Recorded>) -> AudioEnded {
    let r = s.pipeline.report();
    AudioEnded {
        stream_id: s.stream_id.to_string(),
        reason,
        received_bytes: if reason == EndReason::End { r.arrived_bytes } else { r.progress.received_bytes },
        duration_ms: r.duration_ms,
        output_samples: r.progress.output_samples,
        dropped_ms: r.progress.dropped_ms,
        peak_dbfs: r.peak_dbfs,
        rms_dbfs: r.rms_dbfs,
        speech_ms: s.speech_ms,
        warnings: r.warnings,
        recording: recorded.map(|rec| RecordingInfo {
            id: rec.id,
            url: format!("/api/recordings/{}.wav", rec.id),
            bytes: rec.bytes,
            sha256: rec.sha256,
        }),
    }
}

/// The reason as it is written to logs and beside recordings.
pub(super) fn reason_name(reason: EndReason) -> &'static str {
    match reason {
        EndReason::End => "end",
        EndReason::Cancelled => "cancelled",
        EndReason::Disconnected => "disconnected",
        EndReason::Timeout => "timeout",
        EndReason::Error => "error",
        EndReason::Drained => "drained",
    }
}

/// What a client is told of bytes that cannot be decoded. `implicit`: the stream was opened by audio alone.
pub(super) fn decode_error(e: &DecodeError, implicit: bool) -> ProtocolError {
    let code = match e {
        DecodeError::Unrecognised if implicit => ErrorCode::FormatRequired,
        DecodeError::Format(e) => return e.clone().into(),
        e if e.is_unsupported() => ErrorCode::UnsupportedFormat,
        _ => ErrorCode::DecodeFailed,
    };
    let mut told = ProtocolError::new(code, e.to_string());
    if let DecodeError::Contradiction { field, declared, found, .. } = e {
        told = told.detail("field", *field).detail("declared", *declared).detail("found", *found);
    }
    told
}
