//! How a stream begins: what it reserves, its decoder, its sinks, its place in the directory.

use std::sync::Arc;

use super::STREAM_RESERVED_BYTES;
use super::lane::Lane;
use super::report::{decode_error, not_recorded};
use super::stream::{End, Stream, stream_span, stream_trace};
use super::task::{TICK_MS, Task};
use crate::audio::{OutputChannels, PcmSpec};
use crate::decode::{DecodeParams, WHOLE_FILE_BYTES_MAX};
use crate::hub::LiveStreamMeta;
use crate::journal::OpenNote;
use crate::pipeline::{Chain, StreamPipeline, StreamSettings};
use crate::protocol::{AudioStarted, ChannelsInfo, ErrorCode, Event, OutputInfo, ProtocolError, Topic};
use crate::session::OpenStream;
use crate::sink::recorder::{RecordError, Recorder, RecordingHandle, RecordingStart};
use crate::sink::{Sink, levels, listeners, voice};

/// What a stream that is made again after a kill takes over.
#[derive(Clone, Copy)]
pub(super) struct Again {
    /// Its recording, where it has one.
    pub(super) recording_id: Option<uuid::Uuid>,
    /// When it began.
    pub(super) started_unix_ms: u64,
}

impl Task {
    /// Opens a stream, or tells why not.
    pub(super) fn open_stream(&mut self, open: OpenStream, lane: &mut Lane) {
        let _span = stream_span(&self.connection, open.uid, &open.stream_id);
        let (index, reply_to, stream_id) = (open.index, open.reply_to.clone(), open.stream_id.clone());
        match self.open_kept(open) {
            Ok((stream, started)) => {
                let answer = Event::AudioStarted(Box::new(started));
                self.session.opened(reply_to.as_deref(), &answer);
                self.began(stream);
                self.send(&answer, reply_to.as_deref(), lane);
            }
            Err(e) => {
                self.session.closed(index);
                self.fault(e.on_stream(stream_id), reply_to, lane);
            }
        }
    }

    /// Opens a stream, and keeps its bytes where that is configured.
    fn open_kept(&mut self, open: OpenStream) -> Result<(Box<Stream>, AudioStarted), ProtocolError> {
        let kept = self.app.journal.is_some().then(|| open.clone());
        let (mut stream, started) = self.try_open(open, None)?;
        if let Some(open) = kept {
            let note = OpenNote::new(&open, started.recording_id, stream.live.meta.started_unix_ms);
            if let Err(e) = self.begin_log(&mut stream, &note) {
                if let Some(r) = stream.recording.take() {
                    r.cancel();
                }
                stream.unlist(&self.app);
                return Err(e);
            }
        }
        Ok((stream, started))
    }

    /// A stream was opened: it runs.
    pub(super) fn began(&mut self, stream: Box<Stream>) {
        if let Some(c) = &stream.live.meta.conversation_id {
            self.app.conversations.streaming(&self.connection, c, true);
        }
        self.streams.push(stream);
        self.look_within(TICK_MS);
    }

