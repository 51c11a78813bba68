//! The stream's side of its journal: records are put into a buffer that a writer thread takes; what has become durable is a number to
//! compare with. Nothing here touches the file system.

use std::fmt;
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::record::{Kind, MAGIC, encode, record_bytes};
use super::writer::Queue;
use super::{Core, JournalError, OpenNote, SessionNote};

/// Called, from a disk thread, when a log has something new to tell.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Bytes that may wait for the disk before the stream's socket is not read any more: half a minute of 16 kHz PCM, or a second of
/// what a browser could send at the most.
pub(super) const PENDING_BYTES_MAX: usize = 1 << 20;
/// Frames that go to the disk though nothing waits for them, in bytes: two seconds of 16 kHz PCM. A frame of a stream that is acknowledged
/// goes when its acknowledgement falls due, so that one sync serves all the frames of one acknowledgement.
const UNASKED_BYTES_MAX: usize = 64 << 10;

/// What waits for the disk.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) bytes: Vec<u8>,
    /// Length of the file once all of it is written.
    pub(super) position: u64,
    /// Up to where the writer has taken it.
    pub(super) taken: u64,
    /// Stands in the writer's list.
    pub(super) scheduled: bool,
    /// The file is to go.
    pub(super) remove: bool,
    failure: Option<JournalError>,
    /// There was no room for something.
    refused: bool,
}

/// One stream's log, as stream and writer share it.
pub(super) struct State {
    pub(super) stream: Uuid,
    pub(super) core: Arc<Core>,
    queue: Arc<Queue>,
    pending: Mutex<Pending>,
    /// Length of the file that survives.
    durable: AtomicU64,
    failed: AtomicBool,
    /// The stream's task asked and got "not yet".
    waiting: AtomicBool,
    wake: Wake,
    /// Only the writer locks this.
    pub(super) disk: Mutex<Disk>,
}

/// The writer's side of a log.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) file: Option<File>,
    /// The file has been made.
    pub(super) made: bool,
    /// The buffer of the last round; kept for its memory.
    pub(super) taken: Vec<u8>,
    /// Length of the file once this round is synced.
    pub(super) written: u64,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl State {
    pub(super) fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn schedule(self: &Arc<Self>, pending: &mut Pending) {
        if !std::mem::replace(&mut pending.scheduled, true) {
            self.queue.put(Arc::clone(self));
        }
    }

    /// All up to there survives.
    pub(super) fn publish(&self, durable: u64) {
        self.durable.store(durable, Ordering::SeqCst);
        if self.waiting.swap(false, Ordering::SeqCst) {
            (self.wake)();
        }
    }

    /// Nothing more is kept of this stream.
    pub(super) fn fail(&self, error: JournalError) {
        {
            let mut pending = self.lock();
            pending.failure.get_or_insert(error);
            pending.bytes = Vec::new();
        }
        self.failed.store(true, Ordering::SeqCst);
        (self.wake)();
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }
}

/// The log of one stream. Dropped without [`Log::remove`], its file stays for the next start.
#[derive(Clone, Debug)]
pub struct Log(Arc<State>);

impl Log {
    /// `file_bytes`: of a file that is there already.
    pub(super) fn new(core: Arc<Core>, stream: Uuid, file_bytes: Option<u64>, wake: Wake) -> Self {
        let queue = core.queue(stream);
        let at = file_bytes.unwrap_or(0);
        Self(Arc::new(State {
            stream,
            core,
            queue,
            pending: Mutex::new(Pending { position: at, taken: at, ..Pending::default() }),
            durable: AtomicU64::new(at),
            failed: AtomicBool::new(false),
            waiting: AtomicBool::new(false),
            wake,
            disk: Mutex::new(Disk { made: file_bytes.is_some(), written: at, ..Disk::default() }),
        }))
    }

