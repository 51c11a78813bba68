//! PCM frames of blocks to floats, block edges anywhere.

use crate::audio::PcmSpec;
use crate::decode::{DecodeOut, STEP_FRAMES_MAX};

/// How a sample is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sample {
    U8,
    S16le,
    S24le,
    S32le,
    S16be,
    S24be,
    S32be,
    F32le,
    F64le,
}

/// How a track's PCM is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct PcmLayout {
    sample: Sample,
    spec: PcmSpec,
}

impl PcmLayout {
    /// The layout of a codec identifier and bit depth; `None` if there is none such.
    pub(super) fn new(codec_id: &[u8], bits: u64, rate_hz: u32, channels: u16) -> Option<Self> {
        let sample = match (codec_id, bits) {
            (b"A_PCM/INT/LIT" | b"A_PCM/INT/BIG", 8) => Sample::U8,
            (b"A_PCM/INT/LIT", 16) => Sample::S16le,
            (b"A_PCM/INT/LIT", 24) => Sample::S24le,
            (b"A_PCM/INT/LIT", 32) => Sample::S32le,
            (b"A_PCM/INT/BIG", 16) => Sample::S16be,
            (b"A_PCM/INT/BIG", 24) => Sample::S24be,
            (b"A_PCM/INT/BIG", 32) => Sample::S32be,
            (b"A_PCM/FLOAT/IEEE", 32) => Sample::F32le,
            (b"A_PCM/FLOAT/IEEE", 64) => Sample::F64le,
            _ => return None,
        };
        Some(Self { sample, spec: PcmSpec { rate_hz, channels } })
    }

    /// Bytes of one sample of all channels.
    pub(super) fn frame_bytes(self) -> usize {
        let sample_bytes = match self.sample {
            Sample::U8 => 1,
            Sample::S16le | Sample::S16be => 2,
            Sample::S24le | Sample::S24be => 3,
            Sample::S32le | Sample::S32be | Sample::F32le => 4,
            Sample::F64le => 8,
        };
        sample_bytes * usize::from(self.spec.channels)
    }

    /// Converts as many whole frames of `bytes` as a step may hold. Returns how many bytes they took.
    pub(super) fn convert(self, bytes: &[u8], out: &mut DecodeOut) -> usize {
        let frames = (bytes.len() / self.frame_bytes()).min(STEP_FRAMES_MAX);
        let taken = frames * self.frame_bytes();
        let bytes = &bytes[..taken];
        let samples = &mut out.pcm.samples;
        out.pcm.spec = self.spec;
        // 24 bits keep their value in a float's mantissa; 32 bits lose the lowest eight.
        let int = |value: i32| value as f32 / -(i32::MIN as f32);
        match self.sample {
            Sample::U8 => samples.extend(bytes.iter().map(|&b| (f32::from(b) - 128.0) / 128.0)),
            Sample::S16le => extend(samples, bytes, |[a, b]| int(i32::from_le_bytes([0, 0, a, b]))),
            Sample::S24le => extend(samples, bytes, |[a, b, c]| int(i32::from_le_bytes([0, a, b, c]))),
            Sample::S32le => extend(samples, bytes, |b| int(i32::from_le_bytes(b))),
            Sample::S16be => extend(samples, bytes, |[a, b]| int(i32::from_be_bytes([a, b, 0, 0]))),
            Sample::S24be => extend(samples, bytes, |[a, b, c]| int(i32::from_be_bytes([a, b, c, 0]))),
            Sample::S32be => extend(samples, bytes, |b| int(i32::from_be_bytes(b))),
            Sample::F32le => extend(samples, bytes, |b| sane(f32::from_le_bytes(b))),
            Sample::F64le => extend(samples, bytes, |b| sane(f64::from_le_bytes(b) as f32)),
        }
        taken
    }
}

/// Samples beyond this are not sound.
const SAMPLE_MAX: f32 = 8.0;

fn sane(x: f32) -> f32 {
    if x.is_nan() { 0.0 } else { x.clamp(-SAMPLE_MAX, SAMPLE_MAX) }
}

fn extend<const N: usize>(samples: &mut Vec<f32>, bytes: &[u8], to_float: impl Fn([u8; N]) -> f32) {
    let (whole, _) = bytes.as_chunks::<N>();
    samples.extend(whole.iter().map(|&chunk| to_float(chunk)));
}
