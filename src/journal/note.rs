//! What is noted of a session and of a stream's beginning, so that a start can make both again. Tokens are there as hashes only.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::audio::{Encoding, OutputChannels, OutputFormat, StreamFormat};
use crate::protocol::{Framing, Overflow};
use crate::session::OpenStream;

/// A session, as far as it outlives the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionNote {
    /// Grows with each note of the session: of several the greatest holds.
    pub version: u64,
    /// Its id.
    pub session_id: Uuid,
    /// The client's name for itself.
    pub client_id: String,
    /// The authenticated user: no other resumes it.
    pub user_id: Option<String>,
    /// When it began, in milliseconds since the Unix epoch.
    pub created_unix_ms: u64,
    /// SHA-256 of the token that resumes it, in hexadecimal.
    pub token: String,
    /// That of the token used last, while it is still good.
    pub used_token: Option<String>,
    /// The format of a stream that declares none: its encoding,
    pub default_encoding: Encoding,
    /// its sample rate in hertz,
    pub default_sample_rate: Option<u32>,
    /// and its channels.
    pub default_channels: Option<u16>,
    /// The conversations it is in.
    pub conversations: Vec<String>,
    /// What it wants to be told, as a set of bits.
    pub subscriptions: u16,
    /// The number of the newest session event.
    pub last_seq: u64,
}

impl SessionNote {
    /// The format of a stream that declares none.
    pub fn default_format(&self) -> StreamFormat {
        StreamFormat {
            encoding: self.default_encoding,
            sample_rate: self.default_sample_rate,
            channels: self.default_channels,
        }
    }
}

/// A stream's beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of `OpenStream`, flat")]
pub struct OpenNote {
    pub uid: Uuid,
    pub index: u32,
    pub stream_id: String,
    pub encoding: Encoding,
    pub sample_rate: Option<u32>,
    pub channels: Option<u16>,
    pub output_rate_hz: u32,
    pub output_source_channels: bool,
    pub ack_interval_ms: u32,
    pub record: bool,
    pub drop_oldest: bool,
    pub tagged: bool,
    pub conversation_id: Option<String>,
    pub implicit: bool,
    pub speech: bool,
    pub levels: bool,
    pub reply_to: Option<String>,
    /// The recording, where there is one: it is made again under the same id.
    pub recording_id: Option<Uuid>,
    /// When the stream began, in milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
}

impl OpenNote {
    /// Notes a stream that was opened.
    pub fn new(open: &OpenStream, recording_id: Option<Uuid>, started_unix_ms: u64) -> Self {
        Self {
            uid: open.uid,
            index: open.index,
            stream_id: open.stream_id.clone(),
            encoding: open.format.encoding,
            sample_rate: open.format.sample_rate,
            channels: open.format.channels,
            output_rate_hz: open.output.rate_hz,
            output_source_channels: open.output.channels == OutputChannels::Source,
            ack_interval_ms: open.ack_interval_ms,
            record: open.record,
            drop_oldest: open.overflow == Overflow::DropOldest,
            tagged: open.framing == Framing::Tagged,
            conversation_id: open.conversation_id.clone(),
            implicit: open.implicit,
            speech: open.speech,
            levels: open.levels,
            reply_to: open.reply_to.clone(),
            recording_id,
            started_unix_ms,
        }
    }

    /// The stream to open again.
    pub fn to_open(&self) -> OpenStream {
        OpenStream {
            index: self.index,
            uid: self.uid,
            stream_id: self.stream_id.clone(),
            format: StreamFormat { encoding: self.encoding, sample_rate: self.sample_rate, channels: self.channels },
            output: OutputFormat {
                rate_hz: self.output_rate_hz,
                channels: if self.output_source_channels { OutputChannels::Source } else { OutputChannels::Mono },
            },
            ack_interval_ms: self.ack_interval_ms,
            record: self.record,
            overflow: if self.drop_oldest { Overflow::DropOldest } else { Overflow::Block },
            framing: if self.tagged { Framing::Tagged } else { Framing::Raw },
            conversation_id: self.conversation_id.clone(),
            implicit: self.implicit,
            speech: self.speech,
            levels: self.levels,
            reply_to: self.reply_to.clone(),
        }
    }
}
