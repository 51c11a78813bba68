//! Raw PCM and G.711: the sample kernels every PCM container shares, and the decoder of streams that are nothing but samples.
//! Knows no header.

use super::{DecodeError, DecodeOut, DecodeParams, DecodeWarning, Decoder, STEP_FRAMES_MAX, Step, g711};
use crate::audio::{CHANNELS_MAX, Encoding, FormatError, PcmSpec};

/// Widest sample of all kinds, in bytes.
const SAMPLE_BYTES_MAX: usize = 8;
/// A sample frame cut by the end of the input is carried in a fixed array of this size.
const CARRY_BYTES_MAX: usize = SAMPLE_BYTES_MAX * CHANNELS_MAX as usize;

/// Floats beyond this are garbage, not overshoot; they are clamped so that nothing downstream meets infinity.
const FLOAT_LIMIT: f32 = 8.0;

/// How one sample is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SampleKind {
    U8,
    S8,
    S16le,
    S16be,
    S24le,
    S24be,
    S32le,
    S32be,
    F32le,
    F32be,
    F64le,
    F64be,
    Mulaw,
    Alaw,
}

impl SampleKind {
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::S8 | Self::Mulaw | Self::Alaw => 1,
            Self::S16le | Self::S16be => 2,
            Self::S24le | Self::S24be => 3,
            Self::S32le | Self::S32be | Self::F32le | Self::F32be => 4,
            Self::F64le | Self::F64be => 8,
        }
    }

    /// Signed integers of `bytes` bytes.
    pub(super) fn int(bytes: usize, big_endian: bool) -> Option<Self> {
        match (bytes, big_endian) {
            (1, _) => Some(Self::S8),
            (2, false) => Some(Self::S16le),
            (2, true) => Some(Self::S16be),
            (3, false) => Some(Self::S24le),
            (3, true) => Some(Self::S24be),
            (4, false) => Some(Self::S32le),
            (4, true) => Some(Self::S32be),
            _ => None,
        }
    }

    /// Floats of `bytes` bytes.
    pub(super) fn float(bytes: usize, big_endian: bool) -> Option<Self> {
        match (bytes, big_endian) {
            (4, false) => Some(Self::F32le),
            (4, true) => Some(Self::F32be),
            (8, false) => Some(Self::F64le),
            (8, true) => Some(Self::F64be),
            _ => None,
        }
    }

    /// Appends the samples of `bytes`, a whole number of them.
    fn convert(self, bytes: &[u8], out: &mut Vec<f32>) {
        match self {
            Self::U8 => out.extend(bytes.iter().map(|&b| (f32::from(b) - 128.0) / 128.0)),
            Self::S8 => out.extend(bytes.iter().map(|&b| f32::from(b as i8) / 128.0)),
            Self::Mulaw => out.extend(bytes.iter().map(|&b| g711::MULAW[usize::from(b)])),
            Self::Alaw => out.extend(bytes.iter().map(|&b| g711::ALAW[usize::from(b)])),
            Self::S16le => each(bytes, out, |b| f32::from(i16::from_le_bytes(b)) / 32_768.0),
            Self::S16be => each(bytes, out, |b| f32::from(i16::from_be_bytes(b)) / 32_768.0),
            // In the upper three bytes of an i32, so that the sign comes by itself; 24 bits are exact in an f32.
            Self::S24le => each(bytes, out, |[a, b, c]| s32(i32::from_le_bytes([0, a, b, c]))),
            Self::S24be => each(bytes, out, |[a, b, c]| s32(i32::from_be_bytes([a, b, c, 0]))),
            Self::S32le => each(bytes, out, |b| s32(i32::from_le_bytes(b))),
            Self::S32be => each(bytes, out, |b| s32(i32::from_be_bytes(b))),
            Self::F32le => each(bytes, out, |b| clean(f32::from_le_bytes(b))),
            Self::F32be => each(bytes, out, |b| clean(f32::from_be_bytes(b))),
            Self::F64le => each(bytes, out, |b| clean(f64::from_le_bytes(b) as f32)),
            Self::F64be => each(bytes, out, |b| clean(f64::from_be_bytes(b) as f32)),
        }
    }
}

fn each<const N: usize>(bytes: &[u8], out: &mut Vec<f32>, value: impl Fn([u8; N]) -> f32) {
    out.extend(bytes.as_chunks::<N>().0.iter().map(|&b| value(b)));
}

fn s32(sample: i32) -> f32 {
    sample as f32 / 2_147_483_648.0
}

/// Silence for what is no number, clamped for what is absurd.
pub(super) fn clean(x: f32) -> f32 {
    if x.is_finite() { x.clamp(-FLOAT_LIMIT, FLOAT_LIMIT) } else { 0.0 }
}

/// Cuts bytes into sample frames across any input edges.
#[derive(Debug)]
pub(super) struct SampleReader {
    kind: SampleKind,
    frame_bytes: usize,
    carry: [u8; CARRY_BYTES_MAX],
    carried: usize,
}

