//! A start after a kill: sessions the journal has become connections that wait for their clients, their streams decoded again from the
//! first byte. Each is rebuilt in turns on its worker, so that others are served meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;

use uuid::Uuid;

use super::lane::{Lane, with_lane};
use super::mail::Mail;
use super::opening::Again;
use super::sessions::TokenHash;
use super::task::{Phase, Task};
use super::welcome::{outbox_limits, session_limits};
use crate::audio::{OutputChannels, OutputFormat};
use crate::hub::{Connection, ConnectionMeta};
use crate::journal::{Found, FoundStream, Log, Replay};
use crate::protocol::{ErrorCode, Event, EventSet, Identity, ProtocolError};
use crate::server::state::App;
use crate::session::{Authentication, Session, StreamDefaults};

/// Bytes a session is rebuilt by before the worker's others have their turn: some milliseconds of Opus.
const TURN_BYTES: usize = 16 << 10;
/// A session that is being rebuilt waits for its client as long as it takes; a number the timers can still count with.
const REBUILDING_MS: u64 = u32::MAX as u64;

/// A session from the journal that clients can already ask for, and whose task is still to be made.
pub(in crate::server) struct Restored {
    connection: Arc<Connection>,
    session: Session,
    mail: Arc<Mail>,
    found: Found,
}

/// What is still to be decoded again.
pub(super) struct Rebuilding {
    streams: VecDeque<Rebuilt>,
    began_ms: u64,
    bytes: u64,
}

struct Rebuilt {
    index: u32,
    replay: Replay,
    log: Log,
}

impl Restored {
    /// Puts a session in its place in the hub. None where the journal's note makes no session.
    pub(in crate::server) fn register(app: &Arc<App>, found: Found) -> Option<Self> {
        let note = &found.note;
        let now_ms = app.clock.now_ms();
        let meta = ConnectionMeta {
            id: Uuid::now_v7(),
            remote_addr: ([0, 0, 0, 0], 0).into(),
            user_agent: None,
            connected_unix_ms: note.created_unix_ms,
            connected_ms: now_ms,
        };
        let identity = Arc::new(Identity { user_id: note.user_id.clone(), ..Identity::default() });
        let (limits, client) = (outbox_limits(app), note.client_id.clone());
        let connection =
            app.connections.insert_session(note.session_id, client, meta, Some(Arc::clone(&identity)), limits);
        let (Ok(connection), Some(current)) = (connection, TokenHash::parse(&note.token)) else {
            tracing::error!(session = %note.session_id, "a session of the journal cannot be restored; its files stay");
            return None;
        };
        app.connections.detach(&connection);
        connection.set_subscriptions(EventSet::from_bits(note.subscriptions));
        let defaults = StreamDefaults {
            format: note.default_format(),
            output: OutputFormat { rate_hz: app.config.audio.output_rate_hz, channels: OutputChannels::Mono },
        };
        let known = Authentication::Known { identity, expires_ms: None };
        let mut session = Session::new(session_limits(app), defaults, known, Uuid::now_v7);
        let events = found.events.iter().map(|(seq, text)| (*seq, &**text));
        session.restore(EventSet::from_bits(note.subscriptions), events, note.last_seq);
        for stream in &found.streams {
            session.restore_stream(&stream.open.to_open(), stream.received_bytes);
        }
        let mail = Arc::new(Mail::default());
        let used = note.used_token.as_deref().and_then(TokenHash::parse);
        app.sessions.restore(&connection, &mail, current, used);
        Some(Self { connection, session, mail, found })
    }

    /// Its life from now on. To be called on the worker that will run it.
    pub(in crate::server) fn run(self, app: &Arc<App>) -> impl Future<Output = ()> + Send + use<> {
        self.into_task(app)
    }

    fn into_task(self, app: &Arc<App>) -> Task {
        let Self { connection, session, mail, found } = self;
        let mut task = Task::new(Arc::clone(app), connection, session, mail, None);
        task.phase = Phase::Detached(app.clock.now_ms() + REBUILDING_MS);
        task.noted = true; // it had said something: a stream was open
        task.note_version = found.note.version;
        task.rebuilding =
            Some(Box::new(Rebuilding { streams: VecDeque::new(), began_ms: app.clock.now_ms(), bytes: 0 }));
        with_lane(|lane| {
            for conversation_id in found.note.conversations {
                let mut effects = Vec::new();
                if task.session.join(conversation_id, None, &mut effects).is_ok() {
                    task.carry_out_all(effects, lane);
                }
            }
            for stream in &found.streams {
                task.reopen(stream);
            }
        });
        task
    }
}

