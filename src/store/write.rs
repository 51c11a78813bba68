//! What can be asked of a store's writer, each with whom to tell. Knows no database.

use std::panic::{AssertUnwindSafe, catch_unwind};

use uuid::Uuid;

use super::error::StoreError;
use super::records::{Appended, NewMessage, Owner, Reconciled, RecordingRecord, SessionEnd, SessionRecord, Turn};
use crate::protocol::Revocation;

/// Told how a write ended. Runs on the store's runtime, before the next write's: it must not block.
pub type Done<T> = Box<dyn FnOnce(Result<T, StoreError>) + Send>;

/// Whom a write tells, and what: told exactly once, also when the writer goes away.
pub struct Reply<T> {
    done: Option<Done<T>>,
    value: Option<T>,
}

impl<T> Reply<T> {
    pub(super) fn new(done: Done<T>) -> Self {
        Self { done: Some(done), value: None }
    }

    /// Sets what will be told if the group is kept. A group that is tried again sets it again.
    pub(super) fn set(&mut self, value: T) {
        self.value = Some(value);
    }

    fn tell(&mut self, result: Result<T, StoreError>) {
        let Some(done) = self.done.take() else { return };
        // The callbacks of the others in the group must be heard whatever one of them does.
        if catch_unwind(AssertUnwindSafe(|| done(result))).is_err() {
            tracing::error!("a callback of the store panicked");
        }
    }

    fn finish(mut self, result: Result<(), StoreError>) {
        let value = self.value.take();
        self.tell(result.map(|()| value.expect("a backend sets the value of each write it applies")));
    }

    /// Lets it go untold: the caller hears of the refusal from the call itself.
    fn discard(mut self) {
        self.done = None;
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        self.tell(Err(StoreError::Closed));
    }
}

/// A write.
pub enum Write {
    /// [`super::Store::append_message`]
    AppendMessage(NewMessage, Reply<Appended>),
    /// [`super::Store::append_turn`]
    AppendTurn(String, Turn, Reply<()>),
    /// [`super::Store::session_started`]
    SessionStarted(SessionRecord, Reply<()>),
    /// [`super::Store::session_ended`]
    SessionEnded(Uuid, SessionEnd, Reply<bool>),
    /// [`super::Store::put_recording`]
    PutRecording(RecordingRecord, Reply<()>),
    /// [`super::Store::delete_recording`]
    DeleteRecording(Uuid, Reply<bool>),
    /// [`super::Store::reconcile`]
    Reconcile(Vec<RecordingRecord>, Reply<Reconciled>),
    /// [`super::Store::set_preferences`]
    SetPreferences(Owner, String, Reply<()>),
    /// [`super::Store::revoke`]
    Revoke(Revocation, Reply<()>),
    /// [`super::Store::ping`]: changes a row, so that it is a commit like any other.
    Ping(Reply<()>),
}

/// What a write holds beside its texts, about: enough for a bound on memory.
const WRITE_BYTES: usize = 512;

impl Write {
    /// What it holds in memory, about.
    pub(super) fn bytes(&self) -> usize {
        WRITE_BYTES
            + match self {
                Self::AppendMessage(m, _) => m.content.len(),
                Self::AppendTurn(_, turn, _) => turn.text.len(),
                Self::SetPreferences(_, json, _) => json.len(),
                Self::Reconcile(all, _) => all.len() * WRITE_BYTES,
                Self::SessionStarted(..)
                | Self::SessionEnded(..)
                | Self::PutRecording(..)
                | Self::DeleteRecording(..)
                | Self::Revoke(..)
                | Self::Ping(_) => 0,
            }
    }

    /// Tells how it ended.
    pub(super) fn finish(self, result: Result<(), StoreError>) {
        match self {
            Self::AppendMessage(_, reply) => reply.finish(result),
            Self::Reconcile(_, reply) => reply.finish(result),
            Self::SessionEnded(_, _, reply) | Self::DeleteRecording(_, reply) => reply.finish(result),
            Self::AppendTurn(_, _, reply)
            | Self::SessionStarted(_, reply)
            | Self::PutRecording(_, reply)
            | Self::SetPreferences(_, _, reply)
            | Self::Revoke(_, reply)
            | Self::Ping(reply) => reply.finish(result),
        }
    }

    /// Lets it go without a word.
    pub(super) fn discard(self) {
        match self {
            Self::AppendMessage(_, reply) => reply.discard(),
            Self::Reconcile(_, reply) => reply.discard(),
            Self::SessionEnded(_, _, reply) | Self::DeleteRecording(_, reply) => reply.discard(),
            Self::AppendTurn(_, _, reply)
            | Self::SessionStarted(_, reply)
            | Self::PutRecording(_, reply)
            | Self::SetPreferences(_, _, reply)
            | Self::Revoke(_, reply)
            | Self::Ping(reply) => reply.discard(),
        }
    }
}
