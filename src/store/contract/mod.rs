//! What every backend must do, as tests over the port. A backend calls `store_contract!` with a function that makes a place for a new store;
//! what the place's address opens is all the tests know of it.

use std::sync::Arc;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::*;

mod messages;
mod queue;
mod records;

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
pub(crate) use messages::*;
pub(crate) use queue::*;
pub(crate) use records::*;
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

pub(crate) async fn append(store: &Arc<dyn Store>, message: NewMessage) -> Appended {
    ask(|done| store.append_message(message, done)).await.unwrap()
}

pub(crate) fn fresh(message_seq: u64) -> Appended {
    Appended { message_seq, duplicate: false }
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
