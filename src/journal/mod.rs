//! What makes an acknowledgement a durable promise: the raw bytes of each open stream in a file of its own, written and synced behind
//! the streams by threads that group the work of many. A start finds the files a killed server left. Knows no socket, codec or recording.

mod log;
mod note;
mod record;
mod scan;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use uuid::Uuid;

pub use log::{Log, Wake};
pub use note::{OpenNote, SessionNote};
pub use scan::{Found, FoundStream, Replay};
use writer::Queue;

/// Threads that write. Several, because file systems make the syncs that wait at the same time one; few, because each is a round of its own.
const WRITERS: usize = 4;
/// End of the files' names.
const EXTENSION: &str = "journal";

/// How much a journal may hold.
#[derive(Clone, Copy, Debug)]
pub struct JournalLimits {
    /// Of one stream, with what belongs to each record.
    pub stream_bytes: u64,
    /// Of all streams together.
    pub total_bytes: u64,
}

/// Why a stream is not journaled, or no longer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The stream's file is as large as one may be. The stream is too long for this server's settings.
    #[error("the stream's journal holds the {limit_bytes} bytes it may; end the stream and begin another")]
    StreamFull {
        /// `audio.journal_stream_bytes`.
        limit_bytes: u64,
    },
    /// All files together are as large as they may be. Later there may be room.
    #[error("the server's journal holds all it may")]
    Full,
    /// The disk does not take it. The operator's fault.
    #[error("the journal cannot be written: {message}")]
    Disk {
        /// For people; no path, no internals.
        message: &'static str,
    },
}

/// The folder cannot be made or read at the start. The operator's fault.
#[derive(Debug, thiserror::Error)]
#[error("journal folder {}: {source}", dir.display())]
pub struct JournalFolderError {
    /// The folder.
    pub dir: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// State of the journal, for health and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalStatus {
    /// Bytes of all streams.
    pub bytes: u64,
    /// Streams that have a file.
    pub streams: u64,
    /// Syncs since the start.
    pub syncs: u64,
    /// Streams that lost their file since the start.
    pub failures: u64,
    /// Streams that were refused or ended since the start because there was no more room.
    pub refused: u64,
    /// Whether the newest write failed.
    pub degraded: bool,
}

/// What all logs and threads share.
#[derive(Debug)]
struct Core {
    dir: PathBuf,
    limits: JournalLimits,
    bytes: AtomicU64,
    streams: AtomicU64,
    syncs: AtomicU64,
    failures: AtomicU64,
    refused: AtomicU64,
    degraded: AtomicBool,
    queues: Vec<Arc<Queue>>,
}

impl Core {
    fn path(&self, stream: Uuid) -> PathBuf {
        self.dir.join(format!("{stream}.{EXTENSION}"))
    }

    fn queue(&self, stream: Uuid) -> Arc<Queue> {
        let at = (stream.as_u128() % self.queues.len() as u128) as usize;
        Arc::clone(&self.queues[at])
    }
}

/// The journal of a server. Dropping it writes what waits and stops its threads; the files stay.
#[derive(Debug)]
pub struct Journal {
    core: Arc<Core>,
    threads: Vec<JoinHandle<()>>,
}

impl Journal {
    /// Makes the folder, reads what a killed server left there, cuts torn ends off, starts the threads. Blocks on the disk.
    ///
    /// # Errors
    /// [`JournalFolderError`] where the folder cannot be made or read, or a thread cannot be had.
    pub fn open(dir: &Path, limits: JournalLimits) -> Result<(Self, Vec<Found>), JournalFolderError> {
        let fail = |source| JournalFolderError { dir: dir.to_owned(), source };
        std::fs::create_dir_all(dir).map_err(fail)?;
        let found = scan::scan(dir).map_err(fail)?;
        let bytes = found.iter().flat_map(|f| &f.streams).map(|s| s.file_bytes).sum();
        let core = Arc::new(Core {
            dir: dir.to_owned(),
            limits,
            bytes: AtomicU64::new(bytes),
            streams: AtomicU64::new(found.iter().map(|f| f.streams.len() as u64).sum()),
            syncs: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            degraded: AtomicBool::new(false),
            queues: (0..WRITERS).map(|_| Arc::default()).collect(),
        });
        let mut journal = Self { core: Arc::clone(&core), threads: Vec::new() };
        for (n, queue) in core.queues.iter().enumerate() {
            let (queue, core) = (Arc::clone(queue), Arc::clone(&core));
            let thread = std::thread::Builder::new().name(format!("journal-{n}"));
            journal.threads.push(thread.spawn(move || writer::run(&core, &queue)).map_err(fail)?);
        }
        Ok((journal, found))
    }

    /// A log for a new stream, its head waiting to be written. `wake` is called, from a disk thread, when something that was asked
    /// for ([`Log::reached`], [`Log::is_full`]) has changed, and when the log fails.
    ///
    /// # Errors
    /// [`JournalError::Full`] where there is no room for another stream.
    pub fn create(&self, session: &SessionNote, open: &OpenNote, wake: Wake) -> Result<Log, JournalError> {
        if self.core.bytes.load(Ordering::Relaxed) >= self.core.limits.total_bytes {
            self.core.refused.fetch_add(1, Ordering::Relaxed);
            return Err(JournalError::Full);
        }
        self.core.streams.fetch_add(1, Ordering::Relaxed);
        let log = Log::new(Arc::clone(&self.core), open.uid, None, wake);
        match log.begin(session, open) {
            Ok(()) => Ok(log),
            Err(e) => {
                log.remove();
                Err(e)
            }
        }
    }

    /// The log of a stream that was found, to go on with once it was replayed.
    pub fn go_on(&self, found: &FoundStream, wake: Wake) -> Log {
        Log::new(Arc::clone(&self.core), found.open.uid, Some(found.file_bytes), wake)
    }

    /// For health and metrics.
    pub fn status(&self) -> JournalStatus {
        JournalStatus {
            bytes: self.core.bytes.load(Ordering::Relaxed),
            streams: self.core.streams.load(Ordering::Relaxed),
            syncs: self.core.syncs.load(Ordering::Relaxed),
            failures: self.core.failures.load(Ordering::Relaxed),
            refused: self.core.refused.load(Ordering::Relaxed),
            degraded: self.core.degraded.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.core.queues.iter().for_each(|q| q.stop());
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // a thread that panicked has nothing more to write
        }
    }
}
