//! The server's messages as this client reads them: the fields it uses, the others passed over (protocol sections 2 to 7).

use serde::{Deserialize, Serialize};

/// A message of the server.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub enum ServerMessage {
    ConnectionEstablished {
        limits: ConnectionLimits,
        session: SessionTicket,
    },
    Resumed {
        session: SessionTicket,
        streams: Vec<ResumedStream>,
    },
    AudioStarted {
        stream_id: String,
    },
    AudioReceived {
        received_bytes: u64,
        decoded_ms: u64,
    },
    AudioEnded(AudioEnded),
    Listening {
        streams: Vec<ListenedStream>,
    },
    ListeningChanged {
        added: Vec<ListenedStream>,
        removed: Vec<u16>,
    },
    Error {
        code: String,
        message: String,
        reply_to: Option<String>,
    },
    Ping,
    #[serde(other)]
    Other,
}

/// The number of a session event, where a message is one.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Numbered {
    /// Counts from 1 in each session.
    pub seq: Option<u64>,
}

/// With what a session is resumed.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct SessionTicket {
    pub id: String,
    pub resume_token: String,
    pub resume_window_ms: u64,
}

/// An open stream of a resumed session.
#[derive(Clone, Debug, Deserialize)]
pub struct ResumedStream {
    /// Its name.
    pub stream_id: String,
    /// Where it goes on.
    pub received_bytes: u64,
}

/// What the server lets one connection do.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct ConnectionLimits {
    /// Largest WebSocket message.
    pub max_message_bytes: usize,
}

/// `audio_ended`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct AudioEnded {
    pub stream_id: String,
    pub reason: String,
    pub received_bytes: u64,
    pub duration_ms: u64,
    pub output_samples: u64,
    pub dropped_ms: u64,
    /// `None` for silence.
    pub peak_dbfs: Option<f64>,
    /// `None` for silence.
    pub rms_dbfs: Option<f64>,
    pub speech_ms: Option<u64>,
    pub recording: Option<Recording>,
}

/// A finished recording.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct Recording {
    pub id: String,
    pub url: String,
    pub bytes: u64,
    pub sha256: String,
}

/// A stream one listens to.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "the names are the protocol's own")]
pub struct ListenedStream {
    pub stream_uid: String,
    pub stream_index: u16,
    pub sample_rate: u32,
    /// A number, or `"source"` while the source has not told.
    pub channels: serde_json::Value,
}

impl ListenedStream {
    /// Its channels. While even the server does not know them, one: mono is what is asked for unless somebody asks for more.
    pub fn channel_count(&self) -> u16 {
        self.channels.as_u64().and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(1)
    }
}
