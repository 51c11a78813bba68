use super::super::codec::flac::frame::{Parsed, crc16, parse};
use super::super::testing::{
    Cut, Decoded, Random, assert_same_however_cut, decode, fixture, params, params_raw, run, s16, survive_damage,
};
use super::*;
use crate::audio::{Encoding, PcmSpec};

const STUDIO: PcmSpec = PcmSpec { rate_hz: 48_000, channels: 2 };

fn flac(bytes: &[u8]) -> Decoded {
    decode(&params(Encoding::Flac), bytes, Cut::Random(9)).expect("decodes")
}

/// Offsets of the frames of a fixture, found by another path than the decoder's: every place a header stands whose number is next.
fn frames(bytes: &[u8]) -> Vec<usize> {
    let mut out = Vec::new();
    for at in 4..bytes.len() {
        if let Parsed::Header(header) = parse(&bytes[at..])
            && header.number == out.len() as u64
        {
            out.push(at);
        }
    }
    out
}

#[test]
fn lossless_is_lossless() {
    let want = s16(&fixture("stereo48.s16le"));
    for name in ["studio48.flac", "studio48-s24.flac"] {
        let decoded = flac(&fixture(name));
        assert_eq!(decoded.spec(), STUDIO, "{name}");
        assert!(decoded.s16() == want, "{name}");
        assert!(decoded.samples.iter().zip(&want).all(|(x, &s)| *x == f32::from(s) / 32_768.0), "{name}: exact");
        assert!(decoded.warnings.is_empty(), "{name}: {:?}", decoded.warnings);
    }
    let live = flac(&fixture("live16.flac"));
    assert_eq!(live.spec(), PcmSpec { rate_hz: 16_000, channels: 1 });
    assert!(live.s16() == s16(&fixture("mono16.s16le")));
}

#[test]
fn cuts_never_change_the_samples() {
    for name in ["studio48.flac", "studio48-s24.flac", "live16.flac"] {
        assert_same_however_cut(&params(Encoding::Flac), &fixture(name));
    }
}

#[test]
fn a_frame_comes_out_as_soon_as_its_last_byte_is_there() {
    let bytes = fixture("live16.flac");
    let starts = frames(&bytes);
    assert!(starts.len() > 4);
    let mut decoder = FlacStream::new(&params(Encoding::Flac));
    let mut out = DecodeOut::default();
    let mut from = 0;
    for (i, &end) in starts[1..].iter().enumerate() {
        let mut samples = 0;
        let mut chunk = &bytes[from..end];
        loop {
            out.clear();
            let step = decoder.decode(chunk, &mut out).expect("decodes");
            samples += out.pcm.samples.len();
            chunk = &chunk[step.consumed..];
            if chunk.is_empty() && !step.more {
                break;
            }
        }
        assert!(samples > 0, "frame {i}");
        assert_eq!(decoder.pending_bytes(), 0, "frame {i}");
        from = end;
    }
}

#[test]
fn a_damaged_frame_is_silence_and_the_rest_is_exact() {
    let bytes = fixture("studio48.flac");
    let want = flac(&bytes).samples;
    let starts = frames(&bytes);
    let block = 2 * usize::from(match parse(&bytes[starts[2]..]) {
        Parsed::Header(header) => header.block,
        other => panic!("{other:?}"),
    });
    // In the body; in the header; a hole over the edge of two frames.
    let mut body = bytes.clone();
    body[starts[2] + 500] ^= 0x10;
    let mut header = bytes.clone();
    header[starts[2] + 1] = 0;
    let mut hole = bytes;
    hole.drain(starts[2] + 100..starts[3] + 100);
    for (what, damaged, lost) in [("body", body, 1), ("header", header, 1), ("hole", hole, 2)] {
        assert_same_however_cut(&params(Encoding::Flac), &damaged);
        let decoded = flac(&damaged);
        assert_eq!(decoded.samples.len(), want.len(), "{what}: the timeline is kept");
        let (from, to) = (2 * block, (2 + lost) * block);
        assert!(decoded.samples[..from] == want[..from] && decoded.samples[to..] == want[to..], "{what}");
        assert!(decoded.samples[from..to].iter().all(|x| *x == 0.0), "{what}");
        assert!(!decoded.warnings.is_empty(), "{what}");
    }
}

