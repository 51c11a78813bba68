//! Live audio from a server: frames in, samples on their timeline out.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::connection::{Connection, Message};
use super::error::ClientError;
use super::url::WsUrl;
use super::wire::{ListenedStream, ServerMessage};

/// Bytes before the payload of a frame (protocol section 5).
const HEADER_BYTES: usize = 16;
const VERSION: u8 = 1;
const KIND_PCM_S16LE: u8 = 1;
const FLAG_DROPPED: u32 = 1;
const FLAG_LAST: u32 = 2;

/// A gap beyond an hour at 48 kHz is a broken position, not lost audio.
const GAP_FRAMES_MAX: u64 = 3_600 * 48_000;

/// Time for the answer to `listen_start`.
const ANSWER_TIMEOUT_S: u64 = 10;

/// How long a stream that was said to be over may take to hand out its last frame: audio waits in a queue of its own, and news overtake it.
const LAST_FRAME_TIMEOUT: Duration = Duration::from_secs(2);

/// Whose audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One stream; over when it ends.
    Stream(String),
    /// Every stream of a conversation; over when the caller has enough.
    Conversation(String),
}

/// A frame of audio from the server (protocol section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The stream, as numbered by `listening`.
    pub stream_index: u16,
    /// Audio was dropped just before this frame.
    pub after_drop: bool,
    /// Nothing follows.
    pub last: bool,
    /// Position of the first sample, per channel.
    pub position: u64,
    /// Interleaved 16-bit little-endian samples.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads a frame; `None` where it is none of a version and kind known here.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, payload) = bytes.split_at_checked(HEADER_BYTES)?;
        if header[0] != VERSION || header[1] != KIND_PCM_S16LE || payload.len() % 2 != 0 {
            return None;
        }
        let flags = u32::from_le_bytes(header[4..8].try_into().ok()?);
        Some(Self {
            stream_index: u16::from_le_bytes([header[2], header[3]]),
            after_drop: flags & FLAG_DROPPED != 0,
            last: flags & FLAG_LAST != 0,
            position: u64::from_le_bytes(header[8..16].try_into().ok()?),
            payload,
        })
    }
}

/// A stream's place in time: begins with the first frame heard.
#[derive(Clone, Copy, Debug)]
pub struct Timeline {
    channels: u16,
    next: Option<u64>,
}

impl Timeline {
    /// A timeline nothing was heard of yet.
    pub fn new(channels: u16) -> Self {
        Self { channels: channels.max(1), next: None }
    }

    /// Places a frame: how many sample frames of silence come before it, and how many of its own were heard already.
    ///
    /// # Errors
    /// A position too far away to be real.
    pub fn place(&mut self, position: u64, samples: usize) -> Result<(u64, u64), &'static str> {
        let frames = samples as u64 / u64::from(self.channels);
        let expected = self.next.unwrap_or(position);
        let end = position.checked_add(frames).ok_or("a frame's position is past the end of time")?;
        let gap = position.saturating_sub(expected);
        if gap > GAP_FRAMES_MAX {
            return Err("a frame's position is too far from the one before");
        }
        self.next = Some(end.max(expected));
        Ok((gap, expected.saturating_sub(position).min(frames)))
    }
}

/// What is heard.
#[derive(Clone, Copy, Debug)]
pub enum Heard<'a> {
    /// A stream can be heard from now on.
    Began(&'a ListenedStream),
    /// Its next samples, interleaved.
    Audio {
        /// The stream.
        stream_index: u16,
        /// Lost samples before these, over all channels.
        silence: u64,
        /// The samples.
        samples: &'a [i16],
    },
    /// It is over.
    Ended {
        /// The stream.
        stream_index: u16,
    },
}

