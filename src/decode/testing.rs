//! For decoder tests: the one driver that keeps the contract of [`Decoder`] to the letter and checks the decoder's side of it, ways to
//! cut and to damage streams, fixtures.

mod compare;
mod damage;

use std::path::Path;

use super::{DecodeError, DecodeOut, DecodeParams, DecodeWarning, Decoder, WHOLE_FILE_BYTES_MAX, open};
use crate::audio::{Encoding, OutputChannels, OutputFormat, PcmSpec, StreamFormat, convert};
pub(crate) use compare::{assert_each_channel, best_lag, difference_db, difference_s16_db, down_mix};
pub(crate) use damage::{Random, mutate, survive_damage, survive_garbage};

/// Where a stream's bytes are cut.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cut<'a> {
    /// Not at all.
    Whole,
    /// Every so many bytes.
    Every(usize),
    /// Pieces of 0 to 20,000 bytes, most of them small, by this seed.
    Random(u64),
    /// By these sizes; what is left over is one more piece.
    Sizes(&'a [usize]),
}

/// What came out of a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decoded {
    /// Each run of one format and its samples per channel.
    pub(crate) runs: Vec<(PcmSpec, usize)>,
    /// The samples of all runs.
    pub(crate) samples: Vec<f32>,
    pub(crate) warnings: Vec<DecodeWarning>,
    /// What ended it early; what came before is kept.
    pub(crate) error: Option<DecodeError>,
    /// The most `pending_bytes` after any call.
    pub(crate) pending_max: usize,
}

impl Decoded {
    /// The format of a stream that has one.
    pub(crate) fn spec(&self) -> PcmSpec {
        assert_eq!(self.runs.len(), 1, "one format: {:?}", self.runs);
        self.runs[0].0
    }

    /// Samples per channel of a stream that has one format, or none because nothing came.
    pub(crate) fn frames(&self) -> usize {
        if self.samples.is_empty() { 0 } else { self.samples.len() / usize::from(self.spec().channels) }
    }

    /// Format and samples of a stream that has one format and no error.
    pub(crate) fn only_run(&self) -> (PcmSpec, &[f32]) {
        assert_eq!(self.error, None);
        (self.spec(), &self.samples)
    }

    pub(crate) fn s16(&self) -> Vec<i16> {
        let mut out = Vec::new();
        convert::f32_to_s16(&self.samples, &mut out);
        out
    }

    /// Whether the same sound came of both, in the same formats.
    pub(crate) fn sounds_like(&self, other: &Self) -> bool {
        self.runs == other.runs && self.samples == other.samples
    }

    /// All that came of the other must have come of this, however much either held.
    #[track_caller]
    pub(crate) fn assert_same(&self, other: &Self, how: &str) {
        assert_eq!(self.runs, other.runs, "{how}");
        assert!(self.samples == other.samples, "{how}: the samples differ");
        assert_eq!(self.warnings, other.warnings, "{how}");
        assert_eq!(self.error, other.error, "{how}");
    }

    fn keep(&mut self, out: &DecodeOut) {
        let pcm = &out.pcm;
        self.warnings.extend_from_slice(&out.warnings);
        if pcm.samples.is_empty() {
            return;
        }
        let channels = usize::from(pcm.spec.channels);
        assert!(channels > 0 && pcm.samples.len().is_multiple_of(channels), "half a frame");
        assert!(pcm.frames() <= STEP_FRAMES_LIMIT, "{} frames in a step", pcm.frames());
        assert!(pcm.samples.iter().all(|x| x.abs() <= convert::SAMPLE_ABS_MAX), "a sample that is no sound");
        match self.runs.last_mut() {
            Some((spec, frames)) if *spec == pcm.spec => *frames += pcm.frames(),
            _ => self.runs.push((pcm.spec, pcm.frames())),
        }
        self.samples.extend_from_slice(&pcm.samples);
    }
}

/// One packet's worth: the largest of any codec here is a FLAC block.
const STEP_FRAMES_LIMIT: usize = 65_535;
/// Steps that bring nothing in a row: some tables have as many samples whose bytes are not there.
const IDLE_STEPS_MAX: u32 = 1_000;

/// Decodes a whole stream, keeping what came before an error.
pub(crate) fn run(params: &DecodeParams, bytes: &[u8], cut: Cut<'_>) -> Decoded {
    let mut decoded = Decoded::default();
    decoded.error = drive(params, bytes, cut, &mut decoded).err();
    decoded
}

/// Decodes a whole stream.
pub(crate) fn decode(params: &DecodeParams, bytes: &[u8], cut: Cut<'_>) -> Result<Decoded, DecodeError> {
    let mut decoded = Decoded::default();
    drive(params, bytes, cut, &mut decoded)?;
    Ok(decoded)
}

fn drive(params: &DecodeParams, bytes: &[u8], cut: Cut<'_>, decoded: &mut Decoded) -> Result<(), DecodeError> {
    let mut decoder = open(params)?;
    let mut out = DecodeOut::default();
    let mut rest = bytes;
    let mut sizes = piece_sizes(cut);
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(sizes().min(rest.len()));
        rest = later;
        feed(decoder.as_mut(), piece, &mut out, decoded)?;
    }
    for calls in 0.. {
        assert!(calls < 1_000_000, "finish never ends");
        out.clear();
        let more = decoder.finish(&mut out);
        decoded.keep(&out);
        if !more? {
            break;
        }
    }
    assert_eq!(decoder.pending_bytes(), 0, "nothing is pending after the end");
    Ok(())
}

