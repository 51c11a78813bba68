//! The decoders' contract (`voxgate::decode::Decoder`): no panic, progress in each step, steps of bounded size, samples that are finite,
//! no more pending than was taken, and the same samples however the bytes are cut.

use voxgate::audio::{Encoding, OutputChannels, OutputFormat, PcmSpec, StreamFormat};
use voxgate::decode::{DecodeError, DecodeOut, DecodeParams, DecodeWarning, Decoder, STEP_FRAMES_MAX, open};

use crate::Random;

/// Sample frames of the largest packet of any codec: a FLAC block.
const PACKET_FRAMES_MAX: usize = 65_536;
/// A file that needs its end first may be held up to here; larger than any input, so that the limit itself is met by claims only.
const WHOLE_FILE_BYTES_MAX: usize = 1 << 20;
/// Bytes a decoder may hold beside a whole file: a block of WebM with its header is the largest.
const PENDING_BYTES_MAX: usize = WHOLE_FILE_BYTES_MAX + (2 << 20);
/// Steps that take nothing and make nothing before it counts as an endless loop.
const IDLE_STEPS_MAX: u32 = 16;
/// Sample frames a byte can be worth: the densest are two seconds of filled loss for one Ogg page of 28 bytes at 192 kHz.
const FRAMES_PER_BYTE_MAX: u64 = 16_384;
/// What a stream may add to that: fills at its very beginning.
const FRAMES_BASE: u64 = 1 << 20;
/// Inputs up to here are also fed one byte at a time.
const SINGLE_BYTES_MAX: usize = 1_500;

#[derive(Debug, Default, PartialEq)]
struct Decoded {
    runs: Vec<(PcmSpec, Vec<f32>)>,
    warnings: Vec<DecodeWarning>,
    error: Option<DecodeError>,
}

fn params(encoding: Encoding) -> DecodeParams {
    let raw = encoding.is_raw();
    DecodeParams {
        format: StreamFormat { encoding, sample_rate: raw.then_some(48_000), channels: raw.then_some(2) },
        output: OutputFormat { rate_hz: 48_000, channels: OutputChannels::Source },
        whole_file_bytes_max: WHOLE_FILE_BYTES_MAX,
    }
}

struct Run {
    decoder: Box<dyn Decoder>,
    out: DecodeOut,
    decoded: Decoded,
    taken_bytes: usize,
    frames: u64,
}

impl Run {
    fn new(params: &DecodeParams) -> Self {
        let decoder = open(params).expect("the declaration is complete");
        Self { decoder, out: DecodeOut::default(), decoded: Decoded::default(), taken_bytes: 0, frames: 0 }
    }

    /// Feeds a piece as the pipeline does. False once the stream has failed.
    fn feed(&mut self, mut piece: &[u8]) -> bool {
        let mut idle = 0;
        loop {
            self.out.clear();
            let step = match self.decoder.decode(piece, &mut self.out) {
                Ok(step) => step,
                Err(e) => {
                    self.decoded.error = Some(e);
                    return false;
                }
            };
            assert!(step.consumed <= piece.len(), "{} taken of {}", step.consumed, piece.len());
            self.taken_bytes += step.consumed;
            let pending = self.decoder.pending_bytes();
            assert!(pending <= self.taken_bytes, "{pending} bytes pending of {} taken", self.taken_bytes);
            assert!(pending <= PENDING_BYTES_MAX, "{pending} bytes pending");
            let made = !self.out.pcm.samples.is_empty() || !self.out.warnings.is_empty();
            idle = if step.consumed > 0 || made { 0 } else { idle + 1 };
            assert!(idle < IDLE_STEPS_MAX, "no progress");
            self.collect();
            piece = &piece[step.consumed..];
            if piece.is_empty() && !step.more {
                return true;
            }
        }
    }

    fn finish(mut self) -> Decoded {
        let mut idle = 0;
        loop {
            self.out.clear();
            match self.decoder.finish(&mut self.out) {
                Ok(more) => {
                    let made = !self.out.pcm.samples.is_empty() || !self.out.warnings.is_empty();
                    idle = if made { 0 } else { idle + 1 };
                    assert!(idle < IDLE_STEPS_MAX, "the end does not come");
                    self.collect();
                    if !more {
                        return self.decoded;
                    }
                }
                Err(e) => {
                    self.decoded.error = Some(e);
                    return self.decoded;
                }
            }
        }
    }

