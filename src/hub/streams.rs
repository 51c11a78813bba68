//! The directory of running streams, and who listens to each. A speaker's block is encoded once, whoever listens.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use uuid::Uuid;

use super::connection::Connection;
use crate::audio::{Encoding, OutputChannels, OutputFormat, PcmSpec};
use crate::protocol::{ChannelsInfo, Event, ListenTarget, ListenedStream, StreamInfo};
use crate::sink::listeners::Publish;

/// Listeners that get a frame in one go, in less than a millisecond, before others of the thread have their turn: the tasks that were called
/// write before what was touched of them has left the caches. Fewer cost more, as the speaker's task is called for each go.
const HANDED_AT_ONCE: usize = 128;

/// What is known of a stream from its start.
#[derive(Clone, Debug)]
pub struct LiveStreamMeta {
    /// Its unique id.
    pub uid: Uuid,
    /// The client's name for it.
    pub stream_id: String,
    /// Who sends it.
    pub connection: Arc<Connection>,
    /// The conversation it belongs to.
    pub conversation_id: Option<String>,
    /// What is sent.
    pub encoding: Encoding,
    /// What comes out.
    pub output: OutputFormat,
    /// Its recording.
    pub recording_id: Option<Uuid>,
    /// Milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
}

#[derive(Clone, Debug)]
struct Listener {
    id: Uuid,
    connection: Arc<Connection>,
}

/// Who listens, and how far the newest frame has come among them.
#[derive(Debug, Default)]
struct Audience {
    all: Vec<Listener>,
    frame: Bytes,
    /// The first who has not got it.
    next: usize,
}

/// A running stream, as others see it.
#[derive(Debug)]
pub struct LiveStream {
    /// From its start.
    pub meta: LiveStreamMeta,
    /// Its number in listeners' frames, unique on the server, so that one encoding serves all.
    pub listen_index: u16,
    /// Output channels; 0 until known.
    pub channels: AtomicU16,
    /// Position on its timeline in milliseconds.
    pub position_ms: AtomicU64,
    /// Audio that waited to be decoded at its last acknowledgement, in milliseconds.
    pub buffered_ms: AtomicU64,
    audience: Mutex<Audience>,
    listener_count: AtomicUsize,
    /// A frame has not come to all.
    handing_on: AtomicBool,
}

impl LiveStream {
    /// As a row of a list.
    pub fn info(&self) -> StreamInfo {
        StreamInfo {
            stream_id: self.meta.stream_id.clone(),
            stream_uid: self.meta.uid.to_string(),
            encoding: self.meta.encoding.name(),
            conversation_id: self.meta.conversation_id.clone(),
            started_at: crate::clock::rfc3339(self.meta.started_unix_ms),
            decoded_ms: self.position_ms.load(Ordering::Relaxed),
            recording_id: self.meta.recording_id,
            listeners: self.listener_count.load(Ordering::Relaxed),
        }
    }

    fn listened(&self) -> ListenedStream {
        let channels = match (self.meta.output.channels, self.channels.load(Ordering::Relaxed)) {
            (OutputChannels::Mono, _) => ChannelsInfo::Count(1),
            (OutputChannels::Source, 0) => ChannelsInfo::Source,
            (OutputChannels::Source, n) => ChannelsInfo::Count(n),
        };
        ListenedStream {
            stream_uid: self.meta.uid.to_string(),
            stream_id: self.meta.stream_id.clone(),
            stream_index: self.listen_index,
            sample_rate: self.meta.output.rate_hz,
            channels,
            from: self.meta.connection.speaker(),
        }
    }

    /// Whether a frame has not come to all listeners: [`hand_on`](Self::hand_on) is to be called until it has.
    pub fn is_handing_on(&self) -> bool {
        self.handing_on.load(Ordering::Relaxed)
    }

    /// Hands the newest frame to some more listeners.
    pub fn hand_on(&self) {
        self.hand(&mut lock(&self.audience), HANDED_AT_ONCE);
    }

    fn hand(&self, audience: &mut Audience, count: usize) {
        let end = audience.all.len().min(audience.next.saturating_add(count));
        let listeners = audience.all.get(audience.next..end).unwrap_or_default();
        // What each needs has left the cache since the last frame: asked for together it comes together, not one after another.
        std::hint::black_box(listeners.iter().filter(|l| l.connection.outbox.is_blocked()).count());
        let here = std::thread::current().id();
        for l in listeners {
            l.connection.outbox.send_audio(self.listen_index, &audience.frame, here);
        }
        audience.next = end;
        let more = end < audience.all.len();
        if !more {
            audience.frame = Bytes::new();
        }
        self.handing_on.store(more, Ordering::Relaxed);
    }

    /// Hands the newest frame to everybody who has not got it.
    fn hand_to_all(&self, audience: &mut Audience) {
        if self.is_handing_on() {
            self.hand(audience, usize::MAX);
        }
    }

