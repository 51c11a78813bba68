//! The bytes of a journal: a head, then records, each with its length and its checksum, so that a torn end is known for one.

use std::io::{self, Read};

/// First bytes of a file; the last one is the version of all that follows.
pub(super) const MAGIC: [u8; 8] = *b"vxjrnl\0\x01";
/// Length of the payload and checksum of kind and payload, both little-endian, and the kind.
const HEAD_BYTES: usize = 9;
/// Longest payload: the largest message a server can be set to take, and an event's text.
const PAYLOAD_BYTES_MAX: usize = 65 << 20;

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The session as it is from here on, JSON.
    Session = 1,
    /// The stream's beginning, JSON.
    Open = 2,
    /// Bytes of the stream: one frame as it came.
    Bytes = 3,
    /// A session event: its number (u64, little-endian), then its text.
    Event = 4,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [Self::Session, Self::Open, Self::Bytes, Self::Event].into_iter().find(|k| *k as u8 == byte)
    }
}

/// Bytes a record of so long a payload takes.
pub(super) fn record_bytes(payload_bytes: usize) -> u64 {
    (HEAD_BYTES + payload_bytes) as u64
}

/// Appends a record whose payload is these parts in a row.
pub(super) fn encode(out: &mut Vec<u8>, kind: Kind, parts: &[&[u8]]) {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[kind as u8]);
    parts.iter().for_each(|p| crc.update(p));
    let len: usize = parts.iter().map(|p| p.len()).sum();
    let len = u32::try_from(len).expect("a message is shorter than 64 MiB");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&crc.finalize().to_le_bytes());
    out.push(kind as u8);
    parts.iter().for_each(|p| out.extend_from_slice(p));
}

/// Reads records one by one.
#[derive(Debug)]
pub(super) struct Records<R> {
    from: R,
    payload: Vec<u8>,
    end: u64,
}

impl<R: Read> Records<R> {
    /// Reads the head. None where it is not that of a journal of this version; a file too short for one is a torn journal.
    ///
    /// # Errors
    /// What the reader says.
    pub(super) fn begin(mut from: R) -> io::Result<Option<Self>> {
        let mut magic = [0; MAGIC.len()];
        let known = match fill(&mut from, &mut magic)? {
            n if n < magic.len() => MAGIC.starts_with(&magic[..n]),
            _ => magic == MAGIC,
        };
        Ok(known.then(|| Self { from, payload: Vec::new(), end: MAGIC.len() as u64 }))
    }

    /// The payload of the last record.
    pub(super) fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Where the last whole record ended.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The next record; none at the end, and from the first one on that is torn.
    ///
    /// # Errors
    /// What the reader says.
    pub(super) fn next(&mut self) -> io::Result<Option<(Kind, &[u8])>> {
        let mut head = [0; HEAD_BYTES];
        if fill(&mut self.from, &mut head)? < HEAD_BYTES {
            return Ok(None);
        }
        let [l0, l1, l2, l3, c0, c1, c2, c3, kind] = head;
        let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let crc = u32::from_le_bytes([c0, c1, c2, c3]);
        let Some(known) = Kind::of(kind).filter(|_| len <= PAYLOAD_BYTES_MAX) else { return Ok(None) };
        // Grows with what is there: a torn length claims nothing.
        self.payload.clear();
        (&mut self.from).take(len as u64).read_to_end(&mut self.payload)?;
        let mut found = crc32fast::Hasher::new();
        found.update(&[kind]);
        found.update(&self.payload);
        if self.payload.len() < len || found.finalize() != crc {
            return Ok(None);
        }
        self.end += record_bytes(len);
        Ok(Some((known, &self.payload)))
    }
}

/// Reads until `buf` is full or nothing is left; how much it was.
fn fill(from: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut n = 0;
    while n < buf.len() {
        match from.read(&mut buf[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}
