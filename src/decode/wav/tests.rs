use super::super::DecodeWarning;
use super::super::testing::{
    Cut, assert_same_however_cut, decode, expected, fixture, params, params_raw, s16, survive_damage,
};
use super::*;
use crate::audio::Encoding;

const STUDIO: PcmSpec = PcmSpec { rate_hz: 48_000, channels: 2 };

fn wav(bytes: &[u8]) -> super::super::testing::Decoded {
    decode(&params(Encoding::Wav), bytes, Cut::Whole).expect("decodes")
}

/// A 16-bit mono file at 8 kHz whose header claims `riff` and `data` bytes.
fn file(riff: u32, data: u32, samples: &[u8]) -> Vec<u8> {
    let mut out = b"RIFF".to_vec();
    out.extend(riff.to_le_bytes());
    out.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data");
    out.extend(data.to_le_bytes());
    out.extend(samples);
    out
}

#[test]
fn every_16_bit_fixture_is_the_same_bit_for_bit() {
    let want = s16(&fixture("stereo48.s16le"));
    for name in ["studio48.wav", "live48.wav", "studio48-rf64.wav", "studio48-s24.wav", "studio48-f32.wav"] {
        let decoded = wav(&fixture(name));
        assert_eq!(decoded.spec(), STUDIO, "{name}");
        assert!(decoded.s16() == want, "{name}");
        assert!(decoded.warnings.is_empty(), "{name}: {:?}", decoded.warnings);
    }
}

#[test]
fn g711_and_8_bit_match_what_ffmpeg_decodes() {
    for name in ["phone8-mulaw.wav", "phone8-u8.wav"] {
        let decoded = wav(&fixture(name));
        assert_eq!(decoded.spec(), PcmSpec { rate_hz: 8_000, channels: 1 });
        assert!(decoded.s16() == s16(&expected(&format!("{name}.s16"))), "{name}");
    }
}

#[test]
fn cuts_never_change_the_samples() {
    for name in ["studio48.wav", "live48.wav", "studio48-rf64.wav", "studio48-s24.wav", "phone8-u8.wav", "adpcm.wav"] {
        let bytes = fixture(name);
        assert_same_however_cut(&params(Encoding::Wav), &bytes[..bytes.len().min(20_001)]);
    }
    let segments = [file(50, 5, &[1, 2, 3, 4, 5, 0]), file(40, 4, &[6, 7, 8, 9])].concat();
    assert_same_however_cut(&params(Encoding::Wav), &segments);
    assert_same_however_cut(&params(Encoding::Wav), &file(40, 4, &[1, 2, 3, 4, b'L', b'I', b'S', b'X', 5, 6]));
}

#[test]
fn lengths_are_hints() {
    let samples: Vec<u8> = (130..230).collect();
    let want = s16(&samples);
    for claimed in [100, 0, u32::MAX, 0x7fff_ffff, u32::MAX - 1, 60, 1, 99, 200] {
        let decoded = wav(&file(36u32.wrapping_add(claimed), claimed, &samples));
        assert!(decoded.s16() == want, "{claimed} claimed: {} of 50 samples", decoded.samples.len());
        assert!(decoded.warnings.is_empty(), "{claimed}: {:?}", decoded.warnings);
    }
}

#[test]
fn chunks_behind_the_samples_are_no_audio() {
    let list = b"LIST\x05\0\0\0abcde\0id3 \x02\0\0\0xy";
    let even = [file(0, 4, &[1, 0, 2, 0]), list.to_vec()].concat();
    assert_eq!(wav(&even).s16(), [1, 2]);
    // Odd lengths with the pad byte and without.
    for pad in [&[0][..], &[]] {
        let odd = [file(0, 5, &[1, 0, 2, 0, 3]), pad.to_vec(), list.to_vec()].concat();
        let decoded = wav(&odd);
        assert_eq!(decoded.s16(), [1, 2]);
        assert_eq!(decoded.warnings, [DecodeWarning::TruncatedTail { what: "sample", bytes: 1 }]);
    }
    assert_eq!(wav(&file(0, 5, &[1, 0, 2, 0, 3, 0])).s16(), [1, 2], "a pad byte is no half of a sample");
}

#[test]
fn another_file_is_another_segment() {
    let first = fixture("studio48.wav");
    let mut second = fixture("phone8-u8.wav");
    let decoded = wav(&[first.clone(), second.clone()].concat());
    let specs: Vec<_> = decoded.runs.iter().map(|(spec, frames)| (spec.rate_hz, spec.channels, *frames)).collect();
    assert_eq!(specs, [(48_000, 2, 72_000), (8_000, 1, 12_000)]);
    // Behind a trailer too.
    second.extend(b"LIST\x04\0\0\0abcd");
    let decoded = wav(&[second.clone(), first].concat());
    assert_eq!(decoded.runs.len(), 2);
    assert_eq!(decoded.runs[1], (STUDIO, 72_000));
}

