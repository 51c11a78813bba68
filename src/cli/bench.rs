//! `voxgate bench`: load on a server, and what it costs.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, anyhow, bail};

use super::input::{self, FormatArgs};
use super::replay::timed;
use super::trust::TrustArg;
use super::{Failure, terminal};
use crate::audio::{Encoding, StreamFormat};
use crate::client::WsUrl;
use crate::client::bench::{BenchError, Report, Workload};
use crate::client::pace::Speed;
use crate::client::process::Process;
use crate::client::replay::Carriage;

/// Measure a server under many streams.
///
/// Without --url a server of its own is started in a process of its own. Reports CPU time and memory of the server, the time from
/// sending a frame to its acknowledgement, and lost frames, of which there must be none.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  voxgate bench --streams 1000\n  voxgate bench --streams 4 --speed max --json\n  voxgate bench --encoding webm --file call.webm --url ws://127.0.0.1:8080/ws --server-pid 4242"
)]
pub(super) struct Args {
    /// The server's socket [default: a server of its own].
    #[arg(long)]
    url: Option<WsUrl>,
    /// Streams at once, a connection each.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    streams: u32,
    /// How long they send.
    #[arg(long, default_value_t = 10, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Encoding: PCM and G.711 are generated, any other needs --file [default: pcm_s16le, or what the file is].
    #[arg(long)]
    encoding: Option<Encoding>,
    /// Sample rate of generated audio, in hertz.
    #[arg(long, default_value_t = 16_000, value_name = "HZ")]
    rate: u32,
    /// Channels of generated audio.
    #[arg(long, default_value_t = 1, value_name = "N")]
    channels: u32,
    /// binary frames, or base64 in audio_data messages.
    #[arg(long, value_enum, default_value_t = Mode::Binary)]
    mode: Mode,
    /// Audio in one message, in milliseconds.
    #[arg(long, default_value_t = 20, value_name = "MS", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    frame_ms: u32,
    /// Audio between acknowledgements, in milliseconds: 20 to 5000.
    #[arg(long, default_value_t = 200, value_name = "MS", value_parser = clap::value_parser!(u32).range(20..=5_000))]
    ack_ms: u32,
    /// 1: real time; max: as fast as the server takes it.
    #[arg(long, default_value = "1", value_name = "1|max", value_parser = speed)]
    speed: Speed,
    /// Every stream sends this file once.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Process id of the server behind --url, to measure its CPU time and memory.
    #[arg(long, value_name = "PID", requires = "url")]
    server_pid: Option<u32>,
    /// Token to connect with.
    #[arg(long, value_name = "JWT")]
    token: Option<String>,
    #[command(flatten)]
    trust: TrustArg,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    Binary,
    Base64,
}

fn speed(text: &str) -> Result<Speed, String> {
    match text {
        "1" => Ok(Speed::Times(1.0)),
        "max" => Ok(Speed::Max),
        _ => Err("use 1 or max".to_owned()),
    }
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let workload = workload(&args).map_err(Failure::Usage)?;
    // A socket a stream; where the system allows fewer, connecting says so.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let (own, url, server) = match args.url {
        Some(url) => {
            let server = args.server_pid.map(Process::new);
            if let (Some(server), Some(pid)) = (server, args.server_pid)
                && server.cpu_ns().is_none()
            {
                let told =
                    anyhow::anyhow!("--server-pid: no process {pid} is on this machine whose times could be read");
                return Err(Failure::Usage(told));
            }
            (None, args.trust.applied(url)?, server)
        }
        None => {
            let own = OwnServer::start(args.streams)?;
            let (url, server) = (own.url.clone(), Process::new(own.child.id()));
            (Some(own), url, Some(server))
        }
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime cannot start")?;
    let report = runtime.block_on(crate::client::bench::run(&url, args.token.as_deref(), &workload, server));
    drop(own);
    let report = report.map_err(|error| match error {
        BenchError::NeedsFile { .. } => Failure::Usage(error.into()),
        BenchError::Client(_) | BenchError::Stream { .. } | BenchError::Stalled { .. } => {
            Failure::Runtime(error.into())
        }
    })?;
    let text = match args.json {
        true => format!("{}\n", serde_json::to_string(&report).context("the report")?),
        false => table(&report),
    };
    terminal::print(&text).context("standard output")?;
    if report.lost > 0 {
        return Err(Failure::Runtime(anyhow!("{} frames were lost; the server's log may say why", report.lost)));
    }
    Ok(())
}

