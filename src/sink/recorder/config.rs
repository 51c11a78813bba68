//! How recordings are kept, and who is told of them. Knows no thread and no file.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::{RecordingMeta, wav};
use crate::resilience::Breaker;

/// How recordings are kept.
#[derive(Clone)]
pub struct RecorderConfig {
    /// The folder; made if absent.
    pub dir: PathBuf,
    /// A recording that would grow past this ends (it stays readable). None: no limit.
    pub max_file_bytes: Option<u64>,
    /// All recordings together: the oldest ended ones are deleted to stay within. None: no limit.
    pub quota_bytes: Option<u64>,
    /// Ended recordings older than this are deleted. None: kept.
    pub retain_days: Option<u32>,
    /// Buffers of 8 KiB a recording may have waiting for the disk before its stream has to wait.
    pub share_buffers: usize,
    /// The writer's tick. Samples reach the file within two ticks, the head within a second (three ticks).
    pub tick: Duration,
    /// A stream that had to wait this long for the disk goes on without its recording.
    pub stall_limit: Duration,
    /// Files larger than this become RF64; at most what 32 bits hold.
    pub riff_bytes_max: u64,
    /// Recordings found open whose streams will be made again: they are not hashed, for `remake` takes their place.
    pub remade: HashSet<Uuid>,
    /// Whether a recording is on the disk, whatever happens to the machine, before its end is told.
    pub sync_at_end: bool,
    /// Unix time in milliseconds.
    pub clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// Refuses new recordings for a while when the disk failed too many. None: all are tried.
    pub breaker: Option<Arc<Breaker>>,
    /// Told of every recording that begins, ends or goes, from a disk thread or a stream's. Must not block.
    pub changed: Option<Changed>,
}

/// Who is told of changes.
pub type Changed = Arc<dyn Fn(RecordingChange<'_>) + Send + Sync>;

/// What became of a recording.
#[derive(Clone, Copy, Debug)]
pub enum RecordingChange<'a> {
    /// It began or ended: this is what is known of it now.
    Put(&'a RecordingMeta),
    /// It is no more.
    Removed(Uuid),
}

impl RecorderConfig {
    /// The defaults, for a folder.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            max_file_bytes: None,
            quota_bytes: None,
            retain_days: None,
            share_buffers: 32,
            tick: Duration::from_millis(300),
            stall_limit: Duration::from_secs(5),
            riff_bytes_max: wav::RIFF_SIZE_MAX,
            remade: HashSet::new(),
            sync_at_end: false,
            clock: Arc::new(|| i64::try_from(crate::clock::unix_ms()).unwrap_or(i64::MAX)),
            breaker: None,
            changed: None,
        }
    }
}
