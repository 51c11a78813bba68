//! The thread that writes: takes full buffers from all recordings in turn, a few system calls each, and keeps every file's
//! head no more than about a second behind. It paces itself rather than being woken for every buffer.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::fault::Fault;
use super::finisher::Job;
use super::queue::{Buffer, End, FailedBy, Failure, Lane};
use super::{Core, RecordError, RecordingMeta, RecordingState, meta, wav};
use crate::resilience::Permit;

/// Pause between two rounds: long enough that one wake-up serves many recordings, short beside a buffer's time (256 ms at 16 kHz mono).
const PACE: Duration = Duration::from_millis(25);
/// Pause while no recording runs; whoever creates one cuts it short.
const IDLE: Duration = Duration::from_secs(3600);
/// Ticks between two updates of a file's head.
const HEAD_TICKS: u64 = 3;
/// Ticks after which a half-filled buffer is written: with the tick's length, how much a killed server may lose.
const STALE_TICKS: u64 = 2;

/// The writer's list of recordings with something to write.
#[derive(Default)]
pub(super) struct Ready {
    list: Mutex<List>,
    bell: Condvar,
}

#[derive(Default)]
struct List {
    // Bounded by the number of open recordings: each stands in it at most once.
    lanes: VecDeque<Arc<Lane>>,
    urgent: bool,
    stop: bool,
}

impl Ready {
    pub(super) fn offer(&self, lane: Option<Arc<Lane>>, urgent: bool) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.lanes.extend(lane);
        if urgent && !std::mem::replace(&mut list.urgent, true) {
            self.bell.notify_one();
        }
    }

    pub(super) fn stop(&self) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        self.bell.notify_one();
    }

    /// Waits for a round; `true` when it is to be the last.
    fn wait(&self, pause: Duration, round: &mut VecDeque<Arc<Lane>>) -> bool {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut list, _) =
            self.bell.wait_timeout_while(list, pause, |l| !l.urgent && !l.stop).unwrap_or_else(PoisonError::into_inner);
        list.urgent = false;
        std::mem::swap(&mut list.lanes, round);
        list.stop
    }
}

/// The disk side of one recording.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) meta: RecordingMeta,
    file: Option<File>,
    data_bytes: u64,
    head_data_bytes: u64,
    head_tick: u64,
    ended: bool,
    /// Until it is known whether the disk takes it.
    permit: Option<Permit>,
    /// Buffers of the round under way; kept for its memory.
    taken: Vec<Buffer>,
}

impl OpenFile {
    pub(super) fn new(meta: RecordingMeta, permit: Option<Permit>) -> Self {
        Self {
            meta,
            file: None,
            data_bytes: 0,
            head_data_bytes: 0,
            head_tick: 0,
            ended: false,
            permit,
            taken: Vec::new(),
        }
    }

    /// Tries the disk for all that wait: the stream may have nothing to write for long.
    fn probe(&mut self, core: &Core) -> io::Result<()> {
        std::fs::create_dir_all(&core.config.dir)?;
        meta::save(&core.config.dir, &self.meta)?;
        self.taken_by_disk();
        Ok(())
    }

    fn taken_by_disk(&mut self) {
        if let Some(permit) = self.permit.take() {
            permit.success();
        }
    }

