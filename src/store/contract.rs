//! What every backend must do, as tests over the port. A backend calls `store_contract!` with a function that makes a place for a new store;
//! what the place's address opens is all the tests know of it.

use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;
use uuid::Uuid;

use super::*;

/// Where one store is, and what keeps it there.
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) _keep: Box<dyn std::any::Any>,
}

impl Place {
    pub(crate) async fn open(&self) -> Arc<dyn Store> {
        self.open_with(StoreOptions::default()).await
    }

    pub(crate) async fn open_with(&self, options: StoreOptions) -> Arc<dyn Store> {
        open(&self.url, options).await.unwrap()
    }
}

macro_rules! store_contract {
    ($place:path: $($name:ident)*) => {
        $(#[tokio::test]
        async fn $name() {
            $crate::store::contract::$name($place()).await;
        })*
    };
    ($place:path) => {
        $crate::store::contract::store_contract!($place:
            messages_are_numbered_without_holes
            a_request_repeated_is_kept_once
            a_request_is_known_after_its_message_went
            pages_end_where_they_should
            a_page_is_bounded_in_bytes
            only_so_many_messages_are_kept
            a_bound_that_was_lowered_holds_at_once
            content_comes_back_as_it_went
            callbacks_come_in_the_order_of_the_queue
            a_callback_sees_what_it_is_told_of
            a_callback_that_panics_harms_no_other
            many_writes_are_few_commits
            what_was_told_of_survives
            turns_come_back_in_order
            sessions_start_and_end_once
            recordings_are_found_by_owner_newest_first
            recordings_are_reconciled_with_the_truth
            preferences_of_users_and_clients_are_apart
            revocations_last_as_long_as_they_must
            ping_reads_and_writes
            a_full_queue_says_so_at_once
            a_closed_store_keeps_what_was_queued
            other_kinds_of_address_are_refused
        );
    };
}
pub(crate) use store_contract;

/// Queues a write and waits until it is told of.
pub(crate) async fn ask<T: Send + 'static>(write: impl FnOnce(Done<T>) -> Queued) -> Result<T, StoreError> {
    let (tell, told) = oneshot::channel();
    write(Box::new(move |result| {
        let _ = tell.send(result);
    }))?;
    told.await.expect("every write is told of")
}

pub(crate) fn message(conversation: &str, content: &str) -> NewMessage {
    NewMessage {
        conversation_id: conversation.to_owned(),
        session_id: Uuid::from_u128(7),
        request_id: None,
        connection_id: Uuid::from_u128(8),
        client_id: "client".to_owned(),
        user_id: None,
        content: content.to_owned(),
        sent_at_ms: 1_000,
    }
}

fn request(conversation: &str, session: u128, id: &str) -> NewMessage {
    NewMessage {
        session_id: Uuid::from_u128(session),
        request_id: Some(id.to_owned()),
        ..message(conversation, "\"x\"")
    }
}

pub(crate) async fn append(store: &Arc<dyn Store>, message: NewMessage) -> Appended {
    ask(|done| store.append_message(message, done)).await.unwrap()
}

async fn seqs(store: &Arc<dyn Store>, conversation: &str) -> Vec<u64> {
    let page = store.messages(conversation, 0, 1_000).await.unwrap();
    page.messages.iter().map(|m| m.message_seq).collect()
}

fn fresh(message_seq: u64) -> Appended {
    Appended { message_seq, duplicate: false }
}