#[test]
fn garbage_between_and_behind_frames_is_passed_over() {
    let bytes = fixture("live16.flac");
    let want = flac(&bytes).samples;
    let starts = frames(&bytes);
    let garbage: Vec<u8> = (0..5_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 7) as u8).collect();
    let mut between = bytes.clone();
    between.splice(starts[3]..starts[3], garbage);
    let decoded = flac(&between);
    assert!(decoded.warnings.len() <= 2 && !decoded.warnings.is_empty(), "{:?}", decoded.warnings);
    assert!(decoded.samples.len() == want.len(), "{} for {}", decoded.samples.len(), want.len());

    let mut tagged = bytes;
    tagged.extend(b"TAG");
    tagged.resize(tagged.len() + 125, b' ');
    let decoded = flac(&tagged);
    assert!(decoded.samples == want);
    assert_eq!(decoded.warnings, [DecodeWarning::Resynced { container: "FLAC", bytes: 128 }]);
}

#[test]
fn a_cut_off_last_frame_is_told() {
    let bytes = fixture("live16.flac");
    let starts = frames(&bytes);
    let last = *starts.last().expect("frames");
    let decoded = flac(&bytes[..last + 300]);
    assert_eq!(decoded.warnings, [DecodeWarning::TruncatedTail { what: "packet", bytes: 300 }]);
    let want = flac(&bytes);
    assert!(want.samples.starts_with(&decoded.samples));
    assert!(decoded.samples.len() > want.samples.len() / 2);
}

#[test]
fn a_second_stream_is_another_segment_of_its_own_format() {
    let bytes = [fixture("studio48.flac"), fixture("live16.flac"), fixture("studio48.flac")].concat();
    let decoded = flac(&bytes);
    let runs: Vec<_> = decoded.runs.iter().map(|(spec, frames)| (spec.rate_hz, *frames)).collect();
    assert_eq!(runs, [(48_000, 72_000), (16_000, 24_000), (48_000, 72_000)]);
    assert!(decoded.warnings.is_empty(), "{:?}", decoded.warnings);
    assert_same_however_cut(&params(Encoding::Flac), &bytes);
}

#[test]
fn tags_before_the_marker_are_passed_over() {
    let mut tagged = b"ID3\x04\0\0\0\0\x02\x10".to_vec();
    tagged.resize(10 + 0x110, 0xff);
    tagged.extend(fixture("live16.flac"));
    assert_eq!(flac(&tagged).samples.len(), 24_000);
}

#[test]
fn what_cannot_be_taken_is_told() {
    let error = decode(&params_raw(Encoding::Flac, 44_100, 2), &fixture("studio48.flac"), Cut::Whole)
        .expect_err("a contradiction");
    assert_eq!(error.to_string(), "format.sample_rate: 44100 was declared, the FLAC header says 48000");
    for bytes in [fixture("studio48.wav"), fixture("studio48.flac")[..30].to_vec(), b"fLaC\x80\0\0\x10abcd".to_vec()] {
        let error = decode(&params(Encoding::Flac), &bytes, Cut::Whole).expect_err("no FLAC");
        assert!(matches!(error, DecodeError::Malformed { .. }), "{error}");
    }
    let mut picture = fixture("studio48.flac")[..42].to_vec();
    picture[4] = 0;
    for _ in 0..3 {
        picture.extend(b"\x06\xff\xff\xff");
        picture.resize(picture.len() + 0xff_ffff, 0);
    }
    let error = decode(&params(Encoding::Flac), &picture, Cut::Every(1 << 20)).expect_err("48 MiB of pictures");
    assert!(matches!(error, DecodeError::TooLarge { .. }), "{error}");
}

/// A frame header of 48 kHz stereo 16-bit with the largest block, or one of 192.
fn header(number: u8, largest: bool) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xf8, if largest { 0x7a } else { 0x1a }, 0x18, number];
    if largest {
        bytes.extend([0xff, 0xfe]);
    }
    let crc =
        bytes.iter().fold(0u8, |crc, b| (0..8).fold(crc ^ b, |c, _| if c & 0x80 != 0 { c << 1 ^ 7 } else { c << 1 }));
    bytes.push(crc);
    bytes
}

