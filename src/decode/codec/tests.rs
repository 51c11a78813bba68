//! Hostile packets: the containers' checksums are no shield against a sender who makes them right.

use super::super::testing::{Random, fixture, s16};
use super::flac::frame::{Parsed, crc16, parse};
use super::*;

/// The frames of a native FLAC fixture and its STREAMINFO.
fn flac_frames(name: &str) -> (Vec<u8>, Vec<Vec<u8>>) {
    let bytes = fixture(name);
    let mut starts: Vec<usize> = Vec::new();
    for at in 42..bytes.len() {
        if let Parsed::Header(header) = parse(&bytes[at..])
            && header.number == starts.len() as u64
        {
            starts.push(at);
        }
    }
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    let frames = starts.iter().zip(ends).map(|(&from, to)| bytes[from..to].to_vec()).collect();
    (bytes[8..42].to_vec(), frames)
}

fn reseal(frame: &mut Vec<u8>) {
    frame.truncate(frame.len() - 2);
    let crc = crc16(0, frame);
    frame.extend(crc.to_be_bytes());
}

#[test]
fn flac_frames_decode_exactly_and_a_wrong_checksum_is_a_bad_packet() {
    let (streaminfo, frames) = flac_frames("studio48.flac");
    let mut decoder = open(CodecSetup::Flac { streaminfo: &streaminfo }, OutputFormat::default()).expect("opens");
    let mut out = DecodeOut::default();
    decoder.conceal(&mut out);
    assert!(out.pcm.samples.is_empty(), "nothing to be as long as");
    for frame in &frames {
        decoder.decode(frame, &mut out).expect("decodes");
    }
    let want: Vec<f32> = s16(&fixture("stereo48.s16le")).iter().map(|&s| f32::from(s) / 32_768.0).collect();
    assert!(out.pcm.samples == want);
    let mut damaged = frames[1].clone();
    damaged[100] ^= 1;
    assert_eq!(decoder.decode(&damaged, &mut out), Err(BadPacket));
    assert_eq!(out.pcm.samples.len(), want.len(), "nothing appended");
    assert!(decoder.decode(&frames[1], &mut out).is_ok(), "the next packet decodes");
    decoder.conceal(&mut out);
    assert_eq!(out.pcm.samples.len(), want.len() + 4 * 4_608);
}

#[test]
fn damaged_flac_frames_with_right_checksums_never_panic() {
    let mut random = Random(1);
    for name in ["live16.flac", "studio48-s24.flac"] {
        let (streaminfo, frames) = flac_frames(name);
        let mut decoder = open(CodecSetup::Flac { streaminfo: &streaminfo }, OutputFormat::default()).expect("opens");
        let mut out = DecodeOut::default();
        for _ in 0..1_000 {
            out.clear();
            let mut frame = frames[random.below(frames.len() as u64) as usize].clone();
            let from = 8 + random.below(frame.len() as u64 - 10) as usize;
            for at in from..frame.len().min(from + random.below(20) as usize) {
                frame[at] = random.below(256) as u8;
            }
            reseal(&mut frame);
            let _ = decoder.decode(&frame, &mut out);
            assert!(out.pcm.samples.iter().all(|x| x.abs() <= 8.0));
        }
    }
}

#[test]
fn damaged_alac_packets_never_panic() {
    let cookie = b"\0\0\x10\0\0\x10\x28\x0a\x0e\x02\0\0\0\0\x40\x04\0\x17\x70\0\0\0\xbb\x80";
    let mut decoder = open(CodecSetup::Alac { cookie }, OutputFormat::default()).expect("opens");
    let caf = fixture("studio48-alac.caf");
    let data = caf.windows(4).position(|w| w == b"data").expect("data") + 16;
    let mut random = Random(2);
    let mut out = DecodeOut::default();
    let mut decoded = 0;
    for _ in 0..2_000 {
        out.clear();
        let from = if random.below(2) == 0 { data } else { data + random.below(60_000) as usize };
        let mut packet = caf[from..from + 5_000].to_vec();
        for _ in 0..random.below(6) {
            packet[random.below(5_000).min(random.below(5_000)) as usize] = random.below(256) as u8;
        }
        decoded += usize::from(decoder.decode(&packet, &mut out).is_ok());
        assert!(out.pcm.samples.iter().all(|x| x.abs() <= 8.0));
    }
    assert!(decoded > 100, "{decoded} decoded all the same");
}

fn fail(setup: CodecSetup<'_>) -> String {
    open(setup, OutputFormat::default()).err().expect("refused").to_string()
}

#[test]
fn absurd_set_up_data_is_an_error() {
    assert_eq!(fail(CodecSetup::Flac { streaminfo: &[0; 33] }), "flac: its STREAMINFO is damaged");
    assert_eq!(fail(CodecSetup::Alac { cookie: &[0; 12] }), "alac: its magic cookie is too short");
    let mut cookie = *b"\xff\xff\xff\xff\0\x10\x28\x0a\x0e\x02\0\0\0\0\x40\x04\0\x17\x70\0\0\0\xbb\x80";
    assert_eq!(
        fail(CodecSetup::Alac { cookie: &cookie }),
        "alac: the number of sample frames in a packet exceeds the limit of 16384"
    );
    cookie[..4].copy_from_slice(&[0, 0, 16, 0]);
    cookie[9] = 200;
    assert!(!fail(CodecSetup::Alac { cookie: &cookie }).is_empty());
}
