//! What a recording lives through: killed servers, full disks, quotas, age, deletion, listing.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicI64;

use super::*;

/// Runs one test of this binary in a process of its own, after `setup` in a shell; `VOXGATE_TEST_DIR` tells it what to do.
fn child(test: &str, setup: &str, dir: &Path) -> Command {
    let mut sh = Command::new("sh");
    sh.arg("-c").arg(format!("{setup} exec \"$0\" --exact sink::recorder::tests::life::{test} --nocapture"));
    sh.arg(std::env::current_exe().unwrap()).env("VOXGATE_TEST_DIR", dir).stdout(Stdio::piped()).stderr(Stdio::piped());
    sh
}

fn child_dir() -> Option<std::ffi::OsString> {
    std::env::var_os("VOXGATE_TEST_DIR")
}

/// Child of [`a_killed_server_loses_no_recording`]: records until it is killed.
#[test]
fn child_records_until_killed() {
    let Some(dir) = child_dir() else { return };
    let config = RecorderConfig { tick: Duration::from_millis(20), ..RecorderConfig::new(dir) };
    let service = RecorderService::start(config).unwrap();
    let mut recorders: Vec<_> = (0..20).map(|n| service.create(start(n, None), no_wake()).unwrap()).collect();
    let mut at = 0;
    loop {
        for recorder in &mut recorders {
            push(recorder, PcmSpec { rate_hz: 16_000, channels: 3 }, &ramp(300, at), &mut Vec::new());
        }
        at += 300;
        let line = format!("\npushed {at}\n");
        std::io::stdout().write_all(line.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(1)); // about six times real time
    }
}

#[test]
fn a_killed_server_loses_no_recording() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = child("child_records_until_killed", "", dir.path()).spawn().unwrap();
    let mut pushed = Vec::new();
    for line in BufReader::new(process.stdout.take().unwrap()).lines() {
        if let Some(at) = line.unwrap().strip_prefix("pushed ") {
            pushed.push((std::time::Instant::now(), at.parse::<usize>().unwrap()));
            if pushed[0].0.elapsed() > Duration::from_millis(1_500) {
                process.kill().unwrap(); // SIGKILL
                break;
            }
        }
    }
    process.wait().unwrap();
    let killed_at = pushed.last().unwrap().0;
    let due = pushed.iter().rev().find(|(t, _)| *t + Duration::from_secs(1) < killed_at).map_or(0, |(_, at)| *at);

    let service = RecorderService::start(RecorderConfig::new(dir.path())).unwrap();
    let list = service.list(None, 100, None);
    assert_eq!(list.len(), 20);
    for meta in list {
        assert_eq!(meta.state, RecordingState::Repaired);
        let (wav, samples) = read_back(&service.path(meta.id).unwrap());
        assert_eq!(wav.channels, 3);
        assert_eq!(samples.len() as u64, meta.samples * 3);
        assert!(due > 0 && samples.len() >= due, "{} of {due}", samples.len());
        assert!(samples == ramp(samples.len(), 0));
        until(|| service.get(meta.id).unwrap().sha256.is_some());
    }
    drop(service);
    // The next start finds them as they are.
    let service = RecorderService::start(RecorderConfig::new(dir.path())).unwrap();
    assert!(service.list(None, 100, None).iter().all(|m| m.state == RecordingState::Repaired && m.sha256.is_some()));
}

