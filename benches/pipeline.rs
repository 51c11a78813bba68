//! A stream's whole way through the pipeline, frame by frame, without a socket: decode, down-mix, resample, meter, sinks.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use voxgate::audio::{Encoding, OutputChannels, OutputFormat, StreamFormat};
use voxgate::decode::{DecodeParams, WHOLE_FILE_BYTES_MAX};
use voxgate::pipeline::{Chain, Scratch, StreamPipeline, StreamSettings};
use voxgate::protocol::Overflow;
use voxgate::sink::{Sink, levels, voice};

/// Makes a stream's sinks.
type Sinks = fn() -> Vec<Box<dyn Sink>>;

fn stream(format: StreamFormat, sinks: Vec<Box<dyn Sink>>) -> StreamPipeline {
    let output = OutputFormat::new(16_000, OutputChannels::Mono).unwrap();
    let params = DecodeParams { format, output, whole_file_bytes_max: WHOLE_FILE_BYTES_MAX };
    let settings = StreamSettings { format, overflow: Overflow::Block, queue_ms: 1_000, ack_interval_ms: 200 };
    StreamPipeline::new(settings, Chain::open(&params).unwrap(), sinks)
}

fn pipeline(c: &mut Criterion) {
    let mut group = c.benchmark_group("pipeline/20ms");
    group.throughput(Throughput::Elements(320));
    let cases: [(&str, u32, u32, Sinks); 4] = [
        ("pcm16k", 16_000, 1, Vec::new),
        ("pcm48k_stereo", 48_000, 2, Vec::new),
        ("pcm16k_levels", 16_000, 1, || vec![Box::new(levels::LevelSink::new())]),
        ("pcm16k_voice", 16_000, 1, || vec![Box::new(voice::VoiceSink::new())]),
    ];
    for (name, rate, channels, sinks) in cases {
        let format = StreamFormat::new(Encoding::PcmS16le, Some(rate), Some(channels)).unwrap();
        let frame: Vec<u8> = (0..rate as usize / 50 * channels as usize * 2).map(|i| (i * 37) as u8).collect();
        let mut s = stream(format, sinks());
        let mut scratch = Scratch::default();
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut budget = usize::MAX;
                s.offer(black_box(&frame), 0, &mut scratch, &mut budget).unwrap();
                s.sink_events.clear();
                black_box(s.take_due_ack())
            });
        });
    }
    group.finish();
}

criterion_group! { name = benches; config = Criterion::default().sample_size(20); targets = pipeline }
criterion_main!(benches);