    fn open(&mut self, core: &Core) -> io::Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                // The folder may have gone since the start; a recording that can make it again is none lost.
                std::fs::create_dir_all(&core.config.dir)?;
                meta::save(&core.config.dir, &self.meta)?;
                let path = meta::wav_path(&core.config.dir, self.meta.id);
                let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
                file.write_all(&wav::head(self.meta.spec(), 0, core.config.riff_bytes_max))?;
                file
            }
        };
        Ok(self.file.insert(file))
    }

    /// Writes the buffers taken, as far as limits allow: the rest of them is the fault.
    fn write(&mut self, core: &Core) -> Result<(), Fault> {
        let spec = self.meta.spec();
        let len: u64 = self.taken.iter().map(|b| b.len as u64).sum();
        let size = wav::head_bytes(spec) + self.data_bytes;
        let (mut allowed, mut fault) = (len, None);
        if let Some(max) = core.config.max_file_bytes
            && size + len > max
        {
            (allowed, fault) = (max.saturating_sub(size), Some(Fault::FileLimit));
        }
        let room = core.quota_room(size + allowed - self.meta.bytes) + self.meta.bytes;
        if size + allowed > room {
            (allowed, fault) = (room.saturating_sub(size), Some(Fault::Quota));
        }
        if fault.is_some() {
            let frame = wav::frame_bytes(spec);
            allowed = ((self.data_bytes + allowed) / frame * frame).saturating_sub(self.data_bytes);
        }
        let taken = std::mem::take(&mut self.taken);
        let result = self.write_up_to(core, &taken, allowed);
        self.taken = taken;
        result?;
        self.note_size(core);
        fault.map_or(Ok(()), Err)
    }

    fn write_up_to(&mut self, core: &Core, buffers: &[Buffer], mut allowed: u64) -> io::Result<()> {
        for buffer in buffers {
            let n = buffer.len.min(usize::try_from(allowed).unwrap_or(usize::MAX));
            if n == 0 {
                break;
            }
            self.open(core)?.write_all(&buffer.bytes[..n])?;
            self.data_bytes += n as u64;
            allowed -= n as u64;
        }
        self.taken_by_disk();
        Ok(())
    }

    fn note_size(&mut self, core: &Core) {
        self.meta.samples = self.data_bytes / wav::frame_bytes(self.meta.spec());
        self.meta.bytes = wav::head_bytes(self.meta.spec()) + self.data_bytes;
        core.index().grow(self.meta.id, self.meta.bytes, self.meta.samples);
    }

    /// Makes the head tell the truth about the length.
    fn write_head(&mut self, core: &Core) -> io::Result<()> {
        let head = wav::head(self.meta.spec(), self.data_bytes, core.config.riff_bytes_max);
        let file = self.open(core)?;
        file.write_all_at(&head, 0)?;
        // Writing goes on without complaint into a file somebody deleted; only the link count tells.
        if file.metadata()?.nlink() == 0 {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        self.head_data_bytes = self.data_bytes;
        Ok(())
    }

    /// After a failure: what is in the file stays readable, as far as the disk lets us.
    fn salvage(&mut self, core: &Core) {
        if let Some(file) = &self.file {
            let frame = wav::frame_bytes(self.meta.spec());
            let start = wav::head_bytes(self.meta.spec());
            let in_file = file.metadata().map_or(0, |m| m.len().saturating_sub(start));
            self.data_bytes = in_file / frame * frame;
            let _ = file.set_len(start + self.data_bytes);
            let _ = file.write_all_at(&wav::head(self.meta.spec(), self.data_bytes, core.config.riff_bytes_max), 0);
            self.note_size(core);
        }
        self.file = None;
    }
}

/// The thread.
pub(super) fn run(core: &Arc<Core>) {
    let mut round = VecDeque::new();
    let mut last_tick = Instant::now();
    loop {
        let pause = if core.open().is_empty() { IDLE } else { PACE };
        let last = core.writer.wait(pause, &mut round);
        for lane in round.drain(..) {
            serve(&lane);
        }
        if last_tick.elapsed() >= core.config.tick || last {
            last_tick = Instant::now();
            let tick = core.tick.fetch_add(1, Ordering::Relaxed) + 1;
            let open: Vec<Arc<Lane>> = core.open().values().cloned().collect();
            for lane in open {
                if last {
                    close_at_stop(&lane);
                } else {
                    on_tick(&lane, tick);
                }
            }
        }
        if last {
            break;
        }
    }
}

/// The server stops: an open recording is closed as it is.
fn close_at_stop(lane: &Arc<Lane>) {
    let mut inner = lane.lock();
    lane.cut(&mut inner);
    inner.closed = true;
    if !std::mem::replace(&mut inner.ended, true) {
        inner.end = Some(End::Close { reason: "drained".to_owned(), reply: None });
    }
    drop(inner);
    serve(lane);
}

fn on_tick(lane: &Arc<Lane>, tick: u64) {
    let mut inner = lane.lock();
    if inner.current.len > 0 && tick.saturating_sub(inner.current_tick) >= STALE_TICKS {
        lane.cut(&mut inner);
    }
    let work = !inner.filled.is_empty();
    drop(inner);
    if work {
        serve(lane);
    }
    let mut disk = lane.disk.lock().unwrap_or_else(PoisonError::into_inner);
    if !disk.ended && disk.head_data_bytes != disk.data_bytes && tick.saturating_sub(disk.head_tick) >= HEAD_TICKS {
        disk.head_tick = tick;
        if let Err(e) = disk.write_head(&lane.core) {
            end_failed(lane, &mut disk, &Fault::Io(e));
        }
    }
}

