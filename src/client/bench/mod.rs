//! Load on a server: many streams at once from one thread, what it costs and how long acknowledgements take.

mod histogram;
mod load;
mod signal;

pub use histogram::Histogram;

use serde::Serialize;
use serde_json::json;

use super::error::ClientError;
use super::pace::{Pace, Speed};
use super::process::Process;
use super::replay::Carriage;
use super::url::WsUrl;
use crate::audio::StreamFormat;
use crate::websocket::{OpCode, encode_masked};

/// What is sent.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Streams at once, a connection each.
    pub streams: usize,
    /// How long they send.
    pub seconds: u64,
    /// What they send.
    pub format: StreamFormat,
    /// A file to send instead of a generated signal, and the duration of its audio.
    pub file: Option<(Vec<u8>, u64)>,
    /// How it travels.
    pub carriage: Carriage,
    /// Audio in one message.
    pub frame_ms: u32,
    /// Audio between acknowledgements.
    pub ack_ms: u32,
    /// Real time, or as fast as the server takes it.
    pub flood: bool,
}

/// What it took. The names are the command line's contract.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Streams at once.
    pub streams: usize,
    /// Audio acknowledged, in seconds, all streams together.
    pub audio_s: f64,
    /// Frames handed to sockets.
    pub frames_sent: u64,
    /// Frames the server promised.
    pub frames_acked: u64,
    /// The difference, after every stream was flushed.
    pub lost: u64,
    /// Server CPU time; `None` where the server's process is not known.
    pub server_cpu_ms_per_stream_s: Option<f64>,
    /// What one core would carry at that cost.
    pub streams_per_core: Option<f64>,
    /// The server's largest resident memory.
    pub rss_bytes: Option<u64>,
    /// Its growth since before the first connection, a stream.
    pub rss_bytes_per_stream: Option<u64>,
    /// From the write of a frame to the acknowledgement that covers it.
    pub latency_us: Latency,
    /// Seconds of audio a second.
    pub x_realtime: f64,
}

/// A distribution in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Latency {
    pub p50: Option<u32>,
    pub p99: Option<u32>,
    pub p999: Option<u32>,
    pub max: Option<u32>,
}

impl From<&Histogram> for Latency {
    fn from(histogram: &Histogram) -> Self {
        Self {
            p50: histogram.quantile(0.5),
            p99: histogram.quantile(0.99),
            p999: histogram.quantile(0.999),
            max: histogram.max(),
        }
    }
}

/// Why a workload cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// An encoding that nothing here can generate.
    #[error("{encoding} cannot be generated: give a file of it with --file")]
    NeedsFile {
        /// The encoding.
        encoding: crate::audio::Encoding,
    },
    /// The run failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A stream failed while it ran.
    #[error("stream {index}: {problem}")]
    Stream {
        /// Which.
        index: usize,
        /// Why.
        problem: String,
    },
    /// Acknowledgements stopped coming.
    #[error("the server sent nothing for {seconds} s while frames were waiting for their acknowledgement")]
    Stalled {
        /// How long.
        seconds: u64,
    },
}

/// Runs a workload against a server; `server` is its process, where it is known.
///
/// # Errors
/// [`BenchError`].
pub async fn run(
    url: &WsUrl,
    token: Option<&str>,
    workload: &Workload,
    server: Option<Process>,
) -> Result<Report, BenchError> {
    let script = Script::new(workload)?;
    load::run(url, token, workload, script, server).await
}

/// The frames every stream sends, ready to be written.
#[derive(Debug)]
struct Script {
    /// WebSocket frames one after the other.
    wire: Vec<u8>,
    /// End of each in `wire`, and the stream bytes it carries.
    frames: Vec<(usize, u32)>,
    /// Whether it starts again at its end: a generated signal does, a file would have a second header.
    repeats: bool,
    /// The `audio_start` message.
    start: String,
}

impl Script {
    fn new(workload: &Workload) -> Result<Self, BenchError> {
        let format = workload.format;
        let (bytes, duration_ms, unit_bytes) = match &workload.file {
            Some((bytes, duration_ms)) => (bytes.clone(), *duration_ms, 1),
            None => {
                let needs_file = || BenchError::NeedsFile { encoding: format.encoding };
                let (rate_hz, channels) = format.sample_rate.zip(format.channels).ok_or_else(needs_file)?;
                let sample_bytes = format.encoding.sample_bytes().ok_or_else(needs_file)?;
                let bytes =
                    signal::encode(&signal::second(rate_hz, channels), format.encoding).ok_or_else(needs_file)?;
                // As many whole frames as about a second holds.
                (bytes, 1_000, sample_bytes as u64 * u64::from(channels))
            }
        };
        let mut script =
            Self { wire: Vec::new(), frames: Vec::new(), repeats: workload.file.is_none(), start: start(workload) };
        let frame_ms = u64::from(workload.frame_ms);
        let repeats = script.repeats;
        let whole_ms = if repeats { (duration_ms / frame_ms).max(1) * frame_ms } else { duration_ms };
        let pace =
            Pace::timed(bytes.len() as u64 * whole_ms / duration_ms.max(1), whole_ms, frame_ms, unit_bytes, Speed::Max);
        let total = pace.frame_end(u64::MAX / frame_ms - 1) as usize;
        let mut at = 0;
        let mut index = 0;
        while at < total {
            let end = pace.frame_end(index) as usize;
            // A signal shorter than one frame repeats inside it.
            let payload: Vec<u8> = bytes.iter().copied().cycle().skip(at % bytes.len()).take(end - at).collect();
            script.push(&payload, workload.carriage);
            at = end;
            index += 1;
        }
        Ok(script)
    }

