//! The streams of one session: names, indices, and which bytes go where.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use uuid::Uuid;

use super::{Effect, OpenStream, SessionLimits, StreamDefaults};
use crate::audio::{Encoding, OutputFormat, StreamFormat};
use crate::protocol::{
    AudioData, AudioStart, ErrorCode, EventSet, Framing, OutputRequest, Overflow, ProtocolError, ResumedStream, Topic,
};

/// Standard alphabet, padding optional (protocol section 3).
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Bytes of the stream index in front of a tagged frame.
const TAG_BYTES: usize = 4;

/// Where a binary message goes.
#[derive(Debug)]
pub enum Route {
    /// To a stream, from byte `skip` on.
    Audio {
        /// The stream.
        index: u32,
        /// Bytes of the tag.
        skip: usize,
    },
    /// To a stream to be opened first; from byte 0 on.
    OpenFirst(Box<OpenStream>),
    /// Nowhere; the error is told once, later bytes are only counted.
    Refuse(Option<ProtocolError>),
    /// An empty frame: nothing.
    Empty,
}

#[derive(Debug)]
pub(super) struct Entry {
    index: u32,
    pub(super) uid: Uuid,
    name: String,
    format: StreamFormat,
    framing: Framing,
    /// Bytes that arrived and were taken.
    received_bytes: u64,
    /// A message with an offset beyond `received_bytes` came: nothing is taken until the hole is filled.
    gap: bool,
    ending: bool,
    conversation_id: Option<String>,
}

#[derive(Debug)]
pub(super) struct Streams {
    open: Vec<Entry>,
    next_index: u32,
    /// Binary opens a stream by itself only before the first `audio_start`.
    any_started: bool,
    /// The error for homeless binary was told.
    refusal_told: bool,
    new_uid: fn() -> Uuid,
}

impl Streams {
    pub(super) fn new(new_uid: fn() -> Uuid) -> Self {
        Self { open: Vec::new(), next_index: 0, any_started: false, refusal_told: false, new_uid }
    }

    pub(super) fn by_name(&self, name: &str) -> Option<&Entry> {
        self.open.iter().find(|s| s.name == name)
    }

    pub(super) fn resumable(&self) -> Vec<ResumedStream> {
        let row = |s: &Entry| ResumedStream {
            stream_id: s.name.clone(),
            stream_index: s.index,
            received_bytes: s.received_bytes,
        };
        self.open.iter().filter(|s| !s.ending).map(row).collect()
    }

    pub(super) fn remove(&mut self, index: u32) {
        self.open.retain(|s| s.index != index);
    }

    pub(super) fn set_ending(&mut self, index: u32) {
        if let Some(s) = self.open.iter_mut().find(|s| s.index == index) {
            s.ending = true;
        }
    }

    pub(super) fn refuse_silently(&mut self) {
        self.refusal_told = true;
    }

    /// The open stream of that name, or the newest.
    pub(super) fn find(&self, name: Option<&str>) -> Result<u32, ProtocolError> {
        let mut live = self.open.iter().rev().filter(|s| !s.ending);
        match name {
            Some(name) => live.find(|s| s.name == name || s.uid.to_string() == name).map(|s| s.index),
            None => live.next().map(|s| s.index),
        }
        .ok_or_else(|| not_found(name))
    }

    pub(super) fn end(&mut self, name: Option<&str>) -> Result<u32, ProtocolError> {
        let index = self.find(name)?;
        self.set_ending(index);
        Ok(index)
    }

    /// Ends those that go into a conversation; their indices.
    pub(super) fn end_in(&mut self, conversation_id: &str) -> Vec<u32> {
        let there = |e: &&mut Entry| !e.ending && e.conversation_id.as_deref() == Some(conversation_id);
        let ending = |e: &mut Entry| {
            e.ending = true;
            e.index
        };
        self.open.iter_mut().filter(there).map(ending).collect()
    }

