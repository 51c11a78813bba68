//! What stands before the first frame: an ID3v2 tag some tools put there, the `fLaC` marker and the metadata blocks (RFC 9639 section 8). All but
//! STREAMINFO is passed over.

use super::CONTAINER;
use crate::decode::DecodeError;
use crate::decode::codec::flac::STREAMINFO_BYTES;

/// Bytes of tags, pictures and padding that may stand before the first frame: a block can claim 16 MiB.
const HEAD_BYTES_MAX: u64 = 32 << 20;
/// Length of an ID3v2 header, and of its footer.
const ID3_HEADER_BYTES: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Marker,
    Tag { left: u64 },
    BlockHeader { first: bool },
    StreamInfo { last: bool },
    Block { left: u64, last: bool },
    Done,
}

/// What the bytes led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadEvent {
    /// All are taken, more are needed.
    Starved,
    /// The stream's parameters.
    StreamInfo([u8; STREAMINFO_BYTES]),
    /// The first frame follows.
    End,
}

/// The reader.
#[derive(Debug)]
pub(super) struct Head {
    state: State,
    held: [u8; STREAMINFO_BYTES],
    len: usize,
    total: u64,
}

impl Head {
    pub(super) fn new() -> Self {
        Self { state: State::Marker, held: [0; STREAMINFO_BYTES], len: 0, total: 0 }
    }

    /// Bytes held of an unfinished header.
    pub(super) fn held(&self) -> usize {
        self.len
    }

    /// Whether nothing came yet.
    pub(super) fn is_empty(&self) -> bool {
        self.total == 0 && self.len == 0
    }

    /// Takes bytes up to the next event; returns how many.
    pub(super) fn feed(&mut self, input: &[u8]) -> Result<(usize, HeadEvent), DecodeError> {
        let mut at = 0;
        loop {
            match self.state {
                State::Marker => {
                    if !self.gather(input, &mut at, 4) {
                        return Ok((at, HeadEvent::Starved));
                    }
                    if self.held[..4] == *b"fLaC" {
                        self.go(State::BlockHeader { first: true });
                    } else if self.held[..3] == *b"ID3" {
                        if !self.gather(input, &mut at, ID3_HEADER_BYTES) {
                            return Ok((at, HeadEvent::Starved));
                        }
                        let left = id3_body_bytes(&self.held[..ID3_HEADER_BYTES]);
                        self.pass_over(left)?;
                        self.go(State::Tag { left });
                    } else {
                        return Err(malformed("its fLaC marker is missing"));
                    }
                }
                State::BlockHeader { first } => {
                    if !self.gather(input, &mut at, 4) {
                        return Ok((at, HeadEvent::Starved));
                    }
                    let (last, kind) = (self.held[0] & 0x80 != 0, self.held[0] & 0x7f);
                    let left = u64::from(u32::from_be_bytes([0, self.held[1], self.held[2], self.held[3]]));
                    if first != (kind == 0) || (first && left != STREAMINFO_BYTES as u64) || kind == 0x7f {
                        return Err(malformed("its metadata is damaged"));
                    }
                    self.pass_over(left)?;
                    self.go(if first { State::StreamInfo { last } } else { State::Block { left, last } });
                }
                State::StreamInfo { last } => {
                    if !self.gather(input, &mut at, STREAMINFO_BYTES) {
                        return Ok((at, HeadEvent::Starved));
                    }
                    self.go(after(last));
                    return Ok((at, HeadEvent::StreamInfo(self.held)));
                }
                State::Tag { left } | State::Block { left, .. } => {
                    let n = left.min((input.len() - at) as u64);
                    at += n as usize;
                    let left = left - n;
                    self.state = match self.state {
                        State::Tag { .. } if left == 0 => State::Marker,
                        State::Tag { .. } => State::Tag { left },
                        State::Block { last, .. } if left == 0 => after(last),
                        State::Block { last, .. } => State::Block { left, last },
                        other => other,
                    };
                    if left > 0 {
                        return Ok((at, HeadEvent::Starved));
                    }
                }
                State::Done => return Ok((at, HeadEvent::End)),
            }
        }
    }

    fn go(&mut self, state: State) {
        self.len = 0;
        self.state = state;
    }

    fn pass_over(&mut self, bytes: u64) -> Result<(), DecodeError> {
        self.total += bytes + self.len as u64;
        if self.total > HEAD_BYTES_MAX {
            let what = "the metadata before the first frame";
            return Err(DecodeError::TooLarge { container: CONTAINER, what, limit: HEAD_BYTES_MAX });
        }
        Ok(())
    }

    /// Fills `held` up to `want` bytes; whether it is full.
    fn gather(&mut self, input: &[u8], at: &mut usize, want: usize) -> bool {
        let n = (want - self.len.min(want)).min(input.len() - *at);
        self.held[self.len..self.len + n].copy_from_slice(&input[*at..*at + n]);
        self.len += n;
        *at += n;
        self.len >= want
    }
}

fn after(last: bool) -> State {
    if last { State::Done } else { State::BlockHeader { first: false } }
}

/// Bytes behind an ID3v2 header: four times seven bits, and a footer where a flag says so.
fn id3_body_bytes(header: &[u8]) -> u64 {
    let size = header[6..10].iter().fold(0, |size, &b| size << 7 | u64::from(b & 0x7f));
    size + if header[5] & 0x10 != 0 { ID3_HEADER_BYTES as u64 } else { 0 }
}

fn malformed(what: &'static str) -> DecodeError {
    DecodeError::Malformed { container: CONTAINER, what }
}
