use crate::audio::{Encoding, PcmSpec};
use crate::decode::testing::*;
use crate::decode::{DecodeError, DecodeWarning};

const STUDIO: &[u8] = include_bytes!("../../../fixtures/audio/studio48.aac");
const MONO16: &[u8] = include_bytes!("../../../fixtures/audio/mono16.aac");

/// The length of the frame that `bytes` begin with.
fn frame_bytes(bytes: &[u8]) -> usize {
    usize::from(bytes[3] & 3) << 11 | usize::from(bytes[4]) << 3 | usize::from(bytes[5] >> 5)
}

#[test]
fn every_frame_is_decoded_as_ffmpeg_does() {
    let stereo = PcmSpec { rate_hz: 48_000, channels: 2 };
    let mono = PcmSpec { rate_hz: 16_000, channels: 1 };
    for (bytes, spec, expected) in [
        (STUDIO, stereo, &include_bytes!("../../../fixtures/expected/studio48.aac.s16")[..]),
        (MONO16, mono, include_bytes!("../../../fixtures/expected/mono16.aac.s16")),
    ] {
        let decoded = run(&native(Encoding::Aac), bytes, Cut::Whole);
        let (found, samples) = decoded.only_run();
        assert_eq!(found, spec);
        assert_eq!(decoded.warnings, []);
        let difference = difference_db(samples, &floats(&s16(expected)));
        assert!(difference <= -60.0, "{difference} dB");
    }
}

#[test]
fn cuts_do_not_matter() {
    assert_same_however_cut(&native(Encoding::Aac), MONO16);
    assert_same_however_cut(&native(Encoding::Aac), STUDIO);
}

/// The headers say 24 kHz, of the second one channel too: what the packets add is found in them.
#[test]
fn band_replication_and_parametric_stereo_are_heard() {
    for name in ["he-aac.aac", "he-aac-v2.aac"] {
        let decoded = run(&native(Encoding::Aac), &fixture(name), Cut::Whole);
        let (spec, samples) = decoded.only_run();
        assert_eq!(spec, PcmSpec { rate_hz: 48_000, channels: 2 }, "{name}");
        assert_eq!(decoded.warnings, []);
        let difference = difference_s16_db(samples, &floats(&expected(name)));
        assert!(difference <= -90.0, "{name}: {difference} dB");
        assert_same_however_cut(&native(Encoding::Aac), &fixture(name));
    }
}

/// Three to eight channels, two of the layouts told by a program config element.
#[test]
fn surround_comes_out_in_the_order_of_wave() {
    for channels in 3..=8 {
        let name = format!("surround{channels}.aac");
        let decoded = run(&native(Encoding::Aac), &fixture(&name), Cut::Whole);
        let (spec, samples) = decoded.only_run();
        assert_eq!(spec, PcmSpec { rate_hz: 16_000, channels }, "{name}");
        assert_each_channel(samples, &floats(&expected(&name)), channels, -60.0);
        assert_same_however_cut(&native(Encoding::Aac), &fixture(&name));
    }
}

#[test]
fn tags_are_passed_over_in_silence() {
    let plain = run(&native(Encoding::Aac), MONO16, Cut::Whole);
    let mut tagged = b"ID3\x04\x00\x00\x00\x00\x01\x00".to_vec();
    tagged.extend([0xff; 128]);
    tagged.extend_from_slice(MONO16);
    tagged.extend_from_slice(b"TAG");
    tagged.extend([0; 125]);
    let decoded = run(&native(Encoding::Aac), &tagged, Cut::Whole);
    assert_eq!(decoded.warnings, []);
    assert!(decoded.sounds_like(&plain));
    assert_same_however_cut(&native(Encoding::Aac), &tagged);
}

