//! The reads, each one statement over one of the reading connections. Knows no queue and no writer.

use std::future::poll_fn;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqlitePool, query};
use uuid::Uuid;

use super::value::{blob, int, owner, recording as recording_of, role, uint, uint_or_none, uuid};
use crate::protocol::Revocation;
use crate::store::records::{
    Conversation, Owner, Page, RecordingFilter, RecordingRecord, SessionEnd, SessionRecord, StoredMessage, Turn,
};

/// Rows of one answer, whatever is asked for.
const ROWS_MAX: usize = 1_000;

/// Content of one page of messages: each may have a megabyte. A page holds at least one.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

pub(super) async fn messages(
    pool: SqlitePool,
    conversation_id: String,
    after_seq: u64,
    limit: usize,
    history: u64,
) -> sqlx::Result<Page> {
    let limit = limit.min(ROWS_MAX);
    let mut rows = query(
        "SELECT m.seq, m.session_id, m.request_id, m.connection_id, m.client_id, m.user_id, m.content, m.sent_at_ms
            FROM conversations AS c JOIN messages AS m ON m.conversation_key = c.key
            WHERE c.conversation_id = ?1 AND m.seq > max(?2, c.last_seq - ?3) ORDER BY m.seq LIMIT ?4",
    )
    .bind(conversation_id)
    .bind(int(after_seq))
    .bind(int(history))
    .bind(int(limit as u64 + 1))
    .fetch(&pool);

    let (mut page, mut bytes) = (Page::default(), 0);
    while let Some(row) = poll_fn(|cx| rows.as_mut().poll_next(cx)).await.transpose()? {
        let message = message(&row)?;
        bytes += message.content.len();
        if page.messages.len() == limit || (bytes > PAGE_BYTES_MAX && !page.messages.is_empty()) {
            page.more = true;
            break;
        }
        page.messages.push(message);
    }
    Ok(page)
}

fn message(row: &SqliteRow) -> sqlx::Result<StoredMessage> {
    Ok(StoredMessage {
        message_seq: uint(row, 0)?,
        session_id: uuid(row, 1)?,
        request_id: row.try_get(2)?,
        connection_id: uuid(row, 3)?,
        client_id: row.try_get(4)?,
        user_id: row.try_get(5)?,
        content: row.try_get(6)?,
        sent_at_ms: uint(row, 7)?,
    })
}

pub(super) async fn last_message_seq(pool: SqlitePool, conversation_id: String) -> sqlx::Result<u64> {
    let row = query("SELECT last_seq FROM conversations WHERE conversation_id = ?1")
        .bind(conversation_id)
        .fetch_optional(&pool)
        .await?;
    row.map_or(Ok(0), |row| uint(&row, 0))
}

pub(super) async fn conversation(
    pool: SqlitePool,
    conversation_id: String,
    history: u64,
) -> sqlx::Result<Option<Conversation>> {
    // There are no holes: the first that is kept says how many are.
    let row = query(
        "SELECT created_at_ms, last_seq, last_seq - max(last_seq - ?2,
                ifnull((SELECT min(seq) - 1 FROM messages WHERE conversation_key = key), last_seq))
            FROM conversations WHERE conversation_id = ?1",
    )
    .bind(&conversation_id)
    .bind(int(history))
    .fetch_optional(&pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let (created_at_ms, last_message_seq, messages) = (uint(&row, 0)?, uint(&row, 1)?, uint(&row, 2)?);
    Ok(Some(Conversation { conversation_id, created_at_ms, last_message_seq, messages }))
}

pub(super) async fn context(pool: SqlitePool, conversation_id: String, limit: usize) -> sqlx::Result<Vec<Turn>> {
    let rows = query("SELECT role, text, at_ms FROM turns WHERE conversation_id = ?1 ORDER BY turn DESC LIMIT ?2")
        .bind(conversation_id)
        .bind(int(limit.min(ROWS_MAX) as u64))
        .fetch_all(&pool)
        .await?;
    let turn = |row: &SqliteRow| Ok(Turn { role: role(row, 0)?, text: row.try_get(1)?, at_ms: uint(row, 2)? });
    rows.iter().rev().map(turn).collect()
}