#[test]
fn a_declaration_against_the_header_is_told_with_both_values() {
    let error = decode(&params_raw(Encoding::Wav, 44_100, 2), &fixture("studio48.wav"), Cut::Whole)
        .expect_err("a contradiction");
    assert_eq!(error.to_string(), "format.sample_rate: 44100 was declared, the wav header says 48000");
    let error = decode(&params_raw(Encoding::Wav, 48_000, 1), &fixture("studio48.wav"), Cut::Every(1))
        .expect_err("a contradiction");
    assert_eq!(error.to_string(), "format.channels: 1 was declared, the wav header says 2");
    assert!(decode(&params_raw(Encoding::Wav, 48_000, 2), &fixture("studio48.wav"), Cut::Whole).is_ok());
}

#[test]
fn what_is_not_decoded_is_named_with_what_is() {
    let error = decode(&params(Encoding::Wav), &fixture("adpcm.wav"), Cut::Whole).expect_err("ADPCM");
    let text = error.to_string();
    assert!(error.is_unsupported() && text.contains("IMA ADPCM") && text.contains("mu-law"), "{text}");
}

#[test]
fn the_extensible_format_holds_its_tag_in_the_guid() {
    let guid = b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71";
    let mut fmt = b"\xfe\xff\x01\0\x40\x1f\0\0\0\x7d\0\0\x04\0\x20\0\x16\0\x18\0\x04\0\0\0\x01\0".to_vec();
    fmt.extend(guid);
    assert_eq!(sample_format(&fmt), Ok((8_000, 1, SampleKind::S32le)), "24 valid bits in 32");
    fmt[24] = 3;
    assert_eq!(sample_format(&fmt), Ok((8_000, 1, SampleKind::F32le)));
}

#[test]
fn what_is_no_wav_or_ends_too_early_is_an_error() {
    let malformed = |bytes: &[u8]| match decode(&params(Encoding::Wav), bytes, Cut::Whole) {
        Err(DecodeError::Malformed { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(malformed(&fixture("studio48.flac")), "the file header is missing");
    let whole = fixture("studio48.wav");
    for cut in 1..78 {
        assert_eq!(malformed(&whole[..cut]), "it ends before its samples begin", "{cut} bytes");
    }
    assert_eq!(malformed(b"RIFF\0\0\0\0WAVEdata\x04\0\0\0abcd"), "the samples come before their format");
    assert!(wav(&[]).samples.is_empty());
}

#[test]
fn a_chunk_before_the_samples_is_passed_over_within_a_bound() {
    let mut bytes = b"RIFF\0\0\0\0WAVEJUNK\xff\xff\xff\x7f".to_vec();
    bytes.resize(100_000, 0);
    let error = decode(&params(Encoding::Wav), &bytes, Cut::Every(1000)).expect_err("2 GiB of junk");
    assert!(matches!(error, DecodeError::TooLarge { .. }), "{error}");
    let mut bytes = b"RIFF\0\0\0\0WAVEJUNK\x00\x00\x10\x00".to_vec();
    bytes.resize(bytes.len() + (1 << 20), 7);
    bytes.extend(&file(0, 2, &[1, 0])[12..]);
    let decoded = decode(&params(Encoding::Wav), &bytes, Cut::Every(1000)).expect("decodes");
    assert_eq!(decoded.s16(), [1]);
    assert!(decoded.pending_max <= 40, "{} bytes held", decoded.pending_max);
}

#[test]
fn damage_never_panics() {
    for name in ["phone8-u8.wav", "studio48-rf64.wav"] {
        let bytes = fixture(name);
        let alive = survive_damage(&params(Encoding::Wav), &bytes[..8_000], 2_000);
        assert!((200..2_000).contains(&alive), "{name}: {alive} of 2000 still gave samples");
    }
}

#[test]
fn a_recorder_that_begins_anew_in_samples_without_an_end_is_another_segment() {
    let live = fixture("live48.wav");
    let decoded = wav(&[live.clone(), fixture("phone8-u8.wav")].concat());
    assert_eq!(decoded.runs[0], (STUDIO, 72_000));
    assert_eq!(decoded.runs[1].0, PcmSpec { rate_hz: 8_000, channels: 1 });
    let short = [&live[..5_000], &live[..5_003]].concat();
    assert_same_however_cut(&params(Encoding::Wav), &short);
    assert_eq!(wav(&short).samples.len(), 2 * ((5_000 - 78) / 4) + 2 * ((5_003 - 78) / 4));
}

#[test]
fn samples_that_look_like_a_header_for_a_while_are_samples() {
    for samples in [&b"RRIFFRIFRIFFRF64"[..], b"RI", b"RIFF", b"RRRRRR", b"RIFFRIFFWAVA", b"abRIFF\0\0\0\0WAVXRI"] {
        let bytes = file(u32::MAX, u32::MAX, samples);
        assert_eq!(wav(&bytes).s16(), s16(samples), "{}", samples.escape_ascii());
        assert_same_however_cut(&params(Encoding::Wav), &bytes);
    }
    // A header behind its own beginning.
    let bytes = [file(u32::MAX, u32::MAX, b"RIRI"), file(40, 2, b"ab")].concat();
    assert_eq!(wav(&bytes).s16(), s16(b"RIRIab"));
    assert_same_however_cut(&params(Encoding::Wav), &bytes);
}
