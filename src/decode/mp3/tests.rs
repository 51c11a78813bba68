use crate::audio::{Encoding, PcmSpec};
use crate::decode::push_test::{
    assert_cuts_do_not_matter, assert_survives_damage, best_lag, decode_whole, difference_db, params, s16_samples,
    wav_samples,
};
use crate::decode::{DecodeError, DecodeWarning};

const STUDIO: &[u8] = include_bytes!("../../../fixtures/audio/studio48.mp3");
const VBR44: &[u8] = include_bytes!("../../../fixtures/audio/vbr44.mp3");
const LIVE16: &[u8] = include_bytes!("../../../fixtures/audio/live16.mp3");
const LAYER2: &[u8] = include_bytes!("../../../fixtures/audio/studio48.mp2");

#[test]
fn each_file_is_what_ffmpeg_decodes() {
    let stereo = |rate_hz| PcmSpec { rate_hz, channels: 2 };
    for (name, bytes, spec, expected) in [
        // Delay and padding trimmed as LAME's tag tells: 1.5 s to the sample.
        ("studio48.mp3", STUDIO, stereo(48_000), &include_bytes!("../../../fixtures/expected/studio48.mp3.s16")[..]),
        // ID3v2 in front, variable bit rate.
        ("vbr44.mp3", VBR44, stereo(44_100), include_bytes!("../../../fixtures/expected/vbr44.mp3.s16")),
        // No tag: nothing is trimmed. MPEG-2, mono.
        (
            "live16.mp3",
            LIVE16,
            PcmSpec { rate_hz: 16_000, channels: 1 },
            include_bytes!("../../../fixtures/expected/live16.mp3.s16"),
        ),
        ("studio48.mp2", LAYER2, stereo(48_000), include_bytes!("../../../fixtures/expected/studio48.mp2.s16")),
    ] {
        let decoded = decode_whole(&params(Encoding::Mp3), bytes);
        let (found, samples) = decoded.only_segment();
        assert_eq!(found, spec, "{name}");
        assert_eq!(decoded.warnings, [], "{name}");
        let difference = difference_db(&s16_samples(expected), samples);
        assert!(difference <= -60.0, "{name}: {difference} dB");
    }
}

#[test]
fn the_timeline_starts_where_the_source_did() {
    let source = wav_samples(include_bytes!("../../../fixtures/audio/studio48.wav"));
    let decoded = decode_whole(&params(Encoding::Mp3), STUDIO);
    let (_, samples) = decoded.only_segment();
    assert_eq!(samples.len(), source.len());
    assert_eq!(best_lag(&source, samples, 2, 200), 0);
}

#[test]
fn cuts_do_not_matter() {
    for bytes in [STUDIO, VBR44, LIVE16, LAYER2] {
        assert_cuts_do_not_matter(&params(Encoding::Mp3), bytes);
    }
}

#[test]
fn a_stream_joined_in_the_middle_plays_from_its_first_whole_frame() {
    // The bit reservoir is empty: what needs it is silent, nothing fails.
    let decoded = decode_whole(&params(Encoding::Mp3), &STUDIO[5_000..]);
    let (_, samples) = decoded.only_segment();
    let warned = &decoded.warnings;
    assert!(matches!(warned[..], [DecodeWarning::Resynced { container: "MP3", bytes: 1..=288 }]), "{warned:?}");
    // Two frames later the reservoir is what it would have been, and the overlap of the frame before it.
    let first = STUDIO.windows(2).position(|w| w == [0xff, 0xfb]).expect("a frame");
    let untagged = decode_whole(&params(Encoding::Mp3), &STUDIO[first + 288..]);
    let (_, untrimmed) = untagged.only_segment();
    assert_eq!(untrimmed.len(), 64 * 2 * 1_152);
    let settled = &samples[4 * 2 * 1_152..];
    assert_eq!(*settled, untrimmed[untrimmed.len() - settled.len()..]);
}

