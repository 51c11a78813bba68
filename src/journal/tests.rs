//! The journal over real files: what is promised is there, torn ends are known, bounds hold.

use std::sync::mpsc;

use super::record::{Kind, MAGIC, Records, encode};
use super::*;
use crate::audio::Encoding;

const LIMITS: JournalLimits = JournalLimits { stream_bytes: 100_000, total_bytes: 150_000 };

fn session(version: u64) -> SessionNote {
    SessionNote {
        version,
        session_id: Uuid::from_u128(7),
        client_id: "ann".to_owned(),
        user_id: Some("u".to_owned()),
        created_unix_ms: 1,
        token: "aa".to_owned(),
        used_token: None,
        default_encoding: Encoding::Auto,
        default_sample_rate: None,
        default_channels: None,
        conversations: vec!["house".to_owned()],
        subscriptions: 3,
        last_seq: 2,
    }
}

fn open(index: u32) -> OpenNote {
    OpenNote {
        uid: Uuid::from_u128(100 + u128::from(index)),
        index,
        stream_id: format!("s{index}"),
        encoding: Encoding::PcmS16le,
        sample_rate: Some(48_000),
        channels: Some(2),
        output_rate_hz: 16_000,
        output_source_channels: true,
        ack_interval_ms: 20,
        record: true,
        drop_oldest: true,
        tagged: true,
        conversation_id: None,
        implicit: false,
        speech: true,
        levels: false,
        reply_to: None,
        recording_id: Some(Uuid::from_u128(1)),
        started_unix_ms: 5,
    }
}

/// A log and what its waker says.
fn begin(journal: &Journal, index: u32) -> (Log, mpsc::Receiver<()>) {
    let (called, calls) = mpsc::channel();
    let log = journal.create(&session(1), &open(index), Arc::new(move || _ = called.send(()))).unwrap();
    (log, calls)
}

fn settle(log: &Log, calls: &mpsc::Receiver<()>) {
    while !log.reached(log.position()) && log.failure().is_none() {
        calls.recv().unwrap();
    }
}

fn frames(found: &FoundStream) -> Vec<Vec<u8>> {
    let mut replay = found.replay().unwrap();
    let mut all = Vec::new();
    while let Some(frame) = replay.next_frame().unwrap() {
        all.push(frame.to_vec());
    }
    all
}

#[test]
fn what_was_kept_is_found_frame_by_frame_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, found) = Journal::open(dir.path(), LIMITS).unwrap();
    assert!(found.is_empty());
    let (a, a_calls) = begin(&journal, 0);
    let (b, _) = begin(&journal, 1);
    a.bytes(b"one").unwrap();
    a.event(3, b"three").unwrap();
    a.bytes(b"twoo").unwrap();
    b.session(&session(2)).unwrap();
    settle(&a, &a_calls);
    let bytes = journal.status().bytes;
    drop((a, b, journal));
    let (journal, found) = Journal::open(dir.path(), LIMITS).unwrap();
    assert_eq!(journal.status().bytes, bytes);
    let [found] = &found[..] else { panic!("one session: {found:?}") };
    assert_eq!((found.note.version, found.note.last_seq), (2, 3));
    assert_eq!(found.events[&3], Box::from(&b"three"[..]));
    let [first, second] = &found.streams[..] else { panic!("two streams") };
    assert_eq!((&first.open, first.received_bytes), (&open(0), 7));
    assert_eq!(OpenNote::new(&second.open.to_open(), Some(Uuid::from_u128(1)), 5), open(1));
    assert_eq!(frames(first), [b"one".to_vec(), b"twoo".to_vec()]);
    let (called, calls) = mpsc::channel();
    let log = journal.go_on(first, Arc::new(move || _ = called.send(())));
    log.bytes(b"three").unwrap();
    settle(&log, &calls);
    assert_eq!(frames(first).len(), 2, "what came since is not replayed");
    log.remove();
    while !log.reached(u64::MAX) {
        calls.recv().unwrap();
    }
    drop(journal);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_record_that_is_torn_or_changed_anywhere_ends_what_is_read() {
    let mut whole = MAGIC.to_vec();
    encode(&mut whole, Kind::Session, &[b"{}"]);
    let end_of_first = whole.len();
    encode(&mut whole, Kind::Bytes, &[b"ab", b"c"]);
    let count = |bytes: &[u8]| {
        let Some(mut records) = Records::begin(bytes).unwrap() else { return (0, 0) };
        let mut n = 0;
        while records.next().unwrap().is_some() {
            n += 1;
        }
        (n, records.end() as usize)
    };
    assert_eq!(count(&whole), (2, whole.len()));
    for at in 0..whole.len() {
        let cut = count(&whole[..at]);
        assert_eq!(cut.0, usize::from(at >= end_of_first), "cut at {at}");
        for bit in 0..8 {
            let mut changed = whole.clone();
            changed[at] ^= 1 << bit;
            let wanted = usize::from(at >= end_of_first);
            assert_eq!(count(&changed).0, wanted, "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn bounds_hold_and_room_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(dir.path(), LIMITS).unwrap();
    let (a, a_calls) = begin(&journal, 0);
    a.bytes(&[0; 90_000]).unwrap();
    assert_eq!(a.bytes(&[0; 20_000]), Err(JournalError::StreamFull { limit_bytes: 100_000 }));
    let (b, _b_calls) = begin(&journal, 1);
    assert_eq!(b.bytes(&[0; 70_000]), Err(JournalError::Full));
    a.remove();
    a.remove();
    while !a.reached(u64::MAX) {
        a_calls.recv().unwrap();
    }
    b.bytes(&[0; 70_000]).unwrap();
    assert_eq!(journal.status().bytes, b.position());
}

#[test]
fn a_folder_that_goes_is_told_to_whoever_needs_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let (journal, _) = Journal::open(&path, LIMITS).unwrap();
    std::fs::remove_dir(&path).unwrap();
    let (log, calls) = begin(&journal, 0);
    settle(&log, &calls);
    assert_eq!(log.failure(), Some(JournalError::Disk { message: "its folder is gone" }));
    assert!(!log.reached(1) && log.bytes(b"x").is_err() && journal.status().degraded);
}

#[test]
fn frames_wait_for_the_acknowledgement_that_needs_them_and_share_one_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(dir.path(), LIMITS).unwrap();
    let (log, calls) = begin(&journal, 0);
    // Written by the same thread: its rounds would take what the first has given it.
    let (other, other_calls) = begin(&journal, WRITERS as u32);
    settle(&log, &calls);
    settle(&other, &other_calls);
    let before = journal.status().syncs;
    for n in 0..5 {
        log.bytes(b"frame").unwrap();
        other.event(n, b"{}").unwrap();
        settle(&other, &other_calls);
    }
    assert_eq!(journal.status().syncs - before, 5, "the other's");
    settle(&log, &calls);
    assert_eq!(journal.status().syncs - before, 6, "and one for all the frames");
    drop((log, other, journal));
    let (_, found) = Journal::open(dir.path(), LIMITS).unwrap();
    assert_eq!(frames(&found[0].streams[0]).len(), 5);
}
