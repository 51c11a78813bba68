use crate::audio::{Encoding, PcmSpec};
use crate::decode::testing::*;
use crate::decode::{DecodeError, DecodeWarning};

const STUDIO: &[u8] = include_bytes!("../../../fixtures/audio/studio48.mp3");
const VBR44: &[u8] = include_bytes!("../../../fixtures/audio/vbr44.mp3");
const LIVE16: &[u8] = include_bytes!("../../../fixtures/audio/live16.mp3");
const LAYER2: &[u8] = include_bytes!("../../../fixtures/audio/studio48.mp2");
const LAYER1: &[u8] = include_bytes!("../../../fixtures/audio/studio48.mp1");
const LAYER1_CRC: &[u8] = include_bytes!("../../../fixtures/audio/crc32.mp1");
const FREE16: &[u8] = include_bytes!("../../../fixtures/audio/free16.mp3");
const FREE48: &[u8] = include_bytes!("../../../fixtures/audio/free48.mp3");

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
        ("studio48.mp1", LAYER1, stereo(48_000), include_bytes!("../../../fixtures/expected/studio48.mp1.s16")),
        // Each frame with a checksum.
        (
            "crc32.mp1",
            LAYER1_CRC,
            PcmSpec { rate_hz: 32_000, channels: 1 },
            include_bytes!("../../../fixtures/expected/crc32.mp1.s16"),
        ),
    ] {
        let decoded = run(&native(Encoding::Mp3), bytes, Cut::Whole);
        let (found, samples) = decoded.only_run();
        assert_eq!(found, spec, "{name}");
        assert_eq!(decoded.warnings, [], "{name}");
        let difference = difference_db(samples, &floats(&s16(expected)));
        assert!(difference <= -60.0, "{name}: {difference} dB");
    }
}

#[test]
fn the_timeline_starts_where_the_source_did() {
    let (channels, source) = wav_samples("audio/studio48.wav");
    let decoded = run(&native(Encoding::Mp3), STUDIO, Cut::Whole);
    let (_, samples) = decoded.only_run();
    assert_eq!(samples.len(), source.len());
    assert_eq!(best_lag(&down_mix(samples, 2), &down_mix(&source, channels), 200), 0);
}

#[test]
fn cuts_do_not_matter() {
    for bytes in [STUDIO, VBR44, LIVE16, LAYER2, LAYER1, LAYER1_CRC] {
        assert_same_however_cut(&native(Encoding::Mp3), bytes);
    }
}

#[test]
fn what_only_begins_like_a_tag_confirms_no_frame() {
    let first = LIVE16.windows(2).position(|w| w == [0xff, 0xf3]).expect("a frame");
    let audio = &LIVE16[first..];
    let frame_bytes = super::Header::parse(audio).expect("a frame").frame_bytes;
    // A size of an ID3v2 tag has no byte above 0x7f; that is told by the last of its ten bytes.
    let bytes = [&audio[..frame_bytes], b"ID3\x04\0\0\0\0\0\x80", audio].concat();
    let decoded = run(&native(Encoding::Mp3), &bytes, Cut::Whole);
    let skipped = DecodeWarning::Resynced { container: "MP3", bytes: frame_bytes as u64 + 10 };
    assert_eq!((&decoded.error, &decoded.warnings[..]), (&None, &[skipped][..]));
    assert_same_however_cut(&native(Encoding::Mp3), &bytes);
}

#[test]
fn a_stream_joined_in_the_middle_plays_from_its_first_whole_frame() {
    // The bit reservoir is empty: what needs it is silent, nothing fails.
    let decoded = run(&native(Encoding::Mp3), &STUDIO[5_000..], Cut::Whole);
    let (_, samples) = decoded.only_run();
    let warned = &decoded.warnings;
    assert!(matches!(warned[..], [DecodeWarning::Resynced { container: "MP3", bytes: 1..=288 }]), "{warned:?}");
    // Two frames later the reservoir is what it would have been, and the overlap of the frame before it.
    let first = STUDIO.windows(2).position(|w| w == [0xff, 0xfb]).expect("a frame");
    let untagged = run(&native(Encoding::Mp3), &STUDIO[first + 288..], Cut::Whole);
    let (_, untrimmed) = untagged.only_run();
    assert_eq!(untrimmed.len(), 64 * 2 * 1_152);
    let settled = &samples[4 * 2 * 1_152..];
    assert_eq!(*settled, untrimmed[untrimmed.len() - settled.len()..]);
}

