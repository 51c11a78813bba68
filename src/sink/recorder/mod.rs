//! Recordings: each stream's clean PCM in a WAV file of its own, `<id>.wav` with its sidecar `<id>.json`. Streams only copy samples
//! into bounded queues; three threads, whatever the number of streams, do the rest: one writes, one hashes and deletes, one watches
//! for a disk that hangs. A recording that fails never disturbs its stream. Knows no socket and no message.

mod config;
mod fault;
mod finisher;
mod meta;
mod queue;
mod repair;
mod trust;
mod wav;
mod writer;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use uuid::Uuid;

use crate::audio::PcmSpec;
use crate::resilience::Permit;
pub use config::{Changed, RecorderConfig, RecordingChange};
pub use fault::RecordError;
use fault::io_message;
use finisher::{Job, Jobs};
use meta::Index;
pub use meta::{RecordingMeta, RecordingState};
use queue::{Buffer, FailedBy, Lane};
pub use queue::{NAME, Recorder, RecordingHandle, Wake};
pub use trust::BREAKER;
use trust::Trust;

/// Bytes a stream collects before the disk sees them: a quarter of a second at 16 kHz mono, one system call.
const BUFFER_BYTES: usize = 8 << 10;
/// Empty buffers kept for reuse by all recordings; more are freed.
const SPARE_BUFFERS_MAX: usize = 256;
/// How often the watching thread looks for recordings whose disk hangs.
const WATCH_EVERY: Duration = Duration::from_millis(500);
/// Shortest time between two looks at the age of recordings, in milliseconds.
const AGE_EVERY_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;

/// What a recording is of.
#[derive(Clone, Debug)]
pub struct RecordingStart {
    /// Its id: a fresh uuid v7, so that ids order by time.
    pub id: Uuid,
    /// The stream's id, unique on the server.
    pub stream_uid: String,
    /// The stream's own name.
    pub stream_id: String,
    /// Who streams.
    pub client_id: String,
    /// The authenticated user, who will own it.
    pub user_id: Option<String>,
    /// The conversation it belongs to.
    pub conversation_id: Option<String>,
    /// Unix time in milliseconds.
    pub created_at_ms: i64,
    /// What the file says if the stream ends before its first block; else the first block tells.
    pub spec: PcmSpec,
}

/// A closed recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Its id.
    pub id: Uuid,
    /// Size of the whole file.
    pub bytes: u64,
    /// SHA-256 of the whole file in hexadecimal.
    pub sha256: String,
    /// Samples per channel.
    pub samples: u64,
}

/// State of the service, for health and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecorderStatus {
    /// Recordings that run.
    pub open: usize,
    /// Bytes of all recordings.
    pub bytes: u64,
    /// Recordings that failed since the start.
    pub failures: u64,
    /// Whether the newest recording to end failed.
    pub degraded: bool,
}

/// What the service, its threads and its recordings share.
struct Core {
    config: RecorderConfig,
    index: Mutex<Index>,
    open: Mutex<HashMap<Uuid, Arc<Lane>>>,
    spare: Mutex<Vec<Buffer>>,
    writer: writer::Ready,
    finisher: Jobs,
    watch: (Mutex<bool>, Condvar),
    tick: AtomicU64,
    aged_at_ms: AtomicI64,
    trust: Trust,
}

impl Core {
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Lane>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_buffer(&self) -> Buffer {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(Buffer::new)
    }

    fn give_buffer(&self, mut buffer: Buffer) {
        buffer.len = 0;
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.bytes.len() == BUFFER_BYTES && spare.len() < SPARE_BUFFERS_MAX {
            spare.push(buffer);
        }
    }

    /// Lists a recording as it is now and tells of it.
    fn note(&self, meta: RecordingMeta) {
        self.tell(RecordingChange::Put(&meta));
        self.index().put(meta);
    }

    /// Takes a recording off the list and tells of it.
    fn forget(&self, id: Uuid) {
        self.index().remove(id);
        self.tell(RecordingChange::Removed(id));
    }

    fn tell(&self, change: RecordingChange<'_>) {
        if let Some(changed) = &self.config.changed {
            changed(change);
        }
    }

