//! Drives decoders exactly as their contract says, for tests, and compares what comes out.

use std::path::PathBuf;

use super::*;
use crate::audio::{Encoding, OutputChannels, OutputFormat, PcmSpec, StreamFormat, convert};

/// What a whole stream decoded to. Samples of differing specs follow each other; `spec` is the first.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) spec: PcmSpec,
    pub(crate) samples: Vec<f32>,
    pub(crate) warnings: Vec<DecodeWarning>,
    /// The error that ended it, with what came before kept.
    pub(crate) error: Option<DecodeError>,
    /// The most bytes ever pending.
    pub(crate) pending_bytes_peak: usize,
}

impl Decoded {
    pub(crate) fn frames(&self) -> usize {
        self.samples.len() / usize::from(self.spec.channels)
    }
}

/// Where a stream's bytes are cut.
#[derive(Clone, Debug)]
pub(crate) enum Cuts {
    /// Not at all.
    None,
    /// Every so many bytes.
    Every(usize),
    /// By these sizes; what is left over is one more piece.
    Sizes(Vec<usize>),
}

pub(crate) fn fixture(path: &str) -> Vec<u8> {
    let full = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path);
    std::fs::read(&full).unwrap_or_else(|e| panic!("{}: {e}", full.display()))
}

/// The sizes of the chunks a page sent.
pub(crate) fn recorder_cuts(name: &str) -> Cuts {
    Cuts::Sizes(serde_json::from_slice(&fixture(&format!("recorders/{name}.sizes.json"))).expect("a list of sizes"))
}

/// What ffmpeg made of a lossy file.
pub(crate) fn expected(name: &str) -> Vec<f32> {
    let bytes = fixture(&format!("expected/{name}.s16"));
    bytes.chunks_exact(2).map(|b| convert::s16_to_f32(i16::from_le_bytes([b[0], b[1]]))).collect()
}

/// The samples of a 16-bit WAV file with its channels.
pub(crate) fn wav_samples(path: &str) -> (u16, Vec<f32>) {
    let mut reader = hound::WavReader::new(std::io::Cursor::new(fixture(path))).expect("a WAV file");
    let channels = reader.spec().channels;
    (channels, reader.samples::<i16>().map(|s| convert::s16_to_f32(s.expect("a sample"))).collect())
}

pub(crate) fn params(encoding: Encoding, rate_hz: u32, channels: OutputChannels) -> DecodeParams {
    DecodeParams {
        format: StreamFormat { encoding, sample_rate: None, channels: None },
        output: OutputFormat { rate_hz, channels },
        whole_file_bytes_max: WHOLE_FILE_BYTES_MAX,
    }
}

/// The parameters under which nothing is mixed or resampled.
pub(crate) fn native(encoding: Encoding) -> DecodeParams {
    params(encoding, 48_000, OutputChannels::Source)
}

/// Decodes a whole stream and checks the contract of [`Decoder`] on the way.
pub(crate) fn decode_all(params: &DecodeParams, bytes: &[u8], cuts: &Cuts) -> Decoded {
    let mut done = Decoded {
        spec: PcmSpec { rate_hz: 0, channels: 1 },
        samples: Vec::new(),
        warnings: Vec::new(),
        error: None,
        pending_bytes_peak: 0,
    };
    let mut decoder = match open(params) {
        Ok(decoder) => decoder,
        Err(error) => return Decoded { error: Some(error), ..done },
    };
    let mut out = DecodeOut::default();
    for piece in pieces(bytes, cuts) {
        let mut rest = piece;
        let mut idle_steps = 0;
        loop {
            out.clear();
            let step = match decoder.decode(rest, &mut out) {
                Ok(step) => step,
                Err(error) => {
                    done.error = Some(error);
                    return done;
                }
            };
            assert!(step.consumed <= rest.len(), "more was consumed than there is");
            keep(&mut done, &out);
            done.pending_bytes_peak = done.pending_bytes_peak.max(decoder.pending_bytes());
            let moved = step.consumed > 0 || !out.pcm.samples.is_empty() || !out.warnings.is_empty();
            idle_steps = if moved { 0 } else { idle_steps + 1 };
            assert!(idle_steps < 1_000, "the decoder stands still");
            rest = &rest[step.consumed..];
            if rest.is_empty() && !step.more {
                break;
            }
        }
    }
    for calls in 0.. {
        assert!(calls < 1_000_000, "finish never ends");
        out.clear();
        match decoder.finish(&mut out) {
            Ok(more) => {
                keep(&mut done, &out);
                if !more {
                    break;
                }
            }
            Err(error) => {
                keep(&mut done, &out);
                done.error = Some(error);
                break;
            }
        }
    }
    done
}

fn keep(done: &mut Decoded, out: &DecodeOut) {
    let channels = usize::from(out.pcm.spec.channels);
    if !out.pcm.samples.is_empty() {
        assert!(channels > 0 && out.pcm.samples.len().is_multiple_of(channels), "half a frame");
        // The largest packet of any codec here is FLAC's 65,535 frames.
        assert!(out.pcm.frames() <= 65_535, "{} frames in one step", out.pcm.frames());
        assert!(out.pcm.samples.iter().all(|s| s.is_finite() && s.abs() <= 8.0), "a sample that is no sound");
        if done.samples.is_empty() {
            done.spec = out.pcm.spec;
        }
        done.samples.extend_from_slice(&out.pcm.samples);
    }
    done.warnings.extend_from_slice(&out.warnings);
}

