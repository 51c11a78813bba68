//! One speaker, many listeners: a block encoded once and queued for each. The bare write of that many bytes stands beside it.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::task::{Context, Waker};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use uuid::Uuid;
use voxgate::audio::{Encoding, OutputFormat, PcmSpec};
use voxgate::hub::{
    Connection, ConnectionMeta, Connections, Directory, LiveStreamMeta, Notice, OutboxItem, OutboxLimits,
};
use voxgate::protocol::{Event, Identity, Json, ListenTarget};
use voxgate::sink::listeners::Listeners;
use voxgate::sink::{Block, Sink};

const LISTENERS: usize = 1_000;
const RECEIVERS: usize = 10_000;

fn connect(all: &Connections) -> Arc<Connection> {
    let meta = ConnectionMeta {
        id: Uuid::now_v7(),
        remote_addr: ([127, 0, 0, 1], 1).into(),
        user_agent: None,
        connected_unix_ms: 0,
        connected_ms: 0,
    };
    let limits = OutboxLimits { messages: 100, message_bytes: 1 << 20, audio_bytes: 128 * 1024 };
    all.insert("listener".into(), meta, Some(Arc::new(Identity { admin: true, ..Identity::default() })), limits)
        .unwrap()
}

/// A broadcast to everyone: encoded once, a queue slot for each.
fn broadcast(c: &mut Criterion) {
    let all = Connections::default();
    let receivers: Vec<_> = (0..RECEIVERS).map(|_| connect(&all)).collect();
    let from = receivers[0].speaker();
    let event = Event::Broadcast { from, content: Json::parse(r#"{"say":"the lift is out of order"}"#).unwrap() };
    let mut group = c.benchmark_group("fanout/broadcast_10000");
    group.throughput(Throughput::Elements(RECEIVERS as u64));
    group.bench_function("encode_once_and_queue", |b| {
        b.iter(|| {
            let notice = Notice::new(black_box(&event));
            all.for_each(|c| assert!(c.outbox.share(&notice)));
            for r in &receivers {
                black_box(r.outbox.pop());
            }
        });
    });
    group.bench_function("encode_for_each", |b| {
        b.iter(|| {
            all.for_each(|c| c.outbox.send(black_box(&event)));
            for r in &receivers {
                black_box(r.outbox.pop());
            }
        });
    });
    group.finish();
}

fn fanout(c: &mut Criterion) {
    let all = Connections::default();
    let directory = Directory::new(10);
    let speaker = connect(&all);
    let stream = directory
        .insert(LiveStreamMeta {
            uid: Uuid::now_v7(),
            stream_id: "mic".into(),
            connection: Arc::clone(&speaker),
            conversation_id: None,
            encoding: Encoding::PcmS16le,
            output: OutputFormat::default(),
            recording_id: None,
            started_unix_ms: 0,
        })
        .unwrap();
    let target = ListenTarget::Stream(stream.meta.uid.to_string());
    let listeners: Vec<_> = (0..LISTENERS).map(|_| connect(&all)).collect();
    for l in &listeners {
        directory.listen(l, &target, |_| None, |_| false).unwrap();
    }
    let (samples, s16) = ([0.25_f32; 320], [8_192_i16; 320]);
    let spec = PcmSpec { rate_hz: 16_000, channels: 1 };
    let block = Block { spec, position: 0, samples: &samples, s16: &s16, after_gap: false };

    let mut group = c.benchmark_group("fanout/1000_listeners_20ms");
    group.throughput(Throughput::Elements(LISTENERS as u64));
    let mut sink = Listeners::new(Arc::clone(&stream));
    let (cx, mut items) = (Context::from_waker(Waker::noop()), Vec::new());
    for l in &listeners {
        let _ = l.outbox.poll_take(&cx, 0, &mut items);
    }
    group.bench_function("encode_once_and_queue", |b| {
        b.iter(|| {
            sink.push(black_box(&block), &mut Vec::new());
            for l in &listeners {
                l.outbox.poll_take(&cx, usize::MAX, &mut items).unwrap();
                let Some(OutboxItem::Audio(frame)) = items.pop() else { panic!("a frame for each") };
                black_box(frame);
            }
        });
    });
    let (mut near, mut far) = UnixStream::pair().unwrap();
    let frame = [7_u8; 660];
    let mut sunk = vec![0; 660 * 100];
    group.bench_function("bare_writes", |b| {
        b.iter(|| {
            for _ in 0..LISTENERS / 100 {
                for _ in 0..100 {
                    near.write_all(black_box(&frame)).unwrap();
                }
                far.read_exact(&mut sunk).unwrap();
            }
        });
    });
    group.finish();
}

criterion_group! { name = benches; config = Criterion::default().sample_size(20); targets = fanout, broadcast }
criterion_main!(benches);