#[test]
fn files_appended_are_each_trimmed_by_their_own_tag() {
    let twice = decode_whole(&params(Encoding::Mp3), &[STUDIO, STUDIO].concat());
    let (_, samples) = twice.only_segment();
    assert_eq!(twice.warnings, []);
    assert_eq!(samples.len(), 2 * 144_000);
    assert_eq!(samples[..144_000], samples[144_000..]);
    let changed = decode_whole(&params(Encoding::Mp3), &[VBR44, LIVE16, LAYER2].concat());
    assert_eq!(changed.error, None);
    assert_eq!(changed.warnings, []);
    let lengths: Vec<_> = changed.segments.iter().map(|(spec, s)| (spec.rate_hz, s.len())).collect();
    assert_eq!(lengths, [(44_100, 132_300), (16_000, 25_344), (48_000, 145_152)]);
}

#[test]
fn tags_at_the_end_are_no_damage() {
    let plain = decode_whole(&params(Encoding::Mp3), VBR44);
    let mut tagged = VBR44.to_vec();
    let mut ape = *b"APETAGEX\xd0\x07\x00\x00\x30\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\xa0\0\0\0\0\0\0\0\0";
    tagged.extend_from_slice(&ape);
    tagged.extend_from_slice(b"\x04\0\0\0\0\0\0\0Nam\0abcd");
    ape[23] = 0x80;
    tagged.extend_from_slice(&ape);
    tagged.extend_from_slice(b"TAGtitle");
    tagged.extend([0x20; 120]);
    let decoded = decode_whole(&params(Encoding::Mp3), &tagged);
    assert_eq!(decoded.warnings, []);
    assert_eq!(decoded.segments, plain.segments);
    assert_cuts_do_not_matter(&params(Encoding::Mp3), &tagged);
}

#[test]
fn after_damage_the_next_frame_is_found_and_said() {
    let mut damaged = LIVE16.to_vec();
    damaged.splice(3_000..3_100, [0x55; 333]);
    let decoded = decode_whole(&params(Encoding::Mp3), &damaged);
    let (_, samples) = decoded.only_segment();
    assert!(samples.len() >= 25_344 - 4 * 576, "{}", samples.len());
    assert!(decoded.warnings.iter().any(|w| matches!(w, DecodeWarning::Resynced { .. })), "{:?}", decoded.warnings);
}

#[test]
fn free_format_and_wrong_declarations_are_refused() {
    // A valid header but for its bit rate, every 144 bytes.
    let mut free = LIVE16[LIVE16.iter().position(|&b| b == 0xff).expect("a frame")..].to_vec();
    for frame in free.chunks_mut(144) {
        frame[2] &= 0x0f;
    }
    let error = decode_whole(&params(Encoding::Mp3), &free).error.expect("refused");
    assert!(error.is_unsupported() && error.to_string().contains("free format"), "{error}");
    let mut declared = params(Encoding::Mp3);
    declared.format.channels = Some(1);
    assert_eq!(
        decode_whole(&declared, STUDIO).error,
        Some(DecodeError::Contradiction { field: "channels", declared: 1, found: 2, container: "MP3" })
    );
    // MPEG-2 layer 2 at 80 kbit/s, 24 kHz, stereo: frames of 480 bytes.
    let mut frame = [0; 480];
    frame[..4].copy_from_slice(&[0xff, 0xf5, 0x94, 0x00]);
    let error = decode_whole(&params(Encoding::Mp3), &frame.repeat(3)).error.expect("refused");
    assert!(error.is_unsupported() && error.to_string().contains("layer 2"), "{error}");
    let decoded = decode_whole(&params(Encoding::Mp3), &[0; 100_000]);
    assert!(matches!(decoded.error, Some(DecodeError::Malformed { .. })));
}

#[test]
fn damaged_files_and_garbage_do_no_harm() {
    assert_survives_damage(&params(Encoding::Mp3), VBR44, 20_000, 120);
    assert_survives_damage(&params(Encoding::Mp3), LAYER2, 20_000, 60);
}
