//! Sessions, recordings, preferences and revocations.

use std::sync::Arc;

use uuid::Uuid;

use super::{Place, ask, recording};
use crate::store::*;

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
