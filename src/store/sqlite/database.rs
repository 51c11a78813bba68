//! The file: how it is opened, brought to this version's tables, checked, and rid of what ended long ago. Knows no message.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Row};

use super::fault;
use super::value::int;
use crate::store::StoreOptions;
use crate::store::error::StoreError;

/// Built into the program: the file needs nothing beside it.
static MIGRATIONS: Migrator = sqlx::migrate!("src/store/sqlite/migrations");

/// SQLite's own default, and a disk block.
const PAGE_BYTES: u64 = 4_096;

/// Files up to this size are read through at the start: a damaged page shows before anybody relies on it. It takes about a second;
/// larger ones would hold up the start.
const CHECKED_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The log shrinks back to this after a long read has kept it from being folded in.
const LOG_BYTES_KEPT: u64 = 16 * 1024 * 1024;

/// A client that was cut off repeats its requests within minutes. Only sessions that a crash left open still have any at the start.
const REQUESTS_KEPT_MS: u64 = 24 * 3_600 * 1_000;

/// Sessions are kept for questions about last month, those whose end nobody saw too.
const SESSIONS_KEPT_MS: u64 = 31 * 24 * 3_600 * 1_000;

/// A database file and how to connect to it.
pub(super) struct Database {
    path: PathBuf,
    lock_wait_ms: u64,
    bytes_max: Option<u64>,
    /// Which file it is, beside its name.
    identity: OnceLock<(u64, u64)>,
}

impl Database {
    pub(super) fn new(path: PathBuf, options: &StoreOptions) -> Self {
        Self { path, lock_wait_ms: options.lock_wait_ms, bytes_max: options.bytes_max, identity: OnceLock::new() }
    }

    pub(super) fn make_folder(&self) -> Result<(), StoreError> {
        let Some(folder) = self.path.parent() else { return Ok(()) };
        fs::create_dir_all(folder).map_err(|e| StoreError::Io { reason: format!("{}: {e}", folder.display()) })
    }

    fn options(&self, name: &'static str) -> SqliteConnectOptions {
        let options = SqliteConnectOptions::new()
            .filename(&self.path)
            .busy_timeout(Duration::from_millis(self.lock_wait_ms))
            .foreign_keys(true)
            .thread_name(move |n| format!("{name}-{n}"))
            // Statements would be logged with their times; the port's figures say it without.
            .disable_statement_logging();
        match self.bytes_max {
            Some(bytes) => options.pragma("max_page_count", (bytes / PAGE_BYTES).max(1).to_string()),
            None => options,
        }
    }

    fn writing(&self) -> SqliteConnectOptions {
        self.options("store-write")
            // Once it was there, one that is gone must not be replaced by an empty one.
            .create_if_missing(self.identity.get().is_none())
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            // Elsewhere than on macOS these two say nothing; there a plain sync does not reach the medium.
            .pragma("fullfsync", "on")
            .pragma("checkpoint_fullfsync", "on")
            .pragma("journal_size_limit", LOG_BYTES_KEPT.to_string())
    }

    /// How those that read connect.
    pub(super) fn reading(&self) -> SqliteConnectOptions {
        self.options("store-read").pragma("query_only", "on")
    }

    /// A connection that writes.
    pub(super) async fn connect(&self) -> Result<SqliteConnection, StoreError> {
        self.writing().connect().await.map_err(|e| self.fault(&e))
    }

    /// A connection to a file that is sound and has this version's tables.
    pub(super) async fn prepare(&self, now_unix_ms: u64) -> Result<SqliteConnection, StoreError> {
        let mut connection = self.connect().await?;
        self.check(&mut connection).await?;
        MIGRATIONS.run(&mut connection).await.map_err(|e| fault::migrate(&e, self.lock_wait_ms))?;
        forget(&mut connection, now_unix_ms).await.map_err(|e| self.fault(&e))?;
        if let Some(identity) = identity(&self.path) {
            // Set once: a database is prepared once.
            let _ = self.identity.set(identity);
        }
        Ok(connection)
    }

    /// Whether the file still stands under its name. SQLite would go on writing to one that was removed or moved, and nobody would find again
    /// what was told of as kept. A file put in its place counts from the next start.
    pub(super) fn is_in_place(&self) -> Result<(), StoreError> {
        let known = self.identity.get();
        if known.is_none() || identity(&self.path).as_ref() == known {
            return Ok(());
        }
        Err(StoreError::Io { reason: format!("{} was removed or replaced", self.path.display()) })
    }

    async fn check(&self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        if fs::metadata(&self.path).is_ok_and(|file| file.len() > CHECKED_BYTES_MAX) {
            return Ok(());
        }
        let row = sqlx::query("PRAGMA quick_check(1)").fetch_one(connection).await.map_err(|e| self.fault(&e))?;
        let found: String = row.try_get(0).map_err(|e| self.fault(&e))?;
        if found == "ok" { Ok(()) } else { Err(StoreError::Corrupt { reason: found }) }
    }

    /// What a failed statement means.
    pub(super) fn fault(&self, error: &sqlx::Error) -> StoreError {
        fault::write(error, self.lock_wait_ms)
    }
}

/// Device and file number. Where there are none, the system does not let go of the name of an open file.
#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

#[cfg(not(unix))]
fn identity(_path: &Path) -> Option<(u64, u64)> {
    None
}

async fn forget(connection: &mut SqliteConnection, now_unix_ms: u64) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM requests WHERE at_ms < ?1")
        .bind(int(now_unix_ms.saturating_sub(REQUESTS_KEPT_MS)))
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM sessions WHERE ifnull(ended_at_ms, created_at_ms) < ?1")
        .bind(int(now_unix_ms.saturating_sub(SESSIONS_KEPT_MS)))
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM revocations WHERE until_unix_s <= ?1")
        .bind(int(now_unix_ms / 1_000))
        .execute(&mut *connection)
        .await?;
    Ok(())
}
