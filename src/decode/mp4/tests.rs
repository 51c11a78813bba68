use std::collections::VecDeque;

use super::movie::{self, SampleDefaults};
use super::table::SampleTable;
use super::{NAME, fragment};
use crate::audio::{Encoding, OutputChannels, OutputFormat, PcmSpec};
use crate::decode::testing::*;
use crate::decode::{DecodeError, DecodeWarning};

mod damage;
mod tables;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/", $name)).as_slice()
    };
}
use fixture;

const FRAG_AAC: &[u8] = fixture!("audio/frag-aac.mp4");
const FASTSTART: &[u8] = fixture!("audio/faststart-aac.m4a");
const TAIL: &[u8] = fixture!("audio/tail-aac.m4a");
const CHROMIUM: &[u8] = fixture!("recorders/chromium-opus.mp4");

const STEREO_48: PcmSpec = PcmSpec { rate_hz: 48_000, channels: 2 };

/// studio48.wav's length.
const STUDIO_FRAMES: usize = 72_000;

fn decode(bytes: &[u8]) -> Decoded {
    run(&native(Encoding::Mp4), bytes, Cut::Whole)
}

/// Checks a clean file of one segment against what ffmpeg decodes of it, up to `frames`.
#[track_caller]
fn assert_is(name: &str, bytes: &[u8], spec: PcmSpec, expected: &[u8], frames: usize) {
    let decoded = decode(bytes);
    let (found, samples) = decoded.only_run();
    assert_eq!(found, spec, "{name}");
    assert_eq!(decoded.warnings, [], "{name}");
    let expected = floats(&s16(expected));
    let end = frames * usize::from(spec.channels);
    assert_eq!(samples.len(), end, "{name}");
    let difference = difference_db(samples, &expected[..end]);
    assert!(difference <= -60.0, "{name}: {difference} dB");
}

/// The last sample's duration in the file's tables says how much of it is audio: with it the source's length comes out to the
/// sample. ffmpeg 5.1 plays the encoder's padding after it too (704 frames here), so its output is longer.
#[test]
fn aac_is_what_ffmpeg_decodes_up_to_the_end_the_file_declares() {
    let faststart = fixture!("expected/faststart-aac.m4a.s16");
    assert_is("faststart", FASTSTART, STEREO_48, faststart, STUDIO_FRAMES);
    assert_is("tail", TAIL, STEREO_48, fixture!("expected/tail-aac.m4a.s16"), STUDIO_FRAMES);
    // The same encoder beside a film, its packets in many chunks.
    assert_is("film", fixture!("audio/film-faststart.mp4"), STEREO_48, faststart, STUDIO_FRAMES);
    // An edit list before fragments, which ffmpeg 5.1 leaves out: its output begins with the priming.
    let edited = decode(fixture!("audio/edited-frag.mp4"));
    assert!(edited.sounds_like(&decode(FASTSTART)));
    // Written without an edit list: the priming, which nothing declares, is played, by ffmpeg as well.
    let frag = fixture!("expected/frag-aac.mp4.s16");
    assert_is("fragments", FRAG_AAC, STEREO_48, frag, STUDIO_FRAMES + 1_024);
    assert_is("film in fragments", fixture!("audio/film-frag.mp4"), STEREO_48, frag, STUDIO_FRAMES + 1_024);
    let mono_44 = PcmSpec { rate_hz: 44_100, channels: 1 };
    let expected = fixture!("expected/frag-aac44.mp4.s16");
    assert_is("44.1 kHz", fixture!("audio/frag-aac44.mp4"), mono_44, expected, 66_150 + 1_024);
}

/// Band replication that the configuration keeps silent about, and the same told: two more bytes of it over the descriptor behind.
#[test]
fn he_aac_is_what_ffmpeg_decodes() {
    let silent = fixture!("audio/frag-he-aac.mp4");
    assert_is("HE-AAC", silent, STEREO_48, fixture!("expected/frag-he-aac.mp4.s16"), 36 * 2_048);
    let longer = patched(silent, b"\x04\x80\x80\x80\x14", b"\x04\x80\x80\x80\x16");
    let told = patched(&longer, b"\x05\x80\x80\x80\x02\x13\x10\x06\x80", b"\x05\x80\x80\x80\x04\x2b\x11\x88\x00");
    decode(&told).assert_same(&decode(silent), "told");
}

