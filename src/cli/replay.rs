//! `voxgate replay`: files through a real socket.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use serde_json::json;

use super::input::{self, FormatArgs};
use super::progress::Display;
use super::trust::TrustArg;
use super::{Failure, terminal};
use crate::audio::{Encoding, OutputChannels, OutputFormat, PcmSpec, StreamFormat, convert};
use crate::client::pace::{Pace, Speed};
use crate::client::replay::{Carriage, Outcome, Plan, replay};
use crate::client::{ClientError, WsUrl};
use crate::decode::{DecodeParams, WHOLE_FILE_BYTES_MAX};
use crate::pipeline::decode_all;

/// Where `serve` listens unless told otherwise.
pub(super) const DEFAULT_URL: &str = "ws://127.0.0.1:8080/ws";

/// Frame of a file whose duration is not asked for.
const UNTIMED_FRAME_BYTES: u64 = 16 << 10;

/// Streams at once beyond which a shell's limit on open files is reached first.
const STREAMS_MAX: u32 = 100_000;

/// Send audio files to a server as a microphone would.
///
/// Every file is a stream on a connection of its own, paced by the audio's own time. Exit code 0 only if every byte was acknowledged
/// and every stream ended with "end".
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  voxgate replay call.webm\n  voxgate replay *.ogg --speed max --streams 4 --json\n  voxgate replay phone.mulaw --mode base64 --speed 2.5"
)]
pub(super) struct Args {
    /// The files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The server's socket.
    #[arg(long, default_value = DEFAULT_URL)]
    url: WsUrl,
    /// How many times real time, or max: as fast as the server takes it.
    #[arg(long, default_value = "1", value_name = "1|2.5|max")]
    speed: Speed,
    /// container: the file's bytes as they are; pcm: decoded first; base64: as they are, in audio_data messages.
    #[arg(long, value_enum, default_value_t = Mode::Container)]
    mode: Mode,
    /// Audio in one message, in milliseconds.
    #[arg(long, default_value_t = 20, value_name = "MS", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    frame_ms: u32,
    /// Streams a file, all at once.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(STREAMS_MAX)))]
    streams: u32,
    /// Conversation the streams belong to.
    #[arg(long, value_name = "ID")]
    conversation: Option<String>,
    /// Token to connect with.
    #[arg(long, value_name = "JWT")]
    token: Option<String>,
    #[command(flatten)]
    trust: TrustArg,
    /// Ask the server not to record.
    #[arg(long)]
    no_record: bool,
    /// One JSON object a stream instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    Container,
    Pcm,
    Base64,
}

/// A stream to be sent, and what it is called on screen.
pub(super) struct Job {
    pub(super) name: String,
    pub(super) plan: Plan,
    /// Where it is known.
    pub(super) duration_ms: Option<u64>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let mut jobs = Vec::new();
    for path in &args.files {
        let format = args.format.of(path).map_err(Failure::Usage)?;
        let (plan, duration_ms) = plan(args, input::read(path)?, format).with_context(|| path.display().to_string())?;
        for copy in 1..=args.streams {
            let name =
                path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
            let name = if args.streams == 1 { name } else { format!("{name} #{copy}") };
            jobs.push(Job { name, plan: plan.clone(), duration_ms });
        }
    }
    let url = args.trust.applied(args.url.clone())?;
    let results = send_all(jobs, &url, args.token.as_deref())?;
    let text = if args.json { json_lines(&results) } else { report(&results, &url) };
    terminal::print(&text).context("standard output")?;
    verdict(&results)
}