pub(super) async fn session(pool: SqlitePool, id: Uuid) -> sqlx::Result<Option<SessionRecord>> {
    let row = query("SELECT client_id, user_id, created_at_ms, ended_at_ms, end_reason FROM sessions WHERE id = ?1")
        .bind(blob(id))
        .fetch_optional(&pool)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let ended = match uint_or_none(&row, 3)? {
        Some(at_ms) => Some(SessionEnd { at_ms, reason: row.try_get(4)? }),
        None => None,
    };
    let (client_id, user_id) = (row.try_get(0)?, row.try_get(1)?);
    Ok(Some(SessionRecord { id, client_id, user_id, created_at_ms: uint(&row, 2)?, ended }))
}

pub(super) async fn recording(pool: SqlitePool, id: Uuid) -> sqlx::Result<Option<RecordingRecord>> {
    let row = query("SELECT * FROM recordings WHERE id = ?1").bind(blob(id)).fetch_optional(&pool).await?;
    row.map(|row| recording_of(&row)).transpose()
}

const RECORDINGS: &str = "SELECT * FROM recordings WHERE id < ?1 ORDER BY id DESC LIMIT ?2";
const RECORDINGS_OF_USER: &str = "SELECT * FROM recordings WHERE user_id = ?3 AND id < ?1 ORDER BY id DESC LIMIT ?2";
const RECORDINGS_OF_CLIENT: &str =
    "SELECT * FROM recordings WHERE client_id = ?3 AND id < ?1 ORDER BY id DESC LIMIT ?2";

pub(super) async fn recordings(
    pool: SqlitePool,
    filter: RecordingFilter,
    after: Option<Uuid>,
    limit: usize,
) -> sqlx::Result<Vec<RecordingRecord>> {
    let (statement, name) = match filter {
        RecordingFilter::All => (RECORDINGS, None),
        RecordingFilter::User(name) => (RECORDINGS_OF_USER, Some(name)),
        RecordingFilter::Client(name) => (RECORDINGS_OF_CLIENT, Some(name)),
    };
    let rows = query(statement)
        .bind(blob(after.unwrap_or(Uuid::max())))
        .bind(int(limit.min(ROWS_MAX) as u64))
        .bind(name)
        .fetch_all(&pool)
        .await?;
    rows.iter().map(recording_of).collect()
}

pub(super) async fn preferences(pool: SqlitePool, whose: Owner) -> sqlx::Result<Option<String>> {
    let (kind, name) = owner(&whose);
    let row = query("SELECT json FROM preferences WHERE owner_kind = ?1 AND owner = ?2")
        .bind(kind)
        .bind(name)
        .fetch_optional(&pool)
        .await?;
    row.map(|row| row.try_get(0)).transpose()
}

pub(super) async fn revocations(pool: SqlitePool, now_unix_s: u64) -> sqlx::Result<Vec<Revocation>> {
    let rows = query(
        "SELECT jti, user_id, at_unix_s, until_unix_s FROM revocations
            WHERE until_unix_s IS NULL OR until_unix_s > ?1 ORDER BY at_unix_s, key",
    )
    .bind(int(now_unix_s))
    .fetch_all(&pool)
    .await?;
    let revocation = |row: &SqliteRow| {
        let (jti, user_id) = (row.try_get(0)?, row.try_get(1)?);
        Ok(Revocation { jti, user_id, at_unix_s: uint(row, 2)?, until_unix_s: uint_or_none(row, 3)? })
    };
    rows.iter().map(revocation).collect()
}

pub(super) async fn ping(pool: SqlitePool) -> sqlx::Result<()> {
    query("SELECT count FROM pings").fetch_one(&pool).await?;
    Ok(())
}
