//! One stream sent to a server: paced, acknowledged, ended.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio::time::Instant;

use super::comeback::Comeback;
use super::connection::{Connection, Message};
use super::error::ClientError;
use super::pace::Pace;
use super::url::WsUrl;
use super::wire::{AudioEnded, Numbered, ResumedStream, ServerMessage};
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
    /// Connections made anew.
    pub reconnected: u32,
    /// Where the newest of them went on.
    resumed_bytes: u64,
}

/// What became of a stream.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Bytes acknowledged.
    pub acked_bytes: u64,
    /// Connections that dropped and were made anew.
    pub reconnected: u32,
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

/// Sends a stream on a connection of its own and waits for its end. A connection that drops is made anew and the session resumed, for
/// as long as the server keeps it.
///
/// # Errors
/// [`ClientError`] where the stream could not start, or the connection ended before the stream and the session cannot go on.
pub async fn replay(
    url: &WsUrl,
    token: Option<&str>,
    plan: &Plan,
    on_progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Outcome, ClientError> {
    let mut state = State::default();
    let ended = loop {
        match state.attempt(url, token, plan, on_progress).await {
            Ok(ended) => break ended,
            Err(error) => {
                let wait = state.comeback.after(error, Instant::now(), random_share())?;
                state.progress.reconnected += u32::from(state.comeback.has_session());
                on_progress(state.progress);
                tokio::time::sleep(wait).await;
            }
        }
    };
    let acked_bytes = state.progress.acked_bytes.max(ended.received_bytes);
    on_progress(Progress { acked_bytes, decoded_ms: ended.duration_ms, ..state.progress });
    Ok(Outcome {
        sent_bytes: plan.bytes.len() as u64,
        acked_bytes,
        reconnected: state.progress.reconnected,
        ended,
        warnings: state.warnings,
    })
}

/// A number from 0 to 1.
fn random_share() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness all wait the longest, which is safe.
    getrandom::fill(&mut bytes).map_or(1.0, |()| f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX))
}

/// What a stream keeps from one connection to the next.
#[derive(Default)]
struct State {
    comeback: Comeback,
    progress: Progress,
    /// The frame that is next.
    frame: u64,
    /// When the first frame was due to begin.
    begun: Option<Instant>,
    stream_id: Option<String>,
    ended: Option<AudioEnded>,
    warnings: Vec<String>,
}

impl State {
    /// One connection, from its handshake to the stream's end.
    async fn attempt(
        &mut self,
        url: &WsUrl,
        token: Option<&str>,
        plan: &Plan,
        on_progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<AudioEnded, ClientError> {
        let connection = Connection::open(url, token).await?;
        let mut sender =
            Sender { connection, plan, state: self, heard: Instant::now(), message_bytes_max: None, resumed: None };
        let ended = sender.run(on_progress).await?;
        sender.connection.close().await;
        Ok(ended)
    }
}

/// A stream on one connection.
struct Sender<'a> {
    connection: Connection,
    plan: &'a Plan,
    state: &'a mut State,
    /// When the server was last heard of.
    heard: Instant,
    /// Known once the server has said hello.
    message_bytes_max: Option<usize>,
    /// The streams that go on, once the server has said so.
    resumed: Option<Vec<ResumedStream>>,
}