    /// Bytes the quota leaves, after making room for so many if need be.
    fn quota_room(&self, bytes: u64) -> u64 {
        let Some(quota) = self.config.quota_bytes else { return u64::MAX >> 1 };
        if self.index().bytes().saturating_add(bytes) > quota {
            self.make_room(bytes);
        }
        quota.saturating_sub(self.index().bytes())
    }

    /// Deletes what quota and retention leave no room for. Age is looked at once a minute at most: it takes a walk over all.
    fn sweep(&self) {
        let now_ms = (self.config.clock)();
        if let Some(days) = self.config.retain_days
            && now_ms.saturating_sub(self.aged_at_ms.load(Ordering::Relaxed)) >= AGE_EVERY_MS
        {
            self.aged_at_ms.store(now_ms, Ordering::Relaxed);
            let old = self.index().ended_before(now_ms - i64::from(days) * DAY_MS);
            self.delete_surplus(old);
        }
        self.make_room(0);
    }

    fn make_room(&self, bytes: u64) {
        if let Some(quota) = self.config.quota_bytes {
            let surplus = self.index().surplus(quota.saturating_sub(bytes));
            self.delete_surplus(surplus);
        }
    }

    fn delete_surplus(&self, surplus: Vec<Uuid>) {
        for id in surplus {
            match meta::remove(&self.config.dir, id) {
                Ok(()) => {
                    self.forget(id);
                    tracing::info!(recording = %id, "recording deleted by quota or age");
                }
                Err(error) => tracing::warn!(recording = %id, %error, "recording could not be deleted"),
            }
        }
    }
}

/// All recordings of a server. Dropping it closes what runs (reason `drained`) and waits for the disk.
pub struct RecorderService {
    core: Arc<Core>,
    threads: Vec<JoinHandle<()>>,
}

impl RecorderService {
    /// Makes the folder, sets right what a killed server left, starts the threads. Blocks on the disk.
    ///
    /// # Errors
    /// [`RecordError::Folder`] where the folder cannot be made or read.
    pub fn start(config: RecorderConfig) -> Result<Self, RecordError> {
        let folder = |source| RecordError::Folder { dir: config.dir.clone(), source };
        std::fs::create_dir_all(&config.dir).map_err(folder)?;
        let (index, to_hash) = repair::load(&config).map_err(folder)?;
        let trust = Trust::new(config.breaker.clone());
        let core = Arc::new(Core {
            config,
            index: Mutex::new(index),
            open: Mutex::default(),
            spare: Mutex::default(),
            writer: writer::Ready::default(),
            finisher: Jobs::default(),
            watch: Default::default(),
            tick: AtomicU64::new(0),
            aged_at_ms: AtomicI64::new(i64::MIN),
            trust,
        });
        for meta in to_hash {
            core.finisher.offer(Job::Hash { meta: Box::new(meta), state: RecordingState::Repaired, reply: None });
        }
        core.finisher.offer(Job::Sweep);
        let mut service = Self { core, threads: Vec::new() };
        service.spawn("record-write", writer::run)?;
        service.spawn("record-finish", finisher::run)?;
        service.spawn("record-watch", watch)?;
        Ok(service)
    }