fn plan(args: &Args, bytes: Vec<u8>, format: StreamFormat) -> anyhow::Result<(Plan, Option<u64>)> {
    let carriage = if args.mode == Mode::Base64 { Carriage::Base64 } else { Carriage::Binary };
    let frame_ms = u64::from(args.frame_ms);
    let (bytes, format, pace, duration_ms) = if args.mode == Mode::Pcm {
        let (bytes, format, duration_ms) = decoded(&bytes, format)?;
        let sample_frame_bytes = 2 * u64::from(format.channels.unwrap_or(1));
        let pace = Pace::timed(bytes.len() as u64, duration_ms, frame_ms, sample_frame_bytes, args.speed);
        (bytes, format, pace, Some(duration_ms))
    } else {
        timed(bytes, format, frame_ms, args.speed)?
    };
    let record = !args.no_record;
    let conversation_id = args.conversation.clone();
    Ok((Plan { bytes: bytes.into(), format, carriage, pace, record, conversation_id }, duration_ms))
}

type Timed = (Vec<u8>, StreamFormat, Pace, Option<u64>);

/// A file's bytes as they are. Their time is known only by decoding them, which is done where it is needed.
pub(super) fn timed(bytes: Vec<u8>, format: StreamFormat, frame_ms: u64, speed: Speed) -> anyhow::Result<Timed> {
    let total_bytes = bytes.len() as u64;
    if speed == Speed::Max {
        return Ok((bytes, format, Pace::at_once(total_bytes, UNTIMED_FRAME_BYTES), None));
    }
    let (_, duration_ms) = decode_at(UNKNOWN_RATE_HZ, &bytes, format, &mut |_| {})
        .context("its duration cannot be told; try --speed max")?;
    let pace = Pace::timed(total_bytes, duration_ms, frame_ms, 1, speed);
    Ok((bytes, format, pace, Some(duration_ms)))
}

/// A file as PCM at its own rate and channels.
fn decoded(bytes: &[u8], format: StreamFormat) -> anyhow::Result<(Vec<u8>, StreamFormat, u64)> {
    let mut pcm = Vec::new();
    let (source, mut duration_ms) =
        decode_at(UNKNOWN_RATE_HZ, bytes, format, &mut |block| convert::f32_to_s16(block, &mut pcm))?;
    let Some(source) = source else { bail!("there is no audio in it") };
    if source.rate_hz != UNKNOWN_RATE_HZ {
        pcm.clear();
        (_, duration_ms) = decode_at(source.rate_hz, bytes, format, &mut |block| convert::f32_to_s16(block, &mut pcm))?;
    }
    let format = StreamFormat::new(Encoding::PcmS16le, Some(source.rate_hz), Some(source.channels.into()))?;
    Ok((pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect(), format, duration_ms))
}

/// The rate that is tried before a file's own is known; most have it.
const UNKNOWN_RATE_HZ: u32 = 48_000;

/// Decodes a whole file; gives what its source is, and its duration in milliseconds.
fn decode_at(
    rate_hz: u32,
    bytes: &[u8],
    format: StreamFormat,
    on_block: &mut dyn FnMut(&[f32]),
) -> anyhow::Result<(Option<PcmSpec>, u64)> {
    let output = OutputFormat { rate_hz, channels: OutputChannels::Source };
    let params = DecodeParams { format, output, whole_file_bytes_max: WHOLE_FILE_BYTES_MAX };
    let report = decode_all(&params, &mut &bytes[..], &mut |_, block| {
        on_block(block);
        Ok(())
    })?;
    Ok((report.source, report.frames * 1_000 / u64::from(rate_hz)))
}

/// A stream's name and what became of it.
pub(super) type Sent = (String, Result<Outcome, ClientError>);

/// Sends all streams at once; results in the order of the jobs.
pub(super) fn send_all(jobs: Vec<Job>, url: &WsUrl, token: Option<&str>) -> anyhow::Result<Vec<Sent>> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime cannot start")?;
    let display = Display::new(&jobs);
    let mut results: Vec<Option<Sent>> = jobs.iter().map(|_| None).collect();
    runtime.block_on(async {
        let mut running = tokio::task::JoinSet::new();
        for (index, job) in jobs.into_iter().enumerate() {
            let (url, token) = (url.clone(), token.map(str::to_owned));
            let mut line = display.line(index);
            running.spawn(async move {
                let outcome = replay(&url, token.as_deref(), &job.plan, &mut |progress| line.show(progress)).await;
                line.end(&outcome);
                (index, (job.name, outcome))
            });
        }
        while let Some(done) = running.join_next().await {
            let (index, sent) = done.context("a stream's task failed")?;
            results[index] = Some(sent);
        }
        anyhow::Ok(())
    })?;
    Ok(results.into_iter().flatten().collect())
}

