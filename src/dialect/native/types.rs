//! The JSON shapes of client messages. Unknown fields are ignored; absent optional ones are `None`. The attributes named `schemars` tell the
//! readers of `/ws/protocol` what `decode` holds them to; the tests of `schema` compare the two.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use uuid::Uuid;

use super::decode::{
    EVENTS_MAX, HISTORY_LIMIT_DEFAULT, HISTORY_LIMIT_MAX, ID_CHARS_MAX, PING_PAYLOAD_BYTES_MAX, REASON_BYTES_MAX,
    RESUME_TOKEN_BYTES_MAX, TARGETS_MAX, TEXT_BYTES_MAX, USER_ID_BYTES_MAX,
};
use crate::audio::{CHANNELS_MAX, Encoding, OUTPUT_RATES_HZ, RATE_HZ_MAX, RATE_HZ_MIN};
use crate::protocol::{AlertSeverity, Json, NAME_PATTERN};

/// Schemas of fields whose type says less than `decode` asks for.
macro_rules! documented {
    ($($(#[$doc:meta])* $name:ident => $schema:expr;)+) => {
        $(
            $(#[$doc])*
            struct $name;

            impl JsonSchema for $name {
                fn schema_name() -> Cow<'static, str> {
                    stringify!($name).into()
                }

                fn inline_schema() -> bool {
                    true
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    $schema
                }
            }
        )+
    };
}

documented! {
    /// What clients name themselves.
    Name => json_schema!({"type": "string", "pattern": NAME_PATTERN});
    /// `ack_ms`: 0 or a range.
    AckMs => json_schema!({"type": "integer", "default": 200, "anyOf": [{"const": 0}, {"minimum": 20, "maximum": 5_000}]});
    /// An output rate.
    OutputRate => json_schema!({"type": "integer", "enum": OUTPUT_RATES_HZ});
    /// An output's channels.
    OutputChannels => json_schema!({"enum": [1, "source"]});
    /// How binary frames find their stream.
    Framing => json_schema!({"type": "string", "enum": ["raw", "tagged"], "default": "raw"});
    /// What a full queue does.
    Overflow => json_schema!({"type": "string", "enum": ["block", "drop_oldest"], "default": "block"});
    /// Base64.
    Base64 => json_schema!({"type": "string", "contentEncoding": "base64"});
    /// Any object.
    AnyObject => json_schema!({"type": "object"});
}

/// What every message has.
#[derive(Deserialize, JsonSchema)]
pub(super) struct Head<'a> {
    /// Which message it is.
    #[serde(rename = "type", borrow)]
    pub(super) kind: Cow<'a, str>,
    /// The client's own name for the message; answers carry it as `reply_to`.
    #[serde(borrow, default)]
    #[schemars(length(max = ID_CHARS_MAX))]
    pub(super) id: Option<Cow<'a, str>>,
}

/// The same of what is no message.
#[derive(Deserialize)]
pub(super) struct Id<'a> {
    #[serde(borrow)]
    pub(super) id: Option<Cow<'a, str>>,
}

/// A message without fields of its own.
#[derive(JsonSchema)]
pub(super) struct Plain {}

