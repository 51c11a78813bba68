use super::super::testing::{Cut, Random, assert_same_however_cut, decode, fixture, params, survive_damage};
use super::*;

/// Every fixture that says what it is.
const FIXTURES: [(&str, Encoding); 40] = [
    ("studio48.wav", Encoding::Wav),
    ("studio48-s24.wav", Encoding::Wav),
    ("studio48-f32.wav", Encoding::Wav),
    ("studio48-rf64.wav", Encoding::Wav),
    ("live48.wav", Encoding::Wav),
    ("phone8-mulaw.wav", Encoding::Wav),
    ("phone8-u8.wav", Encoding::Wav),
    ("adpcm.wav", Encoding::Wav),
    ("studio48.aiff", Encoding::Aiff),
    ("studio48-s24.aiff", Encoding::Aiff),
    ("studio48.caf", Encoding::Caf),
    ("studio48-f32.caf", Encoding::Caf),
    ("studio48-alac.caf", Encoding::Caf),
    ("studio48.flac", Encoding::Flac),
    ("studio48-s24.flac", Encoding::Flac),
    ("live16.flac", Encoding::Flac),
    ("studio48.mp3", Encoding::Mp3),
    ("vbr44.mp3", Encoding::Mp3),
    ("live16.mp3", Encoding::Mp3),
    ("studio48.mp2", Encoding::Mp3),
    ("studio48.mp1", Encoding::Mp3),
    ("crc32.mp1", Encoding::Mp3),
    ("studio48.aac", Encoding::Aac),
    ("mono16.aac", Encoding::Aac),
    ("pages1s-opus.ogg", Encoding::Ogg),
    ("live-opus.ogg", Encoding::Ogg),
    ("studio48-vorbis.ogg", Encoding::Ogg),
    ("studio44-flac.ogg", Encoding::Ogg),
    ("live-opus.webm", Encoding::Webm),
    ("file-opus.webm", Encoding::Webm),
    ("studio48-vorbis.webm", Encoding::Webm),
    ("restarted-opus.webm", Encoding::Webm),
    ("studio48-pcm.mka", Encoding::Webm),
    ("frag-aac.mp4", Encoding::Mp4),
    ("frag-aac44.mp4", Encoding::Mp4),
    ("frag-opus.mp4", Encoding::Mp4),
    ("frag-flac.mp4", Encoding::Mp4),
    ("tail-aac.m4a", Encoding::Mp4),
    ("faststart-aac.m4a", Encoding::Mp4),
    ("studio48-alac.m4a", Encoding::Mp4),
];

/// The verdict of a sniffer that gets these bytes, and how many it took to reach it.
fn sniff(bytes: &[u8], cut: usize) -> (Option<Encoding>, usize) {
    let mut held: Vec<u8> = Vec::new();
    let (mut tagged, mut ruled_out) = (false, 0);
    let mut tag_left = 0;
    let mut taken = 0;
    for chunk in bytes.chunks(cut) {
        held.extend(chunk);
        taken += chunk.len();
        loop {
            let skip = held.len().min(tag_left);
            held.drain(..skip);
            tag_left -= skip;
            match tell(&held, tagged, &mut ruled_out) {
                Verdict::Known(encoding) => return (Some(encoding), taken),
                Verdict::Tag(bytes) => (tagged, tag_left) = (true, bytes as usize),
                Verdict::Unknown => return (None, taken),
                Verdict::Unclear => break,
            }
        }
    }
    (tell_whole(&held, tagged), taken)
}

#[test]
fn every_fixture_is_told_at_any_cut() {
    for (name, want) in FIXTURES {
        let bytes = fixture(name);
        let (found, needed) = sniff(&bytes, 1);
        assert_eq!(found, Some(want), "{name}");
        let tag = if name == "vbr44.mp3" { 200 } else { 0 };
        let most = if matches!(want, Encoding::Mp3 | Encoding::Aac) { 2_000 } else { 12 };
        assert!(needed <= most + tag, "{name}: told after {needed} bytes");
        for cut in [2, 7, 100, 1 << 20] {
            assert_eq!(sniff(&bytes, cut).0, Some(want), "{name} cut at {cut}");
        }
    }
}

#[test]
fn frames_joined_in_the_middle_are_told() {
    for (name, want) in FIXTURES.into_iter().filter(|(_, e)| matches!(e, Encoding::Mp3 | Encoding::Aac)) {
        let bytes = fixture(name);
        for from in (1_000..4_000).step_by(101) {
            assert_eq!(sniff(&bytes[from..], 64).0, Some(want), "{name} from {from}");
        }
    }
}

