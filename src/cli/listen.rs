//! `voxgate listen`: live audio to a file or to standard output.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::decode::write_samples;
use super::replay::DEFAULT_URL;
use super::serve::Signals;
use super::trust::TrustArg;
use super::{Failure, terminal};
use crate::audio::PcmSpec;
use crate::client::WsUrl;
use crate::client::listen::{Heard, Target, listen};
use crate::client::wav::WavFile;
use crate::client::wire::ListenedStream;

/// Listen to a stream or a conversation while it happens.
///
/// A stream ends by itself, a conversation with Ctrl-C. Each further stream of a conversation gets a file of its own: OUT-2.wav,
/// OUT-3.wav. Audio that was lost on the way is silence, so that time stays right.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("target").required(true)))]
#[command(
    after_help = "Examples:\n  voxgate listen --conversation standup -o standup.wav\n  voxgate listen --stream 0198c0de-7a5e-7000-8000-0123456789ab -o - | aplay -f S16_LE -r 16000"
)]
pub(super) struct Args {
    /// A stream: its stream_uid.
    #[arg(long, value_name = "ID", group = "target")]
    stream: Option<String>,
    /// Every stream of a conversation.
    #[arg(long, value_name = "ID", group = "target")]
    conversation: Option<String>,
    /// The server's socket.
    #[arg(long, default_value = DEFAULT_URL)]
    url: WsUrl,
    /// Where the WAV file goes; - writes bare 16-bit little-endian samples of the first stream to standard output.
    #[arg(short, long, value_name = "OUT.wav", default_value = "-")]
    output: PathBuf,
    /// Token to connect with.
    #[arg(long, value_name = "JWT")]
    token: Option<String>,
    #[command(flatten)]
    trust: TrustArg,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let target = match (args.stream, args.conversation) {
        (Some(id), _) => Target::Stream(id),
        (None, Some(id)) => Target::Conversation(id),
        (None, None) => return Err(Failure::Usage(anyhow::anyhow!("name a stream: --stream ID or --conversation ID"))),
    };
    let url = args.trust.applied(args.url)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime cannot start")?;
    let mut outputs = Outputs { path: args.output, open: BTreeMap::new(), begun: 0 };
    let listened = runtime.block_on(async {
        let mut signals = Signals::new().context("signal handling")?;
        let heard =
            listen(&url, args.token.as_deref(), &target, signals.next(), &mut |event| outputs.take(event)).await;
        anyhow::Ok(heard?)
    });
    // What was heard until a failure is kept, with a header that is true.
    let finished = outputs.finish();
    listened?;
    Ok(finished.context("cannot write the output")?)
}

/// Where each stream goes.
struct Outputs {
    path: PathBuf,
    open: BTreeMap<u16, Output>,
    begun: usize,
}

enum Output {
    Wav(Box<WavFile<BufWriter<File>>>),
    Raw,
}

impl Outputs {
    fn take(&mut self, event: Heard<'_>) -> io::Result<()> {
        match event {
            Heard::Began(stream) => self.begin(stream),
            Heard::Audio { stream_index, silence, samples } => match self.open.get_mut(&stream_index) {
                Some(Output::Wav(wav)) => wav.write_silence(silence).and_then(|()| wav.write(samples)),
                Some(Output::Raw) => {
                    let mut out = io::stdout().lock();
                    io::copy(&mut io::Read::take(io::repeat(0), silence * 2), &mut out)?;
                    write_samples(&mut out, samples)?;
                    out.flush()
                }
                None => Ok(()),
            },
            Heard::Ended { stream_index } => match self.open.remove(&stream_index) {
                Some(Output::Wav(wav)) => wav.finish(),
                Some(Output::Raw) | None => Ok(()),
            },
        }
    }

    fn begin(&mut self, stream: &ListenedStream) -> io::Result<()> {
        self.begun += 1;
        let (rate_hz, channels) = (stream.sample_rate, stream.channel_count());
        let output = if self.path == Path::new("-") {
            if self.begun > 1 {
                terminal::note(&format!("stream {} is left out: standard output has one already", stream.stream_uid));
                return Ok(());
            }
            Output::Raw
        } else {
            let path = numbered(&self.path, self.begun);
            terminal::note(&format!("stream {} -> {}", stream.stream_uid, path.display()));
            let file = File::create(&path)
                .map_err(|error| io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display())))?;
            Output::Wav(Box::new(WavFile::new(BufWriter::new(file), PcmSpec { rate_hz, channels })?))
        };
        self.open.insert(stream.stream_index, output);
        Ok(())
    }

    fn finish(self) -> io::Result<()> {
        self.open.into_values().try_for_each(|output| match output {
            Output::Wav(wav) => wav.finish(),
            Output::Raw => Ok(()),
        })
    }
}

/// `OUT.wav`, `OUT-2.wav`, `OUT-3.wav`.
pub(super) fn numbered(path: &Path, number: usize) -> PathBuf {
    if number == 1 {
        return path.to_owned();
    }
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}
