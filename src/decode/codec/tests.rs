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
            let mut frame = frames[random.below(frames.len())].clone();
            let from = 8 + random.below(frame.len() - 10);
            for at in from..frame.len().min(from + random.below(20)) {
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
        let from = if random.below(2) == 0 { data } else { data + random.below(60_000) };
        let mut packet = caf[from..from + 5_000].to_vec();
        for _ in 0..random.below(6) {
            packet[random.below(5_000).min(random.below(5_000))] = random.below(256) as u8;
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
    assert_eq!(fail(CodecSetup::Flac { streaminfo: &[0; 33] }), "FLAC: its STREAMINFO is damaged");
    assert_eq!(fail(CodecSetup::Alac { cookie: &[0; 12] }), "ALAC: its magic cookie is too short");
    let mut cookie = *b"\xff\xff\xff\xff\0\x10\x28\x0a\x0e\x02\0\0\0\0\x40\x04\0\x17\x70\0\0\0\xbb\x80";
    assert_eq!(
        fail(CodecSetup::Alac { cookie: &cookie }),
        "ALAC: the number of sample frames in a packet exceeds the limit of 16384"
    );
    cookie[..4].copy_from_slice(&[0, 0, 16, 0]);
    cookie[9] = 200;
    assert!(!fail(CodecSetup::Alac { cookie: &cookie }).is_empty());
}

/// A FLAC frame of one block, every subframe verbatim: what an encoder of a few lines makes (RFC 9639 section 9).
fn verbatim_frame(bits: u32, channels: &[Vec<i32>]) -> Vec<u8> {
    let bits_code = match bits {
        8 => 1,
        12 => 2,
        16 => 4,
        20 => 5,
        24 => 6,
        _ => 7,
    };
    let block = channels[0].len();
    let mut frame = vec![0xff, 0xf8, 0x6a, (channels.len() as u8 - 1) << 4 | bits_code << 1, 0, block as u8 - 1];
    let crc =
        frame.iter().fold(0u8, |crc, b| (0..8).fold(crc ^ b, |c, _| if c & 0x80 != 0 { c << 1 ^ 7 } else { c << 1 }));
    frame.push(crc);
    let mut pending: Vec<bool> = Vec::new();
    for samples in channels {
        pending.extend([false, false, false, false, false, false, true, false]);
        pending.extend(samples.iter().flat_map(|s| (0..bits).rev().map(move |bit| s >> bit & 1 == 1)));
    }
    frame.extend(
        pending.chunks(8).map(|c| c.iter().enumerate().fold(0, |byte, (i, &bit)| byte | u8::from(bit) << (7 - i))),
    );
    frame.extend([0, 0]);
    reseal(&mut frame);
    frame
}

#[test]
fn flac_of_every_depth_and_channel_count_is_exact() {
    let mut random = Random(3);
    for bits in [8u32, 12, 16, 20, 24, 32] {
        for channels in 1..=8usize {
            let full = 1i64 << (bits - 1);
            let planes: Vec<Vec<i32>> = (0..channels)
                .map(|_| (0..50).map(|_| (random.below(2 * full as usize) as i64 - full) as i32).collect())
                .collect();
            let mut streaminfo = [0; 34];
            streaminfo[..4].copy_from_slice(&[0, 16, 0, 50]);
            let packed = 48_000u64 << 44 | (channels as u64 - 1) << 41 | u64::from(bits - 1) << 36;
            streaminfo[10..18].copy_from_slice(&packed.to_be_bytes());
            let mut decoder =
                open(CodecSetup::Flac { streaminfo: &streaminfo }, OutputFormat::default()).expect("opens");
            let mut out = DecodeOut::default();
            decoder.decode(&verbatim_frame(bits, &planes), &mut out).expect("decodes");
            let want: Vec<f32> = (0..50)
                .flat_map(|i| planes.iter().map(move |plane| (f64::from(plane[i]) / full as f64) as f32))
                .collect();
            assert!(out.pcm.samples == want, "{bits} bits, {channels} channels");
        }
    }
}
