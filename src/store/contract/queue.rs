//! When a write is told of, in which order, and what becomes of it when the store is full or ends.

use std::sync::{Arc, Mutex};

use uuid::Uuid;

use super::{Place, append, ask, fresh, message, recording};
use crate::store::queue::QUEUE_WRITES_MAX;
use crate::store::*;

pub(crate) async fn callbacks_come_in_the_order_of_the_queue(place: Place) {
    let store = place.open().await;
    let told = Arc::new(Mutex::new(Vec::new()));
    // Of several kinds, so that no kind has a queue of its own.
    for n in 0..900 {
        let note = Arc::clone(&told);
        let queued = match n % 3 {
            0 => store.append_message(message("c", "1"), Box::new(move |_| note.lock().unwrap().push(n))),
            1 => {
                let turn = Turn { role: Role::User, text: n.to_string(), at_ms: 0 };
                store.append_turn("c".to_owned(), turn, Box::new(move |_| note.lock().unwrap().push(n)))
            }
            _ => store.set_preferences(
                Owner::User("u".to_owned()),
                n.to_string(),
                Box::new(move |_| note.lock().unwrap().push(n)),
            ),
        };
        queued.unwrap();
    }
    store.ping().await.unwrap();
    assert_eq!(*told.lock().unwrap(), (0..900).collect::<Vec<_>>());
    store.close().await;
}

pub(crate) async fn a_callback_sees_what_it_is_told_of(place: Place) {
    let store = place.open().await;
    for n in 1..=100 {
        let appended = append(&store, message("c", "1")).await;
        assert_eq!(appended.message_seq, n);
        assert_eq!(store.last_message_seq("c").await.unwrap(), n);
    }
    store.close().await;
}

pub(crate) async fn a_callback_that_panics_harms_no_other(place: Place) {
    let store = place.open().await;
    store.append_message(message("c", "1"), Box::new(|_| panic!("expected in this test"))).unwrap();
    assert_eq!(append(&store, message("c", "2")).await, fresh(2));
    assert!(store.status().healthy);
    store.close().await;
}

pub(crate) async fn many_writes_are_few_commits(place: Place) {
    let store = place.open().await;
    for _ in 0..2_000 {
        store.append_message(message("c", "1"), Box::new(|result| assert!(result.is_ok()))).unwrap();
    }
    assert_eq!(store.status().queued, 2_000);
    store.ping().await.unwrap();
    let status = store.status();
    assert_eq!((status.writes, status.queued, status.healthy), (2_001, 0, true));
    assert!(status.commits <= 10, "{} commits", status.commits);
    store.close().await;
}

pub(crate) async fn what_was_told_of_survives(place: Place) {
    let store = place.open().await;
    append(&store, message("c", "\"kept\"")).await;
    let turn = Turn { role: Role::Assistant, text: "hello".to_owned(), at_ms: 3 };
    ask(|done| store.append_turn("c".to_owned(), turn.clone(), done)).await.unwrap();
    ask(|done| store.put_recording(recording(1, Some("u"), "c"), done)).await.unwrap();
    store.close().await;
    let store = place.open().await;
    assert_eq!(store.messages("c", 0, 10).await.unwrap().messages[0].content, "\"kept\"");
    assert_eq!(store.context("c", 10).await.unwrap(), [turn]);
    assert_eq!(store.recording(Uuid::from_u128(1)).await.unwrap(), Some(recording(1, Some("u"), "c")));
    store.close().await;
}

pub(crate) async fn ping_reads_and_writes(place: Place) {
    let store = place.open().await;
    store.ping().await.unwrap();
    assert_eq!((store.status().commits, store.status().writes), (1, 1));
    store.close().await;
    assert_eq!(store.ping().await, Err(StoreError::Closed));
}

pub(crate) async fn a_full_queue_says_so_at_once(place: Place) {
    let store = place.open().await;
    // The test's runtime has one thread: the writer cannot take anything meanwhile.
    let mut queued = 0;
    let error = loop {
        match store.append_message(message("c", "1"), Box::new(|_| {})) {
            Ok(()) => queued += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((queued, error.clone()), (QUEUE_WRITES_MAX, StoreError::Busy { waiting: QUEUE_WRITES_MAX }));
    assert!(error.is_retryable());
    while store.status().queued > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(append(&store, message("c", "1")).await, fresh(queued as u64 + 1));

    // What waits is bounded in bytes, too.
    let large = "x".repeat(1024 * 1024);
    let fits = (0..).take_while(|_| store.append_message(message("large", &large), Box::new(|_| {})).is_ok()).count();
    assert!((60..=64).contains(&fits), "{fits} MiB wait");
    store.close().await;
    let store = place.open().await;
    assert_eq!(store.last_message_seq("large").await.unwrap(), fits as u64);
    store.close().await;
}

pub(crate) async fn a_closed_store_keeps_what_was_queued(place: Place) {
    let store = place.open().await;
    let told = Arc::new(Mutex::new(0));
    for _ in 0..1_000 {
        let told = Arc::clone(&told);
        store
            .append_message(
                message("c", "1"),
                Box::new(move |result| *told.lock().unwrap() += u32::from(result.is_ok())),
            )
            .unwrap();
    }
    tokio::join!(store.close(), store.close());
    assert_eq!(*told.lock().unwrap(), 1_000);
    assert_eq!(
        store.append_message(message("c", "1"), Box::new(|_| panic!("it was refused"))),
        Err(StoreError::Closed)
    );
    assert_eq!(store.last_message_seq("c").await, Err(StoreError::Closed));
    store.close().await;
    // A store let go without being closed ends by itself, and keeps what was queued.
    let store = place.open().await;
    assert_eq!(store.last_message_seq("c").await.unwrap(), 1_000);
    let last = ask(|done| {
        let queued = store.append_message(message("c", "1"), done);
        drop(store);
        queued
    });
    assert_eq!(last.await, Ok(fresh(1_001)));
}

pub(crate) async fn other_kinds_of_address_are_refused(_place: Place) {
    let error = open("mongodb://user:secret@host/x", StoreOptions::default()).await.err().unwrap();
    assert_eq!(error, StoreError::Scheme { scheme: "mongodb".to_owned() });
    assert!(!error.to_string().contains("secret") && error.to_string().contains("sqlite:PATH"));
    let error = open("/var/lib/v.db", StoreOptions::default()).await.err().unwrap();
    assert!(matches!(error, StoreError::Address { .. }), "{error}");
}