/// Listens until the stream ends or `stop` is done.
///
/// # Errors
/// [`ClientError`], among them whatever `on_heard` gives.
pub async fn listen(
    url: &WsUrl,
    token: Option<&str>,
    target: &Target,
    stop: impl Future<Output = ()>,
    on_heard: &mut dyn FnMut(Heard<'_>) -> io::Result<()>,
) -> Result<(), ClientError> {
    let mut connection = Connection::open(url, token).await?;
    let request = match target {
        Target::Stream(id) => json!({"type": "listen_start", "id": "listen", "stream_id": id}),
        Target::Conversation(id) => json!({"type": "listen_start", "id": "listen", "conversation_id": id}),
    };
    if let Target::Conversation(id) = target {
        connection.join(id);
    }
    connection.queue_text(&request.to_string());
    let mut listener = Listener {
        until_stream_ends: matches!(target, Target::Stream(_)),
        answered: false,
        timelines: BTreeMap::new(),
        removed: BTreeSet::new(),
        samples: Vec::new(),
        on_heard,
    };
    let answer_due = Instant::now() + Duration::from_secs(ANSWER_TIMEOUT_S);
    let mut last_frame_due = None;
    tokio::pin!(stop);
    loop {
        let until = if listener.answered { last_frame_due } else { Some(answer_due) };
        let driven = tokio::select! {
            driven = connection.drive(until) => driven,
            () = &mut stop => break,
        };
        while let Some(message) = connection.next_message() {
            match message {
                Message::Binary(bytes) => listener.frame(&bytes)?,
                Message::Text(text) => {
                    if listener.text(&text)? {
                        connection.queue_text(r#"{"type":"pong"}"#);
                    }
                }
                Message::Close { code, reason } => return Err(ClientError::Closed { code, reason }),
            }
        }
        driven?;
        if listener.answered
            && listener.until_stream_ends
            && listener.timelines.keys().all(|i| listener.removed.contains(i))
        {
            let due = *last_frame_due.get_or_insert_with(|| Instant::now() + LAST_FRAME_TIMEOUT);
            if listener.timelines.is_empty() || Instant::now() >= due {
                break;
            }
        }
        if !listener.answered && Instant::now() >= answer_due {
            return Err(ClientError::Timeout { what: "answer to listen_start", seconds: ANSWER_TIMEOUT_S });
        }
    }
    connection.close().await;
    Ok(())
}

struct Listener<'a> {
    until_stream_ends: bool,
    answered: bool,
    timelines: BTreeMap<u16, Timeline>,
    /// Streams that are over but for their last frame.
    removed: BTreeSet<u16>,
    samples: Vec<i16>,
    on_heard: &'a mut dyn FnMut(Heard<'_>) -> io::Result<()>,
}

