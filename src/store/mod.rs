//! What lasts: messages, a responder's context, sessions, the index of recordings, preferences, revocations. This is the port; a folder
//! is a backend (`sqlite/`). Writes are queued, kept in groups, and told of once they are durable; reads run beside them.
//! Knows no connection, no conversation's members and no wire format.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use uuid::Uuid;

use crate::protocol::Revocation;
use crate::resilience::Breaker;

mod error;
mod queue;
mod records;
mod sqlite;
mod write;

#[cfg(test)]
mod contract;

pub use error::StoreError;
pub use records::{
    Appended, Conversation, NewMessage, Owner, Page, Reconciled, RecordingFilter, RecordingProgress, RecordingRecord,
    Role, SessionEnd, SessionRecord, StoreStatus, StoredMessage, Turn,
};
pub use write::{Done, Reply, Write};

/// What a read gives. It needs no particular runtime to be awaited on.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A read's future.
pub type Read<T> = BoxFuture<Result<T, StoreError>>;

/// Whether a write was queued. If not, its callback is not called: the call itself says why.
pub type Queued = Result<(), StoreError>;

/// How a store is opened.
#[derive(Clone)]
pub struct StoreOptions {
    /// Messages kept of a conversation; older ones go.
    pub history_messages: u64,
    /// How long a write waits for another process that holds the database, in milliseconds.
    pub lock_wait_ms: u64,
    /// The wall clock at the start, in Unix milliseconds: what ended long before it is forgotten.
    pub now_unix_ms: u64,
    /// Size the database may reach, in bytes; none: the disk's.
    pub bytes_max: Option<u64>,
    /// Counts its failures, and keeps writes from it while there were too many; none: each write is tried.
    pub breaker: Option<Arc<Breaker>>,
}

/// The name of the store's circuit breaker.
pub const BREAKER: &str = "store";

/// Long enough for a backup to finish its step, short enough for a client that waits for its message.
const LOCK_WAIT_MS: u64 = 2_000;

/// Twenty full pages of history, as `limits.history_messages` has it.
const HISTORY_MESSAGES: u64 = 10_000;

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            history_messages: HISTORY_MESSAGES,
            lock_wait_ms: LOCK_WAIT_MS,
            now_unix_ms: 0,
            bytes_max: None,
            breaker: None,
        }
    }
}

/// Opens the store an address names, and makes it where there is none. Its tasks run on the runtime this is called in, which must
/// outlive the store; it may be a single thread's.
///
/// # Errors
/// [`StoreError::Scheme`] and [`StoreError::Address`] for the address, [`StoreError::Open`] and [`StoreError::Schema`] for what it names.
pub async fn open(url: &str, options: StoreOptions) -> Result<Arc<dyn Store>, StoreError> {
    match url.split_once(':') {
        Some(("sqlite", path)) => Ok(Arc::new(sqlite::SqliteStore::open(path, options).await?)),
        Some((scheme, _)) => Err(StoreError::Scheme { scheme: scheme.to_owned() }),
        None => Err(StoreError::Address { what: "it begins with the kind of store: \"sqlite:PATH\"" }),
    }
}

/// The port.
///
/// A write that was queued is told of exactly once, in the order of the queue over all writes, and not before it is durable: it survives
/// the end of the process and of the power. Callbacks run on the store's runtime and must not block. A read sees every write that was
/// told of before the read began.
pub trait Store: Send + Sync {
    /// Queues a write.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when too many wait, [`StoreError::Closed`], [`StoreError::Invalid`]; then the callback is not called.
    fn submit(&self, write: Write) -> Queued;

    /// Appends a message to its conversation.
    fn append_message(&self, message: NewMessage, done: Done<Appended>) -> Queued {
        self.submit(Write::AppendMessage(message, Reply::new(done)))
    }

    /// Appends a turn to the responder's context of a conversation.
    fn append_turn(&self, conversation_id: String, turn: Turn, done: Done<()>) -> Queued {
        self.submit(Write::AppendTurn(conversation_id, turn, Reply::new(done)))
    }

