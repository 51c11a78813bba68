//! Walks the chunks of RIFF, AIFF and CAF files as their bytes arrive: small chunks are handed out whole, the data chunk as it comes, all else
//! passed over. Lengths are hints: a data chunk may be shorter or longer than its header says. Knows no sample and no codec.

use super::{DecodeError, DecodeWarning};

/// Bytes that may stand before the audio: a cover picture in a tag chunk, padding to an editor's block size.
const BEFORE_DATA_BYTES_MAX: u64 = 16 << 20;
/// Largest body handed out whole: `fmt `, `COMM`, `kuki`; more of such a chunk is passed over.
pub(super) const BODY_BYTES_MAX: usize = 256;
/// A trailing chunk claims no more than this, or it is no chunk.
const TRAILER_BYTES_MAX: u64 = 64 << 20;

/// A data chunk without a usable length.
pub(super) const UNTIL_END: u64 = u64::MAX;

/// What tells one family of chunk files from another.
#[derive(Debug)]
pub(super) struct Family {
    /// For messages.
    pub(super) name: &'static str,
    /// Length of what stands before the first chunk.
    pub(super) file_header: usize,
    /// What a file begins with.
    pub(super) starts: &'static [[u8; 4]],
    /// Whether bytes are a file header.
    pub(super) is_file: fn(&[u8]) -> bool,
    /// Length of what stands before a chunk's body: its id and length.
    pub(super) chunk_header: usize,
    /// The length in a chunk header.
    pub(super) size: fn(&[u8]) -> u64,
    /// Whether bodies of odd length are followed by one byte.
    pub(super) padded: bool,
    /// The chunk with the samples.
    pub(super) data: [u8; 4],
    /// Bytes of the data chunk that are no samples yet.
    pub(super) data_prefix: usize,
    /// Bytes of a chunk's body that are wanted, at most [`BODY_BYTES_MAX`].
    pub(super) wanted: fn(&[u8; 4]) -> usize,
    /// A chunk of any length whose body is handed out as it comes, before the samples or behind them.
    pub(super) streamed: Option<[u8; 4]>,
    /// Chunks that can stand behind the samples.
    pub(super) trailing: &'static [[u8; 4]],
}

