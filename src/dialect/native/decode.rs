//! Client messages: JSON text in, validated commands out.

use std::borrow::Cow;

use serde::Deserialize;

use super::types;
use crate::audio::{Encoding, OutputChannels, StreamFormat};
use crate::protocol::{
    AudioData, AudioStart, Command, Envelope, ErrorCode, Framing, ListenTarget, NAME_CHARS_MAX, OutputRequest,
    Overflow, ProtocolError, check_name,
};

/// Characters of a message's own `id`.
const ID_CHARS_MAX: usize = 64;
/// Bytes of a `ping` payload: as many as a WebSocket control frame could carry.
const PING_PAYLOAD_BYTES_MAX: usize = 125;
/// Bytes of a `text` message's text; a long prompt, not a document.
const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Topics in one subscription; more than there are.
const EVENTS_MAX: usize = 32;
/// Bounds of `ack_ms`, but for 0.
const ACK_INTERVAL_MS: std::ops::RangeInclusive<u32> = 20..=5_000;
/// `ack_ms` where none is given: few enough answers that the kernel's cost of them is small.
const ACK_INTERVAL_MS_DEFAULT: u32 = 200;

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
    if depth_exceeds(text.as_bytes(), limits.json_depth) {
        let e = ProtocolError::new(ErrorCode::InvalidJson, format!("nested deeper than {} levels", limits.json_depth));
        return Err(Box::new((None, e)));
    }
    // Audio first: one pass, nothing copied.
    if text.starts_with("{\"type\":\"audio_data\"") {
        return audio_data(text).map_err(|e| Box::new((None, e)));
    }
    let head: types::Head<'_> = parse(text).map_err(|e| Box::new((None, e)))?;
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

/// Reads the fields of one message type.
type ReadFields = fn(&str) -> Result<Command<'_>, ProtocolError>;

/// Every message type a client can send: one line each.
const TYPES: [(&str, ReadFields); 17] = [
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

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, ProtocolError> {
    serde_json::from_str(text).map_err(|e| {
        let code = match e.classify() {
            serde_json::error::Category::Data => ErrorCode::InvalidMessage,
            serde_json::error::Category::Syntax
            | serde_json::error::Category::Eof
            | serde_json::error::Category::Io => ErrorCode::InvalidJson,
        };
        ProtocolError::new(code, e.to_string())
    })
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

fn format(f: types::Format<'_>) -> Result<StreamFormat, ProtocolError> {
    let encoding = match f.encoding {
        Some(e) => {
            e.parse::<Encoding>().map_err(|e| ProtocolError::new(ErrorCode::UnsupportedFormat, e.to_string()))?
        }
        None => Encoding::Auto,
    };
    StreamFormat::new(encoding, f.sample_rate, f.channels).map_err(|e| {
        let code = match e {
            crate::audio::FormatError::Missing { .. } => ErrorCode::FormatRequired,
            crate::audio::FormatError::Encoding { .. }
            | crate::audio::FormatError::Range { .. }
            | crate::audio::FormatError::OutputRate { .. }
            | crate::audio::FormatError::OutputChannels { .. } => ErrorCode::UnsupportedFormat,
        };
        ProtocolError::new(code, e.to_string())
    })
}

fn output(o: types::Output) -> Result<OutputRequest, ProtocolError> {
    let channels = match o.channels {
        None => None,
        Some(types::Channels::Count(1)) => Some(OutputChannels::Mono),
        Some(types::Channels::Name(n)) if n == "source" => Some(OutputChannels::Source),
        Some(other) => {
            let got = match other {
                types::Channels::Count(n) => n.to_string(),
                types::Channels::Name(n) => n.chars().take(32).collect(),
            };
            let e = crate::audio::FormatError::OutputChannels { got };
            return Err(ProtocolError::new(ErrorCode::UnsupportedFormat, e.to_string()));
        }
    };
    if let Some(got) = o.sample_rate
        && !crate::audio::OUTPUT_RATES_HZ.contains(&got)
    {
        let e = crate::audio::FormatError::OutputRate { got };
        return Err(ProtocolError::new(ErrorCode::UnsupportedFormat, e.to_string()));
    }
    Ok(OutputRequest { rate_hz: o.sample_rate, channels })
}

fn audio_start(text: &str) -> Result<Command<'_>, ProtocolError> {
    let m: types::AudioStart<'_> = parse(text)?;
    let ack_interval_ms = m.ack_ms.unwrap_or(ACK_INTERVAL_MS_DEFAULT);
    if ack_interval_ms != 0 && !ACK_INTERVAL_MS.contains(&ack_interval_ms) {
        return Err(invalid(format!("ack_ms: {ack_interval_ms} is neither 0 nor 20 to 5000")));
    }
    let framing = match m.framing.as_deref() {
        None | Some("raw") => Framing::Raw,
        Some("tagged") => Framing::Tagged,
        Some(_) => return Err(invalid("framing must be \"raw\" or \"tagged\"")),
    };
    let overflow = match m.overflow.as_deref() {
        None | Some("block") => Overflow::Block,
        Some("drop_oldest") => Overflow::DropOldest,
        Some(_) => return Err(invalid("overflow must be \"block\" or \"drop_oldest\"")),
    };
    Ok(Command::AudioStart(AudioStart {
        stream_id: name("stream_id", m.stream_id)?,
        format: m.format.map(format).transpose()?,
        output: output(m.output.unwrap_or_default())?,
        ack_interval_ms,
        record: m.record.unwrap_or(true),
        framing,
        overflow,
        conversation_id: name("conversation_id", m.conversation_id)?,
    }))
}

fn audio_data(text: &str) -> Result<Envelope<'_>, ProtocolError> {
    let m: types::AudioData<'_> = parse(text)?;
    if m.id.as_ref().is_some_and(|id| id.chars().count() > ID_CHARS_MAX) {
        return Err(ProtocolError::new(ErrorCode::MessageTooLarge, format!("id may have {ID_CHARS_MAX} characters")));
    }
    let format = m.format.map(format).transpose()?;
    let command = Command::AudioData(AudioData { data: m.data, stream_id: m.stream_id, offset: m.offset, format });
    Ok(Envelope { id: m.id.map(Cow::into_owned), command })
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