impl SampleReader {
    /// `channels` is 1 to [`CHANNELS_MAX`].
    pub(super) fn new(kind: SampleKind, channels: u16) -> Self {
        let channels = channels.clamp(1, CHANNELS_MAX);
        Self { kind, frame_bytes: kind.bytes() * usize::from(channels), carry: [0; CARRY_BYTES_MAX], carried: 0 }
    }

    /// Takes bytes from the front of `input`, at most [`STEP_FRAMES_MAX`] sample frames of them, appending their samples. Returns how many.
    pub(super) fn push(&mut self, input: &[u8], out: &mut Vec<f32>) -> usize {
        let mut taken = 0;
        let mut room = STEP_FRAMES_MAX;
        if self.carried > 0 {
            taken = (self.frame_bytes - self.carried).min(input.len());
            self.carry[self.carried..self.carried + taken].copy_from_slice(&input[..taken]);
            self.carried += taken;
            if self.carried < self.frame_bytes {
                return taken;
            }
            self.kind.convert(&self.carry[..self.frame_bytes], out);
            self.carried = 0;
            room -= 1;
        }
        let rest = &input[taken..];
        let frames = (rest.len() / self.frame_bytes).min(room);
        let whole = frames * self.frame_bytes;
        self.kind.convert(&rest[..whole], out);
        taken += whole;
        let tail = &rest[whole..];
        if tail.len() < self.frame_bytes {
            self.carry[..tail.len()].copy_from_slice(tail);
            self.carried = tail.len();
            taken += tail.len();
        }
        taken
    }

    /// Bytes held of an unfinished sample frame.
    pub(super) fn carried(&self) -> usize {
        self.carried
    }

    /// Drops an unfinished sample frame, with a warning if there was one.
    pub(super) fn drop_tail(&mut self, warnings: &mut Vec<DecodeWarning>) {
        if self.carried > 0 {
            warnings.push(DecodeWarning::TruncatedTail { what: "sample", bytes: self.carried as u64 });
            self.carried = 0;
        }
    }
}

/// The decoder of raw PCM and G.711 streams.
#[derive(Debug)]
pub(super) struct RawPcm {
    spec: PcmSpec,
    reader: SampleReader,
}

impl RawPcm {
    /// # Errors
    /// [`DecodeError::Format`] where rate or channels are not declared, [`DecodeError::Unsupported`] where the encoding is not raw samples.
    pub(super) fn new(params: &DecodeParams) -> Result<Self, DecodeError> {
        let format = &params.format;
        let encoding = format.encoding;
        let kind = match encoding {
            Encoding::PcmS16le => SampleKind::S16le,
            Encoding::PcmS16be => SampleKind::S16be,
            Encoding::PcmS24le => SampleKind::S24le,
            Encoding::PcmS32le => SampleKind::S32le,
            Encoding::PcmF32le => SampleKind::F32le,
            Encoding::Mulaw => SampleKind::Mulaw,
            Encoding::Alaw => SampleKind::Alaw,
            Encoding::Opus
            | Encoding::Wav
            | Encoding::Flac
            | Encoding::Mp3
            | Encoding::Aac
            | Encoding::Ogg
            | Encoding::Webm
            | Encoding::Mp4
            | Encoding::Aiff
            | Encoding::Caf
            | Encoding::Auto => {
                return Err(DecodeError::Unsupported { container: "pcm", what: format!("{encoding} as raw samples") });
            }
        };
        let rate_hz = format.sample_rate.ok_or(FormatError::Missing { field: "sample_rate", encoding })?;
        let channels = format.channels.ok_or(FormatError::Missing { field: "channels", encoding })?;
        Ok(Self { spec: PcmSpec { rate_hz, channels }, reader: SampleReader::new(kind, channels) })
    }
}

impl Decoder for RawPcm {
    fn decode(&mut self, input: &[u8], out: &mut DecodeOut) -> Result<Step, DecodeError> {
        out.pcm.spec = self.spec;
        let consumed = self.reader.push(input, &mut out.pcm.samples);
        Ok(Step { consumed, more: false })
    }

    fn finish(&mut self, out: &mut DecodeOut) -> Result<bool, DecodeError> {
        out.pcm.spec = self.spec;
        self.reader.drop_tail(&mut out.warnings);
        Ok(false)
    }

    fn pending_bytes(&self) -> usize {
        self.reader.carried()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Cut, assert_same_however_cut, decode, fixture, params, params_raw, s16};
    use super::*;

    /// Each sample's value by plain arithmetic, another path than the kernels take.
    fn arithmetic(bytes: &[u8], width: usize) -> Vec<f64> {
        let full = 256f64.powi(width as i32);
        let unsigned = |c: &[u8]| c.iter().rev().fold(0.0, |sum, &b| sum * 256.0 + f64::from(b));
        let signed = |u: f64| if u >= full / 2.0 { u - full } else { u };
        bytes.chunks(width).map(|c| signed(unsigned(c)) / (full / 2.0)).collect()
    }

