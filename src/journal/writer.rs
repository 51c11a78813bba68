//! The threads that write: each takes what has gathered in its logs, writes it file by file, then syncs file by file, and tells how far
//! each is durable. What comes meanwhile is the next round.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::log::{Disk, State};
use super::{Core, JournalError};

/// How long a round gathers: half a usual frame's time, so that no acknowledgement waits longer than one frame for its round to begin.
const GATHER: Duration = Duration::from_millis(10);
/// Memory a log's buffer may keep from round to round.
const KEPT_BYTES: usize = 16 << 10;

/// The logs with something to write. Bounded by the streams there are: each stands in it once.
#[derive(Debug, Default)]
pub(super) struct Queue {
    list: Mutex<List>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct List {
    logs: Vec<Arc<State>>,
    stop: bool,
}

impl Queue {
    pub(super) fn put(&self, log: Arc<State>) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.logs.push(log);
        if list.logs.len() == 1 {
            self.bell.notify_one();
        }
    }

    pub(super) fn stop(&self) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        self.bell.notify_one();
    }

    /// Waits for work and lets it gather. True where the thread is to stop.
    fn wait(&self) -> bool {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |l: &mut List| l.logs.is_empty() && !l.stop;
        let list = self.bell.wait_while(list, waits).unwrap_or_else(PoisonError::into_inner);
        if list.stop {
            return true;
        }
        let (list, _) = self.bell.wait_timeout_while(list, GATHER, |l| !l.stop).unwrap_or_else(PoisonError::into_inner);
        list.stop
    }

    fn take(&self, round: &mut Vec<Arc<State>>) {
        std::mem::swap(&mut self.list.lock().unwrap_or_else(PoisonError::into_inner).logs, round);
    }
}

/// A thread.
pub(super) fn run(core: &Core, queue: &Queue) {
    let mut round = Vec::new();
    loop {
        let last = queue.wait();
        queue.take(&mut round);
        serve(core, &round);
        if last && round.is_empty() {
            return;
        }
        round.clear();
    }
}

fn serve(core: &Core, round: &[Arc<State>]) {
    let mut made = false;
    let mut to_sync = Vec::with_capacity(round.len());
    for log in round {
        let mut disk = log.disk.lock().unwrap_or_else(PoisonError::into_inner);
        match write(log, &mut disk) {
            Ok(Wrote::Nothing) => {}
            Ok(wrote) => {
                made |= wrote == Wrote::MadeFile;
                to_sync.push(log);
            }
            Err(e) => fail(core, log, &e),
        }
    }
    // A new file survives once the folder that names it does.
    let named = if made { File::open(&core.dir).and_then(|dir| dir.sync_all()) } else { Ok(()) };
    for log in to_sync {
        let disk = log.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let synced = match &named {
            Ok(()) => disk.file.as_ref().map_or(Ok(()), File::sync_data),
            Err(e) => Err(io::Error::from(e.kind())),
        };
        match synced {
            Ok(()) => {
                core.syncs.fetch_add(1, Ordering::Relaxed);
                core.degraded.store(false, Ordering::Relaxed);
                log.publish(disk.written);
            }
            Err(e) => fail(core, log, &e),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrote {
    Nothing,
    Bytes,
    MadeFile,
}

/// Writes what has gathered in a log, or removes its file.
fn write(log: &State, disk: &mut Disk) -> io::Result<Wrote> {
    let (remove, position) = {
        let mut pending = log.lock();
        pending.scheduled = false;
        disk.taken.clear();
        if disk.taken.capacity() > KEPT_BYTES {
            disk.taken = Vec::new();
        }
        std::mem::swap(&mut pending.bytes, &mut disk.taken);
        pending.taken = pending.position;
        (pending.remove, pending.position)
    };
    if remove {
        disk.file = None;
        if std::mem::take(&mut disk.made) {
            match std::fs::remove_file(log.core.path(log.stream)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(stream = %log.stream, error = %e, "a stream's journal could not be removed");
                }
                Ok(()) | Err(_) => {}
            }
        }
        log.core.bytes.fetch_sub(position, Ordering::Relaxed);
        log.core.streams.fetch_sub(1, Ordering::Relaxed);
        log.publish(u64::MAX);
        return Ok(Wrote::Nothing);
    }
    if log.has_failed() || disk.taken.is_empty() {
        return Ok(Wrote::Nothing);
    }
    let path = log.core.path(log.stream);
    let makes = !disk.made;
    if disk.file.is_none() {
        let mut how = OpenOptions::new();
        how.append(true);
        disk.file = Some(if makes { how.create_new(true) } else { &mut how }.open(path)?);
        disk.made = true;
    }
    if let Some(file) = &mut disk.file {
        file.write_all(&disk.taken)?;
    }
    disk.written = position;
    Ok(if makes { Wrote::MadeFile } else { Wrote::Bytes })
}

fn fail(core: &Core, log: &State, error: &io::Error) {
    tracing::error!(stream = %log.stream, %error, "a stream's journal could not be written");
    core.failures.fetch_add(1, Ordering::Relaxed);
    core.degraded.store(true, Ordering::Relaxed);
    log.fail(JournalError::Disk { message: message(error) });
}

/// An I/O error for people: no path, no internals.
fn message(e: &io::Error) -> &'static str {
    match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "the disk is full",
        io::ErrorKind::FileTooLarge => "the file would become larger than the system allows",
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => "its folder is gone",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => "its folder cannot be written to",
        _ => "the disk failed",
    }
}
