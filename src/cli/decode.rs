//! `voxgate decode`: a file through the server's own pipeline, without a server.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use super::input::FormatArgs;
use super::{Failure, terminal};
use crate::audio::{OutputChannels, OutputFormat, PcmSpec, convert};
use crate::client::wav::WavFile;
use crate::decode::{DecodeError, DecodeParams, WHOLE_FILE_BYTES_MAX};
use crate::pipeline::{OfflineError, OfflineReport, decode_all};

/// Decode a file to 16-bit PCM, exactly as the server would.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  voxgate decode call.webm -o call.wav\n  voxgate decode talk.mp3 --rate 48000 --channels source -o - | aplay -f S16_LE -r 48000 -c 2"
)]
pub(super) struct Args {
    /// The file; - reads standard input.
    file: PathBuf,
    /// Where the WAV file goes; - writes bare 16-bit little-endian samples to standard output.
    #[arg(short, long, value_name = "OUT.wav")]
    output: PathBuf,
    /// Sample rate of the output in hertz: 8000, 16000, 24000 or 48000.
    #[arg(long, default_value_t = 16_000, value_name = "HZ")]
    rate: u32,
    /// Channels of the output: 1 (the average of all) or source.
    #[arg(long, default_value = "1", value_name = "1|source", value_parser = channels)]
    channels: OutputChannels,
    #[command(flatten)]
    format: FormatArgs,
}

fn channels(text: &str) -> Result<OutputChannels, String> {
    match text {
        "1" => Ok(OutputChannels::Mono),
        "source" => Ok(OutputChannels::Source),
        _ => Err("use 1 or source".to_owned()),
    }
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let output = OutputFormat::new(args.rate, args.channels)
        .map_err(|_| Failure::Usage(anyhow!("--rate {}: use 8000, 16000, 24000 or 48000", args.rate)))?;
    let format = args.format.of(&args.file).map_err(Failure::Usage)?;
    let params = DecodeParams { format, output, whole_file_bytes_max: WHOLE_FILE_BYTES_MAX };
    let mut input: Box<dyn io::Read> = if args.file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(&args.file).with_context(|| format!("cannot open {}", args.file.display()))?)
    };
    let (report, spec) = if args.output == Path::new("-") {
        let mut out = BufWriter::new(io::stdout().lock());
        let done = decode_into(&mut input, &params, &mut |_, block| write_samples(&mut out, block))?;
        out.flush().context("standard output")?;
        done
    } else {
        into_file(&mut input, &params, &args.output).with_context(|| args.file.display().to_string())?
    };
    let mut line = format!(
        "{}: {} Hz, {} channel(s), {} samples, {}",
        args.file.display(),
        spec.rate_hz,
        spec.channels,
        report.frames,
        terminal::seconds(report.frames * 1_000 / u64::from(spec.rate_hz)),
    );
    for warning in &report.warnings {
        line.push_str(&format!("\nwarning: {warning}"));
    }
    terminal::note(&line);
    Ok(())
}

/// What came of a file, and what it came out as.
type Decoded = (OfflineReport, PcmSpec);

fn decode_into(
    input: &mut dyn io::Read,
    params: &DecodeParams,
    on_block: &mut dyn FnMut(PcmSpec, &[i16]) -> io::Result<()>,
) -> anyhow::Result<Decoded> {
    let mut s16 = Vec::new();
    let mut output = PcmSpec { rate_hz: params.output.rate_hz, channels: 1 };
    let report = decode_all(params, input, &mut |spec, block| {
        output = spec;
        s16.clear();
        convert::f32_to_s16(block, &mut s16);
        on_block(spec, &s16)
    })
    .map_err(|e| match e {
        OfflineError::Decode(DecodeError::Unrecognised) => anyhow!(
            "the first bytes are no known format: name it by --encoding, for raw audio with --input-rate and --input-channels"
        ),
        e => e.into(),
    })?;
    Ok((report, output))
}

/// Into a WAV file. It has its name only once it is whole, so a failure harms nothing that was there before.
fn into_file(input: &mut dyn io::Read, params: &DecodeParams, path: &Path) -> anyhow::Result<Decoded> {
    let special = std::fs::metadata(path).is_ok_and(|found| !found.is_file());
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let target = if special { path.to_owned() } else { PathBuf::from(part) };
    let cannot = || format!("cannot write {}", target.display());
    let file = File::create(&target).with_context(cannot)?;
    let done = write_wav(input, params, &file);
    if special {
        return done;
    }
    match done {
        Ok(decoded) => {
            std::fs::rename(&target, path).with_context(cannot)?;
            Ok(decoded)
        }
        Err(error) => {
            // The first error is the one that matters.
            let _ = std::fs::remove_file(&target);
            Err(error)
        }
    }
}

fn write_wav(input: &mut dyn io::Read, params: &DecodeParams, file: &File) -> anyhow::Result<Decoded> {
    let mut wav = None;
    let decoded = decode_into(input, params, &mut |spec, block| {
        let mut open = match wav.take() {
            Some(open) => open,
            None => WavFile::new(BufWriter::new(file), spec)?,
        };
        let written = open.write(block);
        wav = Some(open);
        written
    })?;
    let wav = match wav {
        Some(wav) => wav,
        None => WavFile::new(BufWriter::new(file), PcmSpec { rate_hz: params.output.rate_hz, channels: 1 })?,
    };
    wav.finish().context("cannot write the WAV file")?;
    Ok(decoded)
}

/// Bare samples, little-endian.
pub(super) fn write_samples(out: &mut dyn Write, samples: &[i16]) -> io::Result<()> {
    let mut bytes = [0; 4_096];
    for part in samples.chunks(bytes.len() / 2) {
        for (to, sample) in bytes.chunks_exact_mut(2).zip(part) {
            to.copy_from_slice(&sample.to_le_bytes());
        }
        out.write_all(&bytes[..part.len() * 2])?;
    }
    Ok(())
}