    /// Notes a session. One that is known already stays as it is.
    fn session_started(&self, session: SessionRecord, done: Done<()>) -> Queued {
        self.submit(Write::SessionStarted(session, Reply::new(done)))
    }

    /// Notes the end of a session, once; its requests can no longer be repeated. Tells whether one that lasted was found.
    fn session_ended(&self, id: Uuid, end: SessionEnd, done: Done<bool>) -> Queued {
        self.submit(Write::SessionEnded(id, end, Reply::new(done)))
    }

    /// Puts a recording into the index, in the place of the one with its id.
    fn put_recording(&self, recording: RecordingRecord, done: Done<()>) -> Queued {
        self.submit(Write::PutRecording(recording, Reply::new(done)))
    }

    /// Takes a recording out of the index. Tells whether it was there.
    fn delete_recording(&self, id: Uuid, done: Done<bool>) -> Queued {
        self.submit(Write::DeleteRecording(id, Reply::new(done)))
    }

    /// Makes the index of recordings what it is given: all there are.
    fn reconcile(&self, recordings: Vec<RecordingRecord>, done: Done<Reconciled>) -> Queued {
        self.submit(Write::Reconcile(recordings, Reply::new(done)))
    }

    /// Keeps somebody's preferences: JSON text, kept as it is.
    fn set_preferences(&self, owner: Owner, json: String, done: Done<()>) -> Queued {
        self.submit(Write::SetPreferences(owner, json, Reply::new(done)))
    }

    /// Keeps a revocation. Said again of the same token and user, the later moments count.
    ///
    /// # Errors
    /// Beside those of [`Store::submit`]: [`StoreError::Invalid`] where it names neither a token nor a user.
    fn revoke(&self, revocation: Revocation, done: Done<()>) -> Queued {
        if revocation.jti.is_none() && revocation.user_id.is_none() {
            return Err(StoreError::Invalid { what: "a revocation names a token or a user" });
        }
        self.submit(Write::Revoke(revocation, Reply::new(done)))
    }

    /// Up to `limit` messages of a conversation after a number, oldest first. None of a conversation nobody wrote to.
    fn messages(&self, conversation_id: &str, after_seq: u64, limit: usize) -> Read<Page>;

    /// The number of a conversation's newest message; 0 where there is none.
    fn last_message_seq(&self, conversation_id: &str) -> Read<u64>;

    /// What is known of a conversation.
    fn conversation(&self, conversation_id: &str) -> Read<Option<Conversation>>;

    /// The newest `limit` turns of the responder's context of a conversation, oldest first.
    fn context(&self, conversation_id: &str, limit: usize) -> Read<Vec<Turn>>;

    /// A session.
    fn session(&self, id: Uuid) -> Read<Option<SessionRecord>>;

    /// A recording.
    fn recording(&self, id: Uuid) -> Read<Option<RecordingRecord>>;

    /// Up to `limit` recordings, newest first; with `after`, those older than that one.
    fn recordings(&self, filter: RecordingFilter, after: Option<Uuid>, limit: usize) -> Read<Vec<RecordingRecord>>;

    /// Somebody's preferences: JSON text as it was given.
    fn preferences(&self, owner: Owner) -> Read<Option<String>>;

    /// The revocations in force at a moment (Unix seconds), oldest first.
    fn revocations(&self, now_unix_s: u64) -> Read<Vec<Revocation>>;

    /// Reads and writes once, for health checks.
    fn ping(&self) -> Read<()>;

    /// How the store is. Asks no disk.
    fn status(&self) -> StoreStatus;

    /// Keeps what is queued, then ends everything the store started. Later writes and reads are refused with [`StoreError::Closed`].
    /// Asked twice, both wait for the same end. It takes as long as the disk does, and longer under another's lock: give it a deadline.
    fn close(&self) -> BoxFuture<()>;
}
