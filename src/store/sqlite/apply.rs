//! What each write does, inside the transaction of its group. A call to SQLite's thread costs more than most statements, so several go
//! in one call, with numbered parameters that all of them see.

use std::collections::BTreeSet;

use sqlx::query;
use sqlx::sqlite::SqliteConnection;
use uuid::Uuid;

use super::value::{blob, int, owner, progress_text, role_text, uint, uuid};
use crate::protocol::Revocation;
use crate::store::records::{
    Appended, NewMessage, Owner, Reconciled, RecordingRecord, SessionEnd, SessionRecord, Turn,
};
use crate::store::write::Write;

/// How often a conversation's oldest messages are removed, in messages. Reading hides those that are beyond the bound meanwhile.
const TRIM_EVERY: u64 = 64;

/// Messages removed at once: a bound that was lowered must not hold up a group.
const TRIM_MAX: u64 = 1_024;

/// Turns kept of a responder's context: more than any asks for.
const TURNS_KEPT: u64 = 256;

/// Applies a write and sets what it tells.
pub(super) async fn write(connection: &mut SqliteConnection, write: &mut Write, history: u64) -> sqlx::Result<()> {
    match write {
        Write::AppendMessage(message, reply) => reply.set(append_message(connection, message, history).await?),
        Write::AppendTurn(id, turn, reply) => reply.set(append_turn(connection, id, turn).await?),
        Write::SessionStarted(session, reply) => reply.set(session_started(connection, session).await?),
        Write::SessionEnded(id, end, reply) => reply.set(session_ended(connection, *id, end).await?),
        Write::PutRecording(recording, reply) => {
            put_recording(connection, recording).await?;
            reply.set(());
        }
        Write::DeleteRecording(id, reply) => reply.set(delete_recording(connection, *id).await?),
        Write::Reconcile(all, reply) => reply.set(reconcile(connection, all).await?),
        Write::SetPreferences(owner, json, reply) => reply.set(set_preferences(connection, owner, json).await?),
        Write::Revoke(revocation, reply) => reply.set(revoke(connection, revocation).await?),
        Write::Ping(reply) => {
            query("UPDATE pings SET count = count + 1").execute(connection).await?;
            reply.set(());
        }
    }
    Ok(())
}

/// The number is the conversation's next one, unless the session asked the same before. `changes()` tells which: it is about the last
/// insertion.
const APPEND_REQUESTED: &str = "
    INSERT INTO conversations (conversation_id, created_at_ms, last_seq)
        SELECT ?1, ?2, 1 WHERE NOT EXISTS (SELECT 1 FROM requests WHERE session_id = ?3 AND request_id = ?4)
        ON CONFLICT (conversation_id) DO UPDATE SET last_seq = last_seq + 1;
    INSERT INTO messages (conversation_key, seq, session_id, request_id, connection_id, client_id, user_id, content, sent_at_ms)
        SELECT key, last_seq, ?3, ?4, ?5, ?6, ?7, ?8, ?2 FROM conversations WHERE conversation_id = ?1
        AND NOT EXISTS (SELECT 1 FROM requests WHERE session_id = ?3 AND request_id = ?4);
    INSERT INTO requests (session_id, request_id, seq, at_ms)
        SELECT ?3, ?4, last_seq, ?2 FROM conversations WHERE conversation_id = ?1
        ON CONFLICT (session_id, request_id) DO NOTHING;
    SELECT seq, changes() FROM requests WHERE session_id = ?3 AND request_id = ?4";

const APPEND: &str = "
    INSERT INTO conversations (conversation_id, created_at_ms, last_seq) VALUES (?1, ?2, 1)
        ON CONFLICT (conversation_id) DO UPDATE SET last_seq = last_seq + 1;
    INSERT INTO messages (conversation_key, seq, session_id, request_id, connection_id, client_id, user_id, content, sent_at_ms)
        SELECT key, last_seq, ?3, ?4, ?5, ?6, ?7, ?8, ?2 FROM conversations WHERE conversation_id = ?1;
    SELECT last_seq, 1 FROM conversations WHERE conversation_id = ?1";

async fn append_message(connection: &mut SqliteConnection, m: &NewMessage, history: u64) -> sqlx::Result<Appended> {
    let row = query(if m.request_id.is_some() { APPEND_REQUESTED } else { APPEND })
        .bind(&m.conversation_id)
        .bind(int(m.sent_at_ms))
        .bind(blob(m.session_id))
        .bind(&m.request_id)
        .bind(blob(m.connection_id))
        .bind(&m.client_id)
        .bind(&m.user_id)
        .bind(&m.content)
        .fetch_one(&mut *connection)
        .await?;
    let appended = Appended { message_seq: uint(&row, 0)?, duplicate: uint(&row, 1)? == 0 };
    if !appended.duplicate && appended.message_seq > history && appended.message_seq.is_multiple_of(TRIM_EVERY) {
        trim(connection, &m.conversation_id, appended.message_seq - history).await?;
    }
    Ok(appended)
}

async fn trim(connection: &mut SqliteConnection, conversation_id: &str, up_to_seq: u64) -> sqlx::Result<()> {
    query(
        "DELETE FROM messages WHERE conversation_key = (SELECT key FROM conversations WHERE conversation_id = ?1) AND seq <= min(?2,
            ?3 + (SELECT min(seq) FROM messages
                  WHERE conversation_key = (SELECT key FROM conversations WHERE conversation_id = ?1)))",
    )
    .bind(conversation_id)
    .bind(int(up_to_seq))
    .bind(int(TRIM_MAX))
    .execute(connection)
    .await?;
    Ok(())
}

