//! The journal: what keeping a stream costs it, and how fast a start makes a stream again, from its file to its recording. The second is
//! to be far beyond real time: clients wait for it.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;
use std::sync::{Arc, mpsc};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use uuid::Uuid;
use voxgate::audio::{Encoding, OutputChannels, OutputFormat, PcmSpec, StreamFormat};
use voxgate::decode::{DecodeParams, WHOLE_FILE_BYTES_MAX};
use voxgate::journal::{Journal, JournalLimits, Log, OpenNote, SessionNote};
use voxgate::pipeline::{Chain, RunState, Scratch, StreamPipeline, StreamSettings};
use voxgate::protocol::Overflow;
use voxgate::sink::Sink;
use voxgate::sink::recorder::{RecorderConfig, RecorderService, RecordingStart};

const LIMITS: JournalLimits = JournalLimits { stream_bytes: 1 << 30, total_bytes: 1 << 34 };
/// Audio in a journal that is rebuilt: long enough that beginning and ending are nothing beside it.
const REBUILT_S: usize = 300;

fn session() -> SessionNote {
    SessionNote {
        version: 1,
        session_id: Uuid::from_u128(7),
        client_id: "client".to_owned(),
        user_id: None,
        created_unix_ms: 1,
        token: String::new(),
        used_token: None,
        default_encoding: Encoding::Auto,
        default_sample_rate: None,
        default_channels: None,
        conversations: Vec::new(),
        subscriptions: 0,
        last_seq: 0,
    }
}

fn note(format: StreamFormat) -> OpenNote {
    OpenNote {
        uid: Uuid::now_v7(),
        index: 0,
        stream_id: "s".to_owned(),
        encoding: format.encoding,
        sample_rate: format.sample_rate,
        channels: format.channels,
        output_rate_hz: 16_000,
        output_source_channels: false,
        ack_interval_ms: 200,
        record: true,
        drop_oldest: false,
        tagged: false,
        conversation_id: None,
        implicit: false,
        speech: false,
        levels: false,
        reply_to: None,
        recording_id: None,
        started_unix_ms: 1,
    }
}

fn begin(journal: &Journal, format: StreamFormat) -> (Log, mpsc::Receiver<()>) {
    let (called, calls) = mpsc::channel();
    let wake = Arc::new(move || _ = called.send(()));
    (journal.create(&session(), &note(format), wake).unwrap(), calls)
}

fn settle(log: &Log, calls: &mpsc::Receiver<()>) {
    while !log.reached(log.position()) {
        calls.recv().unwrap();
    }
}

fn pcm16k() -> StreamFormat {
    StreamFormat::new(Encoding::PcmS16le, Some(16_000), Some(1)).unwrap()
}

/// A journal as a killed server leaves it.
fn leave(dir: &Path, format: StreamFormat, frames: impl Iterator<Item = Vec<u8>>) {
    let (journal, _) = Journal::open(dir, LIMITS).unwrap();
    let (log, calls) = begin(&journal, format);
    for frame in frames {
        if log.is_full() {
            settle(&log, &calls);
        }
        log.bytes(&frame).unwrap();
    }
    settle(&log, &calls);
}

fn pipeline(format: StreamFormat, sinks: Vec<Box<dyn Sink>>) -> StreamPipeline {
    let output = OutputFormat::new(16_000, OutputChannels::Mono).unwrap();
    let params = DecodeParams { format, output, whole_file_bytes_max: WHOLE_FILE_BYTES_MAX };
    let settings = StreamSettings { format, overflow: Overflow::Block, queue_ms: 1_000, ack_interval_ms: 200 };
    StreamPipeline::new(settings, Chain::open(&params).unwrap(), sinks)
}

/// From the folder to the recording, as a start does it. Returns the milliseconds of audio.
fn rebuild(dir: &Path, recordings: &RecorderService) -> u64 {
    let (_journal, found) = Journal::open(dir, LIMITS).unwrap();
    let stream = &found[0].streams[0];
    let start = RecordingStart {
        id: Uuid::now_v7(),
        stream_uid: "s".to_owned(),
        stream_id: "s".to_owned(),
        client_id: "client".to_owned(),
        user_id: None,
        conversation_id: None,
        created_at_ms: 1,
        spec: PcmSpec { rate_hz: 16_000, channels: 1 },
    };
    let (called, calls) = mpsc::channel();
    let recorder = recordings.create(start, Arc::new(move || _ = called.send(()))).unwrap();
    let handle = recorder.handle();
    let mut pipeline = pipeline(stream.open.to_open().format, vec![Box::new(recorder)]);
    let (mut scratch, mut replay) = (Scratch::default(), stream.replay().unwrap());
    while let Some(frame) = replay.next_frame().unwrap() {
        pipeline.offer(frame, 0, &mut scratch, &mut { usize::MAX }).unwrap();
        while !pipeline.is_drained() {
            if let RunState::Blocked = pipeline.run(&mut scratch, &mut { usize::MAX }).unwrap() {
                calls.recv().unwrap();
            }
        }
    }
    let ms = pipeline.progress().decoded_ms;
    handle.cancel();
    ms
}

fn keeping(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), LIMITS).unwrap();
    let mut group = c.benchmark_group("journal/keep");
    for streams in [1, 16] {
        let logs: Vec<_> = (0..streams).map(|_| begin(&journal, pcm16k())).collect();
        group.throughput(Throughput::Elements(streams));
        group.bench_function(format!("a_second_durable_of_{streams}"), |b| {
            b.iter(|| {
                for _ in 0..50 {
                    logs.iter().for_each(|(log, _)| log.bytes(&[7; 640]).unwrap());
                }
                logs.iter().for_each(|(log, calls)| settle(log, calls));
            });
        });
        logs.iter().for_each(|(log, _)| log.remove());
    }
    group.finish();
}

fn rebuilding(c: &mut Criterion) {
    let webm = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/recorders/chromium-opus.webm")).unwrap();
    let sound: Vec<u8> = (0..640_u32).map(|i| (i * 37) as u8).collect();
    let mut group = c.benchmark_group("journal/rebuild");
    for name in ["pcm16k", "webm_opus"] {
        let (folder, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        if name == "pcm16k" {
            leave(folder.path(), pcm16k(), (0..REBUILT_S * 50).map(|_| sound.clone()));
        } else {
            let format = StreamFormat::new(Encoding::Webm, None, None).unwrap();
            leave(
                folder.path(),
                format,
                webm.chunks(1_000).map(<[u8]>::to_vec).cycle().take(webm.len().div_ceil(1_000) * 60),
            );
        }
        let recordings = RecorderService::start(RecorderConfig::new(kept.path())).unwrap();
        // Elements are seconds of audio: so many a second is so many times real time.
        group.throughput(Throughput::Elements(rebuild(folder.path(), &recordings) / 1_000));
        group.bench_function(name, |b| b.iter(|| rebuild(folder.path(), &recordings)));
    }
    group.finish();
}

criterion_group! { name = benches; config = Criterion::default().sample_size(10); targets = keeping, rebuilding }
criterion_main!(benches);
