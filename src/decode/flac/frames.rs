//! The bytes from the beginning of the current frame on, and the search for what follows it. Each byte is looked at once.

use super::NAME;
use super::STEP_BYTES;
use crate::decode::codec::flac::StreamInfo;
use crate::decode::codec::flac::frame::{FrameHeader, Parsed, crc16, parse};
use crate::decode::{DecodeOut, DecodeWarning};

/// A frame of incompressible samples is larger than its samples by its headers.
const FRAME_OVERHEAD_BYTES: usize = 1_024;
/// Lost frames that are made up for by silence: some seconds. What is more is another stream's numbering.
const LOST_BLOCKS_MAX: u64 = 64;
/// The marker of a stream with the header of the STREAMINFO that must follow, its last-block flag cleared.
const RESTART: [u8; 8] = *b"fLaC\0\0\0\x22";

/// The bytes from the beginning of the current frame on.
#[derive(Default)]
pub(super) struct Frames {
    pub(super) buf: Vec<u8>,
    /// Where the frame begins in `buf`.
    pub(super) start: usize,
    /// Up to where it was searched for what follows the frame.
    scanned: usize,
    /// Checksum of the frame up to `scanned`.
    crc: u16,
    pub(super) header: Option<FrameHeader>,
    /// How often the end of input was tried as the frame's end, in vain.
    pub(super) tries: u8,
    /// Bytes passed over since the last frame.
    pub(super) skipped: u64,
    /// Where the next frame should begin, in sample frames.
    next: Option<u64>,
    /// Damage was met since the last good frame.
    pub(super) damaged: bool,
    /// Silence still to be handed out for lost frames, in sample frames.
    pub(super) silence: u64,
}

/// What the search within the buffer came to.
pub(super) enum Found {
    /// More bytes are needed.
    Nothing,
    /// A frame whose checksum is right.
    Frame { header: FrameHeader, end: usize },
    /// Its checksum never came right where a frame can end: up to what follows it, or up to where it is too long to be one.
    Damaged { header: FrameHeader, end: usize, following: bool },
    /// Another stream begins.
    Restart,
    /// Something changed; search on.
    Again,
}

impl Frames {
    pub(super) fn begin_stream(&mut self) {
        self.next = None;
        self.damaged = false;
        self.header = None;
    }

    pub(super) fn restart_with(&mut self, buf: Vec<u8>) {
        self.buf = buf;
        self.start = 0;
        self.scanned = 0;
        self.crc = 0;
        self.tries = 0;
    }

    pub(super) fn pending(&self) -> usize {
        self.buf.len() - self.start
    }

    /// The frame's checksum over all that has come.
    pub(super) fn residue(&self) -> u16 {
        crc16(self.crc, &self.buf[self.scanned..])
    }

    /// The frame, or what was passed over, ends at `end`: go on there.
    pub(super) fn cut(&mut self, end: usize) {
        self.start = end;
        self.scanned = end;
        self.crc = 0;
        self.header = None;
        self.tries = 0;
        // Moved rarely, so that small frames do not move the whole buffer each.
        if self.start == self.buf.len() || self.start > self.buf.len() / 2 + STEP_BYTES / 2 {
            self.buf.drain(..self.start);
            self.start = 0;
            self.scanned = 0;
        }
    }

    pub(super) fn pass_over(&mut self, to: usize) {
        self.skipped += (to - self.start) as u64;
        self.damaged = true;
        self.cut(to);
    }

    pub(super) fn told_skipped(&mut self, out: &mut DecodeOut) {
        let bytes = std::mem::take(&mut self.skipped);
        if bytes > 0 {
            out.warnings.push(DecodeWarning::Resynced { container: NAME, bytes });
        }
    }

