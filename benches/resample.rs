//! Resampling to 16 kHz, mono, 20 ms a call, beside rubato's FFT resampler: throughput in output samples.

mod common;

use std::hint::black_box;

use audioadapter_buffers::direct::InterleavedSlice;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};
use voxgate::resample::Resampler;

const TO_HZ: usize = 16_000;
/// Audio a round resamples.
const SECONDS: usize = 10;
const CALLS_PER_S: usize = 50;

fn speech_like(frames: usize) -> Vec<f32> {
    (0..frames).map(|n| (n * n % 7_919) as f32 / 7_919.0 - 0.5).collect()
}

fn rates(c: &mut Criterion) {
    for from_hz in [48_000, 44_100, 24_000, 8_000] {
        let input = speech_like(from_hz * SECONDS);
        let mut group = c.benchmark_group(format!("{from_hz} to {TO_HZ}"));
        group.throughput(Throughput::Elements((TO_HZ * SECONDS) as u64));
        group.bench_function("voxgate", |b| {
            let mut resampler = Resampler::new(from_hz as u32, TO_HZ as u32, 1).expect("a pair of rates");
            let mut out = Vec::new();
            b.iter(|| {
                for chunk in input.chunks(from_hz / CALLS_PER_S) {
                    out.clear();
                    resampler.process(chunk, &mut out);
                    black_box(&out);
                }
            });
        });
        group.bench_function("rubato Fft", |b| {
            let chunk_frames = from_hz / CALLS_PER_S;
            let window = WindowFunction::BlackmanHarris2;
            let mut resampler = Fft::<f32>::new_custom(from_hz, TO_HZ, chunk_frames, 1, 1, window, FixedSync::Input)
                .expect("a pair of rates");
            let mut out = vec![0.0; resampler.output_frames_max()];
            let frames_out = out.len();
            b.iter(|| {
                for chunk in input.chunks_exact(resampler.input_frames_next()) {
                    let from = InterleavedSlice::new(chunk, 1, chunk.len()).expect("mono");
                    let mut to = InterleavedSlice::new_mut(&mut out, 1, frames_out).expect("mono");
                    black_box(resampler.process_into_buffer(&from, &mut to, None).expect("a whole chunk"));
                }
            });
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = common::short();
    targets = rates
}
criterion_main!(benches);
