//! Recordings on a real disk, read back by an independent reader.

mod breaker;
mod life;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::sink::{Block, Push, Sink, SinkEvent};

const MONO16: PcmSpec = PcmSpec { rate_hz: 16_000, channels: 1 };

fn start(n: u64, user: Option<&str>) -> RecordingStart {
    RecordingStart {
        id: Uuid::from_u64_pair(0x0190_0000_0000_7000 + n, 0x8000_0000_0000_0000),
        stream_uid: format!("uid-{n}"),
        stream_id: format!("mic-{n}"),
        client_id: "client".to_owned(),
        user_id: user.map(str::to_owned),
        conversation_id: None,
        created_at_ms: 1_000_000 + n as i64,
        spec: MONO16,
    }
}

fn no_wake() -> Wake {
    Arc::new(|| {})
}

fn ramp(samples: usize, from: usize) -> Vec<i16> {
    (from..from + samples).map(|i| (i * 7) as i16).collect()
}

/// Pushes one block and waits for room as long as it takes.
fn push(recorder: &mut Recorder, spec: PcmSpec, s16: &[i16], events: &mut Vec<SinkEvent>) {
    let samples = vec![0.0; s16.len()];
    let block = Block { spec, position: 0, samples: &samples, s16, after_gap: false };
    while recorder.push(&block, events) == Push::Full {
        std::thread::yield_now();
    }
}

fn read_back(path: &Path) -> (hound::WavSpec, Vec<i16>) {
    let mut reader = hound::WavReader::open(path).unwrap();
    (reader.spec(), reader.samples::<i16>().map(Result::unwrap).collect())
}

/// Waits until something is so; a thread of the service makes it so.
fn until(mut so: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !so() {
        assert!(std::time::Instant::now() < deadline, "never came");
        std::thread::yield_now();
    }
}

#[test]
fn what_goes_in_is_what_the_file_holds() {
    let dir = tempfile::tempdir().unwrap();
    let service = RecorderService::start(RecorderConfig::new(dir.path())).unwrap();
    for (n, channels) in [(1, 1_u16), (2, 2), (3, 3), (4, 8)] {
        let spec = PcmSpec { rate_hz: 48_000, channels };
        let mut recorder = service.create(start(n, None), no_wake()).unwrap();
        let (mut events, mut all) = (Vec::new(), Vec::new());
        for i in 0..100 {
            let block = ramp(usize::from(channels) * (i % 7 * 131), all.len());
            push(&mut recorder, spec, &block, &mut events);
            all.extend(block);
        }
        let recorded = recorder.close("end").blocking_recv().unwrap().unwrap();
        let path = service.path(recorded.id).unwrap();
        let (wav, samples) = read_back(&path);
        assert_eq!((wav.channels, wav.sample_rate, wav.bits_per_sample), (channels, 48_000, 16));
        assert!(samples == all);
        assert_eq!(recorded.bytes, std::fs::metadata(&path).unwrap().len());
        assert_eq!(recorded.samples, (all.len() / usize::from(channels)) as u64);
        let sum = std::process::Command::new("sha256sum").arg(&path).output().unwrap().stdout;
        assert_eq!(recorded.sha256.as_bytes(), &sum[..64]);
        let meta = service.get(recorded.id).unwrap();
        assert_eq!((meta.state, meta.end_reason.as_deref()), (RecordingState::Complete, Some("end")));
        assert_eq!(meta.sha256, Some(recorded.sha256));
        assert!(events.is_empty());
    }
    assert_eq!(service.status().open, 0);
}

#[test]
fn an_empty_stream_is_an_empty_file() {
    let dir = tempfile::tempdir().unwrap();
    let service = RecorderService::start(RecorderConfig::new(dir.path())).unwrap();
    let recorder = service.create(start(1, None), no_wake()).unwrap();
    let recorded = recorder.close("end").blocking_recv().unwrap().unwrap();
    let (wav, samples) = read_back(&service.path(recorded.id).unwrap());
    assert_eq!((wav.sample_rate, wav.channels, samples.len(), recorded.samples), (16_000, 1, 0, 0));
}

