//! Turns what SQLite and sqlx report into the port's errors, in one place. Passes on SQLite's own texts, which hold no data.

use sqlx::migrate::MigrateError;

use crate::store::error::StoreError;

// Primary result codes: <https://www.sqlite.org/rescode.html>. The byte above them only says more about the same.
const BUSY: u32 = 5;
const LOCKED: u32 = 6;
const READONLY: u32 = 8;
const IOERR: u32 = 10;
const CORRUPT: u32 = 11;
const FULL: u32 = 13;
const CANTOPEN: u32 = 14;
const TOOBIG: u32 = 18;
const CONSTRAINT: u32 = 19;
const MISMATCH: u32 = 20;
const NOTADB: u32 = 26;

/// What a failed statement means.
pub(super) fn write(error: &sqlx::Error, lock_wait_ms: u64) -> StoreError {
    let reason = || error.to_string();
    match error {
        sqlx::Error::Database(refused) => {
            let reason = || refused.to_string();
            let code = refused.code().and_then(|c| c.parse::<u32>().ok()).unwrap_or(0) & 0xff;
            match code {
                BUSY | LOCKED => StoreError::Locked { waited_ms: lock_wait_ms },
                FULL => StoreError::Full { reason: reason() },
                READONLY | IOERR | CANTOPEN => StoreError::Io { reason: reason() },
                CORRUPT | NOTADB => StoreError::Corrupt { reason: reason() },
                TOOBIG | CONSTRAINT | MISMATCH => StoreError::Refused { reason: reason() },
                _ => StoreError::Failed { reason: reason() },
            }
        }
        sqlx::Error::PoolClosed => StoreError::Closed,
        sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => StoreError::Io { reason: reason() },
        // Only this program writes the tables: a value it cannot read is not one that it wrote.
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => StoreError::Corrupt { reason: reason() },
        _ => StoreError::Failed { reason: reason() },
    }
}

/// What a failed read means.
pub(super) fn read(error: &sqlx::Error, lock_wait_ms: u64) -> StoreError {
    match error {
        // Every reading connection was taken the whole time: the disk is slow, not wrong.
        sqlx::Error::PoolTimedOut => StoreError::Busy { waiting: super::READS_MAX },
        error => write(error, lock_wait_ms),
    }
}

/// What a failed migration means.
pub(super) fn migrate(error: &MigrateError, lock_wait_ms: u64) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => match write(error, lock_wait_ms) {
            StoreError::Refused { reason } | StoreError::Failed { reason } => StoreError::Schema { reason },
            error => error,
        },
        MigrateError::VersionMissing(version) => {
            StoreError::Schema { reason: format!("they were made by a newer version of voxgate (step {version})") }
        }
        MigrateError::VersionMismatch(version) => {
            StoreError::Schema { reason: format!("step {version} was another when they were made") }
        }
        error => StoreError::Schema { reason: error.to_string() },
    }
}
