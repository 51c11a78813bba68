//! Every encoding from bytes to PCM, on the fixtures: throughput in decoded samples.

mod common;

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use voxgate::audio::{Encoding, OutputFormat, StreamFormat};
use voxgate::decode::{self, DecodeOut, DecodeParams, WHOLE_FILE_BYTES_MAX};

/// As a WebSocket frame brings them.
const PIECE_BYTES: usize = 4_096;

/// The fixtures of each encoding.
const FIXTURES: [(Encoding, &[&str]); 17] = [
    (Encoding::PcmS16le, &["mono16.s16le"]),
    (Encoding::PcmS16be, &["mono16.s16be"]),
    (Encoding::PcmS24le, &["mono16.s24le"]),
    (Encoding::PcmS32le, &["mono16.s32le"]),
    (Encoding::PcmF32le, &["mono16.f32le"]),
    (Encoding::Mulaw, &["phone8.mulaw"]),
    (Encoding::Alaw, &["phone8.alaw"]),
    (Encoding::Wav, &["studio48.wav", "studio48-s24.wav", "studio48-f32.wav", "phone8-mulaw.wav"]),
    (Encoding::Flac, &["studio48.flac", "live16.flac"]),
    (Encoding::Mp3, &["studio48.mp3", "live16.mp3"]),
    (Encoding::Aac, &["studio48.aac", "mono16.aac"]),
    (Encoding::Ogg, &["live-opus.ogg", "voip-opus.ogg", "studio48-vorbis.ogg", "studio44-flac.ogg"]),
    (Encoding::Webm, &["live-opus.webm", "studio48-vorbis.webm", "studio48-pcm.mka"]),
    (Encoding::Mp4, &["frag-aac.mp4", "frag-opus.mp4", "tail-aac.m4a", "studio48-alac.m4a"]),
    (Encoding::Aiff, &["studio48.aiff"]),
    (Encoding::Caf, &["studio48.caf", "studio48-alac.caf"]),
    (Encoding::Auto, &["live-opus.webm", "studio48.mp3"]),
];

/// Decodes a whole stream; returns its samples.
fn decode(params: &DecodeParams, bytes: &[u8], out: &mut DecodeOut) -> usize {
    let mut decoder = decode::open(params).expect("a decoder");
    let mut samples = 0;
    for mut piece in bytes.chunks(PIECE_BYTES) {
        loop {
            out.clear();
            let step = decoder.decode(piece, out).expect("a good stream");
            samples += black_box(&out.pcm.samples).len();
            piece = &piece[step.consumed..];
            if piece.is_empty() && !step.more {
                break;
            }
        }
    }
    loop {
        out.clear();
        let more = decoder.finish(out).expect("a good stream");
        samples += black_box(&out.pcm.samples).len();
        if !more {
            return samples;
        }
    }
}

fn decoders(c: &mut Criterion) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/audio");
    for (encoding, names) in FIXTURES {
        let mut group = c.benchmark_group(encoding.name());
        for name in names {
            let bytes = std::fs::read(fixtures.join(name)).expect("a fixture");
            let declared = encoding.is_raw().then_some((16_000, 1));
            let format = StreamFormat::new(encoding, declared.map(|d| d.0), declared.map(|d| d.1)).expect("a format");
            let output = OutputFormat::default();
            let params = DecodeParams { format, output, whole_file_bytes_max: WHOLE_FILE_BYTES_MAX };
            let mut out = DecodeOut::default();
            group.throughput(Throughput::Elements(decode(&params, &bytes, &mut out) as u64));
            group.bench_function(*name, |b| b.iter(|| decode(&params, &bytes, &mut out)));
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = common::short();
    targets = decoders
}
criterion_main!(benches);
