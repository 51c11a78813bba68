//! Client messages: JSON text in, validated commands out.

use std::borrow::Cow;

mod admin;
mod audio;
mod explain;
mod people;

use serde::de::DeserializeOwned;

use super::types;
use crate::protocol::{
    BroadcastRequest, Command, Envelope, ErrorCode, Json, ListenTarget, NAME_CHARS_MAX, ProtocolError, check_name,
};
use audio::{audio_data, audio_start};
pub use explain::in_plain_words;
use explain::parse;

pub(super) use admin::{REASON_BYTES_MAX, USER_ID_BYTES_MAX};
pub use people::{HISTORY_LIMIT_DEFAULT, HISTORY_LIMIT_MAX};
pub(super) use people::{RESUME_TOKEN_BYTES_MAX, TARGETS_MAX};

/// Characters of a message's own `id`.
pub(super) const ID_CHARS_MAX: usize = 64;
/// Bytes of a `ping` payload: as many as a WebSocket control frame could carry.
pub(super) const PING_PAYLOAD_BYTES_MAX: usize = 125;
/// Bytes of a `text` message's text; a long prompt, not a document.
pub(super) const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Topics in one subscription; more than there are.
pub(super) const EVENTS_MAX: usize = 32;
/// Bytes of a message's or broadcast's content: what a person or a control panel says, not a file (protocol section 3).
const CONTENT_BYTES_MAX: usize = 16 * 1024;

/// Bounds on a text message before it is parsed.
#[derive(Clone, Copy, Debug)]
pub struct DecodeLimits {
    /// Nesting of arrays and objects.
    pub json_depth: usize,
}

/// Reads one message. On failure, the `id` it had (where that could be read) and the error.
///
/// # Errors
/// `INVALID_JSON`, `INVALID_MESSAGE`, `UNKNOWN_MESSAGE_TYPE`, `MESSAGE_TOO_LARGE` or `UNSUPPORTED_FORMAT`.
pub fn decode(text: &str, limits: DecodeLimits) -> Result<Envelope<'_>, Box<(Option<String>, ProtocolError)>> {
    within(text, limits).map_err(|e| Box::new((None, e)))?;
    // Audio first: one pass, nothing copied.
    if text.starts_with("{\"type\":\"audio_data\"") {
        return audio_data(text).map_err(|e| Box::new((id_of(text), e)));
    }
    let head: types::Head<'_> = parse(text).map_err(|e| Box::new((id_of(text), e)))?;
    let id = head.id.map(Cow::into_owned);
    if id.as_ref().is_some_and(|id| id.chars().count() > ID_CHARS_MAX) {
        let e = ProtocolError::new(ErrorCode::MessageTooLarge, format!("id may have {ID_CHARS_MAX} characters"));
        return Err(Box::new((None, e)));
    }
    match command(&head.kind, text) {
        Ok(command) => Ok(Envelope { id, command }),
        Err(e) => Err(Box::new((id, e))),
    }
}

/// The `id` of a message that is none, to answer by.
fn id_of(text: &str) -> Option<String> {
    let id = serde_json::from_str::<types::Id<'_>>(text).ok()?.id?;
    (id.chars().count() <= ID_CHARS_MAX).then(|| id.into_owned())
}

/// Reads the body of an HTTP request.
///
/// # Errors
/// `INVALID_JSON` or `INVALID_MESSAGE`.
pub fn read_body<T: DeserializeOwned>(body: &str) -> Result<T, ProtocolError> {
    parse(body)
}

/// Reads the body of a broadcast, as HTTP has it: the fields of `broadcast_request`.
///
/// # Errors
/// As [`decode`].
pub fn read_broadcast(body: &str, limits: DecodeLimits) -> Result<BroadcastRequest, ProtocolError> {
    within(body, limits)?;
    people::broadcast(body)
}

/// Reads the body of a message, as HTTP has it: its `content`.
///
/// # Errors
/// As [`decode`].
pub fn read_content(body: &str, limits: DecodeLimits) -> Result<Json, ProtocolError> {
    within(body, limits)?;
    content(parse::<types::Content>(body)?.content)
}

fn within(text: &str, limits: DecodeLimits) -> Result<(), ProtocolError> {
    if depth_exceeds(text.as_bytes(), limits.json_depth) {
        let what = format!("nested deeper than {} levels", limits.json_depth);
        return Err(ProtocolError::new(ErrorCode::InvalidJson, what));
    }
    if text.trim_ascii_start().starts_with('[') {
        // serde would take an array for the fields in their order
        return Err(invalid("a message is one JSON object"));
    }
    Ok(())
}

/// Reads the fields of one message type.
pub(super) type ReadFields = fn(&str) -> Result<Command<'_>, ProtocolError>;