#[test]
fn files_appended_are_each_trimmed_by_their_own_tag() {
    let twice = run(&native(Encoding::Mp3), &[STUDIO, STUDIO].concat(), Cut::Whole);
    let (_, samples) = twice.only_run();
    assert_eq!(twice.warnings, []);
    assert_eq!(samples.len(), 2 * 144_000);
    assert_eq!(samples[..144_000], samples[144_000..]);
    let changed = run(&native(Encoding::Mp3), &[VBR44, LIVE16, LAYER2].concat(), Cut::Whole);
    assert_eq!(changed.error, None);
    assert_eq!(changed.warnings, []);
    let lengths: Vec<_> =
        changed.runs.iter().map(|&(spec, frames)| (spec.rate_hz, frames * usize::from(spec.channels))).collect();
    assert_eq!(lengths, [(44_100, 132_300), (16_000, 25_344), (48_000, 145_152)]);
}

#[test]
fn tags_at_the_end_are_no_damage() {
    let plain = run(&native(Encoding::Mp3), VBR44, Cut::Whole);
    let mut tagged = VBR44.to_vec();
    let mut ape = *b"APETAGEX\xd0\x07\x00\x00\x30\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\xa0\0\0\0\0\0\0\0\0";
    tagged.extend_from_slice(&ape);
    tagged.extend_from_slice(b"\x04\0\0\0\0\0\0\0Nam\0abcd");
    ape[23] = 0x80;
    tagged.extend_from_slice(&ape);
    tagged.extend_from_slice(b"TAGtitle");
    tagged.extend([0x20; 120]);
    let decoded = run(&native(Encoding::Mp3), &tagged, Cut::Whole);
    assert_eq!(decoded.warnings, []);
    assert!(decoded.sounds_like(&plain));
    assert_same_however_cut(&native(Encoding::Mp3), &tagged);
}

#[test]
fn after_damage_the_next_frame_is_found_and_said() {
    let mut damaged = LIVE16.to_vec();
    damaged.splice(3_000..3_100, [0x55; 333]);
    let decoded = run(&native(Encoding::Mp3), &damaged, Cut::Whole);
    let (_, samples) = decoded.only_run();
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
    let error = run(&native(Encoding::Mp3), &free, Cut::Whole).error.expect("refused");
    assert!(error.is_unsupported() && error.to_string().contains("free format"), "{error}");
    // As an encoder makes it: with and without a tag frame, behind ID3v2, however it arrives.
    let tagged = [b"ID3\x04\0\0\0\0\0\x04abcd", FREE16].concat();
    for bytes in [FREE16, FREE48, &tagged] {
        for cut in [Cut::Whole, Cut::Every(1), Cut::Random(1)] {
            let decoded = run(&native(Encoding::Mp3), bytes, cut);
            let error = decoded.error.expect("refused");
            assert!(error.is_unsupported() && error.to_string().contains("free format"), "{error}");
            assert_eq!(decoded.samples.len(), 0, "no garbage");
        }
        assert_eq!(run(&native(Encoding::Auto), bytes, Cut::Whole).error, Some(DecodeError::Unrecognised));
    }
    let mut declared = native(Encoding::Mp3);
    declared.format.channels = Some(1);
    assert_eq!(
        run(&declared, STUDIO, Cut::Whole).error,
        Some(DecodeError::Contradiction { field: "channels", declared: 1, found: 2, container: "MP3" })
    );
    // MPEG-2 layer 2 at 80 kbit/s, 24 kHz, stereo: frames of 480 bytes.
    let mut frame = [0; 480];
    frame[..4].copy_from_slice(&[0xff, 0xf5, 0x94, 0x00]);
    let error = run(&native(Encoding::Mp3), &frame.repeat(3), Cut::Whole).error.expect("refused");
    assert!(error.is_unsupported() && error.to_string().contains("layer 2"), "{error}");
    let decoded = run(&native(Encoding::Mp3), &[0; 100_000], Cut::Whole);
    assert!(matches!(decoded.error, Some(DecodeError::Malformed { .. })));
}

#[test]
fn damaged_files_and_garbage_do_no_harm() {
    survive_damage(&native(Encoding::Mp3), VBR44, 120, 20_000);
    survive_damage(&native(Encoding::Mp3), LAYER2, 60, 20_000);
    survive_damage(&native(Encoding::Mp3), LAYER1_CRC, 60, 20_000);
    survive_garbage(&native(Encoding::Mp3), 120);
}