/// The end result of every stream.
pub(super) fn report(results: &[Sent], url: &WsUrl) -> String {
    let level = |value: Option<f64>| value.map_or_else(|| "silent".to_owned(), |db| format!("{db:.1}"));
    let rows: Vec<Vec<String>> = results
        .iter()
        .filter_map(|(name, outcome)| Some((name, outcome.as_ref().ok()?)))
        .map(|(name, outcome)| {
            let ended = &outcome.ended;
            let (recording, sha256) = match &ended.recording {
                Some(recording) => (format!("{}{}", url.http_base(), recording.url), recording.sha256.clone()),
                None => ("none".to_owned(), String::new()),
            };
            vec![
                name.clone(),
                ended.reason.clone(),
                terminal::seconds(ended.duration_ms),
                ended.output_samples.to_string(),
                level(ended.peak_dbfs),
                level(ended.rms_dbfs),
                format!("{}/{}", outcome.acked_bytes, outcome.sent_bytes),
                recording,
                sha256,
            ]
        })
        .collect();
    let head = ["stream", "end", "duration", "samples", "peak dBFS", "RMS dBFS", "acknowledged", "recording", "sha256"];
    let mut text = if rows.is_empty() { String::new() } else { terminal::table(&head, &rows) };
    for (name, outcome) in results.iter().filter_map(|(name, outcome)| Some((name, outcome.as_ref().ok()?))) {
        text.extend(outcome.warnings.iter().map(|warning| format!("{name}: warning: {warning}\n")));
    }
    text
}

fn json_lines(results: &[Sent]) -> String {
    let line = |(name, outcome): &Sent| match outcome {
        Ok(outcome) => json!({
            "stream": name, "ok": outcome.is_complete(), "sent_bytes": outcome.sent_bytes, "acked_bytes": outcome.acked_bytes,
            "ended": outcome.ended, "warnings": outcome.warnings,
        }),
        Err(error) => json!({"stream": name, "ok": false, "error": error.to_string()}),
    };
    results.iter().map(|sent| format!("{}\n", line(sent))).collect()
}

/// Success only where every stream is complete; failures are named.
pub(super) fn verdict(results: &[Sent]) -> Result<(), Failure> {
    let complete = results.iter().filter(|(_, outcome)| outcome.as_ref().is_ok_and(Outcome::is_complete)).count();
    match results {
        _ if complete == results.len() => Ok(()),
        [(_, Err(error))] => Err(Failure::Runtime(anyhow!("{error}"))),
        _ => {
            for (name, error) in results.iter().filter_map(|(name, outcome)| Some((name, outcome.as_ref().err()?))) {
                terminal::note(&format!("{name}: {error}"));
            }
            let failed = results.len() - complete;
            Err(Failure::Runtime(anyhow!(
                "{failed} of {} streams did not arrive whole and end with \"end\"",
                results.len()
            )))
        }
    }
}

impl Job {
    /// A file's bytes under a name, recorded.
    pub(super) fn recorded(
        name: &str,
        bytes: &'static [u8],
        format: StreamFormat,
        speed: Speed,
    ) -> anyhow::Result<Self> {
        let (bytes, format, pace, duration_ms) = timed(bytes.to_vec(), format, 20, speed)?;
        let bytes: Arc<[u8]> = bytes.into();
        let plan = Plan { bytes, format, carriage: Carriage::Binary, pace, record: true, conversation_id: None };
        Ok(Self { name: name.to_owned(), plan, duration_ms })
    }
}
