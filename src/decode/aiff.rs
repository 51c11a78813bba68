//! AIFF and AIFF-C with PCM, float and G.711 samples, decoded as they arrive.

use super::chunks::{Family, UNTIL_END};
use super::pcm::SampleKind;
use super::pcm_file::{Layout, PcmFile, Samples};
use super::{DecodeError, DecodeParams, header};
use crate::audio::PcmSpec;

const NAME: &str = "AIFF";

static FORM: Family = Family {
    name: NAME,
    file_header: 12,
    starts: &[*b"FORM"],
    is_file: |h| &h[..4] == b"FORM" && matches!(&h[8..12], b"AIFF" | b"AIFC"),
    chunk_header: 8,
    size: |h| match u32::from_be_bytes([h[4], h[5], h[6], h[7]]) {
        u32::MAX => UNTIL_END,
        size => u64::from(size),
    },
    padded: true,
    data: *b"SSND",
    // Offset and block size.
    data_prefix: 8,
    wanted: |id| if id == b"COMM" { 22 } else { 0 },
    streamed: None,
    trailing: &[
        *b"COMT", *b"NAME", *b"AUTH", *b"(c) ", *b"ANNO", *b"MARK", *b"INST", *b"MIDI", *b"AESD", *b"APPL", *b"ID3 ",
        *b"CHAN", *b"COMM", *b"FLLR", *b"PEAK", *b"SAXL",
    ],
};

/// What the chunks of a file told so far.
#[derive(Debug)]
pub(super) struct Aiff {
    params: DecodeParams,
    format: Option<(PcmSpec, SampleKind)>,
}

impl Aiff {
    /// The decoder.
    pub(super) fn open(params: &DecodeParams) -> PcmFile<Self> {
        PcmFile::new(Self { params: *params, format: None })
    }
}

impl Layout for Aiff {
    fn family(&self) -> &'static Family {
        &FORM
    }

    fn begin(&mut self) {
        self.format = None;
    }

    fn chunk(&mut self, _id: [u8; 4], body: &[u8]) -> Result<(), DecodeError> {
        let (rate_hz, channels, kind) = sample_format(body)?;
        self.format = Some((header::check(&self.params, NAME, rate_hz, channels)?, kind));
        Ok(())
    }

    fn data(&mut self, size: u64, prefix: &[u8]) -> Result<Samples, DecodeError> {
        let (spec, kind) = self.format.ok_or(malformed("the samples come before their format"))?;
        // Block-aligned files have their first sample further on.
        let skip = prefix.first_chunk().map_or(0, |offset| u64::from(u32::from_be_bytes(*offset)));
        if skip > size {
            return Err(malformed("its samples begin behind their end"));
        }
        Ok(Samples { spec, kind, size: None, skip })
    }
}

fn malformed(what: &'static str) -> DecodeError {
    DecodeError::Malformed { container: NAME, what }
}

/// Rate, channels and sample kind of a `COMM` chunk. AIFF-C adds the compression type to it.
fn sample_format(comm: &[u8]) -> Result<(u32, u32, SampleKind), DecodeError> {
    let Some(c) = comm.first_chunk::<18>() else { return Err(malformed("its COMM chunk is too short")) };
    let channels = u16::from_be_bytes([c[0], c[1]]);
    let bits = usize::from(u16::from_be_bytes([c[6], c[7]]));
    let Some(rate_hz) = extended(&[c[8], c[9], c[10], c[11], c[12], c[13], c[14], c[15], c[16], c[17]]) else {
        return Err(malformed("its sample rate is no number"));
    };
    let compression = comm.get(18..22).and_then(|b| b.first_chunk::<4>()).copied().unwrap_or(*b"NONE");
    // Samples are left-justified in whole bytes.
    let bytes = bits.div_ceil(8);
    let kind = match &compression {
        b"NONE" | b"twos" => SampleKind::int(bytes, true),
        b"sowt" => SampleKind::int(bytes, false),
        b"raw " if bytes == 1 => Some(SampleKind::U8),
        b"in24" => Some(SampleKind::S24be),
        b"in32" => Some(SampleKind::S32be),
        b"42ni" => Some(SampleKind::S24le),
        b"23ni" => Some(SampleKind::S32le),
        b"fl32" | b"FL32" => Some(SampleKind::F32be),
        b"fl64" | b"FL64" => Some(SampleKind::F64be),
        b"ulaw" | b"ULAW" => Some(SampleKind::Mulaw),
        b"alaw" | b"ALAW" => Some(SampleKind::Alaw),
        _ => None,
    };
    let kind = kind.ok_or_else(|| DecodeError::Unsupported {
        container: NAME,
        what: format!(
            "compression '{}' with {bits} bits (NONE, twos, sowt, in24, in32, fl32, fl64, ulaw and alaw are decoded)",
            compression.escape_ascii()
        ),
    })?;
    Ok((rate_hz, u32::from(channels), kind))
}

