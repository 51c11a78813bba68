//! What the protocol costs a message: JSON and base64 in, acknowledgement out, frames cut from a socket's bytes.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;

use base64::Engine;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use uuid::Uuid;
use voxgate::audio::{OutputFormat, StreamFormat};
use voxgate::dialect::native::{self, DecodeLimits};
use voxgate::protocol::{AudioReceived, Event};
use voxgate::session::{Authentication, Session, SessionLimits, StreamDefaults};
use voxgate::websocket::{Limits, OpCode, Reader, Role, encode_masked};

const LIMITS: DecodeLimits = DecodeLimits { json_depth: 16 };

fn protocol(c: &mut Criterion) {
    let frame: Vec<u8> = (0..640).map(|i| (i * 37) as u8).collect();
    let text = format!(
        r#"{{"type":"audio_data","data":"{}","sample_rate":16000,"channels":1}}"#,
        base64::engine::general_purpose::STANDARD.encode(&frame)
    );

    let mut group = c.benchmark_group("protocol");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("audio_data_to_bytes", |b| {
        let limits =
            SessionLimits { streams_max: 8, conversations_max: 4, faults_max: 5, event_ring: 8, decode: LIMITS };
        let defaults = StreamDefaults { format: StreamFormat::AUTO, output: OutputFormat::default() };
        let known = Authentication::Known { identity: Arc::default(), expires_ms: None };
        let mut session = Session::new(limits, defaults, known, Uuid::now_v7);
        let (mut audio, mut effects) = (Vec::new(), Vec::new());
        b.iter(|| {
            effects.clear();
            session.handle_text(black_box(&text), 0, &mut audio, &mut effects);
            black_box(audio.len())
        });
    });
    group.bench_function("audio_data_parse", |b| b.iter(|| native::decode(black_box(&text), LIMITS).unwrap()));

    let ack = Event::AudioReceived(AudioReceived {
        stream_id: Uuid::now_v7().to_string().into(),
        received_bytes: 192_000,
        received_frames: 50,
        decoded_ms: 1_000,
        output_samples: 16_000,
        buffered_ms: 0,
        dropped_ms: 0,
        processing_us: 412,
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("audio_received_encode", |b| {
        let mut out = Vec::new();
        let envelope = native::Envelope { unix_ms: 1_767_323_045_678, reply_to: None, seq: None };
        b.iter(|| {
            out.clear();
            native::encode(black_box(&ack), envelope, &mut out);
            black_box(out.len())
        });
    });

    let mut wire = Vec::new();
    for _ in 0..100 {
        encode_masked(&mut wire, OpCode::Binary, &frame, [1, 2, 3, 4]);
    }
    group.throughput(Throughput::Bytes(wire.len() as u64));
    group.bench_function("websocket_read_100_frames", |b| {
        let limits = Limits { message_bytes: 1 << 20, fragments: 1_024, assembly_ms: 10_000 };
        let mut reader = Reader::new(Role::Server, limits);
        let mut buf = wire.clone();
        b.iter(|| {
            buf.copy_from_slice(&wire);
            let mut bytes = 0;
            reader
                .feed(&mut buf, 0, &mut |m| bytes += usize::from(matches!(m, voxgate::websocket::Incoming::Binary(_))))
                .unwrap();
            black_box(bytes)
        });
    });
    group.finish();
}

criterion_group! { name = benches; config = Criterion::default().sample_size(20); targets = protocol }
criterion_main!(benches);
