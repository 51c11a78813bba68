//! Decoders do not allocate per packet: once their buffers have grown to the stream's packets, the rest of the stream costs no allocation,
//! however it is cut.

use std::path::Path;

use voxgate::audio::{Encoding, OutputFormat, StreamFormat};
use voxgate::decode::{self, DecodeOut, DecodeParams, Decoder, WHOLE_FILE_BYTES_MAX};

/// Feeds `bytes` in pieces; `out` and the decoder keep their memory. Returns the samples that came.
fn feed(decoder: &mut dyn Decoder, bytes: &[u8], piece_bytes: usize, out: &mut DecodeOut) -> usize {
    let mut samples = 0;
    for mut piece in bytes.chunks(piece_bytes) {
        loop {
            out.clear();
            let step = decoder.decode(piece, out).expect("a good stream");
            samples += out.pcm.samples.len();
            piece = &piece[step.consumed..];
            if piece.is_empty() && !step.more {
                break;
            }
        }
    }
    samples
}

/// Allocations while the second half of a fixture is decoded.
fn allocations(path: &str, format: StreamFormat, piece_bytes: usize) -> u64 {
    let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path)).expect("a fixture");
    let params = DecodeParams { format, output: OutputFormat::default(), whole_file_bytes_max: WHOLE_FILE_BYTES_MAX };
    let mut decoder = decode::open(&params).expect("a decoder");
    let mut out = DecodeOut::default();
    let (first, second) = bytes.split_at(bytes.len() / 2);
    assert!(feed(decoder.as_mut(), first, piece_bytes, &mut out) > 0, "{path}: nothing came of the first half");
    let mut samples = 0;
    let info = allocation_counter::measure(|| samples = feed(decoder.as_mut(), second, piece_bytes, &mut out));
    assert!(samples > 0, "{path}: nothing came of the second half");
    info.count_total
}

#[test]
fn raw_samples_cost_no_allocation() {
    for (path, encoding) in [
        ("audio/mono16.s16le", Encoding::PcmS16le),
        ("audio/mono16.s24le", Encoding::PcmS24le),
        ("audio/mono16.f32le", Encoding::PcmF32le),
        ("audio/phone8.mulaw", Encoding::Mulaw),
        ("audio/phone8.alaw", Encoding::Alaw),
    ] {
        let format = StreamFormat::new(encoding, Some(16_000), Some(1)).expect("a format");
        // A frame of 20 ms, and one that cuts samples.
        for piece_bytes in [640, 333] {
            assert_eq!(allocations(path, format, piece_bytes), 0, "{path} in pieces of {piece_bytes}");
        }
    }
}

/// Buffers that still grow in the second of two short halves: a packet or fragment header larger than all before it.
const GROWTHS_MAX: u64 = 2;

#[test]
fn containers_and_packets_cost_no_allocation() {
    for (path, allowed) in [
        ("audio/studio48.wav", 0),
        ("audio/studio48.aiff", 0),
        ("audio/studio48.flac", 0),
        ("audio/studio48.mp3", 0),
        ("audio/studio48.aac", GROWTHS_MAX),
        ("audio/live-opus.ogg", 0),
        ("audio/live-opus.webm", GROWTHS_MAX),
        ("audio/file-opus.webm", 0),
        ("audio/studio48-vorbis.webm", 0),
        ("audio/frag-opus.mp4", GROWTHS_MAX),
        ("audio/frag-aac.mp4", GROWTHS_MAX),
        ("recorders/chromium-opus.webm", 0),
        ("recorders/firefox-opus.webm", 0),
        ("recorders/firefox-opus.ogg", 0),
        ("recorders/chromium-opus.mp4", 0),
        ("recorders/chromium-pcm.webm", 0),
    ] {
        for piece_bytes in [1_000, 4_096] {
            let count = allocations(path, StreamFormat::AUTO, piece_bytes);
            assert!(count <= allowed, "{path} in pieces of {piece_bytes}: {count} allocations");
        }
    }
}

/// A running WebM stream of Opus: the rest of what it may hold is libopus' own, some 27 KB in stereo, which is allocated in C.
#[test]
fn a_webm_stream_holds_little() {
    const BYTES_MAX: u64 = 33 << 10;
    for path in ["recorders/chromium-opus.webm", "audio/live-opus.webm"] {
        let mut count = 0;
        let info = allocation_counter::measure(|| count = allocations(path, StreamFormat::AUTO, 4_096));
        let file =
            std::fs::metadata(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path)).expect("a fixture");
        let peak = info.bytes_max - file.len();
        assert!(peak <= BYTES_MAX, "{path}: {peak} bytes at the peak");
    }
}