pub(crate) async fn messages_are_numbered_without_holes(place: Place) {
    let store = place.open().await;
    let (conversations, each) = (10, 40);
    let told = Arc::new(Mutex::new(vec![Vec::new(); conversations]));
    let tasks: Vec<_> = (0..conversations * each)
        .map(|n| {
            let (store, told) = (Arc::clone(&store), Arc::clone(&told));
            tokio::spawn(async move {
                let which = n % conversations;
                let appended = append(&store, message(&format!("c{which}"), "1")).await;
                told.lock().unwrap()[which].push(appended.message_seq);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let expected: Vec<u64> = (1..=each as u64).collect();
    for (which, mut told) in told.lock().unwrap().clone().into_iter().enumerate() {
        told.sort_unstable();
        assert_eq!(told, expected);
        assert_eq!(seqs(&store, &format!("c{which}")).await, expected);
    }
    assert_eq!(store.last_message_seq("c0").await.unwrap(), each as u64);
    assert_eq!(store.last_message_seq("nobody's").await.unwrap(), 0);
    store.close().await;
}

pub(crate) async fn a_request_repeated_is_kept_once(place: Place) {
    let store = place.open().await;
    assert_eq!(append(&store, request("c", 1, "a")).await, fresh(1));
    assert_eq!(append(&store, request("c", 1, "b")).await, fresh(2));
    assert_eq!(append(&store, request("c", 1, "a")).await, Appended { message_seq: 1, duplicate: true });
    assert_eq!(append(&store, request("c", 2, "a")).await, fresh(3), "another session's request is another");
    // In one group, where none is durable yet when the next is looked at.
    let (first, second) =
        tokio::join!(append(&store, request("c", 1, "twice")), append(&store, request("c", 1, "twice")));
    assert_eq!((first, second), (fresh(4), Appended { message_seq: 4, duplicate: true }));
    store.close().await;
    let store = place.open().await;
    assert_eq!(append(&store, request("c", 1, "b")).await, Appended { message_seq: 2, duplicate: true });
    assert_eq!(append(&store, message("c", "1")).await, fresh(5));
    assert_eq!(append(&store, message("c", "1")).await, fresh(6), "without a name nothing is repeated");
    assert_eq!(seqs(&store, "c").await, [1, 2, 3, 4, 5, 6]);
    store.close().await;
}

pub(crate) async fn a_request_is_known_after_its_message_went(place: Place) {
    let store = place.open_with(StoreOptions { history_messages: 1, ..StoreOptions::default() }).await;
    append(&store, request("c", 1, "first")).await;
    for _ in 0..200 {
        append(&store, message("c", "1")).await;
    }
    assert_eq!(append(&store, request("c", 1, "first")).await, Appended { message_seq: 1, duplicate: true });
    let end = SessionEnd { at_ms: 5, reason: "left".to_owned() };
    ask(|done| store.session_ended(Uuid::from_u128(1), end, done)).await.unwrap();
    assert!(!append(&store, request("c", 1, "first")).await.duplicate, "a session that ended repeats nothing");
    store.close().await;
}

pub(crate) async fn pages_end_where_they_should(place: Place) {
    let store = place.open().await;
    for n in 1..=5 {
        append(&store, message("c", &n.to_string())).await;
    }
    append(&store, message("another", "1")).await;
    for (after, limit, expected, more) in [
        (0, 2, vec![1, 2], true),
        (2, 2, vec![3, 4], true),
        (3, 2, vec![4, 5], false),
        (4, 2, vec![5], false),
        (5, 2, vec![], false),
        (u64::MAX, 2, vec![], false),
        (0, 0, vec![], true),
        (0, usize::MAX, vec![1, 2, 3, 4, 5], false),
    ] {
        let page = store.messages("c", after, limit).await.unwrap();
        let seqs: Vec<_> = page.messages.iter().map(|m| m.message_seq).collect();
        assert_eq!((seqs, page.more), (expected, more), "after {after}, at most {limit}");
    }
    assert_eq!(store.messages("nobody's", 0, 10).await.unwrap(), Page::default());
    store.close().await;
}

pub(crate) async fn a_page_is_bounded_in_bytes(place: Place) {
    let store = place.open().await;
    let large = "x".repeat(1_500_000);
    for _ in 0..6 {
        append(&store, message("c", &large)).await;
    }
    let page = store.messages("c", 0, 500).await.unwrap();
    assert_eq!((page.messages.len(), page.more), (2, true));
    store.close().await;
}

pub(crate) async fn only_so_many_messages_are_kept(place: Place) {
    let store = place.open_with(StoreOptions { history_messages: 10, ..StoreOptions::default() }).await;
    for n in 1..=300 {
        append(&store, NewMessage { sent_at_ms: n, ..message("c", "1") }).await;
    }
    assert_eq!(seqs(&store, "c").await, (291..=300).collect::<Vec<_>>());
    let known = store.conversation("c").await.unwrap().unwrap();
    let expected =
        Conversation { conversation_id: "c".to_owned(), created_at_ms: 1, last_message_seq: 300, messages: 10 };
    assert_eq!(known, expected);
    assert_eq!(store.conversation("nobody's").await.unwrap(), None);
    store.close().await;
}

pub(crate) async fn a_bound_that_was_lowered_holds_at_once(place: Place) {
    let store = place.open().await;
    for _ in 0..100 {
        append(&store, message("c", "1")).await;
    }
    store.close().await;
    let store = place.open_with(StoreOptions { history_messages: 3, ..StoreOptions::default() }).await;
    assert_eq!(seqs(&store, "c").await, [98, 99, 100]);
    assert_eq!(store.conversation("c").await.unwrap().unwrap().messages, 3);
    assert_eq!(append(&store, message("c", "1")).await, fresh(101));
    store.close().await;
}

pub(crate) async fn content_comes_back_as_it_went(place: Place) {
    let store = place.open().await;
    let texts = [
        "\"it's \\\"quoted\\\"; DROP TABLE messages; --\"",
        "\"\u{1F469}\u{200D}\u{1F680} \u{5D0}\u{5D1} \u{202E}e\u{301}\u{FFFD}\u{10FFFF}\"",
        "a\0b\0",
        "",
        "?1 $2 :x @y %s \\ \n\r\t",
    ];
    for text in texts {
        let sent = NewMessage {
            conversation_id: text.to_owned(),
            session_id: Uuid::now_v7(),
            request_id: Some(text.to_owned()),
            connection_id: Uuid::now_v7(),
            client_id: text.to_owned(),
            user_id: Some(text.to_owned()),
            content: text.to_owned(),
            sent_at_ms: 1_765_432_109_876,
        };
        append(&store, sent.clone()).await;
        let kept = store.messages(text, 0, 10).await.unwrap().messages.remove(0);
        let expected = StoredMessage {
            message_seq: 1,
            session_id: sent.session_id,
            request_id: sent.request_id,
            connection_id: sent.connection_id,
            client_id: sent.client_id,
            user_id: sent.user_id,
            content: sent.content,
            sent_at_ms: sent.sent_at_ms,
        };
        assert_eq!(kept, expected);
        let owner = Owner::User(text.to_owned());
        ask(|done| store.set_preferences(owner.clone(), text.to_owned(), done)).await.unwrap();
        assert_eq!(store.preferences(owner).await.unwrap().as_deref(), Some(text));
    }
    store.close().await;
}

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

pub(crate) async fn turns_come_back_in_order(place: Place) {
    let store = place.open().await;
    let turn = |n: u64| Turn {
        role: if n % 2 == 0 { Role::User } else { Role::Assistant },
        text: format!("turn {n}"),
        at_ms: n,
    };
    for n in 0..400 {
        ask(|done| store.append_turn("c".to_owned(), turn(n), done)).await.unwrap();
    }
    ask(|done| store.append_turn("another".to_owned(), turn(1_000), done)).await.unwrap();
    assert_eq!(store.context("c", 3).await.unwrap(), [turn(397), turn(398), turn(399)]);
    let all = store.context("c", usize::MAX).await.unwrap();
    assert!((200..400).contains(&all.len()), "{} turns are kept", all.len());
    assert_eq!(store.context("nobody's", 3).await.unwrap(), []);
    assert_eq!(store.conversation("c").await.unwrap(), None, "a context is no conversation");
    store.close().await;
}

pub(crate) async fn sessions_start_and_end_once(place: Place) {
    let store = place.open().await;
    let record = SessionRecord {
        id: Uuid::now_v7(),
        client_id: "client".to_owned(),
        user_id: Some("user".to_owned()),
        created_at_ms: 10,
        ended: None,
    };
    let id = record.id;
    assert_eq!(store.session(id).await.unwrap(), None);
    ask(|done| store.session_started(record.clone(), done)).await.unwrap();
    let again = SessionRecord { client_id: "other".to_owned(), ..record.clone() };
    ask(|done| store.session_started(again, done)).await.unwrap();
    assert_eq!(store.session(id).await.unwrap(), Some(record.clone()));
    let end = |reason: &str| SessionEnd { at_ms: 20, reason: reason.to_owned() };
    assert!(ask(|done| store.session_ended(id, end("left"), done)).await.unwrap());
    assert!(!ask(|done| store.session_ended(id, end("again"), done)).await.unwrap());
    assert!(!ask(|done| store.session_ended(Uuid::from_u128(99), end("unknown"), done)).await.unwrap());
    assert_eq!(store.session(id).await.unwrap(), Some(SessionRecord { ended: Some(end("left")), ..record }));
    store.close().await;
    // Long after.
    let store = place.open_with(StoreOptions { now_unix_ms: 365 * 86_400_000, ..StoreOptions::default() }).await;
    assert_eq!(store.session(id).await.unwrap(), None);
    store.close().await;
}

pub(crate) fn recording(id: u128, user: Option<&str>, client: &str) -> RecordingRecord {
    RecordingRecord {
        id: Uuid::from_u128(id),
        stream_uid: "uid".to_owned(),
        stream_id: "mic".to_owned(),
        client_id: client.to_owned(),
        user_id: user.map(str::to_owned),
        conversation_id: Some("c".to_owned()),
        created_at_ms: 1,
        duration_ms: 2,
        bytes: 3,
        sha256: None,
        state: RecordingProgress::Recording,
    }
}

async fn found(store: &Arc<dyn Store>, filter: RecordingFilter, after: Option<u128>, limit: usize) -> Vec<u128> {
    let all = store.recordings(filter, after.map(Uuid::from_u128), limit).await.unwrap();
    all.iter().map(|r| r.id.as_u128()).collect()
}

pub(crate) async fn recordings_are_found_by_owner_newest_first(place: Place) {
    let store = place.open().await;
    for (id, user, client) in
        [(1, Some("ann"), "x"), (300, None, "x"), (2, Some("bob"), "y"), (70_000, Some("ann"), "y")]
    {
        ask(|done| store.put_recording(recording(id, user, client), done)).await.unwrap();
    }
    let (user, client) =
        (|n: &str| RecordingFilter::User(n.to_owned()), |n: &str| RecordingFilter::Client(n.to_owned()));
    assert_eq!(found(&store, RecordingFilter::All, None, 10).await, [70_000, 300, 2, 1]);
    assert_eq!(found(&store, RecordingFilter::All, None, 2).await, [70_000, 300]);
    assert_eq!(found(&store, RecordingFilter::All, Some(300), 2).await, [2, 1]);
    assert_eq!(found(&store, user("ann"), None, 10).await, [70_000, 1]);
    assert_eq!(found(&store, user("ann"), Some(70_000), 10).await, [1]);
    assert_eq!(found(&store, client("x"), None, 10).await, [300, 1]);
    assert_eq!(found(&store, client("ann"), None, 10).await, [] as [u128; 0]);

    let done = RecordingRecord {
        sha256: Some("ab".to_owned()),
        state: RecordingProgress::Complete,
        bytes: u64::from(u32::MAX) * 2,
        conversation_id: None,
        ..recording(2, Some("bob"), "y")
    };
    ask(|told| store.put_recording(done.clone(), told)).await.unwrap();
    assert_eq!(store.recording(done.id).await.unwrap(), Some(done.clone()));
    assert!(ask(|told| store.delete_recording(done.id, told)).await.unwrap());
    assert!(!ask(|told| store.delete_recording(done.id, told)).await.unwrap());
    assert_eq!(store.recording(done.id).await.unwrap(), None);
    store.close().await;
}

pub(crate) async fn recordings_are_reconciled_with_the_truth(place: Place) {
    let store = place.open().await;
    for id in [1, 2, 3] {
        ask(|done| store.put_recording(recording(id, None, "x"), done)).await.unwrap();
    }
    let changed = RecordingRecord { state: RecordingProgress::Repaired, ..recording(2, None, "x") };
    let truth = vec![recording(1, None, "x"), changed.clone(), recording(4, None, "x")];
    let result = ask(|done| store.reconcile(truth.clone(), done)).await.unwrap();
    assert_eq!(result, Reconciled { put: 2, removed: 1 });
    assert_eq!(found(&store, RecordingFilter::All, None, 10).await, [4, 2, 1]);
    assert_eq!(store.recording(changed.id).await.unwrap(), Some(changed));
    assert_eq!(ask(|done| store.reconcile(truth, done)).await.unwrap(), Reconciled::default());
    assert_eq!(ask(|done| store.reconcile(Vec::new(), done)).await.unwrap(), Reconciled { put: 0, removed: 3 });
    store.close().await;
}

pub(crate) async fn preferences_of_users_and_clients_are_apart(place: Place) {
    let store = place.open().await;
    let (user, client) = (Owner::User("x".to_owned()), Owner::Client("x".to_owned()));
    assert_eq!(store.preferences(user.clone()).await.unwrap(), None);
    for (owner, json) in [(&user, "{\"a\":1}"), (&client, "{}"), (&user, "{\"a\":2}")] {
        ask(|done| store.set_preferences(owner.clone(), json.to_owned(), done)).await.unwrap();
    }
    assert_eq!(store.preferences(user).await.unwrap().as_deref(), Some("{\"a\":2}"));
    assert_eq!(store.preferences(client).await.unwrap().as_deref(), Some("{}"));
    store.close().await;
}

pub(crate) async fn revocations_last_as_long_as_they_must(place: Place) {
    let store = place.open().await;
    let revocation = |jti: Option<&str>, user: Option<&str>, at_unix_s, until_unix_s| Revocation {
        jti: jti.map(str::to_owned),
        user_id: user.map(str::to_owned),
        at_unix_s,
        until_unix_s,
    };
    let token = revocation(Some("t"), None, 10, Some(100));
    let user = revocation(None, Some("t"), 20, None);
    let nobody = revocation(Some(""), None, 30, Some(50));
    for r in [&token, &user, &nobody] {
        ask(|done| store.revoke(r.clone(), done)).await.unwrap();
    }
    let nothing = revocation(None, None, 1, None);
    assert!(matches!(ask(|done| store.revoke(nothing, done)).await, Err(StoreError::Invalid { .. })));
    assert_eq!(store.revocations(49).await.unwrap(), [token.clone(), user.clone(), nobody.clone()]);
    assert_eq!(store.revocations(50).await.unwrap(), [token, user.clone()]);
    assert_eq!(store.revocations(100).await.unwrap(), [user]);
    // The later moment counts, and for ever is later than any.
    for r in [revocation(None, Some("t"), 25, Some(99)), revocation(None, Some("t"), 5, Some(30))] {
        ask(|done| store.revoke(r, done)).await.unwrap();
    }
    assert_eq!(store.revocations(1_000).await.unwrap(), [revocation(None, Some("t"), 25, None)]);
    store.close().await;
    let store = place.open_with(StoreOptions { now_unix_ms: 60_000, ..StoreOptions::default() }).await;
    let left: Vec<_> = store.revocations(0).await.unwrap().into_iter().map(|r| r.at_unix_s).collect();
    assert_eq!(left, [10, 25], "what is over at the start is gone");
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
    assert_eq!(
        (queued, error.clone()),
        (queue::QUEUE_WRITES_MAX, StoreError::Busy { waiting: queue::QUEUE_WRITES_MAX })
    );
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
