//! One stream sent to a server: paced, acknowledged, ended.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio::time::Instant;

use super::connection::{Connection, Message};
use super::error::ClientError;
use super::pace::Pace;
use super::url::WsUrl;
use super::wire::{AudioEnded, ServerMessage};
use crate::audio::StreamFormat;

/// Silence of the server after which it is given up, where an answer is due.
const SILENCE_TIMEOUT_S: u64 = 60;

/// Unsent bytes above which nothing more is queued: the server has stopped reading, and so does the file.
const QUEUED_BYTES_MAX: usize = 64 << 10;

/// Acknowledgements this far apart show progress smoothly and cost nothing.
const ACK_INTERVAL_MS: u64 = 200;

/// Warnings kept for the report.
const WARNINGS_KEPT_MAX: usize = 16;

/// Room for the JSON around the base64 of one message.
const ENVELOPE_BYTES: usize = 256;

/// How the bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carriage {
    /// In binary frames.
    Binary,
    /// In `audio_data` messages.
    Base64,
}

/// A stream to send.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its bytes.
    pub bytes: Arc<[u8]>,
    /// What they are.
    pub format: StreamFormat,
    /// How they travel.
    pub carriage: Carriage,
    /// When.
    pub pace: Pace,
    /// Whether the server shall record it.
    pub record: bool,
    /// The conversation it belongs to.
    pub conversation_id: Option<String>,
}

/// How far a stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes handed to the socket's queue.
    pub sent_bytes: u64,
    /// Bytes the server has promised.
    pub acked_bytes: u64,
    /// Audio the server has decoded.
    pub decoded_ms: u64,
}

/// What became of a stream.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Bytes acknowledged.
    pub acked_bytes: u64,
    /// The server's account.
    pub ended: AudioEnded,
    /// Errors that did not end the stream, the first of them.
    pub warnings: Vec<String>,
}

impl Outcome {
    /// Whether every byte arrived and the stream ended as it should.
    pub fn is_complete(&self) -> bool {
        self.acked_bytes == self.sent_bytes && self.ended.reason == "end"
    }
}