/// `bytes` with the only place that reads `from` reading `to`.
fn patched(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|w| w == from).expect("the bytes to patch");
    let mut patched = bytes.to_vec();
    patched[at..at + to.len()].copy_from_slice(to);
    patched
}

#[test]
fn mpeg_audio_is_what_ffmpeg_decodes() {
    let expected = fixture!("expected/studio48-mp3.mp4.s16");
    assert_is("MP3", fixture!("audio/studio48-mp3.mp4"), STEREO_48, expected, expected.len() / 4);
}

/// Chromium writes when a packet was recorded as its duration, here 3102 for one of 2880 frames: such durations are no lengths, and
/// every packet is played whole. Only ffmpeg's file has exact ones, and a last packet of which 312 frames are audio.
#[test]
fn opus_is_what_ffmpeg_decodes_with_the_pre_skip_trimmed_once() {
    let mono = PcmSpec { rate_hz: 48_000, channels: 1 };
    let expected = fixture!("expected/chromium-opus.mp4.s16");
    assert_is("chromium", CHROMIUM, mono, expected, expected.len() / 2);
    let expected = fixture!("expected/frag-opus.mp4.s16");
    assert_is("fragments", fixture!("audio/frag-opus.mp4"), STEREO_48, expected, STUDIO_FRAMES);
}

/// Decoded straight to the output's rate: priming and lengths are told in the track's units.
#[test]
fn opus_lengths_hold_at_the_rate_it_is_decoded_to() {
    let mut to_16k_mono = native(Encoding::Mp4);
    to_16k_mono.output = OutputFormat { rate_hz: 16_000, channels: OutputChannels::Mono };
    for (bytes, frames) in [(fixture!("audio/frag-opus.mp4"), STUDIO_FRAMES / 3), (CHROMIUM, 298_560 / 3)] {
        let decoded = run(&to_16k_mono, bytes, Cut::Whole);
        let (spec, samples) = decoded.only_run();
        assert_eq!(spec, PcmSpec { rate_hz: 16_000, channels: 1 });
        assert_eq!(samples.len(), frames);
    }
}

#[test]
fn lossless_codecs_are_the_source_bit_for_bit() {
    let (_, source) = wav_samples("audio/studio48.wav");
    for (name, bytes) in [("ALAC", fixture!("audio/studio48-alac.m4a")), ("FLAC", fixture!("audio/frag-flac.mp4"))] {
        let decoded = decode(bytes);
        let (spec, samples) = decoded.only_run();
        assert_eq!(spec, STEREO_48, "{name}");
        assert_eq!(decoded.warnings, [], "{name}");
        assert!(samples == source, "{name} differs");
    }
}

#[test]
fn the_timeline_starts_where_the_source_did() {
    let (channels, source) = wav_samples("audio/studio48.wav");
    let source = down_mix(&source, channels);
    // The fragmented one declares no priming: it starts that much later.
    for (bytes, priming) in [(FASTSTART, 0), (TAIL, 0), (FRAG_AAC, 1_024)] {
        let decoded = decode(bytes);
        let (_, samples) = decoded.only_run();
        assert_eq!(best_lag(&down_mix(&samples[2 * priming..], 2), &source, 200), 0);
    }
}

#[test]
fn cuts_do_not_matter() {
    for bytes in [FRAG_AAC, FASTSTART, TAIL, fixture!("audio/film-frag.mp4"), fixture!("audio/studio48-mp3.mp4")] {
        assert_same_however_cut(&native(Encoding::Mp4), bytes);
    }
}

#[test]
fn cuts_do_not_matter_to_opus_and_lossless_codecs() {
    for bytes in [CHROMIUM, fixture!("audio/frag-flac.mp4"), fixture!("audio/studio48-alac.m4a")] {
        assert_same_however_cut(&native(Encoding::Mp4), bytes);
    }
    let (_, sizes) = recording("chromium-opus.mp4");
    let as_sent = run(&native(Encoding::Mp4), CHROMIUM, Cut::Sizes(&sizes));
    assert!(as_sent.sounds_like(&decode(CHROMIUM)));
}