#[test]
fn raw_samples_are_refused_wherever_they_begin() {
    for name in [
        "mono16.s16le",
        "mono16.s16be",
        "mono16.s24le",
        "mono16.s32le",
        "mono16.f32le",
        "stereo48.s16le",
        "phone8.mulaw",
        "phone8.alaw",
    ] {
        let bytes = fixture(name);
        for from in (0..bytes.len() - 3_000).step_by(67) {
            let piece = &bytes[from..bytes.len().min(from + SNIFF_BYTES_MAX)];
            assert_eq!(sniff(piece, 1 << 20).0, None, "{name} from {from}");
        }
        let error = decode(&params(Encoding::Auto), &bytes, Cut::Every(640)).expect_err("raw");
        assert_eq!(error, DecodeError::Unrecognised, "{name}");
    }
}

#[test]
fn silence_and_noise_are_refused_soon() {
    let mut random = Random(5);
    let mut streams: Vec<Vec<u8>> =
        [0x00, 0xff, 0x80, 0x7f, 0x55, 0xd5, 0xaa, 0x01].iter().map(|&b| vec![b; 10_000]).collect();
    for bits in [1, 2, 4, 8, 12, 16] {
        // 16-bit noise of so many bits around zero: the quiet ones are full of 0xff bytes.
        streams.extend((0..40).map(|_| {
            let sample = |r: &mut Random| (r.below(1 << bits) as i32 - (1 << (bits - 1))) as i16;
            (0..5_000).flat_map(|_| sample(&mut random).to_le_bytes()).collect()
        }));
    }
    streams.extend((0..60).map(|_| {
        let codes = [0xff, 0x7f, 0xfe, 0x7e, 0xfd, 0x7d, 0xfb, 0x7b];
        (0..10_000).map(|_| codes[random.below(8)]).collect()
    }));
    for (i, bytes) in streams.iter().enumerate() {
        let (found, _) = sniff(&bytes[..SNIFF_BYTES_MAX], 20);
        assert_eq!(found, None, "stream {i}");
    }
    assert_eq!(
        sniff(&streams[0], 20).1,
        2_060.min(JOIN_BYTES_MAX + 12),
        "silence is refused when no frame can begin any more"
    );
}

#[test]
fn flac_behind_a_tag_is_flac() {
    let mut tagged = b"ID3\x04\0\0\0\0\x02\x10".to_vec();
    tagged.resize(10 + 0x110, 0xff);
    tagged.extend(fixture("live16.flac"));
    assert_eq!(sniff(&tagged, 1).0, Some(Encoding::Flac));
    let decoded = decode(&params(Encoding::Auto), &tagged, Cut::Random(1)).expect("decodes");
    assert_eq!(decoded.samples.len(), 24_000);
}

#[test]
fn a_tag_of_any_size_is_passed_over_without_holding_it() {
    let mut tagged = b"ID3\x03\0\0\x00\x7f\x7f\x7f".to_vec();
    tagged.resize(10 + 0x1f_ffff, 0x41);
    tagged.extend(fixture("live16.flac"));
    let decoded = decode(&params(Encoding::Auto), &tagged, Cut::Every(5_000)).expect("decodes");
    assert_eq!(decoded.samples.len(), 24_000);
    assert!(decoded.pending_max < 40_000, "{} bytes held", decoded.pending_max);
}

#[test]
fn what_was_told_decodes_as_if_it_had_been_declared() {
    for (name, encoding) in FIXTURES
        .into_iter()
        .filter(|(_, e)| matches!(e, Encoding::Wav | Encoding::Flac | Encoding::Aiff | Encoding::Caf))
    {
        let bytes = fixture(name);
        let declared = decode(&params(encoding), &bytes, Cut::Whole);
        let told = decode(&params(Encoding::Auto), &bytes, Cut::Every(1_000));
        match (declared, told) {
            (Ok(a), Ok(b)) => assert!(a.samples == b.samples && a.runs == b.runs, "{name}"),
            (a, b) => assert_eq!(a.err(), b.err(), "{name}"),
        }
    }
    assert_same_however_cut(&params(Encoding::Auto), &fixture("phone8-u8.wav"));
    assert_same_however_cut(&params(Encoding::Auto), &fixture("live16.flac"));
    assert_same_however_cut(&params(Encoding::Auto), &fixture("phone8.mulaw"));
}

#[test]
fn too_little_to_tell_is_an_error_nothing_is_none() {
    assert!(decode(&params(Encoding::Auto), &[], Cut::Whole).expect("nothing").samples.is_empty());
    for bytes in [&b"R"[..], b"RIFF", b"\0\0", b"ID3", b"hello world, hello world", b"\xff\xfb"] {
        assert_eq!(
            decode(&params(Encoding::Auto), bytes, Cut::Whole).expect_err("too little"),
            DecodeError::Unrecognised
        );
    }
}

#[test]
fn damage_never_panics() {
    for name in ["live16.flac", "phone8-u8.wav"] {
        let alive = survive_damage(&params(Encoding::Auto), &fixture(name)[..12_000], 300, 20_000);
        assert!(alive > 20, "{name}: {alive}");
    }
}