    fn push(&mut self, payload: &[u8], carriage: Carriage) {
        // A mask of zeros is a mask (RFC 6455 section 5.3); this generator has no page to protect and must be cheap.
        const MASK: [u8; 4] = [0; 4];
        match carriage {
            Carriage::Binary => encode_masked(&mut self.wire, OpCode::Binary, payload, MASK),
            Carriage::Base64 => {
                use base64::Engine as _;
                let data = base64::engine::general_purpose::STANDARD.encode(payload);
                let message = json!({"type": "audio_data", "data": data}).to_string();
                encode_masked(&mut self.wire, OpCode::Text, message.as_bytes(), MASK);
            }
        }
        // A frame lies in memory whole, and memory is smaller than 4 GiB a frame.
        self.frames.push((self.wire.len(), payload.len() as u32));
    }

    /// A frame's place in the script; `None` past the end of a file.
    fn frame(&self, index: u64) -> Option<(&[u8], u32)> {
        let count = self.frames.len() as u64;
        if index >= count && !self.repeats {
            return None;
        }
        let at = (index % count) as usize;
        let begin = at.checked_sub(1).map_or(0, |before| self.frames[before].0);
        let (end, bytes) = self.frames[at];
        Some((&self.wire[begin..end], bytes))
    }
}

fn start(workload: &Workload) -> String {
    json!({
        "type": "audio_start", "id": "start", "format": workload.format, "ack_ms": workload.ack_ms, "record": false,
        "framing": "raw", "overflow": "block",
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Encoding;

    fn workload(encoding: Encoding, frame_ms: u32, carriage: Carriage) -> Workload {
        Workload {
            streams: 1,
            seconds: 1,
            format: StreamFormat::new(encoding, Some(16_000), Some(1)).unwrap(),
            file: None,
            carriage,
            frame_ms,
            ack_ms: 200,
            flood: false,
        }
    }

    #[test]
    fn a_generated_script_is_a_second_of_whole_frames_and_repeats() {
        for (frame_ms, frames, bytes) in [(20, 50, 640), (30, 33, 960), (1_000, 1, 32_000), (1_500, 1, 48_000)] {
            let script = Script::new(&workload(Encoding::PcmS16le, frame_ms, Carriage::Binary)).unwrap();
            assert_eq!(script.frames.len(), frames, "{frame_ms} ms");
            assert!(script.frames.iter().all(|&(_, b)| b == bytes), "{frame_ms} ms: {:?}", script.frames);
            assert_eq!(script.frame(0), script.frame(frames as u64));
        }
    }

    #[test]
    fn a_file_is_sent_once_and_whole() {
        let mut workload = workload(Encoding::PcmS16le, 100, Carriage::Binary);
        workload.file = Some((vec![7; 1_003], 1_050));
        let script = Script::new(&workload).unwrap();
        assert_eq!(script.frames.len(), 11);
        assert_eq!(script.frames.iter().map(|&(_, bytes)| bytes).sum::<u32>(), 1_003);
        assert!(script.frame(10).is_some() && script.frame(11).is_none());
    }

    #[test]
    fn base64_frames_are_the_protocols_messages() {
        let script = Script::new(&workload(Encoding::Mulaw, 20, Carriage::Base64)).unwrap();
        let (frame, bytes) = script.frame(0).unwrap();
        // Two bytes of header, two of length, four of mask.
        let message: serde_json::Value = serde_json::from_slice(&frame[8..]).unwrap();
        assert_eq!((message["type"].as_str(), bytes), (Some("audio_data"), 320));
    }

    #[test]
    fn what_cannot_be_generated_asks_for_a_file() {
        let mut workload = workload(Encoding::PcmS16le, 20, Carriage::Binary);
        workload.format = StreamFormat::new(Encoding::Webm, None, None).unwrap();
        assert!(Script::new(&workload).unwrap_err().to_string().contains("--file"));
    }
}