    #[test]
    fn every_pcm_fixture_has_its_exact_values_and_is_the_same_speech() {
        let reference = s16(&fixture("mono16.s16le"));
        for (name, encoding) in [
            ("mono16.s16le", Encoding::PcmS16le),
            ("mono16.s16be", Encoding::PcmS16be),
            ("mono16.s24le", Encoding::PcmS24le),
            ("mono16.s32le", Encoding::PcmS32le),
            ("mono16.f32le", Encoding::PcmF32le),
        ] {
            let bytes = fixture(name);
            let decoded = decode(&params_raw(encoding, 16_000, 1), &bytes, Cut::Whole).expect(name);
            assert_eq!(decoded.spec(), PcmSpec { rate_hz: 16_000, channels: 1 });
            assert!(decoded.warnings.is_empty(), "{name}: {:?}", decoded.warnings);
            let exact: Vec<f32> = match encoding {
                Encoding::PcmS16le => arithmetic(&bytes, 2).iter().map(|&x| x as f32).collect(),
                Encoding::PcmS24le => arithmetic(&bytes, 3).iter().map(|&x| x as f32).collect(),
                Encoding::PcmS32le => arithmetic(&bytes, 4).iter().map(|&x| x as f32).collect(),
                Encoding::PcmF32le => bytes
                    .chunks(4)
                    .map(|c| f32::from_bits(c.iter().rev().fold(0, |u, &b| (u << 8) | u32::from(b))))
                    .collect(),
                _ => reference.iter().map(|&s| f32::from(s) / 32_768.0).collect(),
            };
            assert!(decoded.samples == exact, "{name}");
            // ffmpeg resampled and mixed each on its own: integers are the same but for rounding, the float mix is louder.
            let near = |(a, b): (&i16, &i16)| a.abs_diff(*b) <= 2;
            assert!(encoding == Encoding::PcmF32le || decoded.s16().iter().zip(&reference).all(near), "{name}");
        }
    }

    #[test]
    fn g711_fixtures_match_what_ffmpeg_decodes() {
        let phone =
            decode(&params_raw(Encoding::Mulaw, 8_000, 1), &fixture("phone8.mulaw"), Cut::Whole).expect("mulaw");
        assert!(phone.s16() == s16(&super::super::testing::expected("phone8-mulaw.wav.s16")));
        let alaw = decode(&params_raw(Encoding::Alaw, 8_000, 1), &fixture("phone8.alaw"), Cut::Whole).expect("alaw");
        // Both laws quantise the same speech: never further apart than a step of the top segment each.
        assert_eq!(alaw.s16().len(), phone.s16().len());
        for (a, m) in alaw.s16().iter().zip(phone.s16()) {
            assert!((i32::from(*a) - i32::from(m)).abs() <= 64 + (i32::from(m).abs() >> 4), "{a} {m}");
        }
    }

    #[test]
    fn cuts_never_change_the_samples() {
        for (name, encoding, channels) in [
            ("mono16.s16le", Encoding::PcmS16le, 1),
            ("mono16.s16be", Encoding::PcmS16be, 2),
            ("mono16.s24le", Encoding::PcmS24le, 8),
            ("mono16.s32le", Encoding::PcmS32le, 3),
            ("mono16.f32le", Encoding::PcmF32le, 8),
            ("phone8.mulaw", Encoding::Mulaw, 5),
            ("phone8.alaw", Encoding::Alaw, 1),
        ] {
            assert_same_however_cut(
                &params_raw(encoding, 16_000, channels),
                &fixture(name)[..24_000.min(fixture(name).len())],
            );
        }
    }

    #[test]
    fn a_tail_that_never_completes_is_a_warning() {
        let decoded = decode(&params_raw(Encoding::PcmS16le, 8_000, 2), &[0; 11], Cut::Every(1)).expect("decodes");
        assert_eq!(decoded.samples.len(), 4);
        assert_eq!(decoded.warnings, [DecodeWarning::TruncatedTail { what: "sample", bytes: 3 }]);
    }

    #[test]
    fn what_is_no_number_is_silence_and_the_absurd_is_clamped() {
        let bytes: Vec<u8> = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30, 0.5]
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect();
        let decoded = decode(&params_raw(Encoding::PcmF32le, 8_000, 1), &bytes, Cut::Whole).expect("decodes");
        assert_eq!(decoded.samples, [0.0, 0.0, 0.0, 8.0, -8.0, 0.5]);
    }

    #[test]
    fn no_input_is_no_output_and_a_missing_rate_is_told() {
        let decoded = decode(&params_raw(Encoding::PcmS16le, 8_000, 1), &[], Cut::Whole).expect("decodes");
        assert!(decoded.samples.is_empty() && decoded.warnings.is_empty());
        let error = RawPcm::new(&params(Encoding::PcmS16le)).expect_err("no rate");
        assert!(matches!(error, DecodeError::Format(FormatError::Missing { field: "sample_rate", .. })));
    }
}
