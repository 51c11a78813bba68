use crate::audio::{Encoding, PcmSpec};
use crate::decode::push_test::{
    assert_cuts_do_not_matter, assert_survives_damage, decode_whole, difference_db, params, s16_samples,
};
use crate::decode::{DecodeError, DecodeWarning};

const STUDIO: &[u8] = include_bytes!("../../../fixtures/audio/studio48.aac");
const MONO16: &[u8] = include_bytes!("../../../fixtures/audio/mono16.aac");

#[test]
fn every_frame_is_decoded_as_ffmpeg_does() {
    let stereo = PcmSpec { rate_hz: 48_000, channels: 2 };
    let mono = PcmSpec { rate_hz: 16_000, channels: 1 };
    for (bytes, spec, expected) in [
        (STUDIO, stereo, &include_bytes!("../../../fixtures/expected/studio48.aac.s16")[..]),
        (MONO16, mono, include_bytes!("../../../fixtures/expected/mono16.aac.s16")),
    ] {
        let decoded = decode_whole(&params(Encoding::Aac), bytes);
        let (found, samples) = decoded.only_segment();
        assert_eq!(found, spec);
        assert_eq!(decoded.warnings, []);
        let difference = difference_db(&s16_samples(expected), samples);
        assert!(difference <= -60.0, "{difference} dB");
    }
}

#[test]
fn cuts_do_not_matter() {
    assert_cuts_do_not_matter(&params(Encoding::Aac), MONO16);
    assert_cuts_do_not_matter(&params(Encoding::Aac), STUDIO);
}

#[test]
fn tags_are_passed_over_in_silence() {
    let plain = decode_whole(&params(Encoding::Aac), MONO16);
    let mut tagged = b"ID3\x04\x00\x00\x00\x00\x01\x00".to_vec();
    tagged.extend([0xff; 128]);
    tagged.extend_from_slice(MONO16);
    tagged.extend_from_slice(b"TAG");
    tagged.extend([0; 125]);
    let decoded = decode_whole(&params(Encoding::Aac), &tagged);
    assert_eq!(decoded.warnings, []);
    assert_eq!(decoded.segments, plain.segments);
    assert_cuts_do_not_matter(&params(Encoding::Aac), &tagged);
}

#[test]
fn the_crc_variant_is_read() {
    // The same frames with the two bytes of CRC a protected header announces; nothing checks them.
    let mut protected = Vec::new();
    let mut rest = MONO16;
    while let [_, _, _, b3, b4, b5, ..] = *rest {
        let length = usize::from(b3 & 3) << 11 | usize::from(b4) << 3 | usize::from(b5 >> 5);
        let (frame, later) = rest.split_at(length);
        rest = later;
        let mut frame = frame.to_vec();
        let longer = length + 2;
        frame[1] &= 0xfe;
        frame[3] = (frame[3] & 0xfc) | (longer >> 11) as u8;
        frame[4] = (longer >> 3) as u8;
        frame[5] = (frame[5] & 0x1f) | ((longer & 7) << 5) as u8;
        frame.splice(7..7, [0xab, 0xcd]);
        protected.extend(frame);
    }
    let decoded = decode_whole(&params(Encoding::Aac), &protected);
    assert_eq!(decoded, decode_whole(&params(Encoding::Aac), MONO16).with_pending(decoded.pending_max));
}

#[test]
fn after_damage_the_next_frame_is_found_and_said() {
    let mut damaged = STUDIO.to_vec();
    damaged.splice(5_000..5_000, [0x55; 400]);
    let decoded = decode_whole(&params(Encoding::Aac), &damaged);
    let (_, samples) = decoded.only_segment();
    // The frame the junk fell into is lost, no other.
    let whole = include_bytes!("../../../fixtures/expected/studio48.aac.s16").len() / 2;
    assert!(whole - samples.len() <= 2 * 2_048, "{} samples lost", whole - samples.len());
    let resynced =
        |w: &DecodeWarning| matches!(w, DecodeWarning::Resynced { container: "ADTS", bytes } if *bytes >= 100);
    assert_eq!(decoded.warnings.iter().filter(|w| resynced(w)).count(), 1, "{:?}", decoded.warnings);
    assert_cuts_do_not_matter(&params(Encoding::Aac), &damaged);
}

#[test]
fn a_change_of_format_begins_a_segment() {
    let decoded = decode_whole(&params(Encoding::Aac), &[STUDIO, MONO16].concat());
    assert_eq!(decoded.error, None);
    assert_eq!(decoded.warnings, []);
    let specs: Vec<_> = decoded.segments.iter().map(|(spec, samples)| (spec.rate_hz, samples.len())).collect();
    assert_eq!(specs, [(48_000, 147_456), (16_000, 25_600)]);
}

/// Opening a decoder costs more than the smallest frame: a stream may not do it with every frame.
#[test]
fn endless_format_changes_are_refused() {
    let first_two = |bytes: &'static [u8]| {
        let length = |b: &[u8]| usize::from(b[3] & 3) << 11 | usize::from(b[4]) << 3 | usize::from(b[5] >> 5);
        let first = length(bytes);
        &bytes[..first + length(&bytes[first..])]
    };
    let flapping = [first_two(STUDIO), first_two(MONO16)].concat().repeat(600);
    let error = decode_whole(&params(Encoding::Aac), &flapping).error.expect("refused");
    assert!(matches!(error, DecodeError::TooLarge { container: "ADTS", limit: 1_000, .. }), "{error}");
}

#[test]
fn a_cut_stream_tells_its_unfinished_tail() {
    let decoded = decode_whole(&params(Encoding::Aac), &STUDIO[..5_000]);
    assert_eq!(decoded.error, None);
    assert!(decoded.samples() > 0);
    assert!(matches!(decoded.warnings[..], [DecodeWarning::TruncatedTail { what: "packet", bytes: 1.. }]));
}

#[test]
fn what_is_no_adts_or_not_decoded_is_refused() {
    let text = b"It was the best of times, it was the worst of times. ".repeat(4_000);
    let decoded = decode_whole(&params(Encoding::Aac), &text);
    assert!(matches!(decoded.error, Some(DecodeError::Malformed { container: "ADTS", .. })), "{:?}", decoded.error);
    // The profile of every header changed to Main.
    let mut main = MONO16.to_vec();
    let mut at = 0;
    while at < main.len() {
        let length =
            usize::from(main[at + 3] & 3) << 11 | usize::from(main[at + 4]) << 3 | usize::from(main[at + 5] >> 5);
        main[at + 2] &= 0x3f;
        at += length;
    }
    let error = decode_whole(&params(Encoding::Aac), &main).error.expect("refused");
    assert_eq!(error.to_string(), "ADTS: audio object type 1 (AAC-LC is decoded) is not supported");
}

#[test]
fn a_wrong_declaration_is_contradicted() {
    let mut declared = params(Encoding::Aac);
    declared.format.sample_rate = Some(44_100);
    assert_eq!(
        decode_whole(&declared, STUDIO).error,
        Some(DecodeError::Contradiction { field: "sample_rate", declared: 44_100, found: 48_000, container: "ADTS" })
    );
    declared.format.sample_rate = Some(48_000);
    declared.format.channels = Some(2);
    assert_eq!(decode_whole(&declared, STUDIO).error, None);
}

#[test]
fn damaged_files_and_garbage_do_no_harm() {
    assert_survives_damage(&params(Encoding::Aac), STUDIO, 20_000, 48);
}
