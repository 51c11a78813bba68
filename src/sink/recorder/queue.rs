//! The stream's side of a recording: samples are copied into buffers, full buffers wait for the writer thread. Nothing here
//! touches the file system. One uncontended lock a block lets the writer fetch a half-filled buffer of a stream that paused.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::writer::OpenFile;
use super::{BUFFER_BYTES, Core, RecordError, Recorded, RecordingMeta};
use crate::audio::PcmSpec;
use crate::resilience::Permit;
use crate::sink::{Block, Push, Sink, SinkEvent};

/// The sink's name.
pub const NAME: &str = "recorder";

/// Called when a recording that answered `Full` takes blocks again.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// A run of samples on the way to the disk.
#[derive(Debug)]
pub(super) struct Buffer {
    pub(super) bytes: Box<[u8]>,
    pub(super) len: usize,
}

impl Buffer {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; BUFFER_BYTES].into_boxed_slice(), len: 0 }
    }
}

/// How a recording is to end.
#[derive(Debug)]
pub(super) enum End {
    Close { reason: String, reply: Option<oneshot::Sender<Result<Recorded, RecordError>>> },
    Cancel,
}

/// What stream and disk threads share of one recording.
pub(super) struct Lane {
    pub(super) id: Uuid,
    pub(super) core: Arc<Core>,
    pub(super) inner: Mutex<Inner>,
    /// Only disk threads lock this, so they may hold it while they wait for the disk.
    pub(super) disk: Mutex<OpenFile>,
    wake: Wake,
}

/// The queue of one recording.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) spec: Option<PcmSpec>,
    pub(super) current: Buffer,
    /// Tick in which `current` got its first sample.
    pub(super) current_tick: u64,
    pub(super) filled: VecDeque<Buffer>,
    /// Buffers the writer has taken and not yet written.
    pub(super) in_flight: usize,
    /// Stands in the writer's ready list.
    pub(super) scheduled: bool,
    pub(super) blocked_since: Option<Instant>,
    pub(super) end: Option<End>,
    /// An end was given; a second one is ignored.
    pub(super) ended: bool,
    /// No block is taken any more.
    pub(super) closed: bool,
    pub(super) failure: Option<Failure>,
    failure_told: bool,
}

/// Why a recording takes nothing any more.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) message: String,
    pub(super) by: FailedBy,
}

/// Whose doing it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailedBy {
    /// A limit that was set.
    Limit,
    /// The disk's, or whoever has it.
    Disk,
    /// The stream's own.
    Stream,
}

impl Failure {
    pub(super) fn into_error(self) -> RecordError {
        let message = self.message;
        match self.by {
            FailedBy::Limit => RecordError::Limit { message },
            FailedBy::Disk | FailedBy::Stream => RecordError::Failed { message },
        }
    }
}

impl Lane {
    pub(super) fn new(core: Arc<Core>, meta: RecordingMeta, permit: Option<Permit>, wake: Wake) -> Self {
        let inner = Inner {
            spec: None,
            current: core.take_buffer(),
            current_tick: 0,
            filled: VecDeque::new(),
            in_flight: 0,
            scheduled: false,
            blocked_since: None,
            end: None,
            ended: false,
            closed: false,
            failure: None,
            failure_told: false,
        };
        Self { id: meta.id, core, inner: Mutex::new(inner), disk: Mutex::new(OpenFile::new(meta, permit)), wake }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the lane into the writer's list, once; `now` cuts the writer's pause short.
    pub(super) fn schedule(self: &Arc<Self>, inner: &mut Inner, now: bool) {
        let first = !std::mem::replace(&mut inner.scheduled, true);
        if first || now {
            self.core.writer.offer(first.then(|| Arc::clone(self)), now);
        }
    }

    /// Moves what the current buffer holds into the queue.
    pub(super) fn cut(&self, inner: &mut Inner) {
        if inner.current.len > 0 {
            let full = std::mem::replace(&mut inner.current, self.core.take_buffer());
            inner.filled.push_back(full);
        }
    }

    /// Gives up on the recording for the stream: it is told with its next block, the queue is emptied.
    pub(super) fn fail(&self, message: &str, by: FailedBy) {
        let mut inner = self.lock();
        if inner.failure.is_none() {
            inner.failure = Some(Failure { message: message.to_owned(), by });
        }
        inner.closed = true;
        inner.current.len = 0;
        while let Some(buffer) = inner.filled.pop_front() {
            self.core.give_buffer(buffer);
        }
        self.unblock(inner);
    }

    /// Wakes the stream if it waits for room.
    pub(super) fn unblock(&self, mut inner: MutexGuard<'_, Inner>) {
        let waited = inner.blocked_since.take().is_some();
        drop(inner);
        if waited {
            (self.wake)();
        }
    }

    fn close(self: &Arc<Self>, end: End) {
        let mut inner = self.lock();
        if std::mem::replace(&mut inner.ended, true) {
            return;
        }
        inner.closed = true;
        inner.end = Some(end);
        self.cut(&mut inner);
        self.schedule(&mut inner, true);
    }
}

/// The sink of one recording. Dropped without [`close`](Recorder::close), the recording is closed with the reason `error`.
pub struct Recorder {
    pub(super) lane: Arc<Lane>,
}

/// Ends a recording from elsewhere than its stream's task.
#[derive(Clone)]
pub struct RecordingHandle {
    lane: Arc<Lane>,
}

impl RecordingHandle {
    /// The recording's id.
    pub fn id(&self) -> Uuid {
        self.lane.id
    }

