//! The thread that closes: hashes ended recordings, writes their last sidecar, deletes what quota and retention leave no room for.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::fault::io_message;
use super::{Core, RecordError, Recorded, RecordingMeta, RecordingState, meta};

/// Bytes hashed at a time.
const HASH_CHUNK_BYTES: usize = 64 << 10;
/// Longest time between two looks at quota and retention.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Work for the thread.
pub(super) enum Job {
    /// A closed file: hash it and note the result.
    Hash {
        meta: Box<RecordingMeta>,
        state: RecordingState,
        reply: Option<oneshot::Sender<Result<Recorded, RecordError>>>,
    },
    /// Look at quota and retention now.
    Sweep,
}

/// The thread's list. Bounded by the recordings there are: each is hashed once, sweeps are merged.
#[derive(Default)]
pub(super) struct Jobs {
    list: Mutex<List>,
    bell: Condvar,
}

#[derive(Default)]
struct List {
    jobs: VecDeque<Job>,
    sweep: bool,
    stop: bool,
}

impl Jobs {
    pub(super) fn offer(&self, job: Job) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        match job {
            Job::Hash { .. } => list.jobs.push_back(job),
            Job::Sweep => list.sweep = true,
        }
        self.bell.notify_one();
    }

    pub(super) fn stop(&self) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        self.bell.notify_one();
    }

    /// The next job; `None` when there is none left and the thread is to stop.
    fn next(&self, until: Instant) -> Option<Job> {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(job) = list.jobs.pop_front() {
                return Some(job);
            }
            if list.stop {
                return None;
            }
            let left = until.saturating_duration_since(Instant::now());
            if std::mem::take(&mut list.sweep) || left.is_zero() {
                return Some(Job::Sweep);
            }
            list = self.bell.wait_timeout(list, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The thread.
pub(super) fn run(core: &Arc<Core>) {
    let mut sweep_at = Instant::now() + SWEEP_EVERY;
    while let Some(job) = core.finisher.next(sweep_at) {
        match job {
            Job::Hash { meta, state, reply } => {
                let result = conclude(core, *meta, state);
                if let Some(reply) = reply {
                    let _ = reply.send(result); // the stream that asked may be gone
                }
                core.sweep();
            }
            Job::Sweep => {
                core.sweep();
                sweep_at = Instant::now() + SWEEP_EVERY;
            }
        }
    }
}

fn conclude(core: &Core, mut meta: RecordingMeta, state: RecordingState) -> Result<Recorded, RecordError> {
    let dir = &core.config.dir;
    let path = meta::wav_path(dir, meta.id);
    let hashed = sha256(&path).and_then(|sha256| {
        meta.sha256 = Some(sha256.clone());
        meta.state = state;
        meta::save(dir, &meta)?;
        if core.config.sync_at_end {
            for file in [&path, &meta::sidecar_path(dir, meta.id), dir] {
                File::open(file)?.sync_all()?;
            }
        }
        Ok(Recorded { id: meta.id, bytes: meta.bytes, sha256, samples: meta.samples })
    });
    if let Err(error) = &hashed {
        tracing::warn!(recording = %meta.id, %error, "recording could not be closed");
        core.trust.failed(None);
        meta.state = RecordingState::Failed;
        meta.error = Some(io_message(error).to_owned());
    } else {
        core.trust.ended();
    }
    core.note(meta);
    hashed.map_err(|e| RecordError::Failed { message: io_message(&e).to_owned() })
}

/// SHA-256 of a file in hexadecimal.
pub(super) fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; HASH_CHUNK_BYTES];
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            n => hash.update(&chunk[..n]),
        }
    }
    Ok(hash
        .finalize()
        .iter()
        .flat_map(|b| [b >> 4, b & 15])
        .filter_map(|n| char::from_digit(u32::from(n), 16))
        .collect())
}