#[test]
fn a_cancelled_recording_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let service = RecorderService::start(RecorderConfig::new(dir.path())).unwrap();
    let mut recorder = service.create(start(1, None), no_wake()).unwrap();
    push(&mut recorder, MONO16, &ramp(50_000, 0), &mut Vec::new());
    recorder.cancel();
    until(|| service.list(None, 9, None).is_empty());
    drop(recorder);
    until(|| std::fs::read_dir(dir.path()).unwrap().count() == 0);
    assert_eq!(service.status(), RecorderStatus { open: 0, bytes: 0, failures: 0, degraded: false });
}

#[test]
fn the_first_end_counts_and_dropping_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let service = RecorderService::start(RecorderConfig::new(dir.path())).unwrap();
    let mut recorder = service.create(start(1, None), no_wake()).unwrap();
    push(&mut recorder, MONO16, &ramp(500, 0), &mut Vec::new());
    let handle = recorder.handle();
    drop(recorder);
    handle.cancel();
    assert!(handle.close("end").blocking_recv().is_err());
    until(|| service.get(handle.id()).is_some_and(|m| m.state == RecordingState::Complete));
    assert_eq!(service.get(handle.id()).unwrap().end_reason.as_deref(), Some("error"));
    assert_eq!(read_back(&service.path(handle.id()).unwrap()).1, ramp(500, 0));
}

#[test]
fn a_full_queue_refuses_and_wakes() {
    let dir = tempfile::tempdir().unwrap();
    let config = RecorderConfig { share_buffers: 2, ..RecorderConfig::new(dir.path()) };
    let service = RecorderService::start(config).unwrap();
    let woken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&woken);
    let mut recorder = service
        .create(
            start(1, None),
            Arc::new(move || {
                count.fetch_add(1, Ordering::Relaxed);
            }),
        )
        .unwrap();
    let lane_disk = Arc::clone(&recorder.lane);
    let held = lane_disk.disk.lock().unwrap(); // the disk hangs
    let (mut events, samples, s16) = (Vec::new(), vec![0.0; 4_096], ramp(4_096, 0));
    let block = Block { spec: MONO16, position: 0, samples: &samples, s16: &s16, after_gap: false };
    let taken = (0..10).take_while(|_| recorder.push(&block, &mut events) == Push::Taken).count();
    assert_eq!(taken, 2);
    assert_eq!(recorder.push(&block, &mut events), Push::Full);
    assert_eq!(woken.load(Ordering::Relaxed), 0);
    drop(held);
    until(|| woken.load(Ordering::Relaxed) == 1);
    assert_eq!(recorder.push(&block, &mut events), Push::Taken);
    let recorded = recorder.close("end").blocking_recv().unwrap().unwrap();
    assert_eq!(recorded.samples, 3 * 4_096);
    assert!(events.is_empty());
}

#[test]
fn a_disk_that_hangs_costs_the_recording_not_the_stream() {
    let dir = tempfile::tempdir().unwrap();
    let config =
        RecorderConfig { share_buffers: 1, stall_limit: Duration::from_millis(20), ..RecorderConfig::new(dir.path()) };
    let service = RecorderService::start(config).unwrap();
    let mut recorder = service.create(start(1, None), no_wake()).unwrap();
    let lane = Arc::clone(&recorder.lane);
    let held = lane.disk.lock().unwrap();
    let mut events = Vec::new();
    for _ in 0..5 {
        push(&mut recorder, MONO16, &ramp(4_096, 0), &mut events);
    }
    assert_eq!(
        events,
        [SinkEvent::Failed {
            sink: "recorder",
            by_limit: false,
            retry_after_ms: None,
            message: "the disk is too slow".to_owned()
        }]
    );
    drop(held);
    let error = recorder.close("end").blocking_recv().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the disk is too slow");
    assert_eq!(service.get(lane.id).unwrap().state, RecordingState::Failed);
    assert!(service.status().degraded);
    let recorder = service.create(start(2, None), no_wake()).unwrap();
    recorder.close("end").blocking_recv().unwrap().unwrap();
    assert!(!service.status().degraded);
}