/// Writes what a recording has queued, and ends it if it is to end.
fn serve(lane: &Arc<Lane>) {
    let core = &lane.core;
    let mut disk = lane.disk.lock().unwrap_or_else(PoisonError::into_inner);
    if disk.permit.as_ref().is_some_and(Permit::is_probe)
        && let Err(e) = disk.probe(core)
    {
        end_failed(lane, &mut disk, &Fault::Io(e));
    }
    loop {
        let mut inner = lane.lock();
        inner.scheduled = false;
        disk.taken.extend(inner.filled.drain(..));
        inner.in_flight = disk.taken.len();
        let failure = inner.failure.clone();
        if let (None, Some(spec)) = (&disk.file, inner.spec) {
            disk.meta.sample_rate = spec.rate_hz;
            disk.meta.channels = spec.channels;
        }
        let end = if disk.taken.is_empty() { inner.end.take() } else { None };
        drop(inner);
        if let Some(end) = end {
            finish(lane, &mut disk, end, failure);
            return;
        }
        if disk.taken.is_empty() {
            return;
        }
        let result = match failure {
            _ if disk.ended => Ok(()),
            Some(failure) => Err(Fault::GivenUp(failure)),
            None => disk.write(core),
        };
        for mut buffer in disk.taken.drain(..) {
            buffer.len = 0;
            core.give_buffer(buffer);
        }
        if let Err(fault) = result {
            end_failed(lane, &mut disk, &fault);
        }
        let mut inner = lane.lock();
        inner.in_flight = 0;
        lane.unblock(inner);
    }
}

/// The recording takes nothing any more; its stream goes on.
fn end_failed(lane: &Arc<Lane>, disk: &mut OpenFile, fault: &Fault) {
    let core = &lane.core;
    let message = fault.message();
    lane.fail(&message, fault.by());
    if std::mem::replace(&mut disk.ended, true) {
        return;
    }
    tracing::warn!(recording = %lane.id, stream = %disk.meta.stream_uid, ?fault, "recording failed");
    match (fault, fault.by()) {
        (Fault::FileLimit, _) => {}
        (_, FailedBy::Disk) => core.trust.failed(disk.permit.take()),
        (_, FailedBy::Limit | FailedBy::Stream) => core.trust.count_failure(),
    }
    disk.salvage(core);
    disk.meta.state = RecordingState::Failed;
    disk.meta.error = Some(message);
    disk.meta.ended_at_ms = Some((core.config.clock)());
    if let Err(error) = meta::save(&core.config.dir, &disk.meta) {
        tracing::warn!(recording = %lane.id, %error, "failed recording could not be noted");
    }
    core.note(disk.meta.clone());
}

fn finish(lane: &Arc<Lane>, disk: &mut OpenFile, end: End, failure: Option<Failure>) {
    let core = &lane.core;
    core.open().remove(&lane.id);
    let current = std::mem::replace(&mut lane.lock().current, Buffer { bytes: Box::new([]), len: 0 });
    core.give_buffer(current);
    disk.taken = Vec::new();
    match end {
        End::Cancel => {
            disk.ended = true;
            disk.file = None;
            core.forget(lane.id);
            if let Err(error) = meta::remove(&core.config.dir, lane.id) {
                tracing::warn!(recording = %lane.id, %error, "cancelled recording could not be deleted");
            }
        }
        End::Close { reason, reply } => {
            if let Some(failure) = failure {
                if !disk.ended {
                    end_failed(lane, disk, &Fault::GivenUp(failure.clone()));
                }
                answer(reply, Err(failure.into_error()));
                return;
            }
            if let Err(e) = disk.write_head(core) {
                let fault = Fault::Io(e);
                end_failed(lane, disk, &fault);
                answer(reply, Err(RecordError::Failed { message: fault.message() }));
                return;
            }
            disk.ended = true;
            disk.file = None;
            disk.taken_by_disk();
            disk.note_size(core);
            disk.meta.end_reason = Some(reason);
            disk.meta.ended_at_ms = Some((core.config.clock)());
            core.finisher.offer(Job::Hash {
                meta: Box::new(disk.meta.clone()),
                state: RecordingState::Complete,
                reply,
            });
        }
    }
}

fn answer<T>(reply: Option<tokio::sync::oneshot::Sender<T>>, value: T) {
    if let Some(reply) = reply {
        let _ = reply.send(value); // the stream that asked may be gone
    }
}