/// Child of [`a_disk_that_takes_no_more_ends_the_recording_only`], under a limit on file sizes.
#[test]
fn child_writes_past_the_file_limit() {
    let Some(dir) = child_dir() else { return };
    let service = RecorderService::start(RecorderConfig::new(dir)).unwrap();
    let mut recorder = service.create(start(1, None), no_wake()).unwrap();
    let mut events = Vec::new();
    let mut at = 0;
    while events.is_empty() {
        push(&mut recorder, MONO16, &ramp(1_001, at), &mut events);
        at += 1_001;
    }
    let message = "the file would become larger than the system allows".to_owned();
    assert_eq!(
        events,
        [SinkEvent::Failed { sink: "recorder", by_limit: false, retry_after_ms: None, message: message.clone() }]
    );
    push(&mut recorder, MONO16, &ramp(1_000, 0), &mut events);
    assert_eq!(events.len(), 1);
    assert_eq!(recorder.close("end").blocking_recv().unwrap().unwrap_err().to_string(), message);
    let meta = service.get(recorder.handle().id()).unwrap();
    assert_eq!((meta.state, meta.error), (RecordingState::Failed, Some(message)));
    let (_, samples) = read_back(&service.path(meta.id).unwrap());
    assert!(samples.len() > 30_000 && samples == ramp(samples.len(), 0));
    assert_eq!((service.status().failures, service.status().degraded), (1, true));
    // The next, smaller one works.
    let mut recorder = service.create(start(2, None), no_wake()).unwrap();
    push(&mut recorder, MONO16, &ramp(1_000, 0), &mut events);
    recorder.close("end").blocking_recv().unwrap().unwrap();
    assert!(!service.status().degraded);
    std::io::stdout().write_all(b"\nall as it should be\n").unwrap();
}