    /// No more audio: writes what is queued, closes and hashes the file behind the caller. The first end counts; after
    /// another one the receiver gets nothing.
    pub fn close(&self, reason: &str) -> oneshot::Receiver<Result<Recorded, RecordError>> {
        let (reply, receiver) = oneshot::channel();
        self.lane.close(End::Close { reason: reason.to_owned(), reply: Some(reply) });
        receiver
    }

    /// Deletes the recording.
    pub fn cancel(&self) {
        self.lane.close(End::Cancel);
    }
}

impl Recorder {
    pub(super) fn new(lane: Arc<Lane>) -> Self {
        Self { lane }
    }

    /// A handle to end the recording with.
    pub fn handle(&self) -> RecordingHandle {
        RecordingHandle { lane: Arc::clone(&self.lane) }
    }

    /// See [`RecordingHandle::close`].
    pub fn close(&self, reason: &str) -> oneshot::Receiver<Result<Recorded, RecordError>> {
        self.handle().close(reason)
    }

    /// See [`RecordingHandle::cancel`].
    pub fn cancel(&self) {
        self.handle().cancel();
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.lane.close(End::Close { reason: "error".to_owned(), reply: None });
    }
}

fn tell_failure(inner: &mut Inner, events: &mut Vec<SinkEvent>) {
    if let Some(Failure { message, by }) = &inner.failure
        && !inner.failure_told
    {
        let by_limit = *by == FailedBy::Limit;
        events.push(SinkEvent::Failed { sink: NAME, by_limit, retry_after_ms: None, message: message.clone() });
        inner.failure_told = true;
    }
}

impl Sink for Recorder {
    fn name(&self) -> &'static str {
        NAME
    }

    fn push(&mut self, block: &Block<'_>, events: &mut Vec<SinkEvent>) -> Push {
        let lane = &self.lane;
        let mut inner = lane.lock();
        if inner.closed {
            tell_failure(&mut inner, events);
            return Push::Taken;
        }
        let spec = *inner.spec.get_or_insert(block.spec);
        if spec != block.spec {
            drop(inner);
            lane.fail("the stream's output format changed", FailedBy::Stream);
            tell_failure(&mut lane.lock(), events);
            return Push::Taken;
        }
        let share = lane.core.config.share_buffers;
        let outstanding = inner.filled.len() + inner.in_flight;
        let room = (share.saturating_sub(outstanding) * BUFFER_BYTES).saturating_sub(inner.current.len);
        // A block larger than the whole share could never fit: it passes when nothing else is queued.
        if block.s16.len() * 2 > room && outstanding > 0 {
            inner.blocked_since.get_or_insert_with(Instant::now);
            lane.schedule(&mut inner, true);
            return Push::Full;
        }
        let mut rest = block.s16;
        while !rest.is_empty() {
            let at = inner.current.len;
            if at == 0 {
                inner.current_tick = lane.core.tick.load(Ordering::Relaxed);
            }
            let (now, later) = rest.split_at(rest.len().min((BUFFER_BYTES - at) / 2));
            rest = later;
            for (to, from) in inner.current.bytes[at..].chunks_exact_mut(2).zip(now) {
                to.copy_from_slice(&from.to_le_bytes());
            }
            inner.current.len += now.len() * 2;
            if inner.current.len == BUFFER_BYTES {
                lane.cut(&mut inner);
            }
        }
        if !inner.filled.is_empty() {
            let urgent = inner.filled.len() * 2 >= share;
            if urgent || !inner.scheduled {
                lane.schedule(&mut inner, urgent);
            }
        }
        Push::Taken
    }

    fn finish(&mut self, events: &mut Vec<SinkEvent>) {
        tell_failure(&mut self.lane.lock(), events);
    }
}