    /// Whoever comes hears the next frame.
    fn attach(&self, listener: Listener) {
        let mut audience = lock(&self.audience);
        self.hand_to_all(&mut audience);
        audience.all.push(listener);
        self.listener_count.store(audience.all.len(), Ordering::Relaxed);
    }

    fn detach(&self, listener_id: Uuid) -> bool {
        let mut audience = lock(&self.audience);
        let Some(at) = audience.all.iter().position(|l| l.id == listener_id) else { return false };
        audience.all.remove(at);
        audience.next -= usize::from(at < audience.next);
        self.listener_count.store(audience.all.len(), Ordering::Relaxed);
        true
    }
}

impl Publish for LiveStream {
    fn listen_index(&self) -> u16 {
        self.listen_index
    }

    fn is_heard(&self) -> bool {
        self.listener_count.load(Ordering::Relaxed) > 0
    }

    fn publish(&self, frame: Bytes) {
        let mut audience = lock(&self.audience);
        self.hand_to_all(&mut audience);
        (audience.frame, audience.next) = (frame, 0);
        self.hand(&mut audience, HANDED_AT_ONCE);
    }

    fn at(&self, spec: PcmSpec, position: u64) {
        self.channels.store(spec.channels, Ordering::Relaxed);
        self.position_ms.store(position * 1_000 / u64::from(spec.rate_hz), Ordering::Relaxed);
    }
}

/// Figures of all streams there ever were.
#[derive(Clone, Debug, Default)]
pub struct StreamTotals {
    /// Those that run.
    pub open: usize,
    /// Those that were begun, by encoding.
    pub started: BTreeMap<&'static str, u64>,
    /// Audio that came out of them, in milliseconds.
    pub audio_ms: u64,
    /// Audio that waits to be decoded, in milliseconds.
    pub buffered_ms: u64,
    /// Who listens, counted once a stream.
    pub listeners: usize,
}

/// What a new listener hears.
#[derive(Debug)]
pub struct Listening {
    /// Its id.
    pub listener_id: Uuid,
    /// The streams that run now.
    pub streams: Vec<ListenedStream>,
}

#[derive(Debug, Default)]
struct Index {
    by_uid: HashMap<Uuid, Arc<LiveStream>>,
    /// Which listen indices are taken.
    taken: Vec<bool>,
    /// Where the search for a free one begins, so that an index comes back as late as possible.
    next: usize,
    conversations: HashMap<String, Vec<Listener>>,
    started: BTreeMap<&'static str, u64>,
    /// Audio of the streams that ended.
    retired_ms: u64,
}

/// Every running stream.
#[derive(Debug)]
pub struct Directory {
    index: Mutex<Index>,
    max: usize,
}

impl Directory {
    /// An empty directory for `max` streams, 65,536 at the most.
    pub fn new(max: usize) -> Self {
        Self { index: Mutex::default(), max: max.min(usize::from(u16::MAX) + 1) }
    }

    /// How many streams run.
    pub fn len(&self) -> usize {
        lock(&self.index).by_uid.len()
    }

    /// Whether none runs.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether no more streams are taken.
    pub fn is_full(&self) -> bool {
        self.len() >= self.max
    }

    /// Lists a stream and tells those who listen to its conversation. `None` where the server is full.
    pub fn insert(&self, meta: LiveStreamMeta) -> Option<Arc<LiveStream>> {
        let mut index = lock(&self.index);
        if index.by_uid.len() >= self.max {
            return None;
        }
        let listen_index = index.take_number(self.max)?;
        let stream = Arc::new(LiveStream {
            meta,
            listen_index,
            channels: AtomicU16::new(0),
            position_ms: AtomicU64::new(0),
            buffered_ms: AtomicU64::new(0),
            audience: Mutex::default(),
            listener_count: AtomicUsize::new(0),
            handing_on: AtomicBool::new(false),
        });
        *index.started.entry(stream.meta.encoding.name()).or_default() += 1;
        index.by_uid.insert(stream.meta.uid, Arc::clone(&stream));
        if let Some(c) = &stream.meta.conversation_id {
            for l in index.conversations.get(c).into_iter().flatten() {
                stream.attach(l.clone());
                l.connection.outbox.send(&Event::ListeningChanged {
                    listener_id: l.id.to_string(),
                    added: vec![stream.listened()],
                    removed: Vec::new(),
                });
            }
        }
        Some(stream)
    }

    /// Takes a stream out and tells those who listen to its conversation. False where it was out already.
    pub fn remove(&self, stream: &LiveStream) -> bool {
        let mut index = lock(&self.index);
        if index.by_uid.remove(&stream.meta.uid).is_none() {
            return false;
        }
        stream.hand_to_all(&mut lock(&stream.audience));
        index.taken[usize::from(stream.listen_index)] = false;
        index.retired_ms += stream.position_ms.load(Ordering::Relaxed);
        if let Some(c) = &stream.meta.conversation_id {
            for l in index.conversations.get(c).into_iter().flatten() {
                l.connection.outbox.send(&Event::ListeningChanged {
                    listener_id: l.id.to_string(),
                    added: Vec::new(),
                    removed: vec![stream.listen_index],
                });
            }
        }
        true
    }