    pub(super) fn start(
        &mut self,
        a: AudioStart,
        reply_to: Option<String>,
        limits: &SessionLimits,
        defaults: &StreamDefaults,
        subscriptions: EventSet,
    ) -> Result<OpenStream, ProtocolError> {
        if let Some(name) = &a.stream_id
            && self.by_name(name).is_some()
        {
            return Err(ProtocolError::new(ErrorCode::StreamExists, format!("stream_id: '{name}' is open already"))
                .on_stream(name.clone()));
        }
        let format = a.format.unwrap_or(defaults.format);
        let mut open = self.add(a.stream_id, format, a.framing, a.output, limits, defaults, subscriptions)?;
        open.ack_interval_ms = a.ack_interval_ms;
        open.record = a.record;
        open.overflow = a.overflow;
        if let Some(entry) = self.open.last_mut() {
            entry.conversation_id.clone_from(&a.conversation_id);
        }
        open.conversation_id = a.conversation_id;
        open.reply_to = reply_to;
        self.any_started = true;
        self.refusal_told = false;
        Ok(open)
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one declaration, used in two places")]
    fn add(
        &mut self,
        name: Option<String>,
        format: StreamFormat,
        framing: Framing,
        output: OutputRequest,
        limits: &SessionLimits,
        defaults: &StreamDefaults,
        subscriptions: EventSet,
    ) -> Result<OpenStream, ProtocolError> {
        if self.open.len() >= limits.streams_max {
            return Err(ProtocolError::new(
                ErrorCode::StreamLimit,
                format!("{} streams are open, no more are allowed: end one first", limits.streams_max),
            ));
        }
        let uid = (self.new_uid)();
        let name = name.unwrap_or_else(|| uid.to_string());
        let index = self.next_index;
        self.next_index = self.next_index.wrapping_add(1);
        self.open.push(Entry {
            index,
            uid,
            name: name.clone(),
            format,
            framing,
            received_bytes: 0,
            gap: false,
            ending: false,
            conversation_id: None,
        });
        Ok(OpenStream {
            index,
            uid,
            stream_id: name,
            format,
            output: OutputFormat {
                rate_hz: output.rate_hz.unwrap_or(defaults.output.rate_hz),
                channels: output.channels.unwrap_or(defaults.output.channels),
            },
            ack_interval_ms: 200,
            record: true,
            overflow: Overflow::Block,
            conversation_id: None,
            implicit: false,
            speech: subscriptions.has(Topic::Speech),
            levels: subscriptions.has(Topic::Levels),
            reply_to: None,
        })
    }

    /// Opens a stream because audio came before any `audio_start`.
    fn open_by_audio(
        &mut self,
        name: Option<String>,
        format: Option<StreamFormat>,
        limits: &SessionLimits,
        defaults: &StreamDefaults,
        subscriptions: EventSet,
    ) -> Result<OpenStream, ProtocolError> {
        let format = format.unwrap_or(defaults.format);
        let mut open =
            self.add(name, format, Framing::Raw, OutputRequest::default(), limits, defaults, subscriptions)?;
        open.implicit = true;
        self.any_started = true;
        Ok(open)
    }

    pub(super) fn route(
        &mut self,
        payload: &[u8],
        limits: &SessionLimits,
        defaults: &StreamDefaults,
        subscriptions: EventSet,
    ) -> Route {
        if payload.is_empty() {
            return Route::Empty;
        }
        let raw = self.open.iter_mut().rev().find(|s| s.framing == Framing::Raw && !s.ending);
        if let Some(s) = raw {
            s.received_bytes += payload.len() as u64;
            return Route::Audio { index: s.index, skip: 0 };
        }
        if self.open.iter().any(|s| s.framing == Framing::Tagged) {
            return self.route_tagged(payload);
        }
        if self.any_started {
            return self.refuse(not_found(None));
        }
        match self.open_by_audio(None, None, limits, defaults, subscriptions) {
            Ok(open) => {
                if let Some(s) = self.open.last_mut() {
                    s.received_bytes += payload.len() as u64;
                }
                Route::OpenFirst(Box::new(open))
            }
            Err(e) => self.refuse(e),
        }
    }

    fn route_tagged(&mut self, payload: &[u8]) -> Route {
        let Some(tag) = payload.first_chunk::<TAG_BYTES>() else {
            let e = ProtocolError::new(ErrorCode::InvalidMessage, "a tagged frame begins with 4 bytes of stream index");
            return self.refuse(e);
        };
        let index = u32::from_le_bytes(*tag);
        match self.open.iter_mut().find(|s| s.index == index && s.framing == Framing::Tagged && !s.ending) {
            Some(_) if payload.len() == TAG_BYTES => Route::Empty,
            Some(s) => {
                s.received_bytes += (payload.len() - TAG_BYTES) as u64;
                Route::Audio { index, skip: TAG_BYTES }
            }
            None => {
                let e =
                    ProtocolError::new(ErrorCode::StreamNotFound, format!("no open tagged stream has index {index}"));
                self.refuse(e)
            }
        }
    }

    pub(super) fn refuse(&mut self, error: ProtocolError) -> Route {
        let told = std::mem::replace(&mut self.refusal_told, true);
        Route::Refuse((!told).then_some(error))
    }

    #[allow(clippy::too_many_arguments, reason = "one message and the session's settings")]
    pub(super) fn audio_data(
        &mut self,
        a: AudioData<'_>,
        reply_to: Option<String>,
        scratch: &mut Vec<u8>,
        limits: &SessionLimits,
        defaults: &StreamDefaults,
        subscriptions: EventSet,
        fx: &mut Vec<Effect>,
    ) -> Result<(), ProtocolError> {
        scratch.clear();
        BASE64.decode_vec(a.data.as_bytes(), scratch).map_err(|e| invalid_base64(&e))?;
        let name = a.stream_id.as_deref();
        let at = match name {
            Some(n) => self.open.iter().rposition(|s| !s.ending && s.name == n),
            None => self.open.iter().rposition(|s| !s.ending),
        };
        let Some(at) = at else {
            if self.any_started && (name.is_none() || self.open.iter().any(|s| Some(s.name.as_str()) == name)) {
                return Err(not_found(name));
            }
            return self.audio_data_opens(a, reply_to, scratch, limits, defaults, subscriptions, fx);
        };
        let s = &mut self.open[at];
        if a.format.is_some_and(|f| contradicts(f, s.format)) {
            return Err(ProtocolError::new(
                ErrorCode::InvalidMessage,
                format!("format: the open stream is {}; a new format needs a new stream", s.format.encoding),
            )
            .on_stream(s.name.clone()));
        }
        let skip = s.accept(a.offset, scratch.len())?;
        fx.push(Effect::Audio { index: s.index, skip, reply_to });
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "one message and the session's settings")]
    fn audio_data_opens(
        &mut self,
        a: AudioData<'_>,
        reply_to: Option<String>,
        scratch: &[u8],
        limits: &SessionLimits,
        defaults: &StreamDefaults,
        subscriptions: EventSet,
        fx: &mut Vec<Effect>,
    ) -> Result<(), ProtocolError> {
        if let Some(n) = a.stream_id.as_deref() {
            crate::protocol::check_name("stream_id", n)
                .map_err(|e| ProtocolError::new(ErrorCode::InvalidMessage, e.to_string()))?;
        }
        let name = a.stream_id.map(std::borrow::Cow::into_owned);
        let open = self.open_by_audio(name, a.format, limits, defaults, subscriptions)?;
        let index = open.index;
        fx.push(Effect::Open(Box::new(open)));
        if let Some(s) = self.open.last_mut() {
            let skip = s.accept(a.offset, scratch.len())?;
            fx.push(Effect::Audio { index, skip, reply_to });
        }
        Ok(())
    }
}