/// What the walker came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// All input is taken, nothing is complete.
    Starved,
    /// A file begins: the first, or one more behind the last.
    File,
    /// A chunk that was asked for, with as much of its body as was wanted.
    Chunk { id: [u8; 4], body: &'a [u8] },
    /// More of the streamed chunk's body; taken.
    Part(&'a [u8]),
    /// The data chunk begins: `size` bytes, its prefix not counted. [`Walker::set_data_size`] may correct it.
    DataStart { size: u64, prefix: &'a [u8] },
    /// Samples at the front of the input: tell by [`Walker::took`] how many bytes were taken.
    Data(&'a [u8]),
    /// Samples that were held back until it was clear what they are; all of them must be taken.
    Held(&'a [u8]),
    /// The data chunk is over, and what follows is no audio.
    DataEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    FileHeader,
    ChunkHeader,
    Body {
        id: [u8; 4],
        wanted: usize,
        skip: u64,
    },
    DataPrefix {
        size: u64,
    },
    Skip {
        left: u64,
    },
    Stream {
        left: u64,
        skip: u64,
    },
    Data {
        left: u64,
        odd: bool,
    },
    AfterData {
        odd: bool,
    },
    /// In samples without a known end: what may be another file's header is held until it is clear.
    Restart,
    /// What was held behind the samples is a file header or chunk: to be told before it is handled.
    DataOver {
        behind: Behind,
    },
}

/// Samples up to the end of the stream, or to another file.
const UNLIMITED: State = State::Data { left: UNTIL_END, odd: false };

/// What stands behind the declared end of the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behind {
    Unclear,
    File,
    Chunk { id: [u8; 4], size: u64 },
    Audio,
}

/// The walker. It holds at most [`BODY_BYTES_MAX`] bytes.
#[derive(Debug)]
pub(super) struct Walker {
    family: &'static Family,
    state: State,
    held: [u8; BODY_BYTES_MAX],
    len: usize,
    /// So much of what is held was handed out by reference; it is dropped at the next step.
    spent: usize,
    before_data: u64,
    /// In a file's trailer there is no more data to come; its chunks are only passed over.
    trailer: bool,
}

impl Walker {
    pub(super) fn new(family: &'static Family) -> Self {
        Self {
            family,
            state: State::FileHeader,
            held: [0; BODY_BYTES_MAX],
            len: 0,
            spent: 0,
            before_data: 0,
            trailer: false,
        }
    }

    /// Bytes held of an unfinished header or chunk.
    pub(super) fn held(&self) -> usize {
        self.len - self.spent
    }

    /// Corrects the length the data chunk was announced with.
    pub(super) fn set_data_size(&mut self, size: u64) {
        self.state = State::Data { left: size, odd: self.family.padded && size % 2 == 1 };
    }

    /// `n` bytes of [`Event::Data`] were taken.
    pub(super) fn took(&mut self, n: usize) {
        if let State::Data { left, .. } = &mut self.state
            && *left != UNTIL_END
        {
            *left -= n as u64;
        }
    }

    /// Goes to the next event. Returns the bytes taken from the front of `input`, those of [`Event::Data`] not among them.
    pub(super) fn next<'a>(&'a mut self, input: &'a [u8]) -> Result<(usize, Event<'a>), DecodeError> {
        self.drop_spent();
        let mut at = 0;
        loop {
            match self.state {
                State::FileHeader => {
                    let family = self.family;
                    at += self.gather(&input[at..], family.file_header);
                    if self.len < family.file_header {
                        return Ok((at, Event::Starved));
                    }
                    if !(family.is_file)(&self.held[..self.len]) {
                        return Err(self.malformed("the file header is missing"));
                    }
                    self.begin_file();
                    return Ok((at, Event::File));
                }
                State::ChunkHeader => {
                    // Behind the trailer another file may begin.
                    if self.trailer && self.len < 4 {
                        at += self.gather(&input[at..], 4);
                        if self.len == 4 && self.family.starts.iter().any(|s| *s == self.held[..4]) {
                            self.state = State::FileHeader;
                            continue;
                        }
                    }
                    at += self.gather(&input[at..], self.family.chunk_header);
                    if self.len < self.family.chunk_header {
                        return Ok((at, Event::Starved));
                    }
                    self.begin_chunk()?;
                }
                State::Body { id, wanted, skip } => {
                    at += self.gather(&input[at..], wanted);
                    if self.len < wanted {
                        return Ok((at, Event::Starved));
                    }
                    self.state = State::Skip { left: skip };
                    self.spent = self.len;
                    return Ok((at, Event::Chunk { id, body: &self.held[..wanted] }));
                }
                State::DataPrefix { size } => {
                    let prefix = self.family.data_prefix;
                    at += self.gather(&input[at..], prefix);
                    if self.len < prefix {
                        return Ok((at, Event::Starved));
                    }
                    self.set_data_size(size);
                    self.spent = self.len;
                    return Ok((at, Event::DataStart { size, prefix: &self.held[..prefix] }));
                }
                State::Skip { left } => {
                    let n = left.min((input.len() - at) as u64);
                    at += n as usize;
                    self.state = if n == left { State::ChunkHeader } else { State::Skip { left: left - n } };
                    if n < left || at == input.len() {
                        return Ok((at, Event::Starved));
                    }
                }
                State::Stream { left: 0, skip } => self.state = State::Skip { left: skip },
                State::Stream { left, skip } => {
                    let n = left.min((input.len() - at) as u64) as usize;
                    if n == 0 {
                        return Ok((at, Event::Starved));
                    }
                    self.state = State::Stream { left: left - n as u64, skip };
                    return Ok((at + n, Event::Part(&input[at..at + n])));
                }
                State::Data { left: 0, odd } => self.state = State::AfterData { odd },
                State::Data { left: UNTIL_END, .. } => {
                    let bytes = &input[at..];
                    let n = self.restart(bytes);
                    if n == 0 && !bytes.is_empty() {
                        self.state = State::Restart;
                        continue;
                    }
                    return Ok((at, if n == 0 { Event::Starved } else { Event::Data(&bytes[..n]) }));
                }
                State::Data { left, .. } => {
                    let n = left.min((input.len() - at) as u64) as usize;
                    let event = if n == 0 { Event::Starved } else { Event::Data(&input[at..at + n]) };
                    return Ok((at, event));
                }
                State::AfterData { .. } | State::Restart => {
                    let Some(&byte) = input.get(at) else { return Ok((at, Event::Starved)) };
                    at += 1;
                    self.held[self.len] = byte;
                    self.len += 1;
                    let behind = match self.state {
                        State::AfterData { odd } => self.behind(odd),
                        _ => self.behind_file(&self.held[..self.len]),
                    };
                    match behind {
                        Behind::Unclear => {}
                        Behind::Audio => {
                            self.spent = self.not_starting();
                            self.state = if self.spent < self.len { State::Restart } else { UNLIMITED };
                            return Ok((at, Event::Held(&self.held[..self.spent])));
                        }
                        Behind::File | Behind::Chunk { .. } => {
                            self.state = State::DataOver { behind };
                            return Ok((at, Event::DataEnd));
                        }
                    }
                }
                State::DataOver { behind } => {
                    self.len = 0;
                    match behind {
                        Behind::File => {
                            self.begin_file();
                            return Ok((at, Event::File));
                        }
                        Behind::Chunk { id, size } => {
                            self.trailer = true;
                            self.state = self.body(id, size);
                        }
                        Behind::Unclear | Behind::Audio => self.state = State::ChunkHeader,
                    }
                }
            }
        }
    }

    /// No more bytes come: samples that were held for what they might have been the beginning of. To be called before `finish`.
    pub(super) fn last_samples(&mut self) -> &[u8] {
        self.drop_spent();
        let len = if self.state == State::Restart { std::mem::take(&mut self.len) } else { 0 };
        &self.held[..len]
    }

    /// No more bytes come: warns of what is unfinished.
    pub(super) fn finish(&mut self, warnings: &mut Vec<DecodeWarning>) -> Result<(), DecodeError> {
        self.drop_spent();
        let bytes = std::mem::take(&mut self.len) as u64;
        match self.state {
            State::FileHeader if bytes == 0 => return Ok(()),
            State::FileHeader
            | State::Body { .. }
            | State::DataPrefix { .. }
            | State::ChunkHeader
            | State::Skip { .. }
            | State::Stream { .. }
                if !self.trailer =>
            {
                return Err(self.malformed("it ends before its samples begin"));
            }
            // A byte that fills up an odd length is nothing lost.
            State::AfterData { odd: true } if bytes == 1 => {}
            State::FileHeader
            | State::Body { .. }
            | State::DataPrefix { .. }
            | State::ChunkHeader
            | State::Skip { .. }
            | State::Stream { .. }
            | State::Data { .. }
            | State::AfterData { .. }
            | State::Restart
            | State::DataOver { .. } => {
                if bytes > 0 {
                    warnings.push(DecodeWarning::TruncatedTail { what: "chunk", bytes });
                }
            }
        }
        Ok(())
    }

    fn drop_spent(&mut self) {
        self.held.copy_within(self.spent..self.len, 0);
        self.len -= std::mem::take(&mut self.spent);
    }

    fn malformed(&self, what: &'static str) -> DecodeError {
        DecodeError::Malformed { container: self.family.name, what }
    }

    /// Fills `held` up to `want` bytes; returns how many it took.
    fn gather(&mut self, input: &[u8], want: usize) -> usize {
        let n = want.saturating_sub(self.len).min(input.len());
        self.held[self.len..self.len + n].copy_from_slice(&input[..n]);
        self.len += n;
        n
    }

    fn begin_file(&mut self) {
        self.len = 0;
        self.before_data = 0;
        self.trailer = false;
        self.state = State::ChunkHeader;
    }

    fn begin_chunk(&mut self) -> Result<(), DecodeError> {
        let header = &self.held[..self.family.chunk_header];
        let id = [header[0], header[1], header[2], header[3]];
        let size = (self.family.size)(header);
        self.len = 0;
        if self.trailer {
            self.state = self.body(id, size);
            return Ok(());
        }
        if id == self.family.data {
            let size = match size {
                UNTIL_END => UNTIL_END,
                size => size.saturating_sub(self.family.data_prefix as u64),
            };
            self.state = State::DataPrefix { size };
            return Ok(());
        }
        let padded = self.padded_size(size);
        self.before_data = self.before_data.saturating_add(padded);
        if self.before_data > BEFORE_DATA_BYTES_MAX {
            let limit = BEFORE_DATA_BYTES_MAX;
            return Err(DecodeError::TooLarge {
                container: self.family.name,
                what: "the bytes before the samples",
                limit,
            });
        }
        let wanted = (self.family.wanted)(&id).min(BODY_BYTES_MAX).min(size as usize);
        self.state = if (self.family.wanted)(&id) == 0 {
            self.body(id, size)
        } else {
            State::Body { id, wanted, skip: padded - wanted as u64 }
        };
        Ok(())
    }

    /// How the body of a chunk that is not wanted whole is gone through.
    fn body(&self, id: [u8; 4], size: u64) -> State {
        let skip = self.padded_size(size) - size;
        if self.family.streamed == Some(id) {
            State::Stream { left: size, skip }
        } else {
            State::Skip { left: size.saturating_add(skip) }
        }
    }

    fn padded_size(&self, size: u64) -> u64 {
        size.saturating_add(u64::from(self.family.padded && size % 2 == 1))
    }

    /// Tells chunk, file and samples apart behind the declared end of the samples. A pad byte may stand in front, or be missing.
    fn behind(&self, odd: bool) -> Behind {
        let mut unclear = false;
        for pad in 0..=usize::from(odd) {
            // A pad byte is zero.
            if pad == 1 && self.held[0] != 0 {
                continue;
            }
            let bytes = &self.held[pad..self.len];
            if bytes.is_empty() {
                unclear = true;
                continue;
            }
            match self.behind_bytes(bytes) {
                Behind::Audio => {}
                Behind::Unclear => unclear = true,
                clear @ (Behind::File | Behind::Chunk { .. }) => return clear,
            }
        }
        if unclear { Behind::Unclear } else { Behind::Audio }
    }

    /// Whether `bytes` are a file header, as far as they go.
    fn behind_file(&self, bytes: &[u8]) -> Behind {
        let family = self.family;
        if bytes.len() >= family.file_header {
            return if (family.is_file)(&bytes[..family.file_header]) { Behind::File } else { Behind::Audio };
        }
        if family.starts.iter().any(|start| prefix_of(bytes, start)) { Behind::Unclear } else { Behind::Audio }
    }

    /// Where in samples without a known end another file may begin, cut off at the end of `bytes` or not; else their length.
    fn restart(&self, bytes: &[u8]) -> usize {
        let whole = self.family.starts.iter().filter_map(|start| memchr::memmem::find(bytes, start)).min();
        whole.unwrap_or_else(|| {
            let from = bytes.len().saturating_sub(3);
            (from..bytes.len()).find(|&i| self.starts_with_start(&bytes[i..])).unwrap_or(bytes.len())
        })
    }

    /// Held bytes that are samples for certain: all before the first place another file may begin, the very front left aside.
    fn not_starting(&self) -> usize {
        (1..self.len).find(|&i| self.starts_with_start(&self.held[i..self.len])).unwrap_or(self.len)
    }

    fn starts_with_start(&self, bytes: &[u8]) -> bool {
        self.family.starts.iter().any(|start| prefix_of(bytes, start))
    }

    fn behind_bytes(&self, bytes: &[u8]) -> Behind {
        let family = self.family;
        match self.behind_file(bytes) {
            Behind::Audio => {}
            other @ (Behind::File | Behind::Unclear | Behind::Chunk { .. }) => return other,
        }
        if !family.trailing.iter().any(|id| prefix_of(bytes, id)) {
            return Behind::Audio;
        }
        if bytes.len() < family.chunk_header {
            return Behind::Unclear;
        }
        let size = (family.size)(&bytes[..family.chunk_header]);
        let id = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if size <= TRAILER_BYTES_MAX { Behind::Chunk { id, size } } else { Behind::Audio }
    }
}

/// Whether the first bytes agree, as far as both go.
fn prefix_of(bytes: &[u8], pattern: &[u8]) -> bool {
    bytes.iter().zip(pattern).all(|(a, b)| a == b)
}