async fn append_turn(connection: &mut SqliteConnection, conversation_id: &str, turn: &Turn) -> sqlx::Result<()> {
    query(
        "INSERT INTO turns (conversation_id, turn, role, text, at_ms)
            SELECT ?1, 1 + ifnull((SELECT max(turn) FROM turns WHERE conversation_id = ?1), 0), ?2, ?3, ?4;
         DELETE FROM turns WHERE conversation_id = ?1
            AND turn <= (SELECT max(turn) FROM turns WHERE conversation_id = ?1) - ?5",
    )
    .bind(conversation_id)
    .bind(role_text(turn.role))
    .bind(&turn.text)
    .bind(int(turn.at_ms))
    .bind(int(TURNS_KEPT))
    .execute(connection)
    .await?;
    Ok(())
}

async fn session_started(connection: &mut SqliteConnection, session: &SessionRecord) -> sqlx::Result<()> {
    let ended = session.ended.as_ref();
    query(
        "INSERT INTO sessions (id, client_id, user_id, created_at_ms, ended_at_ms, end_reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
            ON CONFLICT (id) DO NOTHING",
    )
    .bind(blob(session.id))
    .bind(&session.client_id)
    .bind(&session.user_id)
    .bind(int(session.created_at_ms))
    .bind(ended.map(|end| int(end.at_ms)))
    .bind(ended.map(|end| &end.reason))
    .execute(connection)
    .await?;
    Ok(())
}

async fn session_ended(connection: &mut SqliteConnection, id: Uuid, end: &SessionEnd) -> sqlx::Result<bool> {
    query("DELETE FROM requests WHERE session_id = ?1").bind(blob(id)).execute(&mut *connection).await?;
    let ended = query("UPDATE sessions SET ended_at_ms = ?2, end_reason = ?3 WHERE id = ?1 AND ended_at_ms IS NULL")
        .bind(blob(id))
        .bind(int(end.at_ms))
        .bind(&end.reason)
        .execute(connection)
        .await?;
    Ok(ended.rows_affected() > 0)
}

/// Changes nothing where the row is the same already; tells whether it did.
async fn put_recording(connection: &mut SqliteConnection, r: &RecordingRecord) -> sqlx::Result<bool> {
    let put = query(
        "INSERT INTO recordings (id, stream_uid, stream_id, client_id, user_id, conversation_id, created_at_ms, duration_ms, bytes,
                sha256, state)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
            ON CONFLICT (id) DO UPDATE SET (stream_uid, stream_id, client_id, user_id, conversation_id, created_at_ms, duration_ms,
                bytes, sha256, state) = (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
            WHERE (stream_uid, stream_id, client_id, user_id, conversation_id, created_at_ms, duration_ms, bytes, sha256, state)
                IS NOT (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )
    .bind(blob(r.id))
    .bind(&r.stream_uid)
    .bind(&r.stream_id)
    .bind(&r.client_id)
    .bind(&r.user_id)
    .bind(&r.conversation_id)
    .bind(int(r.created_at_ms))
    .bind(int(r.duration_ms))
    .bind(int(r.bytes))
    .bind(&r.sha256)
    .bind(progress_text(r.state))
    .execute(connection)
    .await?;
    Ok(put.rows_affected() > 0)
}

async fn delete_recording(connection: &mut SqliteConnection, id: Uuid) -> sqlx::Result<bool> {
    let deleted = query("DELETE FROM recordings WHERE id = ?1").bind(blob(id)).execute(connection).await?;
    Ok(deleted.rows_affected() > 0)
}

async fn reconcile(connection: &mut SqliteConnection, all: &[RecordingRecord]) -> sqlx::Result<Reconciled> {
    let mut done = Reconciled::default();
    let rows = query("SELECT id FROM recordings").fetch_all(&mut *connection).await?;
    let ids: BTreeSet<Uuid> = all.iter().map(|r| r.id).collect();
    for row in rows {
        let id = uuid(&row, 0)?;
        if !ids.contains(&id) && delete_recording(connection, id).await? {
            done.removed += 1;
        }
    }
    for recording in all {
        done.put += u64::from(put_recording(connection, recording).await?);
    }
    Ok(done)
}

async fn set_preferences(connection: &mut SqliteConnection, whose: &Owner, json: &str) -> sqlx::Result<()> {
    let (kind, name) = owner(whose);
    query(
        "INSERT INTO preferences (owner_kind, owner, json) VALUES (?1, ?2, ?3)
            ON CONFLICT (owner_kind, owner) DO UPDATE SET json = excluded.json",
    )
    .bind(kind)
    .bind(name)
    .bind(json)
    .execute(connection)
    .await?;
    Ok(())
}

async fn revoke(connection: &mut SqliteConnection, r: &Revocation) -> sqlx::Result<()> {
    query(
        "DELETE FROM revocations WHERE until_unix_s <= ?3;
         INSERT INTO revocations (jti, user_id, at_unix_s, until_unix_s) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT (ifnull(jti, ''), jti IS NULL, ifnull(user_id, ''), user_id IS NULL) DO UPDATE SET
                at_unix_s = max(at_unix_s, excluded.at_unix_s),
                until_unix_s = max(until_unix_s, excluded.until_unix_s)",
    )
    .bind(&r.jti)
    .bind(&r.user_id)
    .bind(int(r.at_unix_s))
    .bind(r.until_unix_s.map(int))
    .execute(connection)
    .await?;
    Ok(())
}