    fn spawn(&mut self, name: &str, run: fn(&Arc<Core>)) -> Result<(), RecordError> {
        let core = Arc::clone(&self.core);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&core));
        let folder = |source| RecordError::Folder { dir: self.core.config.dir.clone(), source };
        self.threads.push(thread.map_err(folder)?);
        Ok(())
    }

    /// A recorder for a stream. Nothing is on the disk before its first samples are; `wake` is called, from a disk thread, when a
    /// recorder that answered `Full` has room again.
    ///
    /// # Errors
    /// [`RecordError::LeftAlone`] while the disk is, [`RecordError::InUse`] where the id was used before.
    pub fn create(&self, start: RecordingStart, wake: Wake) -> Result<Recorder, RecordError> {
        let id = start.id;
        let permit = self.core.trust.permit()?;
        let probes = permit.as_ref().is_some_and(Permit::is_probe);
        let meta = RecordingMeta {
            id,
            state: RecordingState::Recording,
            stream_uid: start.stream_uid,
            stream_id: start.stream_id,
            client_id: start.client_id,
            user_id: start.user_id,
            conversation_id: start.conversation_id,
            sample_rate: start.spec.rate_hz,
            channels: start.spec.channels,
            samples: 0,
            bytes: 0,
            sha256: None,
            created_at_ms: start.created_at_ms,
            ended_at_ms: None,
            end_reason: None,
            error: None,
        };
        {
            let mut index = self.core.index();
            if index.get(id).is_some() {
                return Err(RecordError::InUse { id });
            }
            index.put(meta.clone());
        }
        self.core.tell(RecordingChange::Put(&meta));
        let lane = Arc::new(Lane::new(Arc::clone(&self.core), meta, permit, wake));
        self.core.open().insert(id, Arc::clone(&lane));
        if probes {
            lane.schedule(&mut lane.lock(), true);
        }
        self.core.writer.offer(None, true);
        self.core.finisher.offer(Job::Sweep);
        Ok(Recorder::new(lane))
    }

    /// Up to `limit` recordings, newest first, those older than `after`; of one user only where named.
    pub fn list(&self, after: Option<Uuid>, limit: usize, user_id: Option<&str>) -> Vec<RecordingMeta> {
        self.core.index().page(after, limit, |m| user_id.is_none_or(|user| m.user_id.as_deref() == Some(user)))
    }

    /// What is known of a recording.
    pub fn get(&self, id: Uuid) -> Option<RecordingMeta> {
        self.core.index().get(id).cloned()
    }

    /// The file of a recording there is.
    pub fn path(&self, id: Uuid) -> Option<PathBuf> {
        self.core.index().get(id).map(|m| meta::wav_path(&self.core.config.dir, m.id))
    }

    /// Deletes an ended recording. Blocks on the disk.
    ///
    /// # Errors
    /// [`RecordError::NotFound`], [`RecordError::InUse`] while it runs, [`RecordError::Failed`] where the disk refuses.
    pub fn delete(&self, id: Uuid) -> Result<(), RecordError> {
        let state = self.core.index().get(id).map(|m| m.state).ok_or(RecordError::NotFound { id })?;
        if state == RecordingState::Recording {
            return Err(RecordError::InUse { id });
        }
        meta::remove(&self.core.config.dir, id)
            .map_err(|e| RecordError::Failed { message: io_message(&e).to_owned() })?;
        self.core.forget(id);
        Ok(())
    }

    /// For health and metrics.
    pub fn status(&self) -> RecorderStatus {
        RecorderStatus {
            open: self.core.open().len(),
            bytes: self.core.index().bytes(),
            failures: self.core.trust.failures(),
            degraded: self.core.trust.is_degraded(),
        }
    }
}

impl Drop for RecorderService {
    fn drop(&mut self) {
        *self.core.watch.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.core.watch.1.notify_one();
        self.core.writer.stop();
        let mut threads = std::mem::take(&mut self.threads).into_iter();
        // The writer hands its last files to the finisher: it has to be through before that may stop.
        if let Some(writer) = threads.next() {
            let _ = writer.join();
        }
        self.core.finisher.stop();
        for thread in threads {
            let _ = thread.join();
        }
    }
}

/// The thread that frees streams from a disk that hangs; it never touches the disk itself.
fn watch(core: &Arc<Core>) {
    let (stop, bell) = &core.watch;
    let every = WATCH_EVERY.min(core.config.stall_limit / 2);
    loop {
        let guard = stop.lock().unwrap_or_else(PoisonError::into_inner);
        let (guard, _) = bell.wait_timeout_while(guard, every, |stop| !*stop).unwrap_or_else(PoisonError::into_inner);
        if *guard {
            return;
        }
        drop(guard);
        let open: Vec<Arc<Lane>> = core.open().values().cloned().collect();
        for lane in open {
            let hangs = lane.lock().blocked_since.is_some_and(|since| since.elapsed() >= core.config.stall_limit);
            if hangs {
                lane.fail("the disk is too slow", FailedBy::Disk);
            }
        }
    }
}

#[cfg(test)]
mod tests;