fn workload(args: &Args) -> anyhow::Result<Workload> {
    let flood = args.speed == Speed::Max;
    let (format, file) = match &args.file {
        None => {
            let encoding = args.encoding.unwrap_or(Encoding::PcmS16le);
            (StreamFormat::new(encoding, Some(args.rate), Some(args.channels))?, None)
        }
        Some(path) => {
            let raw = args.encoding.is_some_and(Encoding::is_raw);
            let told = FormatArgs {
                encoding: args.encoding,
                input_rate: raw.then_some(args.rate),
                input_channels: raw.then_some(args.channels),
            };
            let format = told.of(path)?;
            let (bytes, format, _, duration_ms) =
                timed(input::read(path)?, format, u64::from(args.frame_ms), Speed::Times(1.0))
                    .with_context(|| path.display().to_string())?;
            let Some(duration_ms) = duration_ms.filter(|ms| *ms > 0) else {
                bail!("{} holds no audio", path.display())
            };
            (format, Some((bytes, duration_ms)))
        }
    };
    Ok(Workload {
        streams: args.streams as usize,
        seconds: args.seconds.into(),
        format,
        file,
        carriage: if args.mode == Mode::Base64 { Carriage::Base64 } else { Carriage::Binary },
        frame_ms: args.frame_ms,
        ack_ms: args.ack_ms,
        flood,
    })
}

/// A server of our own, in a process of its own, ended with this value.
struct OwnServer {
    child: Child,
    url: WsUrl,
    /// Its data, and its working directory: no configuration file of the caller's counts.
    _folder: tempfile::TempDir,
}

impl OwnServer {
    fn start(streams: u32) -> anyhow::Result<Self> {
        let folder =
            tempfile::Builder::new().prefix("voxgate-bench-").tempdir().context("no temporary folder can be made")?;
        let program = std::env::current_exe().context("this program's own path")?;
        let mut command = Command::new(program);
        command.args(["serve", "--bind", "127.0.0.1:0", "--log-level", "warn", "--data-dir"]).arg(folder.path());
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::piped());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with(crate::config::ENV_PREFIX) {
                command.env_remove(&name);
            }
        }
        // All streams come from one address, and one connection more may ask how things are.
        let connections = (streams + 1).to_string();
        command.env("VOXGATE__SERVER__MAX_CONNECTIONS", &connections);
        command.env("VOXGATE__SERVER__MAX_CONNECTIONS_PER_IP", &connections);
        command.env("VOXGATE__AUDIO__MAX_STREAMS", streams.to_string());
        let mut child = command.spawn().context("the server's process cannot be started")?;
        let stdout = child.stdout.take();
        let mut own = Self { child, url: "ws://127.0.0.1".parse()?, _folder: folder };
        let mut line = String::new();
        if let Some(stdout) = stdout {
            BufReader::new(stdout).read_line(&mut line).context("the server's first line")?;
        }
        let Some(address) = line.trim().strip_prefix("listening on http://") else {
            bail!("the server did not start: its messages are above");
        };
        own.url = format!("ws://{address}/ws").parse()?;
        Ok(own)
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // It may have ended by itself; its data is temporary either way.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn table(report: &Report) -> String {
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "unknown (give --server-pid)".to_owned());
    let latency =
        |us: Option<u32>| us.map_or_else(|| "none".to_owned(), |us| format!("{:.3} ms", f64::from(us) / 1_000.0));
    let rows = [
        ("streams", report.streams.to_string()),
        ("audio", format!("{:.1} s", report.audio_s)),
        ("frames sent", report.frames_sent.to_string()),
        ("frames acknowledged", report.frames_acked.to_string()),
        ("lost", report.lost.to_string()),
        ("server CPU per stream-second", or_unknown(report.server_cpu_ms_per_stream_s.map(|ms| format!("{ms:.3} ms")))),
        ("streams per core", or_unknown(report.streams_per_core.map(|n| format!("{n:.0}")))),
        ("server memory, peak", or_unknown(report.rss_bytes.map(terminal::bytes))),
        ("server memory per stream", or_unknown(report.rss_bytes_per_stream.map(terminal::bytes))),
        ("frame to acknowledgement, p50", latency(report.latency_us.p50)),
        ("p99", latency(report.latency_us.p99)),
        ("p99.9", latency(report.latency_us.p999)),
        ("max", latency(report.latency_us.max)),
        ("times real time", format!("{:.1}", report.x_realtime)),
    ];
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:>width$}  {value}\n")).collect()
}