fn feed(
    decoder: &mut dyn Decoder,
    mut piece: &[u8],
    out: &mut DecodeOut,
    decoded: &mut Decoded,
) -> Result<(), DecodeError> {
    let mut idle_steps = 0;
    loop {
        out.clear();
        let step = decoder.decode(piece, out)?;
        assert!(step.consumed <= piece.len(), "consumed {} of {}", step.consumed, piece.len());
        decoded.keep(out);
        decoded.pending_max = decoded.pending_max.max(decoder.pending_bytes());
        let moved = step.consumed > 0 || !out.pcm.samples.is_empty() || !out.warnings.is_empty();
        assert!(moved || piece.is_empty() || step.more, "a step without progress");
        idle_steps = if moved { 0 } else { idle_steps + 1 };
        assert!(idle_steps < IDLE_STEPS_MAX, "the decoder stands still");
        piece = &piece[step.consumed..];
        if piece.is_empty() && !step.more {
            return Ok(());
        }
    }
}

/// Says how long each next piece is.
fn piece_sizes(cut: Cut<'_>) -> impl FnMut() -> usize + '_ {
    let mut random = Random(if let Cut::Random(seed) = cut { seed } else { 0 });
    let mut at = 0;
    move || match cut {
        Cut::Whole => usize::MAX,
        Cut::Every(bytes) => bytes,
        Cut::Random(_) => {
            let spread = [4, 41, 701, 3_001, 20_001][random.below(5)];
            random.below(spread)
        }
        Cut::Sizes(sizes) => {
            at += 1;
            sizes.get(at - 1).copied().unwrap_or(usize::MAX)
        }
    }
}

/// The same bytes give the same samples, warnings and error, one at a time, in pieces, at random cuts and whole.
pub(crate) fn assert_same_however_cut(params: &DecodeParams, bytes: &[u8]) {
    let whole = run(params, bytes, Cut::Whole);
    for cut in [
        Cut::Every(1),
        Cut::Every(7),
        Cut::Every(1_000),
        Cut::Every(4_096),
        Cut::Random(1),
        Cut::Random(2),
        Cut::Random(3),
    ] {
        run(params, bytes, cut).assert_same(&whole, &format!("{cut:?}"));
    }
}

/// A container's params, nothing declared, for the server's usual output.
pub(crate) fn params(encoding: Encoding) -> DecodeParams {
    params_to(encoding, OutputFormat::default())
}

/// The params under which nothing is mixed or resampled: Opus decodes to 48 kHz and as many channels as there are.
pub(crate) fn native(encoding: Encoding) -> DecodeParams {
    params_to(encoding, OutputFormat { rate_hz: 48_000, channels: OutputChannels::Source })
}

/// A container's params, nothing declared.
pub(crate) fn params_to(encoding: Encoding, output: OutputFormat) -> DecodeParams {
    let format = StreamFormat { encoding, sample_rate: None, channels: None };
    DecodeParams { format, output, whole_file_bytes_max: WHOLE_FILE_BYTES_MAX }
}

/// Params with rate and channels declared.
pub(crate) fn params_raw(encoding: Encoding, rate_hz: u32, channels: u32) -> DecodeParams {
    let format = StreamFormat::new(encoding, Some(rate_hz), Some(channels)).expect("a format in range");
    DecodeParams { format, ..params(encoding) }
}

/// A file of `fixtures`.
pub(crate) fn file(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A file of `fixtures/audio`.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    file(&format!("audio/{name}"))
}

/// A file of `fixtures/recorders` and the sizes of the chunks in which the page sent it.
pub(crate) fn recording(name: &str) -> (Vec<u8>, Vec<usize>) {
    let sizes = file(&format!("recorders/{name}.sizes.json"));
    (file(&format!("recorders/{name}")), serde_json::from_slice(&sizes).expect("a list of sizes"))
}

/// What ffmpeg made of the lossy fixture or recording `name`.
pub(crate) fn expected(name: &str) -> Vec<i16> {
    s16(&file(&format!("expected/{name}.s16")))
}

/// The packets of an Ogg file of one stream, its headers first.
pub(crate) fn ogg_packets(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut packets, mut packet, mut rest) = (Vec::new(), Vec::new(), bytes);
    while let Some(page) = rest.strip_prefix(b"OggS") {
        let lacing = &page[23..23 + usize::from(page[22])];
        rest = &page[23 + lacing.len()..];
        for &n in lacing {
            let (part, later) = rest.split_at(usize::from(n));
            packet.extend_from_slice(part);
            rest = later;
            if n < 255 {
                packets.push(std::mem::take(&mut packet));
            }
        }
    }
    packets
}

/// Little-endian 16-bit samples.
pub(crate) fn s16(bytes: &[u8]) -> Vec<i16> {
    bytes.as_chunks::<2>().0.iter().map(|&b| i16::from_le_bytes(b)).collect()
}

/// 16-bit samples as floats.
pub(crate) fn floats(samples: &[i16]) -> Vec<f32> {
    samples.iter().map(|&sample| convert::s16_to_f32(sample)).collect()
}

/// The channel count and samples of a 16-bit WAV file of `fixtures`, read by another reader than this crate's.
pub(crate) fn wav_samples(path: &str) -> (u16, Vec<f32>) {
    let mut reader = hound::WavReader::new(std::io::Cursor::new(file(path))).expect("a WAV file");
    let channels = reader.spec().channels;
    (channels, reader.samples::<i16>().map(|s| convert::s16_to_f32(s.expect("a sample"))).collect())
}