    fn collect(&mut self) {
        self.decoded.warnings.append(&mut self.out.warnings);
        let pcm = &self.out.pcm;
        if pcm.samples.is_empty() {
            return;
        }
        assert!(pcm.samples.len().is_multiple_of(usize::from(pcm.spec.channels)), "half a sample frame");
        assert!(pcm.samples.iter().all(|s| s.abs() <= 8.0), "a sample that is not finite or beyond 8");
        assert!(pcm.frames() <= STEP_FRAMES_MAX.max(PACKET_FRAMES_MAX), "{} frames in a step", pcm.frames());
        self.frames += pcm.frames() as u64;
        let frames_max = FRAMES_BASE + FRAMES_PER_BYTE_MAX * self.taken_bytes as u64;
        assert!(self.frames <= frames_max, "{} frames of {} bytes", self.frames, self.taken_bytes);
        match self.decoded.runs.last_mut() {
            Some((spec, samples)) if *spec == pcm.spec => samples.extend_from_slice(&pcm.samples),
            _ => self.decoded.runs.push((pcm.spec, pcm.samples.clone())),
        }
    }
}

fn decode(params: &DecodeParams, bytes: &[u8], mut piece_bytes: impl FnMut() -> usize) -> Decoded {
    let mut run = Run::new(params);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(piece_bytes().clamp(1, rest.len()));
        rest = later;
        if !run.feed(piece) {
            return run.decoded;
        }
    }
    run.finish()
}

/// Compares what came out, without printing ten thousand samples.
fn assert_same(whole: &Decoded, cut: &Decoded, how: &str) {
    assert_eq!(whole.error, cut.error, "{how}: another end");
    assert_eq!(whole.warnings, cut.warnings, "{how}");
    let shape = |d: &Decoded| d.runs.iter().map(|(spec, samples)| (*spec, samples.len())).collect::<Vec<_>>();
    assert_eq!(shape(whole), shape(cut), "{how}");
    assert!(whole.runs == cut.runs, "{how}: other samples");
}

fn check(encoding: Encoding, bytes: &[u8]) {
    let params = params(encoding);
    let whole = decode(&params, bytes, || usize::MAX);
    let mut random = Random::of(bytes);
    let reach = [64, 700, 5_000][random.below(3)];
    assert_same(&whole, &decode(&params, bytes, || 1 + random.below(reach)), "cut");
    if bytes.len() <= SINGLE_BYTES_MAX {
        assert_same(&whole, &decode(&params, bytes, || 1), "one byte at a time");
    }
}

/// `auto`: the sniffer, and behind it whatever it opens.
pub fn sniff(data: &[u8]) {
    check(Encoding::Auto, data);
}

/// RIFF/WAVE, RF64.
pub fn wav(data: &[u8]) {
    check(Encoding::Wav, data);
}

/// AIFF, AIFF-C.
pub fn aiff(data: &[u8]) {
    check(Encoding::Aiff, data);
}

/// Core Audio Format.
pub fn caf(data: &[u8]) {
    check(Encoding::Caf, data);
}

/// Native FLAC.
pub fn flac(data: &[u8]) {
    check(Encoding::Flac, data);
}

/// MPEG audio.
pub fn mp3(data: &[u8]) {
    check(Encoding::Mp3, data);
}

/// AAC in ADTS.
pub fn adts(data: &[u8]) {
    check(Encoding::Aac, data);
}

/// Ogg.
pub fn ogg(data: &[u8]) {
    check(Encoding::Ogg, data);
}

/// WebM and Matroska.
pub fn webm(data: &[u8]) {
    check(Encoding::Webm, data);
}

/// ISO base media files.
pub fn mp4(data: &[u8]) {
    check(Encoding::Mp4, data);
}

/// Bare Opus packets, each behind its length in two bytes (little-endian). A packet is a whole; there is nothing to cut.
pub fn opus(data: &[u8]) {
    let mut run = Run::new(&params(Encoding::Opus));
    let mut rest = data;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (packet, later) = after.split_at(usize::from(u16::from_le_bytes(*length)).min(after.len()));
        rest = later;
        if !packet.is_empty() && !run.feed(packet) {
            return;
        }
    }
    run.finish();
}
