//! Streams that are damaged, cut, or no MP4 at all.

use super::*;

#[test]
fn what_is_not_decoded_is_refused_by_name() {
    for (bytes, message) in [
        (patched(FRAG_AAC, b"soun", b"vide"), "MP4: a file without an audio track is not supported"),
        (
            patched(FRAG_AAC, b"mp4a", b"ac-3"),
            "MP4: the codec 'ac-3' (AAC, Opus, FLAC, ALAC and MP3 are decoded) is not supported",
        ),
        (patched(FRAG_AAC, b"mp4a", b"enca"), "MP4: encrypted audio is not supported"),
        (patched(FRAG_AAC, b"\x11\x90\x56\xe5\x00", b"\x19\x90\x56\xe5\x00"), "scalable sample rate"),
        (patched(FRAG_AAC, b"\x11\x90\x56\xe5\x00", b"\x16\x10\x56\xe5\x00"), "7350 Hz"),
    ] {
        let error = decode(&bytes).error.expect("refused");
        assert!(error.is_unsupported(), "{error}");
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn what_is_no_mp4_is_told_from_the_first_bytes() {
    for bytes in [b"RIFF\x24\0\0\0WAVEfmt ".as_slice(), b"<!DOCTYPE html><html>", b"OggS\0\x02\0\0\0\0\0\0\0\0\0\0"] {
        let error = decode(bytes).error.expect("refused");
        assert!(matches!(error, DecodeError::Malformed { container: NAME, .. }), "{error}");
    }
    // A page that sends the recorder's later chunks only.
    let error = decode(&FRAG_AAC[729..]).error.expect("refused");
    assert!(error.to_string().contains("first chunk"), "{error}");
    assert_eq!(decode(b"").error, None);
}

#[test]
fn a_file_cut_short_plays_what_came_and_says_so() {
    for (bytes, frames) in [(&FRAG_AAC[..10_000], 30 * 1_024), (&FASTSTART[..10_000], 30 * 1_024)] {
        let decoded = decode(bytes);
        assert_eq!(decoded.error, None);
        assert!(decoded.samples.len() > 2 * frames, "{}", decoded.samples.len());
        assert!(matches!(decoded.warnings[..], [DecodeWarning::TruncatedTail { what: "box", .. }]));
    }
    let error = decode(&TAIL[..18_500]).error.expect("no index");
    assert!(error.to_string().contains("index (moov)"), "{error}");
}

#[test]
fn junk_between_fragments_is_passed_over() {
    let mut damaged = FRAG_AAC.to_vec();
    damaged.splice(5_982..5_982, [0x01; 100]);
    let decoded = decode(&damaged);
    let whole = decode(FRAG_AAC);
    assert!(decoded.sounds_like(&whole));
    assert_eq!(decoded.warnings, [DecodeWarning::Resynced { container: NAME, bytes: 100 }]);
    assert_same_however_cut(&native(Encoding::Mp4), &damaged);
}

#[test]
fn a_lost_fragment_header_loses_its_fragment_only() {
    let mut damaged = FRAG_AAC.to_vec();
    // The second `trun` claims more samples than it has bytes for.
    damaged[3_262 + 15] = 200;
    let decoded = decode(&damaged);
    let (_, samples) = decoded.only_run();
    assert_eq!(samples.len(), 2 * (STUDIO_FRAMES + 1_024 - 10 * 1_024));
    assert_eq!(decoded.warnings, [DecodeWarning::PacketSkipped { codec: "AAC" }]);
}

#[test]
fn a_corrupt_packet_is_concealed_and_counted() {
    let mut damaged = FRAG_AAC.to_vec();
    damaged[4_000..4_200].fill(0xff);
    let decoded = decode(&damaged);
    let (_, samples) = decoded.only_run();
    assert_eq!(samples.len(), 2 * (STUDIO_FRAMES + 1_024));
    assert!(!decoded.warnings.is_empty());
    assert!(decoded.warnings.iter().all(|w| *w == DecodeWarning::PacketConcealed { codec: "AAC" }));
}

#[test]
fn a_stream_of_which_nothing_decodes_is_an_error() {
    let mut damaged = FASTSTART.to_vec();
    // Each packet begins with a program config element, which is refused.
    damaged[1_095..].fill(0xa5);
    let error = decode(&damaged).error.expect("nothing");
    assert_eq!(error.to_string(), "MP4: no packet of it decodes");
}

#[test]
fn claimed_sizes_and_counts_cost_nothing() {
    let claims = |kind: &[u8; 4]| [&0x7fff_ffff_u32.to_be_bytes()[..], kind].concat();
    let error = decode(&claims(b"moov")).error.expect("too large");
    assert!(matches!(error, DecodeError::TooLarge { .. }), "{error}");
    let error = decode(&[&FRAG_AAC[..729], &claims(b"moof")].concat()).error.expect("too large");
    assert!(matches!(error, DecodeError::TooLarge { .. }), "{error}");
    let error = decode(&claims(b"mdat")).error.expect("too large");
    assert!(matches!(error, DecodeError::TooLarge { .. }), "{error}");
    // A box passed over may claim anything: nothing is held of it.
    let decoded = decode(&[FRAG_AAC, &claims(b"free"), &[0; 50_000]].concat());
    assert_eq!(decoded.error, None);
    assert!(decoded.pending_max < 30_000);
}

#[test]
fn damaged_files_and_garbage_do_no_harm() {
    for bytes in [FRAG_AAC, FASTSTART, TAIL, fixture!("audio/film-frag.mp4")] {
        survive_damage(&native(Encoding::Mp4), bytes, 48, 40_000);
    }
    survive_garbage(&native(Encoding::Mp4), 48);
}
