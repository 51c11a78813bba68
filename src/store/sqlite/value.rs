//! How the port's values stand in SQLite's columns. Knows no statement.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, error::BoxDynError};
use uuid::Uuid;

use crate::store::records::{Owner, RecordingProgress, RecordingRecord, Role};

/// A number as SQLite has it. It has no unsigned ones; what is beyond is as good as for ever.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A number from a column that holds none below zero.
pub(super) fn uint(row: &SqliteRow, column: usize) -> sqlx::Result<u64> {
    let value: i64 = row.try_get(column)?;
    u64::try_from(value).map_err(|e| broken(column, e.into()))
}

/// A number that may be missing.
pub(super) fn uint_or_none(row: &SqliteRow, column: usize) -> sqlx::Result<Option<u64>> {
    let value: Option<i64> = row.try_get(column)?;
    value.map(u64::try_from).transpose().map_err(|e| broken(column, e.into()))
}

/// An id as its 16 bytes, which sort as it was made.
pub(super) fn blob(id: Uuid) -> Vec<u8> {
    id.as_bytes().to_vec()
}

pub(super) fn uuid(row: &SqliteRow, column: usize) -> sqlx::Result<Uuid> {
    let bytes: &[u8] = row.try_get(column)?;
    Uuid::from_slice(bytes).map_err(|e| broken(column, e.into()))
}

/// Kind and name of an owner.
pub(super) fn owner(owner: &Owner) -> (&'static str, &str) {
    match owner {
        Owner::User(name) => ("user", name),
        Owner::Client(name) => ("client", name),
    }
}

pub(super) fn role_text(role: Role) -> &'static str {
    match role {
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}

pub(super) fn role(row: &SqliteRow, column: usize) -> sqlx::Result<Role> {
    match row.try_get(column)? {
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        _ => Err(broken(column, "no known role".into())),
    }
}

pub(super) fn progress_text(state: RecordingProgress) -> &'static str {
    match state {
        RecordingProgress::Recording => "recording",
        RecordingProgress::Complete => "complete",
        RecordingProgress::Repaired => "repaired",
        RecordingProgress::Failed => "failed",
    }
}

fn progress(row: &SqliteRow, column: usize) -> sqlx::Result<RecordingProgress> {
    match row.try_get(column)? {
        "recording" => Ok(RecordingProgress::Recording),
        "complete" => Ok(RecordingProgress::Complete),
        "repaired" => Ok(RecordingProgress::Repaired),
        "failed" => Ok(RecordingProgress::Failed),
        _ => Err(broken(column, "no known state of a recording".into())),
    }
}

/// A recording from all its columns, in the order of the table.
pub(super) fn recording(row: &SqliteRow) -> sqlx::Result<RecordingRecord> {
    Ok(RecordingRecord {
        id: uuid(row, 0)?,
        stream_uid: row.try_get(1)?,
        stream_id: row.try_get(2)?,
        client_id: row.try_get(3)?,
        user_id: row.try_get(4)?,
        conversation_id: row.try_get(5)?,
        created_at_ms: uint(row, 6)?,
        duration_ms: uint(row, 7)?,
        bytes: uint(row, 8)?,
        sha256: row.try_get(9)?,
        state: progress(row, 10)?,
    })
}

fn broken(column: usize, source: BoxDynError) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_string(), source }
}