/// Every message type a client can send: one line each.
pub(super) const TYPES: [(&str, ReadFields); 35] = [
    ("audio_data", |t| audio_data(t).map(|e| e.command)),
    ("audio_start", audio_start),
    ("audio_flush", |t| Ok(Command::AudioFlush { stream_id: stream_ref(t)? })),
    ("audio_end", |t| Ok(Command::AudioEnd { stream_id: stream_ref(t)? })),
    ("audio_cancel", |t| Ok(Command::AudioCancel { stream_id: stream_ref(t)? })),
    ("ping", ping),
    ("pong", |_| Ok(Command::Pong)),
    ("text", text_message),
    ("status_request", |_| Ok(Command::StatusRequest)),
    ("connection_info_request", |t| {
        let m: types::ConnectionInfoRequest = parse(t)?;
        Ok(Command::ConnectionInfoRequest { connection_id: m.connection_id })
    }),
    ("listen_start", listen_start),
    ("listen_stop", |t| Ok(Command::ListenStop { listener_id: parse::<types::ListenStop>(t)?.listener_id })),
    ("subscribe_events", |t| Ok(Command::SubscribeEvents { events: events(t)? })),
    ("unsubscribe_events", |t| Ok(Command::UnsubscribeEvents { events: events(t)? })),
    ("get_connection_status", |_| Ok(Command::GetConnectionStatus)),
    ("health_check", |_| Ok(Command::HealthCheck)),
    ("authenticate", |t| Ok(Command::Authenticate { token: parse::<types::Authenticate>(t)?.token })),
    ("join_conversation", |t| Ok(Command::JoinConversation { conversation_id: people::conversation(t)? })),
    ("leave_conversation", |t| Ok(Command::LeaveConversation { conversation_id: people::conversation(t)? })),
    ("message", people::message),
    ("typing", people::typing),
    ("presence_request", |t| Ok(Command::PresenceRequest { conversation_id: people::conversation(t)? })),
    ("history_request", people::history_request),
    ("broadcast_request", |t| people::broadcast(t).map(Command::BroadcastRequest)),
    ("set_preferences", people::set_preferences),
    ("get_preferences", |_| Ok(Command::GetPreferences)),
    ("resume", people::resume),
    ("get_connection_stats", admin::get_connection_stats),
    ("get_router_stats", admin::get_router_stats),
    ("get_all_connections", admin::get_all_connections),
    ("get_event_queue_status", admin::get_event_queue_status),
    ("clear_event_queue", admin::clear_event_queue),
    ("get_system_metrics", admin::get_system_metrics),
    ("disconnect_user", admin::disconnect_user),
    ("broadcast_admin_message", admin::broadcast_admin_message),
];

fn command<'a>(kind: &str, text: &'a str) -> Result<Command<'a>, ProtocolError> {
    if let Some((_, read)) = TYPES.iter().find(|(name, _)| *name == kind) {
        return read(text);
    }
    let shown: String = kind.chars().take(NAME_CHARS_MAX).collect();
    let near = TYPES.iter().map(|(n, _)| (strsim::levenshtein(&shown, n), *n)).min().filter(|(d, _)| *d <= 3);
    Err(ProtocolError::new(
        ErrorCode::UnknownMessageType,
        match near {
            Some((_, name)) => format!("type: '{shown}' is unknown; did you mean '{name}'?"),
            None => format!("type: '{shown}' is unknown"),
        },
    ))
}

fn invalid(message: impl Into<String>) -> ProtocolError {
    ProtocolError::new(ErrorCode::InvalidMessage, message)
}

fn name(field: &'static str, value: Option<String>) -> Result<Option<String>, ProtocolError> {
    if let Some(v) = &value {
        check_name(field, v).map_err(|e| invalid(e.to_string()))?;
    }
    Ok(value)
}

fn bounded(field: &str, value: &str, bytes_max: usize) -> Result<(), ProtocolError> {
    if value.len() > bytes_max {
        return Err(ProtocolError::new(
            ErrorCode::MessageTooLarge,
            format!("{field} may have {bytes_max} bytes, it has {}", value.len()),
        ));
    }
    Ok(())
}

/// A name that must be there.
fn required_name(field: &'static str, value: String) -> Result<String, ProtocolError> {
    check_name(field, &value).map_err(|e| invalid(e.to_string()))?;
    Ok(value)
}

fn content(value: Json) -> Result<Json, ProtocolError> {
    bounded("content", value.text(), CONTENT_BYTES_MAX)?;
    Ok(value)
}

fn stream_ref(text: &str) -> Result<Option<String>, ProtocolError> {
    name("stream_id", parse::<types::StreamRef>(text)?.stream_id)
}

fn ping(text: &str) -> Result<Command<'_>, ProtocolError> {
    let m: types::Ping = parse(text)?;
    if let Some(p) = &m.payload {
        bounded("payload", p, PING_PAYLOAD_BYTES_MAX)?;
    }
    Ok(Command::Ping { payload: m.payload })
}

fn text_message(text: &str) -> Result<Command<'_>, ProtocolError> {
    let m: types::Text = parse(text)?;
    bounded("text", &m.text, TEXT_BYTES_MAX)?;
    Ok(Command::Text { text: m.text, conversation_id: name("conversation_id", m.conversation_id)? })
}

fn events(text: &str) -> Result<Vec<String>, ProtocolError> {
    let m: types::Events = parse(text)?;
    if m.events.len() > EVENTS_MAX {
        return Err(ProtocolError::new(ErrorCode::MessageTooLarge, format!("events may have {EVENTS_MAX} entries")));
    }
    Ok(m.events)
}

fn listen_start(text: &str) -> Result<Command<'_>, ProtocolError> {
    let m: types::ListenStart = parse(text)?;
    let target = match (name("stream_id", m.stream_id)?, name("conversation_id", m.conversation_id)?) {
        (Some(s), None) => ListenTarget::Stream(s),
        (None, Some(c)) => ListenTarget::Conversation(c),
        (None, None) | (Some(_), Some(_)) => {
            return Err(invalid("listen_start takes either stream_id or conversation_id"));
        }
    };
    Ok(Command::ListenStart(target))
}

/// Whether brackets nest deeper than `limit`, told without parsing; strings are passed over in strides.
fn depth_exceeds(text: &[u8], limit: usize) -> bool {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(&b) = text.get(at) {
        at += 1;
        match b {
            b'{' | b'[' => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => loop {
                match memchr::memchr2(b'"', b'\\', &text[at..]) {
                    None => return false, // an open string: the parser will say so
                    Some(n) if text[at + n] == b'"' => {
                        at += n + 1;
                        break;
                    }
                    Some(n) => at = (at + n + 2).min(text.len()),
                }
            },
            _ => {}
        }
    }
    false
}