fn pieces<'a>(bytes: &'a [u8], cuts: &Cuts) -> Vec<&'a [u8]> {
    match cuts {
        Cuts::None => vec![bytes],
        Cuts::Every(n) => bytes.chunks(*n).collect(),
        Cuts::Sizes(sizes) => {
            let mut rest = bytes;
            let mut pieces = Vec::new();
            for &size in sizes {
                let (piece, left) = rest.split_at(size.min(rest.len()));
                pieces.push(piece);
                rest = left;
            }
            pieces.push(rest);
            pieces
        }
    }
}

/// The same bytes, cut in several ways, give the same samples.
pub(crate) fn assert_cuts_change_nothing(params: &DecodeParams, bytes: &[u8], more_cuts: &[Cuts]) {
    let whole = decode_all(params, bytes, &Cuts::None);
    let mut random = Random(bytes.len() as u64 + 1);
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < bytes.len() {
        let spread = [3, 40, 700, 20_000][random.below(4)];
        sizes.push(random.below(spread));
    }
    let fixed = [Cuts::Every(1), Cuts::Every(7), Cuts::Every(1_000), Cuts::Sizes(sizes)];
    for cuts in fixed.iter().chain(more_cuts) {
        let cut = decode_all(params, bytes, cuts);
        assert_eq!(
            (cut.spec, &cut.error, cut.samples.len()),
            (whole.spec, &whole.error, whole.samples.len()),
            "{cuts:?}"
        );
        assert!(cut.samples == whole.samples, "{cuts:?} changes samples");
        assert_eq!(cut.warnings, whole.warnings, "{cuts:?}");
    }
}

/// The energy of the difference against that of `reference`, in decibels. Lengths must be equal.
pub(crate) fn difference_db(samples: &[f32], reference: &[f32]) -> f64 {
    assert_eq!(samples.len(), reference.len(), "lengths");
    let energy = |x: f64| x * x;
    let noise: f64 = samples.iter().zip(reference).map(|(&a, &b)| energy(f64::from(a) - f64::from(b))).sum();
    let signal: f64 = reference.iter().map(|&b| energy(f64::from(b))).sum();
    10.0 * ((noise + 1e-12) / (signal + 1e-12)).log10()
}

/// As [`difference_db`] once `samples` are rounded to 16 bits as the reference is, whose rounding alone is -77 dB of speech.
pub(crate) fn difference_s16_db(samples: &[f32], reference: &[f32]) -> f64 {
    let mut rounded = Vec::new();
    convert::f32_to_s16(samples, &mut rounded);
    let rounded: Vec<f32> = rounded.into_iter().map(convert::s16_to_f32).collect();
    difference_db(&rounded, reference)
}

/// The mean of the channels.
pub(crate) fn down_mix(samples: &[f32], channels: u16) -> Vec<f32> {
    samples.chunks_exact(usize::from(channels)).map(|frame| frame.iter().sum::<f32>() / f32::from(channels)).collect()
}

/// By how many samples `late` lags `early` where they are most alike, up to `lag_max` either way.
pub(crate) fn best_lag(late: &[f32], early: &[f32], lag_max: isize) -> isize {
    let score = |lag: isize| -> f64 {
        let (a, b) =
            if lag >= 0 { (late.get(lag as usize..), Some(early)) } else { (Some(late), early.get((-lag) as usize..)) };
        let (a, b) = (a.unwrap_or_default(), b.unwrap_or_default());
        a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
    };
    (-lag_max..=lag_max).max_by(|&a, &b| score(a).total_cmp(&score(b))).unwrap_or(0)
}

/// Reproducible random numbers (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// `bytes` with a few of them changed, left out, doubled or cut off.
pub(crate) fn mutate(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(6) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(bytes.len());
        let some = (1 + random.below(300)).min(bytes.len() - at);
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes[at..at + some].iter_mut().for_each(|b| *b = random.next() as u8),
            3 => drop(bytes.drain(at..at + some)),
            4 => {
                let copy = bytes[at..at + some].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, copy);
            }
            _ if random.below(8) == 0 => bytes.truncate(at),
            _ => bytes[at] = 0xFF,
        }
    }
    bytes
}

/// Damaged, truncated and random bytes never panic, and never make a decoder hold more than `pending_bytes_max`.
pub(crate) fn assert_survives_damage(params: &DecodeParams, bytes: &[u8], rounds: u64, pending_bytes_max: usize) {
    for seed in 0..rounds {
        let mut random = Random(seed);
        let damaged = mutate(bytes, &mut random);
        let cuts = [Cuts::None, Cuts::Every(1 + random.below(600))][random.below(2)].clone();
        let decoded = decode_all(params, &damaged, &cuts);
        assert!(decoded.pending_bytes_peak <= pending_bytes_max, "{} bytes pending", decoded.pending_bytes_peak);
    }
}