impl Entry {
    /// Takes `len` bytes that begin at stream position `offset`. Returns how many of them came before.
    fn accept(&mut self, offset: Option<u64>, len: usize) -> Result<usize, ProtocolError> {
        let hole = match offset {
            Some(o) => o > self.received_bytes,
            None => self.gap,
        };
        if hole {
            self.gap = true;
            return Err(ProtocolError::new(
                ErrorCode::AudioGap,
                format!("offset: bytes are missing from {} on; send them first", self.received_bytes),
            )
            .on_stream(self.name.clone())
            .detail("expected_offset", self.received_bytes));
        }
        self.gap = false;
        let known = offset.map_or(0, |o| self.received_bytes - o);
        let skip = usize::try_from(known).map_or(len, |k| k.min(len));
        if self.format.encoding == Encoding::Opus && skip > 0 && skip < len {
            return Err(ProtocolError::new(ErrorCode::AudioGap, "offset: an Opus packet cannot be sent in part")
                .on_stream(self.name.clone())
                .detail("expected_offset", self.received_bytes));
        }
        self.received_bytes += (len - skip) as u64;
        Ok(skip)
    }
}

fn contradicts(said: StreamFormat, open: StreamFormat) -> bool {
    let other = |a: Option<u32>, b: Option<u32>| matches!((a, b), (Some(a), Some(b)) if a != b);
    (said.encoding != Encoding::Auto && said.encoding != open.encoding)
        || other(said.sample_rate, open.sample_rate)
        || other(said.channels.map(u32::from), open.channels.map(u32::from))
}

fn invalid_base64(e: &base64::DecodeError) -> ProtocolError {
    let what = match e {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol { offset: at, .. } => {
            format!("audio_data.data: invalid symbol at {at}; the standard alphabet is A-Z a-z 0-9 + /")
        }
        base64::DecodeError::InvalidLength(n) => format!("audio_data.data: {n} symbols are no whole number of bytes"),
        base64::DecodeError::InvalidPadding => "audio_data.data: wrong padding".to_owned(),
    };
    ProtocolError::new(ErrorCode::InvalidBase64, what)
}

fn not_found(name: Option<&str>) -> ProtocolError {
    match name {
        Some(n) => {
            let shown: String = n.chars().take(64).collect();
            ProtocolError::new(ErrorCode::StreamNotFound, format!("stream_id: no open stream is called '{shown}'"))
        }
        None => ProtocolError::new(ErrorCode::StreamNotFound, "no stream is open: send audio_start first"),
    }
}