/// A non-negative 80-bit extended float (IEEE 754 annex, 64-bit mantissa with its leading one), rounded to a whole number.
fn extended(b: &[u8; 10]) -> Option<u32> {
    let exponent = i32::from(u16::from_be_bytes([b[0], b[1]]));
    let mantissa = b[2..].iter().fold(0u64, |m, &byte| m << 8 | u64::from(byte));
    // The mantissa counts from 2^-63; a sign bit makes the exponent as absurd as a huge number does.
    let shift = 16_383 + 63 - exponent;
    match shift {
        _ if mantissa == 0 => Some(0),
        1..=63 => u32::try_from((mantissa >> shift) + (mantissa >> (shift - 1) & 1)).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{
        Cut, assert_same_however_cut, decode, fixture, params, params_raw, s16, survive_damage,
    };
    use super::*;
    use crate::audio::Encoding;

    /// A mono AIFF-C file at 8 kHz.
    fn aifc(compression: &[u8; 4], bits: u8, samples: &[u8]) -> Vec<u8> {
        let mut out = b"FORM\0\0\0\0AIFCFVER\0\0\0\x04\xa2\x80\x51\x40COMM\0\0\0\x18\0\x01\0\0\0\x02\0".to_vec();
        out.push(bits);
        out.extend(b"\x40\x0b\xfa\0\0\0\0\0\0\0");
        out.extend(compression);
        out.extend(b"\0\0SSND");
        out.extend((samples.len() as u32 + 8).to_be_bytes());
        out.extend([0; 8]);
        out.extend(samples);
        out
    }

    #[test]
    fn the_fixtures_are_the_same_bit_for_bit_however_cut() {
        let want = s16(&fixture("stereo48.s16le"));
        for name in ["studio48.aiff", "studio48-s24.aiff"] {
            let decoded = decode(&params(Encoding::Aiff), &fixture(name), Cut::Whole).expect(name);
            assert_eq!(decoded.spec(), PcmSpec { rate_hz: 48_000, channels: 2 });
            assert!(decoded.s16() == want, "{name}");
            assert!(decoded.warnings.is_empty(), "{name}: {:?}", decoded.warnings);
            assert_same_however_cut(&params(Encoding::Aiff), &fixture(name)[..20_001]);
        }
    }

    #[test]
    fn every_aifc_compression_has_its_samples() {
        for (compression, bits, bytes) in [
            (b"NONE", 16, &b"\x40\0\xc0\0"[..]),
            (b"NONE", 12, b"\x40\0\xc0\0"),
            (b"NONE", 8, b"\x40\xc0"),
            (b"twos", 16, b"\x40\0\xc0\0"),
            (b"sowt", 16, b"\0\x40\0\xc0"),
            (b"raw ", 8, b"\xc0\x40"),
            (b"in24", 24, b"\x40\0\0\xc0\0\0"),
            (b"fl32", 32, b"\x3f\0\0\0\xbf\0\0\0"),
            (b"FL32", 32, b"\x3f\0\0\0\xbf\0\0\0"),
            (b"fl64", 64, b"\x3f\xe0\0\0\0\0\0\0\xbf\xe0\0\0\0\0\0\0"),
        ] {
            let decoded =
                decode(&params(Encoding::Aiff), &aifc(compression, bits, bytes), Cut::Every(3)).expect("decodes");
            assert_eq!(decoded.samples, [0.5, -0.5], "{}", compression.escape_ascii());
            assert_eq!(decoded.spec(), PcmSpec { rate_hz: 8_000, channels: 1 });
        }
        let decoded = decode(&params(Encoding::Aiff), &aifc(b"alaw", 8, b"\xaa\x2a"), Cut::Whole).expect("decodes");
        assert_eq!(decoded.s16(), [32_256, -32_256]);
        let error = decode(&params(Encoding::Aiff), &aifc(b"ima4", 16, b"\0\0"), Cut::Whole).expect_err("IMA");
        assert!(error.is_unsupported() && error.to_string().contains("'ima4'"), "{error}");
    }

    #[test]
    fn rates_are_extended_floats() {
        for (bytes, want) in [
            (b"\x40\x0e\xbb\x80\0\0\0\0\0\0", Some(48_000)),
            (b"\x40\x0e\xac\x44\0\0\0\0\0\0", Some(44_100)),
            (b"\x40\x0c\xac\x44\0\0\0\0\0\0", Some(11_025)),
            (b"\x40\x0b\xad\x9c\x80\0\0\0\0\0", Some(5_556)),
            (b"\0\0\0\0\0\0\0\0\0\0", Some(0)),
            (b"\x7f\xff\x80\0\0\0\0\0\0\0", None),
            (b"\xc0\x0e\xbb\x80\0\0\0\0\0\0", None),
            (b"\x3f\xfe\x80\0\0\0\0\0\0\0", None),
        ] {
            assert_eq!(extended(bytes), want, "{bytes:?}");
        }
    }

    #[test]
    fn a_sample_offset_is_passed_over_and_lies_are_told() {
        let mut bytes = aifc(b"NONE", 16, b"junk\0\x01\0\x02");
        let at = bytes.windows(4).position(|w| w == b"SSND").expect("SSND") + 8;
        bytes[at + 3] = 4;
        let decoded = decode(&params(Encoding::Aiff), &bytes, Cut::Every(1)).expect("decodes");
        assert_eq!(decoded.s16(), [1, 2]);
        bytes[at] = 1;
        assert!(decode(&params(Encoding::Aiff), &bytes, Cut::Whole).is_err());
        let error = decode(&params_raw(Encoding::Aiff, 16_000, 2), &fixture("studio48.aiff"), Cut::Whole)
            .expect_err("a contradiction");
        assert_eq!(error.to_string(), "format.sample_rate: 16000 was declared, the AIFF header says 48000");
    }

    #[test]
    fn what_could_begin_another_file_is_passed_over_with_the_rest() {
        // A length that is none, so that each "F" may begin a file; four bytes of the offset are left when the stream ends.
        let mut bytes = aifc(b"NONE", 16, b"FOFORFOR\0\x01FO");
        let at = bytes.windows(4).position(|w| w == b"SSND").expect("SSND") + 4;
        bytes[at..at + 4].fill(0xff);
        for (skip, want) in [(8, &[1, 0x464f][..]), (16, &[])] {
            bytes[at + 7] = skip;
            let decoded = decode(&params(Encoding::Aiff), &bytes, Cut::Every(1)).expect("decodes");
            assert_eq!((&decoded.s16()[..], &decoded.warnings[..]), (want, &[][..]));
            assert_same_however_cut(&params(Encoding::Aiff), &bytes);
        }
    }

    #[test]
    fn damage_never_panics() {
        let alive = survive_damage(&params(Encoding::Aiff), &fixture("studio48.aiff")[..8_000], 2_000, 8_000);
        assert!((200..2_000).contains(&alive), "{alive} of 2000 still gave samples");
    }
}
