//! The messages about people: conversations, broadcasts, preferences, and one's own session.

use super::{bounded, content, invalid, parse, required_name};
use crate::dialect::native::types;
use crate::protocol::{BroadcastRequest, BroadcastTarget, Command, ErrorCode, ProtocolError, ResumeRequest};

/// Receivers a broadcast may name; whoever means more means everyone or a conversation.
pub(in crate::dialect::native) const TARGETS_MAX: usize = 256;
/// Bytes of a user's preferences (protocol section 3).
const PREFERENCES_BYTES_MAX: usize = 4 * 1024;
/// Bytes of a resume token: far more than ours have.
pub(in crate::dialect::native) const RESUME_TOKEN_BYTES_MAX: usize = 256;
/// Messages of one page of history where no `limit` is given.
pub const HISTORY_LIMIT_DEFAULT: u32 = 100;
/// Messages of one page of history at the most (protocol section 3).
pub const HISTORY_LIMIT_MAX: u32 = 500;

pub(super) fn conversation(text: &str) -> Result<String, ProtocolError> {
    required_name("conversation_id", parse::<types::ConversationRef>(text)?.conversation_id)
}

pub(super) fn message(text: &str) -> Result<Command<'_>, ProtocolError> {
    let m: types::Message = parse(text)?;
    Ok(Command::Message {
        conversation_id: required_name("conversation_id", m.conversation_id)?,
        content: content(m.content)?,
    })
}

pub(super) fn typing(text: &str) -> Result<Command<'_>, ProtocolError> {
    let m: types::Typing = parse(text)?;
    Ok(Command::Typing { conversation_id: required_name("conversation_id", m.conversation_id)?, active: m.active })
}

pub(super) fn history_request(text: &str) -> Result<Command<'_>, ProtocolError> {
    let m: types::HistoryRequest = parse(text)?;
    let limit = m.limit.unwrap_or(HISTORY_LIMIT_DEFAULT);
    if !(1..=HISTORY_LIMIT_MAX).contains(&limit) {
        return Err(invalid(format!("limit: {limit} is not 1 to {HISTORY_LIMIT_MAX}")));
    }
    Ok(Command::HistoryRequest {
        conversation_id: required_name("conversation_id", m.conversation_id)?,
        after_seq: m.after_seq.unwrap_or(0),
        limit,
    })
}

pub(super) fn broadcast(text: &str) -> Result<BroadcastRequest, ProtocolError> {
    let m: types::BroadcastRequest = parse(text)?;
    let target = m.target.map(target).transpose()?;
    let exclude = m.exclude.unwrap_or_default();
    few("exclude", exclude.len())?;
    Ok(BroadcastRequest {
        content: content(m.content)?,
        target,
        exclude,
        include_self: m.include_self.unwrap_or(false),
    })
}

fn target(t: types::BroadcastTarget) -> Result<BroadcastTarget, ProtocolError> {
    let target = BroadcastTarget {
        connection_ids: t.connection_ids.unwrap_or_default(),
        client_ids: t.client_ids.unwrap_or_default(),
        conversation_id: super::name("conversation_id", t.conversation_id)?,
    };
    few("target.connection_ids", target.connection_ids.len())?;
    few("target.client_ids", target.client_ids.len())?;
    Ok(target)
}

fn few(field: &str, count: usize) -> Result<(), ProtocolError> {
    if count > TARGETS_MAX {
        let what = format!("{field} may have {TARGETS_MAX} entries, it has {count}");
        return Err(ProtocolError::new(ErrorCode::MessageTooLarge, what));
    }
    Ok(())
}

pub(super) fn set_preferences(text: &str) -> Result<Command<'_>, ProtocolError> {
    let preferences = parse::<types::Preferences>(text)?.preferences;
    if !preferences.text().starts_with('{') {
        return Err(invalid("preferences must be an object"));
    }
    bounded("preferences", preferences.text(), PREFERENCES_BYTES_MAX)?;
    Ok(Command::SetPreferences { preferences })
}

pub(super) fn resume(text: &str) -> Result<Command<'_>, ProtocolError> {
    let m: types::Resume = parse(text)?;
    bounded("resume_token", &m.resume_token, RESUME_TOKEN_BYTES_MAX)?;
    Ok(Command::Resume(ResumeRequest { session_id: m.session_id, resume_token: m.resume_token, last_seq: m.last_seq }))
}