#[test]
fn a_block_larger_than_the_whole_share_passes() {
    let dir = tempfile::tempdir().unwrap();
    let config = RecorderConfig { share_buffers: 2, ..RecorderConfig::new(dir.path()) };
    let service = RecorderService::start(config).unwrap();
    let mut recorder = service.create(start(1, None), no_wake()).unwrap();
    for i in 0..3 {
        push(&mut recorder, MONO16, &ramp(100_000, i * 100_000), &mut Vec::new());
    }
    let recorded = recorder.close("end").blocking_recv().unwrap().unwrap();
    assert!(read_back(&service.path(recorded.id).unwrap()).1 == ramp(300_000, 0));
}

#[test]
fn many_at_once_stay_apart() {
    let dir = tempfile::tempdir().unwrap();
    let service = RecorderService::start(RecorderConfig::new(dir.path())).unwrap();
    let mut recorders: Vec<_> = (0..60).map(|n| service.create(start(n, None), no_wake()).unwrap()).collect();
    for i in 0..40 {
        for (n, recorder) in recorders.iter_mut().enumerate() {
            push(recorder, MONO16, &ramp(320, n * 1_000 + i * 320), &mut Vec::new());
        }
    }
    assert_eq!(service.status().open, 60);
    let replies: Vec<_> = recorders.iter().map(|r| r.close("end")).collect();
    for (n, reply) in replies.into_iter().enumerate() {
        let recorded = reply.blocking_recv().unwrap().unwrap();
        assert!(read_back(&service.path(recorded.id).unwrap()).1 == ramp(40 * 320, n * 1_000));
    }
    let spare = service.core.spare.lock().unwrap().len();
    assert!((60..=SPARE_BUFFERS_MAX).contains(&spare), "{spare} buffers for 60 recordings");
}

#[test]
fn a_file_past_the_32_bit_sizes_is_one_rf64_file() {
    let dir = tempfile::tempdir().unwrap();
    let config = RecorderConfig { riff_bytes_max: 20_000, ..RecorderConfig::new(dir.path()) };
    let service = RecorderService::start(config).unwrap();
    let mut recorder = service.create(start(1, None), no_wake()).unwrap();
    push(&mut recorder, MONO16, &ramp(32_000, 0), &mut Vec::new());
    let recorded = recorder.close("end").blocking_recv().unwrap().unwrap();
    let path = service.path(recorded.id).unwrap();
    let head = std::fs::read(&path).unwrap();
    assert_eq!((&head[..4], &head[12..16]), (&b"RF64"[..], &b"ds64"[..]));
    // ffmpeg knows RF64.
    let out = std::process::Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-i"])
        .arg(&path)
        .args(["-f", "s16le", "-"])
        .output()
        .unwrap();
    assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    let samples: Vec<i16> = out.stdout.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
    assert!(samples == ramp(32_000, 0));
}

#[test]
fn a_format_that_changes_ends_the_recording() {
    let dir = tempfile::tempdir().unwrap();
    let service = RecorderService::start(RecorderConfig::new(dir.path())).unwrap();
    let mut recorder = service.create(start(1, None), no_wake()).unwrap();
    let mut events = Vec::new();
    push(&mut recorder, MONO16, &ramp(320, 0), &mut events);
    push(&mut recorder, PcmSpec { rate_hz: 48_000, channels: 1 }, &ramp(960, 0), &mut events);
    assert!(matches!(&events[..], [SinkEvent::Failed { sink: "recorder", .. }]));
    assert!(recorder.close("end").blocking_recv().unwrap().is_err());
}