impl Sender<'_> {
    async fn run(&mut self, on_progress: &mut (dyn FnMut(Progress) + Send)) -> Result<AudioEnded, ClientError> {
        let resume = self.state.comeback.message();
        while self.message_bytes_max.is_none() {
            self.turn("connection_established", None).await?;
        }
        let goes_on = match resume {
            Some(resume) => self.resume(&resume).await?,
            None => true,
        };
        if self.state.stream_id.is_none() {
            self.start(); // under the same id: a server that has done it answers again and does it once
        }
        while self.state.stream_id.is_none() {
            self.turn("audio_started", None).await?;
        }
        if goes_on {
            self.send(on_progress).await?;
            self.connection.queue_text(r#"{"type":"audio_flush","id":"flush"}"#);
            self.connection.queue_text(r#"{"type":"audio_end","id":"end"}"#);
        }
        loop {
            if let Some(ended) = self.state.ended.take() {
                return Ok(ended);
            }
            self.turn("audio_ended", None).await?;
            on_progress(self.state.progress);
        }
    }

    /// Goes on with the session. False where the stream takes no more: its end is on its way, or the server had it before the drop.
    async fn resume(&mut self, message: &str) -> Result<bool, ClientError> {
        self.connection.queue_text(message);
        let streams = loop {
            if let Some(streams) = self.resumed.take() {
                break streams;
            }
            self.turn("resumed", None).await?;
        };
        let Some(stream_id) = &self.state.stream_id else {
            return Ok(true); // nothing was sent: it waits for `audio_started`
        };
        let Some(stream) = streams.iter().find(|s| s.stream_id == *stream_id) else { return Ok(false) };
        let from = stream.received_bytes.min(self.plan.bytes.len() as u64);
        if from > self.state.progress.resumed_bytes {
            self.state.comeback.got_on();
        }
        while self.state.frame > 0 && self.plan.pace.frame_end(self.state.frame - 1) > from {
            self.state.frame -= 1;
        }
        self.state.progress.sent_bytes = from;
        self.state.progress.resumed_bytes = from;
        Ok(true)
    }

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
        // Of the first connection: what was not sent while there was none is due at once.
        let begun = *self.state.begun.get_or_insert_with(Instant::now);
        while self.state.progress.sent_bytes < total_bytes && self.state.ended.is_none() {
            let due = begun + self.plan.pace.due(self.state.frame);
            if Instant::now() < due {
                self.turn("acknowledgement", Some(due)).await?;
            } else if self.connection.queued_bytes() > QUEUED_BYTES_MAX {
                self.turn("acknowledgement", None).await?;
            } else {
                let end = self.plan.pace.frame_end(self.state.frame);
                self.state.frame += 1;
                self.queue(self.state.progress.sent_bytes, end);
                self.state.progress.sent_bytes = end;
                // Moves what can be moved now; waits for nothing.
                self.turn("acknowledgement", Some(Instant::now())).await?;
            }
            on_progress(self.state.progress);
        }
        Ok(())
    }

    /// Queues the bytes from `from` to `to`, cut to what the server takes as a message.
    fn queue(&mut self, from: u64, to: u64) {
        let message_bytes_max = self.message_bytes_max.unwrap_or(usize::MAX);
        // Both ends lie inside the file, which is in memory.
        let bytes = &self.plan.bytes[from as usize..to as usize];
        match self.plan.carriage {
            Carriage::Binary => {
                for part in bytes.chunks(message_bytes_max.max(1)) {
                    self.connection.queue_binary(part);
                }
            }
            Carriage::Base64 => {
                let mut offset = from;
                for part in bytes.chunks((message_bytes_max.saturating_sub(ENVELOPE_BYTES) / 4 * 3).max(3)) {
                    let message = json!({
                        "type": "audio_data", "stream_id": self.state.stream_id, "offset": offset, "data": STANDARD.encode(part),
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
            Message::Close { .. } if self.state.ended.is_some() => return Ok(()),
            Message::Close { code, reason } => return Err(ClientError::Closed { code, reason }),
        };
        if let Numbered { seq: Some(seq) } = serde_json::from_str(&text)? {
            self.state.comeback.seen(seq);
        }
        match serde_json::from_str(&text)? {
            ServerMessage::ConnectionEstablished { limits, session } => {
                self.message_bytes_max = Some(limits.max_message_bytes);
                if !self.state.comeback.has_session() {
                    self.state.comeback.set_ticket(session);
                }
            }
            ServerMessage::Resumed { session, streams } => {
                self.state.comeback.set_ticket(session);
                self.resumed = Some(streams);
            }
            ServerMessage::AudioStarted { stream_id } => {
                self.state.stream_id = Some(stream_id);
                self.state.comeback.got_on();
            }
            ServerMessage::AudioReceived { received_bytes, decoded_ms } => {
                if received_bytes > self.state.progress.acked_bytes {
                    self.state.comeback.got_on();
                }
                self.state.progress.acked_bytes = received_bytes;
                self.state.progress.decoded_ms = decoded_ms;
            }
            ServerMessage::AudioEnded(ended) => self.state.ended = Some(ended),
            ServerMessage::Error { code, message, reply_to } => return self.error(code, message, reply_to.as_deref()),
            ServerMessage::Ping => self.connection.queue_text(r#"{"type":"pong"}"#),
            ServerMessage::Listening { .. } | ServerMessage::ListeningChanged { .. } | ServerMessage::Other => {}
        }
        Ok(())
    }

    fn error(&mut self, code: String, message: String, reply_to: Option<&str>) -> Result<(), ClientError> {
        match reply_to {
            Some("resume") => Err(ClientError::NotResumed { message: format!("{code}: {message}") }),
            Some("start" | "end") => Err(ClientError::Server { code, message }),
            _ if self.state.stream_id.is_none() => Err(ClientError::Server { code, message }),
            _ => {
                if self.state.warnings.len() < WARNINGS_KEPT_MAX {
                    self.state.warnings.push(format!("{code}: {message}"));
                }
                Ok(())
            }
        }
    }
}
