//! A disk that fails recording after recording is left alone, and found again by one that is only tried.

use super::*;
use crate::resilience::{BreakerSettings, BreakerState, Breakers};

fn service(dir: &Path, open_for: Duration) -> (RecorderService, Breakers) {
    let breakers = Breakers::new(BreakerSettings { failures_max: 5, open_for });
    let breaker = Some(breakers.get(BREAKER));
    (RecorderService::start(RecorderConfig { breaker, ..RecorderConfig::new(dir) }).unwrap(), breakers)
}

fn fails(service: &RecorderService, n: u64) {
    let mut r = service.create(start(n, None), no_wake()).unwrap();
    push(&mut r, MONO16, &ramp(9_000, 0), &mut Vec::new());
    assert!(r.close("end").blocking_recv().unwrap().is_err());
}

#[test]
fn after_five_failures_nothing_is_tried_until_a_probe_that_needs_no_audio_succeeds() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("recordings");
    let (service, breakers) = service(&dir, Duration::from_millis(300));
    let state = || breakers.get(BREAKER).status().state;
    std::fs::remove_dir(&dir).unwrap();
    std::fs::write(&dir, b"in the way").unwrap();
    for n in 0..5 {
        assert_eq!(state(), BreakerState::Closed, "{n}");
        fails(&service, n);
    }
    assert_eq!((state(), service.status().failures), (BreakerState::Open, 5));
    let Err(RecordError::LeftAlone { retry_after }) = service.create(start(9, None), no_wake()) else {
        panic!("tried")
    };
    assert!(retry_after <= Duration::from_millis(300));
    assert!(service.get(start(9, None).id).is_none(), "what was not begun is not listed");
    // The first probe finds it as it was, the second mended.
    let probe = |n: u64| {
        let mut probing = None;
        until(|| {
            probing = service.create(start(n, None), no_wake()).ok();
            probing.is_some()
        });
        probing.unwrap()
    };
    let failing = probe(10);
    until(|| state() == BreakerState::Open);
    assert!(failing.close("end").blocking_recv().unwrap().is_err());
    std::fs::remove_file(&dir).unwrap();
    let mut silent = probe(11);
    until(|| state() == BreakerState::Closed);
    push(&mut silent, PcmSpec { rate_hz: 48_000, channels: 3 }, &ramp(900, 0), &mut Vec::new());
    let recorded = silent.close("end").blocking_recv().unwrap().unwrap();
    assert_eq!(read_back(&service.path(recorded.id).unwrap()).1, ramp(900, 0), "the probe is a recording like any");
    assert!(!service.status().degraded);
}

#[test]
fn neither_a_limit_nor_a_stream_that_changes_opens_it() {
    let dir = tempfile::tempdir().unwrap();
    let breakers = Breakers::new(BreakerSettings { failures_max: 1, open_for: Duration::from_secs(60) });
    let breaker = Some(breakers.get(BREAKER));
    let config = RecorderConfig { breaker, quota_bytes: Some(8_000), ..RecorderConfig::new(dir.path()) };
    let service = RecorderService::start(config).unwrap();
    fails(&service, 1);
    let mut r = service.create(start(2, None), no_wake()).unwrap();
    let mut events = Vec::new();
    push(&mut r, MONO16, &ramp(320, 0), &mut events);
    push(&mut r, PcmSpec { rate_hz: 48_000, channels: 1 }, &ramp(960, 0), &mut events);
    assert!(r.close("end").blocking_recv().unwrap().is_err());
    assert!(breakers.all_closed());
}