impl Listener<'_> {
    /// Takes a text message; true for a ping.
    fn text(&mut self, text: &str) -> Result<bool, ClientError> {
        match serde_json::from_str(text)? {
            ServerMessage::Listening { streams } => {
                self.answered = true;
                self.begin(&streams)?;
            }
            ServerMessage::ListeningChanged { added, removed } => {
                self.removed.extend(removed.into_iter().filter(|i| self.timelines.contains_key(i)));
                self.begin(&added)?;
            }
            ServerMessage::Error { code, message, .. } => return Err(ClientError::Server { code, message }),
            ServerMessage::Ping => return Ok(true),
            ServerMessage::ConnectionEstablished { .. }
            | ServerMessage::Resumed { .. }
            | ServerMessage::AudioStarted { .. }
            | ServerMessage::AudioReceived { .. }
            | ServerMessage::AudioEnded(_)
            | ServerMessage::Other => {}
        }
        Ok(false)
    }

    fn begin(&mut self, streams: &[ListenedStream]) -> io::Result<()> {
        for stream in streams {
            self.end(stream.stream_index)?; // a number that is given again
            self.timelines.insert(stream.stream_index, Timeline::new(stream.channel_count()));
            (self.on_heard)(Heard::Began(stream))?;
        }
        Ok(())
    }

    fn end(&mut self, stream_index: u16) -> io::Result<()> {
        self.removed.remove(&stream_index);
        match self.timelines.remove(&stream_index) {
            Some(_) => (self.on_heard)(Heard::Ended { stream_index }),
            None => Ok(()),
        }
    }

    fn frame(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        // Frames of a later protocol, or of a stream that is over, are not ours to judge.
        let Some(frame) = Frame::parse(bytes) else { return Ok(()) };
        let Some(timeline) = self.timelines.get_mut(&frame.stream_index) else { return Ok(()) };
        self.samples.clear();
        self.samples.extend(frame.payload.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])));
        let channels = u64::from(timeline.channels);
        let (gap, heard) = timeline
            .place(frame.position, self.samples.len())
            .map_err(|problem| io::Error::new(io::ErrorKind::InvalidData, problem))?;
        let skip = usize::try_from(heard * channels).unwrap_or(usize::MAX).min(self.samples.len());
        let (stream_index, samples) = (frame.stream_index, &self.samples[skip..]);
        (self.on_heard)(Heard::Audio { stream_index, silence: gap * channels, samples })?;
        if frame.last {
            self.end(stream_index)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(index: u16, flags: u32, position: u64, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![1, 1];
        bytes.extend(index.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.extend(position.to_le_bytes());
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn frames_are_read_as_the_protocol_lays_them_out() {
        let bytes = frame(0x0102, 3, 1 << 40, &[1, 2, 3, 4]);
        let want =
            Frame { stream_index: 0x0102, after_drop: true, last: true, position: 1 << 40, payload: &[1, 2, 3, 4] };
        assert_eq!(Frame::parse(&bytes), Some(want));
        assert_eq!(Frame::parse(&bytes[..15]), None, "half a header");
        assert_eq!(Frame::parse(&frame(0, 0, 0, &[1])), None, "half a sample");
        let mut other = frame(0, 0, 0, &[]);
        other[0] = 2;
        assert_eq!(Frame::parse(&other), None, "another version");
    }

    #[test]
    fn gaps_are_kept_and_repeats_are_not_heard_twice() {
        let mut timeline = Timeline::new(2);
        assert_eq!(timeline.place(1_000, 640), Ok((0, 0)), "the first frame heard is the beginning");
        assert_eq!(timeline.place(1_320, 640), Ok((0, 0)));
        assert_eq!(timeline.place(1_960, 640), Ok((320, 0)), "one frame is missing");
        assert_eq!(timeline.place(2_120, 640), Ok((0, 160)), "half of it was heard");
        assert_eq!(timeline.place(0, 640), Ok((0, 320)), "all of it was heard");
        assert_eq!(timeline.place(2_440, 640), Ok((0, 0)));
        assert!(timeline.place(u64::MAX, 640).is_err());
        assert!(timeline.place(GAP_FRAMES_MAX * 2, 640).is_err());
    }

    #[test]
    fn a_listener_hears_each_stream_to_its_end() {
        let mut heard = Vec::new();
        let mut on_heard = |event: Heard<'_>| {
            heard.push(match event {
                Heard::Began(stream) => format!("began {}", stream.stream_index),
                Heard::Audio { stream_index, silence, samples } => format!("{stream_index}: {silence} {samples:?}"),
                Heard::Ended { stream_index } => format!("ended {stream_index}"),
            });
            Ok(())
        };
        let mut listener = Listener {
            until_stream_ends: true,
            answered: false,
            timelines: BTreeMap::new(),
            removed: BTreeSet::new(),
            samples: Vec::new(),
            on_heard: &mut on_heard,
        };
        let stream =
            r#"{"stream_uid":"u","stream_id":"s","stream_index":7,"sample_rate":16000,"channels":1,"from":{}}"#;
        listener.text(&format!(r#"{{"type":"listening","listener_id":"l","streams":[{stream}]}}"#)).unwrap();
        listener.frame(&frame(7, 0, 5, &[1, 0])).unwrap();
        listener.frame(&frame(8, 0, 5, &[9, 0])).unwrap();
        listener.frame(&frame(7, 3, 8, &[2, 0])).unwrap();
        listener.text(r#"{"type":"listening_changed","listener_id":"l","added":[],"removed":[7]}"#).unwrap();
        assert!(listener.text(r#"{"type":"error","code":"NOT_FOUND","message":"no stream"}"#).is_err());
        assert_eq!(heard, ["began 7", "7: 0 [1]", "7: 2 [2]", "ended 7"]);
    }
}