#[derive(Deserialize, JsonSchema)]
pub(super) struct Ping {
    /// Comes back in `pong`.
    #[schemars(length(max = PING_PAYLOAD_BYTES_MAX))]
    pub(super) payload: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct Authenticate {
    /// A JSON Web Token.
    pub(super) token: String,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct Text {
    /// The question, UTF-8.
    #[schemars(length(max = TEXT_BYTES_MAX))]
    pub(super) text: String,
    /// The conversation whose context the answer knows; one's session where absent.
    #[schemars(with = "Option<Name>")]
    pub(super) conversation_id: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct ConnectionInfoRequest {
    /// Another's connection, for administrators; one's own where absent.
    pub(super) connection_id: Option<Uuid>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct StreamRef {
    /// One's own name for the stream; the newest open one where absent.
    #[schemars(with = "Option<Name>")]
    pub(super) stream_id: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(extend("oneOf" = [{"required": ["stream_id"]}, {"required": ["conversation_id"]}]))]
pub(super) struct ListenStart {
    /// A `stream_uid`, or one's own name for a stream of one's own.
    #[schemars(with = "Option<Name>")]
    pub(super) stream_id: Option<String>,
    /// Every stream of this conversation, now and later.
    #[schemars(with = "Option<Name>")]
    pub(super) conversation_id: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct ListenStop {
    /// As `listening` gave it.
    pub(super) listener_id: String,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct Events {
    /// Topics: `presence`, `typing`, `speech`, `levels`, `transcripts`, `system`, `alerts`, and for administrators `connections`, `errors`,
    /// `metrics`. What is not known or not allowed comes back as `denied`.
    #[schemars(length(max = EVENTS_MAX))]
    pub(super) events: Vec<String>,
}

/// What a client sends.
#[derive(Deserialize, JsonSchema)]
pub(super) struct Format<'a> {
    /// `auto` where absent: told from the first bytes.
    #[serde(borrow)]
    #[schemars(with = "Option<Encoding>")]
    pub(super) encoding: Option<Cow<'a, str>>,
    /// In hertz. Required for raw encodings; must not contradict a container's header.
    #[schemars(range(min = RATE_HZ_MIN, max = RATE_HZ_MAX))]
    pub(super) sample_rate: Option<u32>,
    /// Interleaved channels. Required for raw encodings; must not contradict a container's header.
    #[schemars(range(min = 1, max = CHANNELS_MAX))]
    pub(super) channels: Option<u32>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Channels {
    Count(i64),
    Name(String),
}

/// What comes out: signed 16-bit PCM.
#[derive(Deserialize, Default, JsonSchema)]
pub(super) struct Output {
    /// In hertz; the server's setting (16000) where absent.
    #[schemars(with = "Option<OutputRate>")]
    pub(super) sample_rate: Option<u32>,
    /// 1 (the mean of all) or `"source"` (as many as come in); 1 where absent.
    #[schemars(with = "Option<OutputChannels>")]
    pub(super) channels: Option<Channels>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct AudioStart<'a> {
    /// One's own name for the stream, unique in the session; made up where absent.
    #[schemars(with = "Option<Name>")]
    pub(super) stream_id: Option<String>,
    /// What is sent; the connection's default format where absent.
    #[serde(borrow)]
    pub(super) format: Option<Format<'a>>,
    /// What shall come out.
    pub(super) output: Option<Output>,
    /// Milliseconds of audio between acknowledgements: 20 to 5000, or 0 for only when asked.
    #[schemars(with = "Option<AckMs>")]
    pub(super) ack_ms: Option<u32>,
    /// Whether it is recorded; true where absent and the server records.
    pub(super) record: Option<bool>,
    /// `raw`: binary goes to the newest open raw stream. `tagged`: each binary frame begins with the stream's index, 4 bytes little-endian.
    #[schemars(with = "Option<Framing>")]
    pub(super) framing: Option<String>,
    /// A full queue: `block` stops the reading of the socket, `drop_oldest` drops the oldest undecoded audio.
    #[schemars(with = "Option<Overflow>")]
    pub(super) overflow: Option<String>,
    /// The conversation whose members may listen.
    #[schemars(with = "Option<Name>")]
    pub(super) conversation_id: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct AudioData<'a> {
    #[serde(borrow, default)]
    #[schemars(skip)]
    pub(super) id: Option<Cow<'a, str>>,
    /// Standard alphabet, padding optional.
    #[serde(borrow)]
    #[schemars(with = "Base64")]
    pub(super) data: Cow<'a, str>,
    /// One's own name for the stream; the newest open one where absent.
    #[serde(borrow, default)]
    #[schemars(with = "Option<Name>")]
    pub(super) stream_id: Option<Cow<'a, str>>,
    /// The stream position of the first byte, which makes the message idempotent.
    pub(super) offset: Option<u64>,
    /// Counts only where the message opens a stream by itself.
    #[serde(borrow, default)]
    pub(super) format: Option<Format<'a>>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct ConversationRef {
    /// The conversation.
    #[schemars(with = "Name")]
    pub(super) conversation_id: String,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct Message {
    /// The conversation; one must be a member.
    #[schemars(with = "Name")]
    pub(super) conversation_id: String,
    /// Any JSON of at most 16 KiB.
    pub(super) content: Json,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct Typing {
    /// The conversation; one must be a member.
    #[schemars(with = "Name")]
    pub(super) conversation_id: String,
    /// Whether one types now.
    pub(super) active: bool,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct HistoryRequest {
    /// The conversation.
    #[schemars(with = "Name")]
    pub(super) conversation_id: String,
    /// The newest `message_seq` one has; from the beginning where absent.
    pub(super) after_seq: Option<u64>,
    /// Messages at the most.
    #[schemars(range(min = 1, max = HISTORY_LIMIT_MAX), extend("default" = HISTORY_LIMIT_DEFAULT))]
    pub(super) limit: Option<u32>,
}

/// A message, as HTTP takes it.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "NewMessage")]
pub struct Content {
    /// Any JSON of at most 16 KiB.
    pub(super) content: Json,
}

/// Who shall get it. What is given adds up.
#[derive(Deserialize, JsonSchema)]
pub(super) struct BroadcastTarget {
    /// These connections.
    #[schemars(length(max = TARGETS_MAX))]
    pub(super) connection_ids: Option<Vec<Uuid>>,
    /// All connections of these clients.
    #[schemars(length(max = TARGETS_MAX))]
    pub(super) client_ids: Option<Vec<String>>,
    /// All members of this conversation.
    #[schemars(with = "Option<Name>")]
    pub(super) conversation_id: Option<String>,
}

/// Something for many.
#[derive(Deserialize, JsonSchema)]
pub struct BroadcastRequest {
    /// Any JSON of at most 16 KiB.
    pub(super) content: Json,
    /// To whom; everyone where absent.
    pub(super) target: Option<BroadcastTarget>,
    /// But not to these connections.
    #[schemars(length(max = TARGETS_MAX))]
    pub(super) exclude: Option<Vec<Uuid>>,
    /// Whether the sender gets it too; false where absent.
    pub(super) include_self: Option<bool>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct Preferences {
    /// An object of the user's own, at most 4 KiB, kept per user.
    #[schemars(with = "AnyObject")]
    pub(super) preferences: Json,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct Resume {
    /// The session, from `connection_established` or `resumed`.
    pub(super) session_id: Uuid,
    /// Its newest token.
    #[schemars(length(max = RESUME_TOKEN_BYTES_MAX))]
    pub(super) resume_token: String,
    /// The `seq` of the last session event one has; nothing is replayed where absent.
    pub(super) last_seq: Option<u64>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(extend("oneOf" = [{"required": ["user_id"]}, {"required": ["client_id"]}, {"required": ["connection_id"]}]))]
pub(super) struct DisconnectUser {
    /// All connections of this user.
    #[schemars(length(max = USER_ID_BYTES_MAX))]
    pub(super) user_id: Option<String>,
    /// All connections of this client.
    #[schemars(with = "Option<Name>")]
    pub(super) client_id: Option<String>,
    /// This connection.
    pub(super) connection_id: Option<Uuid>,
    /// Told to whom it concerns.
    #[schemars(length(max = REASON_BYTES_MAX))]
    pub(super) reason: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct BroadcastAdminMessage {
    /// Any JSON of at most 16 KiB.
    pub(super) content: Json,
    /// How urgent it is; `info` where absent.
    pub(super) severity: Option<AlertSeverity>,
}
