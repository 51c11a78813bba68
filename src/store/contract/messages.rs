//! Messages of conversations and turns of contexts: numbers, repetitions, pages, bounds.

use std::sync::{Arc, Mutex};

use uuid::Uuid;

use super::{Place, append, ask, fresh, message};
use crate::store::*;

fn request(conversation: &str, session: u128, id: &str) -> NewMessage {
    NewMessage {
        session_id: Uuid::from_u128(session),
        request_id: Some(id.to_owned()),
        ..message(conversation, "\"x\"")
    }
}

async fn seqs(store: &Arc<dyn Store>, conversation: &str) -> Vec<u64> {
    let page = store.messages(conversation, 0, 1_000).await.unwrap();
    page.messages.iter().map(|m| m.message_seq).collect()
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
    let all = std::mem::take(&mut *told.lock().unwrap());
    for (which, mut told) in all.into_iter().enumerate() {
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

pub(crate) async fn turns_come_back_in_order(place: Place) {
    let store = place.open().await;
    let turn = |n: u64| Turn {
        role: if n.is_multiple_of(2) { Role::User } else { Role::Assistant },
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