    pub(super) fn begin(&self, session: &SessionNote, open: &OpenNote) -> Result<(), JournalError> {
        {
            let mut pending = self.0.lock();
            pending.bytes.extend_from_slice(&MAGIC);
            pending.position += MAGIC.len() as u64;
            self.0.core.bytes.fetch_add(MAGIC.len() as u64, Ordering::Relaxed);
        }
        self.session(session)?;
        self.append(Kind::Open, &[&json(open)])
    }

    /// Keeps a frame of the stream. It goes to the disk once something waits for it ([`Log::reached`]) or many have gathered.
    ///
    /// # Errors
    /// [`JournalError`]: nothing of it is kept, and the stream's bytes are durable no more from here on.
    pub fn bytes(&self, frame: &[u8]) -> Result<(), JournalError> {
        self.append(Kind::Bytes, &[frame])
    }

    /// Keeps the session as it is now.
    ///
    /// # Errors
    /// As [`Log::bytes`].
    pub fn session(&self, note: &SessionNote) -> Result<(), JournalError> {
        self.append(Kind::Session, &[&json(note)])
    }

    /// Keeps a session event.
    ///
    /// # Errors
    /// As [`Log::bytes`].
    pub fn event(&self, seq: u64, text: &[u8]) -> Result<(), JournalError> {
        self.append(Kind::Event, &[&seq.to_le_bytes(), text])
    }

    fn append(&self, kind: Kind, parts: &[&[u8]]) -> Result<(), JournalError> {
        let core = &self.0.core;
        let more = record_bytes(parts.iter().map(|p| p.len()).sum());
        let mut pending = self.0.lock();
        if let Some(e) = &pending.failure {
            return Err(e.clone());
        }
        if pending.remove {
            return Ok(());
        }
        let limits = core.limits;
        let error = if pending.position + more > limits.stream_bytes {
            Some(JournalError::StreamFull { limit_bytes: limits.stream_bytes })
        } else {
            let full = core.bytes.load(Ordering::Relaxed) + more > limits.total_bytes;
            full.then_some(JournalError::Full)
        };
        if let Some(e) = error {
            if !std::mem::replace(&mut pending.refused, true) {
                core.refused.fetch_add(1, Ordering::Relaxed);
            }
            return Err(e);
        }
        core.bytes.fetch_add(more, Ordering::Relaxed);
        encode(&mut pending.bytes, kind, parts);
        pending.position += more;
        if kind != Kind::Bytes || pending.bytes.len() >= UNASKED_BYTES_MAX {
            self.0.schedule(&mut pending);
        }
        Ok(())
    }

    /// Where the log stands with all that was put in, to be compared by [`Log::reached`].
    pub fn position(&self) -> u64 {
        self.0.lock().position
    }

    /// Whether all up to a position survives. Where not, it is written now and the waker is called when there is news.
    pub fn reached(&self, position: u64) -> bool {
        let there = || self.0.durable.load(Ordering::SeqCst) >= position;
        if there() {
            return true;
        }
        self.0.waiting.store(true, Ordering::SeqCst);
        let mut pending = self.0.lock();
        if position > pending.taken && !pending.remove {
            self.0.schedule(&mut pending);
        }
        drop(pending);
        there()
    }

    /// Whether so much waits for the disk that the socket must not be read. The waker is called when it changes.
    pub fn is_full(&self) -> bool {
        let pending = self.0.lock();
        let full = pending.bytes.len() >= PENDING_BYTES_MAX;
        if full {
            self.0.waiting.store(true, Ordering::SeqCst);
        }
        full
    }

    /// Why nothing is kept of the stream any more.
    pub fn failure(&self) -> Option<JournalError> {
        if self.0.has_failed() { self.0.lock().failure.clone() } else { None }
    }

    /// The stream is over: its file goes. [`Log::reached`] tells of every position once it has gone.
    pub fn remove(&self) {
        let mut pending = self.0.lock();
        if std::mem::replace(&mut pending.remove, true) {
            return;
        }
        pending.bytes = Vec::new();
        self.0.schedule(&mut pending);
    }
}

fn json(note: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(note).expect("plain values have no faults")
}
