//! What a start finds: the sessions whose streams were open, each put together from its streams' files. Torn ends are cut off.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::record::{Kind, Records};
use super::{EXTENSION, OpenNote, SessionNote};

/// Bytes read from a file at once.
const READ_BYTES: usize = 64 << 10;
/// Events of a session kept from its files; a session's own ring is smaller.
const EVENTS_MAX: usize = 65_536;

/// A session whose streams were open.
#[derive(Debug)]
pub struct Found {
    /// The session as it was noted last.
    pub note: SessionNote,
    /// Its streams, oldest first.
    pub streams: Vec<FoundStream>,
    /// Its events by number, oldest first.
    pub events: BTreeMap<u64, Box<[u8]>>,
}

/// A stream that was open.
#[derive(Debug)]
pub struct FoundStream {
    /// Its beginning.
    pub open: OpenNote,
    /// Bytes of it that are there.
    pub received_bytes: u64,
    path: PathBuf,
    pub(super) file_bytes: u64,
}

impl FoundStream {
    /// Its bytes, from the first.
    ///
    /// # Errors
    /// What the disk says.
    pub fn replay(&self) -> io::Result<Replay> {
        let file = BufReader::with_capacity(READ_BYTES, File::open(&self.path)?);
        let records = Records::begin(file)?.ok_or(io::ErrorKind::InvalidData)?;
        Ok(Replay { records, end: self.file_bytes })
    }
}

/// Reads a stream's bytes again, frame by frame.
#[derive(Debug)]
pub struct Replay {
    records: Records<BufReader<File>>,
    /// What is behind it was written since.
    end: u64,
}

impl Replay {
    /// The next frame; none at the end. Reads the disk, mostly what the system has read ahead.
    ///
    /// # Errors
    /// What the disk says.
    pub fn next_frame(&mut self) -> io::Result<Option<&[u8]>> {
        // The borrow checker does not see that a record that is passed over is given back: look first, lend after.
        loop {
            if self.records.end() >= self.end {
                return Ok(None);
            }
            match self.records.next()? {
                None => return Err(io::ErrorKind::InvalidData.into()),
                Some((Kind::Bytes, _)) => return Ok(Some(self.records.payload())),
                Some((Kind::Session | Kind::Open | Kind::Event, _)) => {}
            }
        }
    }
}

struct One {
    note: SessionNote,
    stream: FoundStream,
    events: BTreeMap<u64, Box<[u8]>>,
}

/// Reads every file of a folder.
pub(super) fn scan(dir: &Path) -> io::Result<Vec<Found>> {
    let mut all: BTreeMap<Uuid, Found> = BTreeMap::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_none_or(|e| e != EXTENSION) {
            continue;
        }
        let One { note, stream, mut events } = match read(&path) {
            Ok(Some(one)) => one,
            Ok(None) => continue,
            Err(error) => {
                tracing::error!(file = %path.display(), %error, "a journal cannot be read and is left as it is");
                continue;
            }
        };
        let found = all.entry(note.session_id).or_insert_with(|| Found {
            note: note.clone(),
            streams: Vec::new(),
            events: BTreeMap::new(),
        });
        if note.version > found.note.version {
            found.note = note;
        }
        found.streams.push(stream);
        found.events.append(&mut events);
    }
    let mut all: Vec<_> = all.into_values().collect();
    for found in &mut all {
        found.streams.sort_by_key(|s| s.open.index);
        let newest = found.events.last_key_value().map_or(0, |(seq, _)| *seq);
        found.note.last_seq = found.note.last_seq.max(newest);
    }
    Ok(all)
}

/// Reads one file and cuts its torn end off. A file that says not even whose stream it is holds nothing that was promised: it goes.
fn read(path: &Path) -> io::Result<Option<One>> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let Some(mut records) = Records::begin(BufReader::with_capacity(READ_BYTES, file))? else {
        tracing::error!(file = %path.display(), "not a journal of this version; it is left as it is");
        return Ok(None);
    };
    let (mut note, mut open, mut events, mut received_bytes) = (None, None, BTreeMap::new(), 0);
    while let Some((kind, payload)) = records.next()? {
        match kind {
            Kind::Session => note = serde_json::from_slice::<SessionNote>(payload).ok().or(note),
            Kind::Open => open = serde_json::from_slice::<OpenNote>(payload).ok().or(open),
            Kind::Bytes => received_bytes += payload.len() as u64,
            Kind::Event => {
                if let Some((seq, text)) = payload.split_first_chunk::<8>() {
                    events.insert(u64::from_le_bytes(*seq), Box::from(text));
                }
                if events.len() > EVENTS_MAX {
                    events.pop_first();
                }
            }
        }
    }
    let end = records.end();
    let (Some(note), Some(open)) = (note, open) else {
        tracing::info!(file = %path.display(), "a journal that had hardly begun is removed");
        std::fs::remove_file(path)?;
        return Ok(None);
    };
    if end < len {
        tracing::info!(file = %path.display(), bytes = len - end, "a journal's torn end is cut off");
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(end)?;
        file.sync_all()?;
    }
    let stream = FoundStream { open, received_bytes, path: path.to_owned(), file_bytes: end };
    Ok(Some(One { note, stream, events }))
}
