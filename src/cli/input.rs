//! A file to decode or to send, and what its bytes are.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::audio::{Encoding, StreamFormat};

/// What a file's bytes are, where they do not say themselves.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct FormatArgs {
    /// Encoding of the file, for raw audio: pcm_s16le, mulaw, ... [default: told from the first bytes, or from the extension
    /// .mulaw, .ulaw, .alaw]
    #[arg(long, value_name = "ENCODING", value_parser = encoding)]
    pub(super) encoding: Option<Encoding>,
    /// Sample rate of raw audio, in hertz.
    #[arg(long, value_name = "HZ")]
    pub(super) input_rate: Option<u32>,
    /// Channels of raw audio.
    #[arg(long, value_name = "N")]
    pub(super) input_channels: Option<u32>,
}

fn encoding(text: &str) -> Result<Encoding, String> {
    text.parse().map_err(|error: crate::audio::FormatError| error.to_string())
}

impl FormatArgs {
    /// The format of a file.
    pub(super) fn of(&self, path: &Path) -> anyhow::Result<StreamFormat> {
        let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
        let told = match extension.as_deref() {
            Some("mulaw" | "ulaw") => Encoding::Mulaw,
            Some("alaw") => Encoding::Alaw,
            _ => Encoding::Auto,
        };
        let encoding = self.encoding.unwrap_or(told);
        if encoding == Encoding::Opus {
            bail!("bare Opus packets have no file form: put them into Ogg or WebM");
        }
        // G.711 is defined at 8 kHz, one channel (ITU-T G.711 section 2).
        let g711 = matches!(encoding, Encoding::Mulaw | Encoding::Alaw);
        let rate_hz = self.input_rate.or(g711.then_some(8_000));
        let channels = self.input_channels.or(g711.then_some(1));
        if encoding.is_raw() && (rate_hz.is_none() || channels.is_none()) {
            bail!("{}: {encoding} says nothing of itself: give --input-rate and --input-channels", path.display());
        }
        StreamFormat::new(encoding, rate_hz, channels).with_context(|| path.display().to_string())
    }
}

/// A file in memory.
pub(super) fn read(path: &PathBuf) -> anyhow::Result<Vec<u8>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    if bytes.is_empty() {
        bail!("{} is empty: name a file with audio in it", path.display());
    }
    Ok(bytes)
}