/// A packet is decoded as soon as its bytes are there, not when its fragment is.
#[test]
fn audio_comes_with_its_bytes() {
    // The second fragment's first packet ends at 3330 + 237; the file cut there.
    let upto = decode(&FRAG_AAC[..3_330 + 237]);
    let (_, samples) = upto.only_run();
    // All of 11 packets but what could yet be padding: nothing, their durations are exact.
    assert_eq!(samples.len(), 11 * 1_024 * 2);
    assert_eq!(upto.warnings, [DecodeWarning::TruncatedTail { what: "box", bytes: 0 }]);
}

#[test]
fn a_recorder_started_again_goes_on_as_a_new_segment_on_the_timeline() {
    let once = decode(FRAG_AAC);
    let (_, frag) = once.only_run();
    let once = decode(TAIL);
    let (_, tail) = once.only_run();
    for (name, bytes, samples) in [
        ("fragments twice", [FRAG_AAC, FRAG_AAC].concat(), [frag, frag].concat()),
        ("index in front after fragments", [FRAG_AAC, FASTSTART].concat(), [frag, tail].concat()),
        ("index at the end after fragments", [FRAG_AAC, TAIL].concat(), [frag, tail].concat()),
        ("fragments after an index at the end", [TAIL, FRAG_AAC].concat(), [tail, frag].concat()),
    ] {
        let decoded = decode(&bytes);
        let (_, found) = decoded.only_run();
        assert_eq!(decoded.warnings, [], "{name}");
        assert!(found == samples, "{name}: {} for {} samples", found.len(), samples.len());
    }
    let changed = decode(&[FRAG_AAC, fixture!("audio/frag-aac44.mp4")].concat());
    let rates: Vec<_> = changed.runs.iter().map(|(spec, _)| spec.rate_hz).collect();
    assert_eq!(rates, [48_000, 44_100]);
}

/// An hour of fragments: what is held does not grow.
#[test]
fn memory_does_not_grow_with_the_fragments() {
    const HEADER_END: usize = 729;
    const FIRST_FRAGMENTS_END: usize = 19_486;
    let fragments = &FRAG_AAC[HEADER_END..FIRST_FRAGMENTS_END];
    let mut stream = FRAG_AAC[..HEADER_END].to_vec();
    for _ in 0..40 {
        stream.extend_from_slice(fragments);
    }
    let decoded = run(&native(Encoding::Mp4), &stream, Cut::Every(1_000));
    let (_, samples) = decoded.only_run();
    assert_eq!(samples.len(), 40 * 70 * 1_024 * 2);
    assert_eq!(decoded.warnings, []);
    assert!(decoded.pending_max < 1_200, "{} bytes held", decoded.pending_max);
}

#[test]
fn an_index_at_the_end_is_waited_for_up_to_the_limit() {
    let mut limited = native(Encoding::Mp4);
    limited.whole_file_bytes_max = 18_000;
    let error = run(&limited, TAIL, Cut::Whole).error.expect("too large");
    assert!(matches!(error, DecodeError::TooLarge { container: NAME, limit: 18_000, .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains("18000") && message.contains("fragmented"), "{message}");
    // Neither of these needs the limit.
    assert_eq!(run(&limited, FASTSTART, Cut::Whole).error, None);
    assert_eq!(run(&limited, FRAG_AAC, Cut::Whole).error, None);
    limited.whole_file_bytes_max = 18_109;
    assert_eq!(run(&limited, TAIL, Cut::Whole).error, None);
}

#[test]
fn a_wrong_declaration_is_contradicted() {
    let mut declared = native(Encoding::Mp4);
    declared.format.sample_rate = Some(44_100);
    let contradiction =
        |field, declared, found| Some(DecodeError::Contradiction { field, declared, found, container: NAME });
    for bytes in [FRAG_AAC, TAIL, fixture!("audio/studio48-mp3.mp4"), CHROMIUM, fixture!("audio/frag-flac.mp4")] {
        assert_eq!(run(&declared, bytes, Cut::Whole).error, contradiction("sample_rate", 44_100, 48_000));
    }
    declared.format.sample_rate = Some(48_000);
    declared.format.channels = Some(1);
    assert_eq!(run(&declared, FASTSTART, Cut::Whole).error, contradiction("channels", 1, 2));
    declared.format.channels = Some(2);
    assert_eq!(run(&declared, FASTSTART, Cut::Whole).error, None);
}