#[test]
fn a_disk_that_takes_no_more_ends_the_recording_only() {
    let dir = tempfile::tempdir().unwrap();
    // With the signal ignored a write past the limit fails (EFBIG) as one on a full disk does.
    let output =
        child("child_writes_past_the_file_limit", "trap '' XFSZ; ulimit -f 150;", dir.path()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("all as it should be"),
        "{told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_folder_that_goes_ends_the_recording_and_the_next_makes_it_again() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("recordings");
    let config = RecorderConfig { tick: Duration::from_millis(5), ..RecorderConfig::new(&dir) };
    let service = RecorderService::start(config).unwrap();
    let mut recorder = service.create(start(1, None), no_wake()).unwrap();
    let mut events = Vec::new();
    push(&mut recorder, MONO16, &ramp(9_000, 0), &mut events);
    until(|| service.get(recorder.handle().id()).unwrap().samples > 0);
    std::fs::remove_dir_all(&dir).unwrap();
    until(|| {
        push(&mut recorder, MONO16, &ramp(10, 0), &mut events);
        !events.is_empty()
    });
    let SinkEvent::Failed { message, .. } = &events[0] else { panic!("{events:?}") };
    assert_eq!(message, "the recording folder or file is gone");
    let mut next = service.create(start(2, None), no_wake()).unwrap();
    push(&mut next, MONO16, &ramp(9_000, 0), &mut Vec::new());
    let recorded = next.close("end").blocking_recv().unwrap().unwrap();
    assert_eq!(read_back(&service.path(recorded.id).unwrap()).1, ramp(9_000, 0));
    // A file where the folder should be: fails, and works again when it is gone.
    std::fs::remove_dir_all(&dir).unwrap();
    std::fs::write(&dir, b"in the way").unwrap();
    let mut blocked = service.create(start(3, None), no_wake()).unwrap();
    push(&mut blocked, MONO16, &ramp(9_000, 0), &mut Vec::new());
    assert!(blocked.close("end").blocking_recv().unwrap().is_err());
    std::fs::remove_file(&dir).unwrap();
    let free = service.create(start(4, None), no_wake()).unwrap();
    free.close("end").blocking_recv().unwrap().unwrap();
}

#[test]
fn a_paused_stream_reaches_the_disk_and_its_head_follows() {
    let dir = tempfile::tempdir().unwrap();
    let config = RecorderConfig { tick: Duration::from_millis(5), ..RecorderConfig::new(dir.path()) };
    let service = RecorderService::start(config).unwrap();
    let mut recorder = service.create(start(1, None), no_wake()).unwrap();
    push(&mut recorder, MONO16, &ramp(100, 0), &mut Vec::new());
    let path = service.path(recorder.handle().id()).unwrap();
    until(|| hound::WavReader::open(&path).is_ok_and(|r| r.len() == 100));
    assert_eq!(read_back(&path).1, ramp(100, 0));
    assert_eq!(service.get(recorder.handle().id()).unwrap().state, RecordingState::Recording);
}

#[test]
fn a_start_repairs_heads_tails_and_drops_what_never_was() {
    let dir = tempfile::tempdir().unwrap();
    let (lived, empty) = (start(1, None).id, start(2, None).id);
    {
        let service = RecorderService::start(RecorderConfig::new(dir.path())).unwrap();
        for n in [1, 2] {
            let mut recorder = service.create(start(n, None), no_wake()).unwrap();
            push(&mut recorder, PcmSpec { rate_hz: 8_000, channels: 2 }, &ramp(1_000, 0), &mut Vec::new());
            recorder.close("end").blocking_recv().unwrap().unwrap();
        }
        // As a kill leaves them: still open, sizes zero, half a frame at the end; or the audio never made.
        for id in [lived, empty] {
            let mut meta = service.get(id).unwrap();
            meta.state = RecordingState::Recording;
            (meta.sha256, meta.ended_at_ms, meta.samples, meta.bytes) = (None, None, 0, 0);
            super::super::meta::save(dir.path(), &meta).unwrap();
        }
    }
    let wav = dir.path().join(format!("{lived}.wav"));
    let mut bytes = std::fs::read(&wav).unwrap();
    let head = wav::head(PcmSpec { rate_hz: 8_000, channels: 2 }, 0, u64::MAX);
    bytes[..head.len()].copy_from_slice(&head);
    bytes.extend([1, 2, 3]);
    std::fs::write(&wav, bytes).unwrap();
    std::fs::remove_file(dir.path().join(format!("{empty}.wav"))).unwrap();
    std::fs::write(dir.path().join(format!("{empty}.json.tmp")), b"{").unwrap();
    std::fs::write(dir.path().join("notes.txt"), b"not ours").unwrap();
    std::fs::write(dir.path().join(format!("{}.json", start(9, None).id)), b"{broken").unwrap();

    let service = RecorderService::start(RecorderConfig::new(dir.path())).unwrap();
    let list = service.list(None, 10, None);
    assert_eq!(
        list.iter().map(|m| (m.id, m.state, m.samples)).collect::<Vec<_>>(),
        [(lived, RecordingState::Repaired, 500)]
    );
    assert_eq!(read_back(&wav).1, ramp(1_000, 0));
    assert_eq!(list[0].bytes, std::fs::metadata(&wav).unwrap().len());
    assert!(dir.path().join("notes.txt").exists());
    assert!(
        !dir.path().join(format!("{empty}.json.tmp")).exists() && !dir.path().join(format!("{empty}.json")).exists()
    );
}

fn record(service: &RecorderService, n: u64, samples: usize) -> Uuid {
    let mut recorder = service.create(start(n, None), no_wake()).unwrap();
    push(&mut recorder, MONO16, &ramp(samples, 0), &mut Vec::new());
    recorder.close("end").blocking_recv().unwrap().unwrap().id
}

#[test]
fn the_oldest_make_room_within_the_quota_and_a_running_one_cannot_break_it() {
    let dir = tempfile::tempdir().unwrap();
    let quota = 50_000;
    let config = RecorderConfig { quota_bytes: Some(quota), ..RecorderConfig::new(dir.path()) };
    let service = RecorderService::start(config).unwrap();
    let ids: Vec<Uuid> = (0..5).map(|n| record(&service, n, 8_000)).collect(); // 16 080 bytes each
    until(|| service.list(None, 9, None).len() == 3);
    assert!(service.list(None, 9, None).iter().map(|m| m.id).eq(ids[2..].iter().rev().copied()), "newest first");
    assert!(!dir.path().join(format!("{}.wav", ids[0])).exists());
    assert!(service.status().bytes <= quota);
    let mut endless = service.create(start(9, None), no_wake()).unwrap();
    let mut events = Vec::new();
    until(|| {
        push(&mut endless, MONO16, &ramp(3_000, 0), &mut events);
        !events.is_empty()
    });
    assert_eq!(
        events,
        [SinkEvent::Failed {
            sink: "recorder",
            by_limit: true,
            retry_after_ms: None,
            message: "the space for recordings is used up".to_owned()
        }]
    );
    assert!(service.status().bytes <= quota);
    assert!(endless.close("end").blocking_recv().unwrap().is_err());
    let (_, kept) = read_back(&service.path(start(9, None).id).unwrap());
    assert!(!kept.is_empty());
}

#[test]
fn the_old_go_and_the_young_stay() {
    let dir = tempfile::tempdir().unwrap();
    let now = Arc::new(AtomicI64::new(100 * DAY_MS));
    let time = Arc::clone(&now);
    let clock: Arc<dyn Fn() -> i64 + Send + Sync> = Arc::new(move || time.load(Ordering::Relaxed));
    let config = RecorderConfig { retain_days: Some(7), clock, ..RecorderConfig::new(dir.path()) };
    let service = RecorderService::start(config).unwrap();
    let old = record(&service, 1, 100);
    now.store(104 * DAY_MS, Ordering::Relaxed);
    let young = record(&service, 2, 100);
    assert_eq!(service.list(None, 9, None).len(), 2);
    now.store(107 * DAY_MS + 1, Ordering::Relaxed);
    let new = record(&service, 3, 100);
    until(|| service.get(old).is_none());
    assert!(service.get(young).is_some() && service.get(new).is_some());
}

#[test]
fn a_size_limit_ends_the_recording_readable() {
    let dir = tempfile::tempdir().unwrap();
    let config = RecorderConfig { max_file_bytes: Some(40_000), ..RecorderConfig::new(dir.path()) };
    let service = RecorderService::start(config).unwrap();
    let mut recorder = service.create(start(1, None), no_wake()).unwrap();
    let mut events = Vec::new();
    let mut at = 0;
    while events.is_empty() {
        push(&mut recorder, MONO16, &ramp(500, at), &mut events);
        at += 500;
    }
    let path = service.path(recorder.handle().id()).unwrap();
    recorder.close("end").blocking_recv().unwrap().unwrap_err();
    assert!(std::fs::metadata(&path).unwrap().len() <= 40_000);
    let samples = read_back(&path).1;
    assert!(samples == ramp(samples.len(), 0));
    assert!(!service.status().degraded, "a limit that was set is no fault");
}

#[test]
fn lists_page_filter_and_delete() {
    let dir = tempfile::tempdir().unwrap();
    let service = RecorderService::start(RecorderConfig::new(dir.path())).unwrap();
    for n in 0..7 {
        let user = if n % 2 == 0 { Some("ann") } else { None };
        service.create(start(n, user), no_wake()).unwrap().close("end").blocking_recv().unwrap().unwrap();
    }
    let mut after = None;
    let mut seen = Vec::new();
    loop {
        let page = service.list(after, 3, None);
        let Some(last) = page.last() else { break };
        assert!(page.is_sorted_by_key(|m| std::cmp::Reverse(m.id)));
        after = Some(last.id);
        seen.push(page.len());
    }
    assert_eq!(seen, [3, 3, 1]);
    assert_eq!(service.list(None, 100, Some("ann")).len(), 4);
    assert_eq!(service.list(None, 100, Some("bob")).len(), 0);
    let id = start(3, None).id;
    service.delete(id).unwrap();
    assert!(service.get(id).is_none() && service.path(id).is_none() && !dir.path().join(format!("{id}.wav")).exists());
    assert!(matches!(service.delete(id), Err(RecordError::NotFound { .. })));
    let running = service.create(start(8, None), no_wake()).unwrap();
    assert!(matches!(service.delete(running.handle().id()), Err(RecordError::InUse { .. })));
    assert!(matches!(service.create(start(8, None), no_wake()), Err(RecordError::InUse { .. })));
    drop(service);
    // Stopping closed it; the next start knows all seven.
    let service = RecorderService::start(RecorderConfig::new(dir.path())).unwrap();
    assert_eq!(service.list(None, 100, None).len(), 7);
    let last = service.get(running.handle().id()).unwrap();
    assert_eq!((last.state, last.end_reason.as_deref()), (RecordingState::Complete, Some("drained")));
    assert!(running.close("end").blocking_recv().is_err());
}