#[test]
fn the_crc_variant_is_read() {
    // The same frames with the two bytes of CRC a protected header announces; nothing checks them.
    let mut protected = Vec::new();
    let mut rest = MONO16;
    while !rest.is_empty() {
        let length = frame_bytes(rest);
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
    let decoded = run(&native(Encoding::Aac), &protected, Cut::Whole);
    decoded.assert_same(&run(&native(Encoding::Aac), MONO16, Cut::Whole), "protected");
}

#[test]
fn after_damage_the_next_frame_is_found_and_said() {
    let mut damaged = STUDIO.to_vec();
    damaged.splice(5_000..5_000, [0x55; 400]);
    let decoded = run(&native(Encoding::Aac), &damaged, Cut::Whole);
    let (_, samples) = decoded.only_run();
    // The frame the junk fell into is lost, no other.
    let whole = include_bytes!("../../../fixtures/expected/studio48.aac.s16").len() / 2;
    assert!(whole - samples.len() <= 2 * 2_048, "{} samples lost", whole - samples.len());
    let resynced =
        |w: &DecodeWarning| matches!(w, DecodeWarning::Resynced { container: "ADTS", bytes } if *bytes >= 100);
    assert_eq!(decoded.warnings.iter().filter(|w| resynced(w)).count(), 1, "{:?}", decoded.warnings);
    assert_same_however_cut(&native(Encoding::Aac), &damaged);
}

#[test]
fn a_change_of_format_begins_a_segment() {
    let decoded = run(&native(Encoding::Aac), &[STUDIO, MONO16].concat(), Cut::Whole);
    assert_eq!(decoded.error, None);
    assert_eq!(decoded.warnings, []);
    let specs: Vec<_> =
        decoded.runs.iter().map(|&(spec, frames)| (spec.rate_hz, frames * usize::from(spec.channels))).collect();
    assert_eq!(specs, [(48_000, 147_456), (16_000, 25_600)]);
}

/// Opening a decoder costs more than the smallest frame: a stream may not do it with every frame.
#[test]
fn endless_format_changes_are_refused() {
    let first_two = |bytes: &'static [u8]| {
        let first = frame_bytes(bytes);
        &bytes[..first + frame_bytes(&bytes[first..])]
    };
    let flapping = [first_two(STUDIO), first_two(MONO16)].concat().repeat(600);
    let error = run(&native(Encoding::Aac), &flapping, Cut::Whole).error.expect("refused");
    assert!(matches!(error, DecodeError::TooLarge { container: "ADTS", limit: 1_000, .. }), "{error}");
}

#[test]
fn a_cut_stream_tells_its_unfinished_tail() {
    let decoded = run(&native(Encoding::Aac), &STUDIO[..5_000], Cut::Whole);
    assert_eq!(decoded.error, None);
    assert!(!decoded.samples.is_empty());
    assert!(matches!(decoded.warnings[..], [DecodeWarning::TruncatedTail { what: "packet", bytes: 1.. }]));
}

#[test]
fn what_is_no_adts_or_not_decoded_is_refused() {
    let text = b"It was the best of times, it was the worst of times. ".repeat(4_000);
    let decoded = run(&native(Encoding::Aac), &text, Cut::Whole);
    assert!(matches!(decoded.error, Some(DecodeError::Malformed { container: "ADTS", .. })), "{:?}", decoded.error);
    // The profile of every header changed to the scalable one.
    let mut scalable = MONO16.to_vec();
    let mut at = 0;
    while at < scalable.len() {
        let length = frame_bytes(&scalable[at..]);
        scalable[at + 2] = (scalable[at + 2] & 0x3f) | 0x80;
        at += length;
    }
    let error = run(&native(Encoding::Aac), &scalable, Cut::Whole).error.expect("refused");
    assert_eq!(error.to_string(), "AAC: scalable sample rate (send AAC-LC) is not supported");
}

#[test]
fn a_wrong_declaration_is_contradicted() {
    let mut declared = native(Encoding::Aac);
    declared.format.sample_rate = Some(44_100);
    assert_eq!(
        run(&declared, STUDIO, Cut::Whole).error,
        Some(DecodeError::Contradiction { field: "sample_rate", declared: 44_100, found: 48_000, container: "ADTS" })
    );
    declared.format.sample_rate = Some(48_000);
    declared.format.channels = Some(2);
    assert_eq!(run(&declared, STUDIO, Cut::Whole).error, None);
    // What the header says and what it becomes may both be declared.
    for (rate_hz, channels) in [(24_000, 1), (48_000, 2)] {
        (declared.format.sample_rate, declared.format.channels) = (Some(rate_hz), Some(channels));
        assert_eq!(run(&declared, &fixture("he-aac-v2.aac"), Cut::Whole).error, None);
    }
}

#[test]
fn damaged_files_and_garbage_do_no_harm() {
    survive_damage(&native(Encoding::Aac), STUDIO, 48, 20_000);
    survive_damage(&native(Encoding::Aac), &fixture("he-aac-v2.aac"), 48, 20_000);
    survive_damage(&native(Encoding::Aac), &fixture("surround8.aac"), 48, 20_000);
    survive_garbage(&native(Encoding::Aac), 48);
}