    /// Looks for the current frame's end, or for a frame where there is none.
    pub(super) fn search(&mut self, info: &StreamInfo, at_end: bool) -> Found {
        let bytes = &self.buf[self.start..];
        let Some(header) = self.header else {
            return match parse(bytes) {
                Parsed::Header(header) if info.admits(&header) => {
                    self.header = Some(header);
                    self.crc = crc16(0, &bytes[..header.len]);
                    self.scanned = self.start + header.len;
                    Found::Again
                }
                _ if is_restart(bytes) => Found::Restart,
                Parsed::Short if !at_end => Found::Nothing,
                _ if could_be_restart(bytes) && !at_end => Found::Nothing,
                Parsed::Header(_) | Parsed::Short | Parsed::No if bytes.is_empty() => Found::Nothing,
                Parsed::Header(_) | Parsed::Short | Parsed::No => {
                    let next = memchr::memchr2(0xff, b'f', &bytes[1..]).map_or(bytes.len(), |i| i + 1);
                    self.pass_over(self.start + next);
                    Found::Again
                }
            };
        };
        self.search_end(&header, info, at_end)
    }

    fn search_end(&mut self, header: &FrameHeader, info: &StreamInfo, at_end: bool) -> Found {
        let bytes_max = usize::from(header.block) * usize::from(info.channels) * (info.bits as usize + 1) / 8
            + FRAME_OVERHEAD_BYTES;
        loop {
            let next = memchr::memchr2(0xff, b'f', &self.buf[self.scanned..]);
            let at = next.map_or(self.buf.len(), |i| self.scanned + i);
            self.crc = crc16(self.crc, &self.buf[self.scanned..at]);
            self.scanned = at;
            if at - self.start > bytes_max {
                return Found::Damaged { header: *header, end: at, following: false };
            }
            if next.is_none() {
                return Found::Nothing;
            }
            let bytes = &self.buf[at..];
            let end = at;
            match parse(bytes) {
                Parsed::Header(following) if info.admits(&following) => {
                    if self.crc == 0 {
                        return Found::Frame { header: *header, end };
                    }
                    if follows(header, &following, info) {
                        return Found::Damaged { header: *header, end, following: true };
                    }
                }
                _ if is_restart(bytes) => {
                    let header = *header;
                    return if self.crc == 0 {
                        Found::Frame { header, end }
                    } else {
                        Found::Damaged { header, end, following: true }
                    };
                }
                Parsed::Short if !at_end => return Found::Nothing,
                _ if could_be_restart(bytes) && !at_end => return Found::Nothing,
                Parsed::Header(_) | Parsed::Short | Parsed::No => {}
            }
            self.crc = crc16(self.crc, &self.buf[at..at + 1]);
            self.scanned = at + 1;
        }
    }

    /// Where a frame begins, in sample frames.
    fn position(header: &FrameHeader, info: &StreamInfo) -> u64 {
        if header.variable { header.number } else { header.number * u64::from(info.block_max) }
    }

    pub(super) fn expect_after(&mut self, header: &FrameHeader, info: &StreamInfo) {
        self.next = Some(Self::position(header, info) + u64::from(header.block));
    }

    /// Sample frames lost before this frame, where damage explains it.
    pub(super) fn lost(&self, header: &FrameHeader, info: &StreamInfo) -> u64 {
        let Some(next) = self.next.filter(|_| self.damaged) else { return 0 };
        let lost = Self::position(header, info).saturating_sub(next);
        if lost <= LOST_BLOCKS_MAX * u64::from(header.block) { lost } else { 0 }
    }

    /// Before a good frame: tells what was passed over, and keeps the timeline by silence. Returns whether there is silence to come first.
    pub(super) fn accept(&mut self, header: &FrameHeader, info: &StreamInfo, out: &mut DecodeOut) -> bool {
        self.told_skipped(out);
        self.silence = self.lost(header, info);
        self.damaged = false;
        self.silence > 0
    }
}

/// Whether a header in the middle of a frame that did not end right is the next one: its number says so.
fn follows(header: &FrameHeader, following: &FrameHeader, info: &StreamInfo) -> bool {
    let end = Frames::position(header, info) + u64::from(header.block);
    let next = Frames::position(following, info);
    header.variable == following.variable && next >= end && next - end <= LOST_BLOCKS_MAX * u64::from(header.block)
}

fn is_restart(bytes: &[u8]) -> bool {
    bytes.len() >= RESTART.len() && could_be_restart(bytes)
}

/// Whether the bytes begin like a stream, as far as they go.
fn could_be_restart(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .zip(RESTART)
        .enumerate()
        .all(|(i, (&byte, want))| if i == 4 { byte & 0x7f == want } else { byte == want })
}
