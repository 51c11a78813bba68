//! The store in a SQLite file: one connection that writes, in a task of its own, and a few that read beside it. The file's log (WAL) is
//! synced with each group, so what was told of survives a power cut. Knows the port and its records, and SQL; nobody outside sees either.

use std::path::PathBuf;
use std::sync::Arc;

use sqlx::SqlitePool;
use sqlx::sqlite::SqlitePoolOptions;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot, watch};
use uuid::Uuid;

use super::error::StoreError;
use super::queue::{self, Queue};
use super::records::{Conversation, Owner, Page, RecordingFilter, RecordingRecord, SessionRecord, StoreStatus, Turn};
use super::write::{Reply, Write};
use super::{BoxFuture, Queued, Read, Store, StoreOptions};
use crate::protocol::Revocation;

mod address;
mod apply;
mod database;
mod fault;
mod read;
mod value;
mod writer;

#[cfg(test)]
mod tests;

use database::Database;
use writer::Writer;

/// Connections that read. Each is a thread and a page cache of two megabytes; reads are short and come one a page of history.
const READERS: u32 = 4;

/// Reads that wait or run. Each may hold a page of messages.
const READS_MAX: usize = 1_024;

/// The store in a SQLite file.
pub(super) struct SqliteStore {
    queue: Arc<Queue>,
    readers: SqlitePool,
    reads: Arc<Semaphore>,
    runtime: Handle,
    history: u64,
    lock_wait_ms: u64,
    /// Its sender goes with the writer's task.
    ended: watch::Receiver<()>,
}

impl SqliteStore {
    /// Opens or makes the file that an address' part after `sqlite:` names.
    pub(super) async fn open(address: &str, options: StoreOptions) -> Result<Self, StoreError> {
        let path = address::path(address)?;
        let failed = |source| open_error(path.clone(), source);
        let database = Database::new(path.clone(), &options);
        database.make_folder().map_err(failed)?;
        let connection = database.prepare(options.now_unix_ms).await.map_err(failed)?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .min_connections(0)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_lazy_with(database.reading());

        let queue = Arc::new(Queue::new(options.breaker.clone()));
        let (alive, ended) = watch::channel(());
        let (history, lock_wait_ms) = (options.history_messages.max(1), options.lock_wait_ms);
        let writer = Writer::new(database, connection, history);
        let (running, pool) = (queue::run(Arc::clone(&queue), writer), readers.clone());
        tokio::spawn(async move {
            let writer = running.await;
            // The last connection to go folds the log into the file: it must be the one that may write.
            pool.close().await;
            writer.close().await;
            drop(alive);
        });
        let (runtime, reads) = (Handle::current(), Arc::new(Semaphore::new(READS_MAX)));
        Ok(Self { queue, readers, reads, runtime, history, lock_wait_ms, ended })
    }

    /// Runs a read on the store's runtime: the caller's may be shut down in the middle of it, and would take a connection along.
    fn read<T, F>(&self, work: impl FnOnce(SqlitePool) -> F) -> Read<T>
    where
        T: Send + 'static,
        F: Future<Output = sqlx::Result<T>> + Send + 'static,
    {
        let permit = Arc::clone(&self.reads).try_acquire_owned();
        let (work, runtime, lock_wait_ms) = (work(self.readers.clone()), self.runtime.clone(), self.lock_wait_ms);
        Box::pin(async move {
            let permit = permit.map_err(|_| StoreError::Busy { waiting: READS_MAX })?;
            let task = runtime.spawn(async move {
                let _permit = permit;
                work.await
            });
            let result = task.await.map_err(|_| StoreError::Closed)?;
            result.map_err(|error| fault::read(&error, lock_wait_ms))
        })
    }
}

fn open_error(path: PathBuf, source: StoreError) -> StoreError {
    match source {
        StoreError::Schema { .. } => source,
        source => StoreError::Open { path, source: Box::new(source) },
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Store for SqliteStore {
    fn submit(&self, write: Write) -> Queued {
        self.queue.submit(write)
    }

    fn messages(&self, conversation_id: &str, after_seq: u64, limit: usize) -> Read<Page> {
        let (id, history) = (conversation_id.to_owned(), self.history);
        self.read(|pool| read::messages(pool, id, after_seq, limit, history))
    }

    fn last_message_seq(&self, conversation_id: &str) -> Read<u64> {
        let id = conversation_id.to_owned();
        self.read(|pool| read::last_message_seq(pool, id))
    }

    fn conversation(&self, conversation_id: &str) -> Read<Option<Conversation>> {
        let (id, history) = (conversation_id.to_owned(), self.history);
        self.read(|pool| read::conversation(pool, id, history))
    }

    fn context(&self, conversation_id: &str, limit: usize) -> Read<Vec<Turn>> {
        let id = conversation_id.to_owned();
        self.read(|pool| read::context(pool, id, limit))
    }

    fn session(&self, id: Uuid) -> Read<Option<SessionRecord>> {
        self.read(|pool| read::session(pool, id))
    }

    fn recording(&self, id: Uuid) -> Read<Option<RecordingRecord>> {
        self.read(|pool| read::recording(pool, id))
    }

    fn recordings(&self, filter: RecordingFilter, after: Option<Uuid>, limit: usize) -> Read<Vec<RecordingRecord>> {
        self.read(|pool| read::recordings(pool, filter, after, limit))
    }

    fn preferences(&self, owner: Owner) -> Read<Option<String>> {
        self.read(|pool| read::preferences(pool, owner))
    }

    fn revocations(&self, now_unix_s: u64) -> Read<Vec<Revocation>> {
        self.read(|pool| read::revocations(pool, now_unix_s))
    }

    fn ping(&self) -> Read<()> {
        let (tell, told) = oneshot::channel();
        let done = Box::new(move |result| {
            // Whoever asked may have gone.
            let _ = tell.send(result);
        });
        let queued = self.submit(Write::Ping(Reply::new(done)));
        let read = self.read(read::ping);
        Box::pin(async move {
            queued?;
            read.await?;
            told.await.unwrap_or(Err(StoreError::Closed))
        })
    }

    fn status(&self) -> StoreStatus {
        self.queue.status()
    }

    fn close(&self) -> BoxFuture<()> {
        self.queue.close();
        let mut ended = self.ended.clone();
        Box::pin(async move {
            // Nothing is ever sent: the wait ends when the task does.
            while ended.changed().await.is_ok() {}
        })
    }
}