/// Searched again and again, two megabytes of them would take hours.
#[test]
fn a_flood_of_false_frames_is_searched_once_and_held_within_a_bound() {
    let mut head = fixture("studio48.flac")[..42].to_vec();
    head[4] |= 0x80;
    head[8..12].copy_from_slice(&[0, 16, 0xff, 0xff]);
    // Numbers that follow each other, that fall, and small good frames between headers of large ones.
    let rising = |i: u32| header((i % 128) as u8, true);
    let falling = |i: u32| header(127 - (i % 128) as u8, true);
    let good = |i: u32| {
        let mut frame = header(127 - (i % 128) as u8, false);
        frame.extend([0, 0, 0, 0, 0, 0]);
        frame.extend(crc16(0, &frame).to_be_bytes());
        frame.push(0x55);
        frame
    };
    let patterns: [&dyn Fn(u32) -> Vec<u8>; 3] = [&rising, &falling, &good];
    for (n, pattern) in patterns.iter().enumerate() {
        let mut bytes = head.clone();
        for i in 0.. {
            bytes.extend(pattern(i));
            if bytes.len() > 600_000 {
                break;
            }
        }
        let decoded = decode(&params(Encoding::Flac), &bytes[..if n == 0 { 2_000 } else { bytes.len() }], Cut::Whole)
            .expect("decodes");
        assert!(decoded.pending_max < 1 << 20, "pattern {n}: {} bytes held", decoded.pending_max);
        assert!(!decoded.warnings.is_empty());
    }
}

#[test]
fn damage_never_panics() {
    for name in ["live16.flac", "studio48-s24.flac"] {
        let bytes = fixture(name);
        let alive = survive_damage(&params(Encoding::Flac), &bytes[..20_000], 600, 30_000);
        assert!(alive > 100, "{name}: {alive} of 600 still gave samples");
    }
}

#[test]
fn what_was_passed_over_is_told_even_if_the_next_stream_is_damaged() {
    let mut bytes = fixture("live16.flac")[..42].to_vec();
    // STREAMINFO becomes the last block of metadata.
    bytes[4] |= 0x80;
    bytes.extend([0; 94]);
    bytes.extend(b"fLaC\0\0\0\x22");
    bytes.extend([0; 34]);
    let decoded = run(&params(Encoding::Flac), &bytes, Cut::Whole);
    assert!(matches!(decoded.error, Some(DecodeError::Malformed { container: "FLAC", .. })), "{:?}", decoded.error);
    assert_eq!(decoded.warnings, [DecodeWarning::Resynced { container: "FLAC", bytes: 94 }]);
    assert_same_however_cut(&params(Encoding::Flac), &bytes);
}

/// A false header behind a frame, before the next: a decoder that sees the frame alone at first must not take it for more than one that
/// sees all at once.
#[test]
fn what_looks_like_a_frame_between_frames_is_the_same_however_it_is_cut() {
    let bytes = fixture("live16.flac");
    let want = flac(&bytes).samples;
    let starts = frames(&bytes);
    for number in 0..4 {
        let mut between = bytes.clone();
        let Parsed::Header(header) = parse(&bytes[starts[number]..]) else { panic!("no header") };
        let false_header = &bytes[starts[number]..starts[number] + header.len];
        between.splice(starts[2]..starts[2], [&[0x55], false_header, &[0x55; 40]].concat());
        let decoded = run(&params(Encoding::Flac), &between, Cut::Whole);
        run(&params(Encoding::Flac), &between, Cut::Sizes(&[starts[2]])).assert_same(&decoded, "cut behind the frame");
        assert_same_however_cut(&params(Encoding::Flac), &between);
        if number < 2 {
            assert!(decoded.samples == want, "{number}: its time is over");
            assert_eq!(
                decoded.warnings,
                [DecodeWarning::Resynced { container: "FLAC", bytes: 41 + header.len as u64 }]
            );
        }
    }
}

#[test]
fn damage_is_the_same_however_it_is_cut() {
    let bytes = fixture("live16.flac");
    let starts = frames(&bytes);
    for seed in 0..40 {
        let mut random = Random(seed);
        let mut damaged = bytes[..12_000].to_vec();
        for _ in 0..6 {
            let (from, to) = (starts[random.below(4)] + random.below(40), 42 + random.below(11_000));
            match random.below(3) {
                0 => damaged[to] ^= 1 << random.below(8),
                1 => drop(damaged.splice(to..to, bytes[from..from + 30].to_vec())),
                _ => drop(damaged.drain(to..to + random.below(600))),
            }
        }
        assert_same_however_cut(&params(Encoding::Flac), &damaged);
    }
}