/// Sends a stream on a connection of its own and waits for its end.
///
/// # Errors
/// [`ClientError`] where the stream could not start or the connection ended before the stream.
pub async fn replay(
    url: &WsUrl,
    token: Option<&str>,
    plan: &Plan,
    on_progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Outcome, ClientError> {
    let mut sender = Sender {
        connection: Connection::open(url, token).await?,
        plan,
        progress: Progress::default(),
        heard: Instant::now(),
        message_bytes_max: usize::MAX,
        stream_id: None,
        ended: None,
        warnings: Vec::new(),
    };
    while sender.message_bytes_max == usize::MAX {
        sender.turn("connection_established", None).await?;
    }
    sender.start();
    while sender.stream_id.is_none() {
        sender.turn("audio_started", None).await?;
    }
    sender.send(on_progress).await?;
    sender.connection.queue_text(r#"{"type":"audio_flush","id":"flush"}"#);
    sender.connection.queue_text(r#"{"type":"audio_end","id":"end"}"#);
    let ended = loop {
        if let Some(ended) = sender.ended.take() {
            break ended;
        }
        sender.turn("audio_ended", None).await?;
        on_progress(sender.progress);
    };
    let acked_bytes = sender.progress.acked_bytes.max(ended.received_bytes);
    on_progress(Progress { acked_bytes, decoded_ms: ended.duration_ms, ..sender.progress });
    sender.connection.close().await;
    Ok(Outcome { sent_bytes: plan.bytes.len() as u64, acked_bytes, ended, warnings: sender.warnings })
}

struct Sender<'a> {
    connection: Connection,
    plan: &'a Plan,
    progress: Progress,
    /// When the server was last heard of.
    heard: Instant,
    /// `usize::MAX` until the server has said.
    message_bytes_max: usize,
    stream_id: Option<String>,
    ended: Option<AudioEnded>,
    warnings: Vec<String>,
}

impl Sender<'_> {
    fn start(&mut self) {
        let mut start = json!({
            "type": "audio_start", "id": "start", "format": self.plan.format, "ack_ms": ACK_INTERVAL_MS,
            "record": self.plan.record, "framing": "raw", "overflow": "block",
        });
        if let Some(conversation_id) = &self.plan.conversation_id {
            self.connection.join(conversation_id);
            start["conversation_id"] = json!(conversation_id);
        }
        self.connection.queue_text(&start.to_string());
    }

    async fn send(&mut self, on_progress: &mut (dyn FnMut(Progress) + Send)) -> Result<(), ClientError> {
        let total_bytes = self.plan.bytes.len() as u64;
        let begun = Instant::now();
        let mut frame = 0;
        while self.progress.sent_bytes < total_bytes && self.ended.is_none() {
            let due = begun + self.plan.pace.due(frame);
            if Instant::now() < due {
                self.turn("acknowledgement", Some(due)).await?;
            } else if self.connection.queued_bytes() > QUEUED_BYTES_MAX {
                self.turn("acknowledgement", None).await?;
            } else {
                let end = self.plan.pace.frame_end(frame);
                frame += 1;
                self.queue(self.progress.sent_bytes, end);
                self.progress.sent_bytes = end;
                // Moves what can be moved now; waits for nothing.
                self.turn("acknowledgement", Some(Instant::now())).await?;
            }
            on_progress(self.progress);
        }
        Ok(())
    }

    /// Queues the bytes from `from` to `to`, cut to what the server takes as a message.
    fn queue(&mut self, from: u64, to: u64) {
        // Both ends lie inside the file, which is in memory.
        let bytes = &self.plan.bytes[from as usize..to as usize];
        match self.plan.carriage {
            Carriage::Binary => {
                for part in bytes.chunks(self.message_bytes_max.max(1)) {
                    self.connection.queue_binary(part);
                }
            }
            Carriage::Base64 => {
                let mut offset = from;
                for part in bytes.chunks((self.message_bytes_max.saturating_sub(ENVELOPE_BYTES) / 4 * 3).max(3)) {
                    let message = json!({
                        "type": "audio_data", "stream_id": self.stream_id, "offset": offset, "data": STANDARD.encode(part),
                    });
                    self.connection.queue_text(&message.to_string());
                    offset += part.len() as u64;
                }
            }
        }
    }

    /// Moves bytes until something happened or `until` passed, and takes in what came.
    async fn turn(&mut self, what: &'static str, until: Option<Instant>) -> Result<(), ClientError> {
        let patience = self.heard + Duration::from_secs(SILENCE_TIMEOUT_S);
        let driven = self.connection.drive(Some(until.map_or(patience, |until| until.min(patience)))).await;
        while let Some(message) = self.connection.next_message() {
            self.heard = Instant::now();
            self.take(message)?;
        }
        driven?;
        let answer_due = until.is_none() || self.connection.queued_bytes() > 0;
        if answer_due && Instant::now() >= patience {
            return Err(ClientError::Timeout { what, seconds: SILENCE_TIMEOUT_S });
        }
        Ok(())
    }

    fn take(&mut self, message: Message) -> Result<(), ClientError> {
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(_) => return Ok(()),
            Message::Close { .. } if self.ended.is_some() => return Ok(()),
            Message::Close { code, reason } => return Err(ClientError::Closed { code, reason }),
        };
        match serde_json::from_str(&text)? {
            ServerMessage::ConnectionEstablished { limits } => self.message_bytes_max = limits.max_message_bytes,
            ServerMessage::AudioStarted { stream_id } => self.stream_id = Some(stream_id),
            ServerMessage::AudioReceived { received_bytes, decoded_ms } => {
                self.progress.acked_bytes = received_bytes;
                self.progress.decoded_ms = decoded_ms;
            }
            ServerMessage::AudioEnded(ended) => self.ended = Some(ended),
            ServerMessage::Error { code, message, reply_to } => {
                let refused = matches!(reply_to.as_deref(), Some("start" | "end"));
                if refused || self.stream_id.is_none() {
                    return Err(ClientError::Server { code, message });
                }
                if self.warnings.len() < WARNINGS_KEPT_MAX {
                    self.warnings.push(format!("{code}: {message}"));
                }
            }
            ServerMessage::Ping => self.connection.queue_text(r#"{"type":"pong"}"#),
            ServerMessage::Listening { .. } | ServerMessage::ListeningChanged { .. } | ServerMessage::Other => {}
        }
        Ok(())
    }
}