    /// Adds up the figures of all streams, those that ended included.
    pub fn survey(&self) -> StreamTotals {
        let index = lock(&self.index);
        let mut sums = StreamTotals {
            open: index.by_uid.len(),
            started: index.started.clone(),
            audio_ms: index.retired_ms,
            ..StreamTotals::default()
        };
        for s in index.by_uid.values() {
            sums.audio_ms += s.position_ms.load(Ordering::Relaxed);
            sums.buffered_ms += s.buffered_ms.load(Ordering::Relaxed);
            sums.listeners += s.listener_count.load(Ordering::Relaxed);
        }
        sums
    }

    /// The streams one connection sends.
    pub fn of_connection(&self, connection: &Connection) -> Vec<StreamInfo> {
        let index = lock(&self.index);
        let mut rows: Vec<_> = index.by_uid.values().filter(|s| s.meta.connection.key() == connection.key()).collect();
        rows.sort_by_key(|s| s.meta.uid);
        rows.into_iter().map(|s| s.info()).collect()
    }

    /// Begins to listen. `own` resolves the connection's own names, `member` tells whether it is in a conversation; `None` where there
    /// is no such stream, or it is not the listener's to hear (which are one answer, so that nobody can probe).
    pub fn listen(
        &self,
        connection: &Arc<Connection>,
        target: &ListenTarget,
        own: impl Fn(&str) -> Option<Uuid>,
        member: impl Fn(&str) -> bool,
    ) -> Option<Listening> {
        let listener = Listener { id: Uuid::now_v7(), connection: Arc::clone(connection) };
        let listener_id = listener.id;
        let admin = connection.identity().admin;
        let mut index = lock(&self.index);
        let streams = match target {
            ListenTarget::Stream(name) => {
                let uid = own(name).or_else(|| name.parse().ok())?;
                let stream = index.by_uid.get(&uid)?;
                let mine = stream.meta.connection.key() == connection.key();
                let shared = stream.meta.conversation_id.as_deref().is_some_and(member);
                if !(admin || mine || shared) {
                    return None;
                }
                stream.attach(listener);
                vec![stream.listened()]
            }
            ListenTarget::Conversation(c) => {
                if !(admin || member(c)) {
                    return None;
                }
                let mut streams: Vec<_> =
                    index.by_uid.values().filter(|s| s.meta.conversation_id.as_ref() == Some(c)).cloned().collect();
                streams.sort_by_key(|s| s.meta.uid);
                for s in &streams {
                    s.attach(listener.clone());
                }
                index.conversations.entry(c.clone()).or_default().push(listener);
                streams.iter().map(|s| s.listened()).collect()
            }
        };
        Some(Listening { listener_id, streams })
    }

    /// A connection left a conversation: it no longer listens to it or to others' streams in it. Returns the listeners that end.
    pub fn left(&self, connection: &Connection, conversation_id: &str) -> Vec<Uuid> {
        let index = lock(&self.index);
        let mine = |l: &Listener| l.connection.key() == connection.key();
        let mut ended = Vec::new();
        for stream in index.by_uid.values().filter(|s| s.meta.conversation_id.as_deref() == Some(conversation_id)) {
            if stream.meta.connection.key() != connection.key() {
                ended.extend(lock(&stream.audience).all.iter().filter(|l| mine(l)).map(|l| l.id));
            }
        }
        if let Some(all) = index.conversations.get(conversation_id) {
            ended.extend(all.iter().filter(|l| mine(l)).map(|l| l.id));
        }
        drop(index);
        ended.sort_unstable();
        ended.dedup();
        ended.retain(|id| self.stop_listening(*id));
        ended
    }

    /// Stops listening. False where there was no such listener.
    pub fn stop_listening(&self, listener_id: Uuid) -> bool {
        let mut index = lock(&self.index);
        let mut found = false;
        for stream in index.by_uid.values() {
            found |= stream.detach(listener_id);
        }
        index.conversations.retain(|_, all| {
            let before = all.len();
            all.retain(|l| l.id != listener_id);
            found |= all.len() != before;
            !all.is_empty()
        });
        found
    }
}

impl Index {
    fn take_number(&mut self, max: usize) -> Option<u16> {
        for _ in 0..max {
            let n = self.next;
            self.next = (n + 1) % max;
            if n >= self.taken.len() {
                self.taken.resize(n + 1, false);
            }
            if !self.taken[n] {
                self.taken[n] = true;
                return u16::try_from(n).ok();
            }
        }
        None
    }
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}