    /// Makes a stream; `again`: one there was before.
    pub(super) fn try_open(
        &mut self,
        open: OpenStream,
        again: Option<Again>,
    ) -> Result<(Box<Stream>, AudioStarted), ProtocolError> {
        if self.app.drain_deadline_ms().is_some() {
            return Err(ProtocolError::new(ErrorCode::Draining, "the server is stopping: connect again"));
        }
        let overloaded = |what: &str| ProtocolError::new(ErrorCode::Overloaded, what).retry_after_ms(1_000);
        let config = &self.app.config.audio;
        let reserved = self
            .app
            .memory
            .reserve(STREAM_RESERVED_BYTES)
            .ok_or_else(|| overloaded("the server's memory for streams is in use"))?;
        let params =
            DecodeParams { format: open.format, output: open.output, whole_file_bytes_max: WHOLE_FILE_BYTES_MAX };
        let chain = Chain::open(&params).map_err(|e| decode_error(&e, open.implicit))?;
        let started_unix_ms = again.map_or_else(crate::clock::unix_ms, |a| a.started_unix_ms);
        let (recording, refused) = match self.recording_of(&open, started_unix_ms, again) {
            Ok(r) => (r, None),
            Err(e) => (None, Some(not_recorded(&e))),
        };
        let now_ms = self.app.clock.now_ms();
        let live = self
            .app
            .streams
            .insert(LiveStreamMeta {
                uid: open.uid,
                stream_id: open.stream_id.clone(),
                connection: Arc::clone(&self.connection),
                conversation_id: open.conversation_id.clone(),
                encoding: open.format.encoding,
                output: open.output,
                recording_id: recording.as_ref().map(|r| r.handle().id()),
                started_unix_ms,
            })
            .ok_or_else(|| overloaded("the server has all the streams it takes"))?;
        let handle = recording.as_ref().map(Recorder::handle);
        let mut sinks: Vec<Box<dyn Sink>> = vec![Box::new(listeners::Listeners::new(Arc::clone(&live)))];
        if let Some(r) = recording {
            sinks.push(Box::new(r));
        }
        let trace = stream_trace(&self.trace, &self.connection, &open);
        let settings = StreamSettings {
            format: open.format,
            overflow: open.overflow,
            queue_ms: config.queue_ms,
            ack_interval_ms: open.ack_interval_ms,
        };
        let mut stream = Box::new(Stream {
            index: open.index,
            stream_id: open.stream_id.as_str().into(),
            implicit: open.implicit,
            pipeline: StreamPipeline::new(settings, chain, sinks),
            live,
            log: None,
            unkept_ack: None,
            recording: handle,
            recording_fault_told: false,
            closing: None,
            end: End::No,
            frames_in: 0,
            flushes: Vec::new(),
            speech_ms: None,
            counts_speech: open.speech,
            reserved,
            started_ms: now_ms,
            heard_ms: now_ms,
            busy: refused.is_some(),
            trace,
        });
        stream.pipeline.sink_events.extend(refused); // told once the client knows of the stream
        if open.levels {
            stream.pipeline.add_sink(Box::new(levels::LevelSink::new()));
        }
        if open.speech {
            stream.pipeline.add_sink(Box::new(voice::VoiceSink::new()));
        }
        let started = AudioStarted {
            stream_id: open.stream_id,
            stream_uid: open.uid.to_string(),
            stream_index: open.index,
            format: open.format,
            output: OutputInfo {
                encoding: "pcm_s16le",
                sample_rate: open.output.rate_hz,
                channels: match (open.output.channels, open.format.channels) {
                    (OutputChannels::Mono, _) => ChannelsInfo::Count(1),
                    (OutputChannels::Source, Some(n)) => ChannelsInfo::Count(n),
                    (OutputChannels::Source, None) => ChannelsInfo::Source,
                },
            },
            recording_id: stream.recording.as_ref().map(RecordingHandle::id),
        };
        Ok((stream, started))
    }

    fn recording_of(
        &self,
        open: &OpenStream,
        started_unix_ms: u64,
        again: Option<Again>,
    ) -> Result<Option<Recorder>, RecordError> {
        let id = match again {
            Some(a) => a.recording_id,
            None => Some(uuid::Uuid::now_v7()),
        };
        let (Some(id), Some(service)) = (id, self.app.recorder.as_ref().filter(|_| open.record)) else {
            return Ok(None);
        };
        let connection = Arc::clone(&self.connection);
        let start = RecordingStart {
            id,
            stream_uid: open.uid.to_string(),
            stream_id: open.stream_id.clone(),
            client_id: self.connection.client_id().to_owned(),
            user_id: self.connection.identity().user_id.clone(),
            conversation_id: open.conversation_id.clone(),
            created_at_ms: i64::try_from(started_unix_ms).unwrap_or(i64::MAX),
            spec: PcmSpec { rate_hz: open.output.rate_hz, channels: 1 },
        };
        let wake = Arc::new(move || connection.outbox.wake());
        if again.is_some() { service.remake(start, wake) } else { service.create(start, wake) }.map(Some)
    }

    /// Brings the sinks that depend on subscriptions in line with them.
    pub(super) fn update_sinks(&mut self) {
        let wants = self.session.subscriptions();
        for s in self.streams.iter_mut().filter(|s| !s.pipeline.is_ending()) {
            if wants.has(Topic::Levels) {
                s.pipeline.add_sink(Box::new(levels::LevelSink::new()));
            } else {
                s.pipeline.remove_sink(levels::NAME);
            }
            if wants.has(Topic::Speech) {
                s.pipeline.add_sink(Box::new(voice::VoiceSink::new()));
            }
            s.busy = true;
        }
    }
}