impl Task {
    /// Opens a stream again as it was opened before; its bytes are still to come.
    fn reopen(&mut self, found: &FoundStream) {
        let (open, index) = (found.open.to_open(), found.open.index);
        let Some(journal) = &self.app.journal else { return };
        let connection = Arc::clone(&self.connection);
        let log = journal.go_on(found, Arc::new(move || connection.outbox.wake()));
        let again = Again { recording_id: found.open.recording_id, started_unix_ms: found.open.started_unix_ms };
        let opened = match found.replay() {
            Ok(replay) => self.try_open(open, Some(again)).map(|opened| (opened, replay)),
            Err(e) => Err(ProtocolError::new(ErrorCode::Internal, e.to_string())),
        };
        match opened {
            Ok(((stream, started), replay)) => {
                let answer = Event::AudioStarted(Box::new(started));
                self.session.opened(found.open.reply_to.as_deref(), &answer);
                self.began(stream);
                if let Some(r) = &mut self.rebuilding {
                    r.streams.push_back(Rebuilt { index, replay, log });
                }
            }
            Err(e) => {
                tracing::error!(stream = %found.open.uid, error = e.message, "a stream of the journal cannot go on");
                self.session.closed(index);
                if e.code != ErrorCode::Draining {
                    log.remove();
                }
            }
        }
    }

    /// Decodes some of what the journal has. True where there is more.
    pub(super) fn rebuild(&mut self, lane: &mut Lane) -> bool {
        let mut left = TURN_BYTES;
        while let Some(mut front) = self.rebuilding.as_mut().and_then(|r| r.streams.pop_front()) {
            match self.rebuild_stream(&mut front, &mut left, lane) {
                Rebuild::Done => {}
                Rebuild::Later(more) => {
                    if let Some(r) = &mut self.rebuilding {
                        r.streams.push_front(front);
                    }
                    return more;
                }
            }
        }
        let Some(done) = self.rebuilding.take() else { return false };
        let now_ms = self.app.clock.now_ms();
        tracing::info!(session = %self.connection.session_id(), streams = self.streams.len(), bytes = done.bytes,
            audio_ms = self.streams.iter().map(|s| s.pipeline.progress().decoded_ms).sum::<u64>(),
            took_ms = now_ms - done.began_ms, "session rebuilt from the journal");
        if let Phase::Detached(_) = self.phase {
            let window_ms = self.app.config.session.resume_window_ms;
            self.phase = Phase::Detached(now_ms + window_ms);
            self.look_within(window_ms);
        }
        self.connection.outbox.wake(); // its mail was left alone
        true
    }

    fn rebuild_stream(&mut self, front: &mut Rebuilt, left: &mut usize, lane: &mut Lane) -> Rebuild {
        let now_us = lane.now_us;
        loop {
            let Some(at) = self.streams.iter().position(|s| s.index == front.index && s.is_open()) else {
                front.log.remove(); // it failed, or was ended
                return Rebuild::Done;
            };
            let s = &mut self.streams[at];
            if !s.pipeline.is_drained() {
                return Rebuild::Later(s.busy); // by a sink that has no room, or to be worked on
            }
            if *left == 0 {
                return Rebuild::Later(true);
            }
            match front.replay.next_frame() {
                Ok(Some(frame)) => {
                    *left = left.saturating_sub(frame.len());
                    if let Some(r) = &mut self.rebuilding {
                        r.bytes += frame.len() as u64;
                    }
                    self.audio(front.index, frame, now_us, lane);
                }
                Ok(None) => {
                    s.log = Some(front.log.clone());
                    return Rebuild::Done;
                }
                Err(e) => {
                    tracing::error!(stream = %s.live.meta.uid, error = %e, "a stream's journal cannot be read");
                    let e = ProtocolError::new(ErrorCode::Internal, "the stream's journal cannot be read");
                    self.break_off(at, e, lane);
                }
            }
        }
    }

    /// Whether the session is still being made again.
    pub(super) fn is_rebuilding(&self) -> bool {
        self.rebuilding.is_some()
    }
}

enum Rebuild {
    Done,
    /// Whether at once.
    Later(bool),
}
