//! The bytes from the beginning of the current frame on, and the search for what follows it. Each byte is looked at once.

use super::NAME;
use super::STEP_BYTES;
use crate::decode::codec::flac::StreamInfo;
use crate::decode::codec::flac::frame::{CRC_BYTES, FrameHeader, Parsed, crc16, crc16_to_zero, parse};
use crate::decode::{DecodeOut, DecodeWarning};

/// A frame of incompressible samples is larger than its samples by its headers.
const FRAME_OVERHEAD_BYTES: usize = 1_024;
/// Places at which the end of a frame is tried by decoding it, and one more for so many bytes of it: a checksum of 16 bits is right by
/// accident once in 65536 places, and each try may cost a whole block.
const END_TRIES_MAX: usize = 16;
const BYTES_PER_END_TRY: usize = 16 << 10;
/// A subframe has a header of 8 bits at least and a value of 4, and the checksum has two bytes.
const FRAME_BODY_BYTES_MIN: usize = 2 + CRC_BYTES;
/// Lost frames that are made up for by silence. What is more is another stream's numbering.
const LOST_BLOCKS_MAX: u64 = 64;
/// The same in sample frames, over a second: a header of eight bytes can claim blocks of 65535.
const LOST_FRAMES_MAX: u64 = 64 << 10;
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
    /// What may be the header of what follows the frame, as far as it was scanned.
    candidates: Vec<Candidate>,
    /// How often an end of the frame was tried.
    tries: usize,
    /// The end of the frame, found before the silence that goes before it was handed out.
    pub(super) found: Option<(FrameHeader, usize)>,
    /// Bytes passed over since the last frame.
    pub(super) skipped: u64,
    /// Where the next frame should begin, in sample frames.
    next: Option<u64>,
    /// Damage was met since the last good frame.
    pub(super) damaged: bool,
    /// Silence still to be handed out for lost frames, in sample frames.
    pub(super) silence: u64,
}

/// A place within a frame where something else may begin.
struct Candidate {
    at: usize,
    /// Whether the frame's checksum is right before it.
    ends_frame: bool,
}

/// What the search within the buffer came to.
pub(super) enum Found {
    /// More bytes are needed.
    Nothing,
    /// The frame ends here if it decodes: the checksum is right. If it does not, the search goes on.
    End { header: FrameHeader, end: usize },
    /// It decoded nowhere its checksum was right: up to what follows it, or up to where it is too long to be one.
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
        self.candidates.clear();
    }

    pub(super) fn pending(&self) -> usize {
        self.buf.len() - self.start
    }

    /// The frame, or what was passed over, ends at `end`: go on there.
    pub(super) fn cut(&mut self, end: usize) {
        self.start = end;
        self.scanned = end;
        self.crc = 0;
        self.header = None;
        self.tries = 0;
        self.candidates.clear();
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
        self.search_end(&header, info)
    }

    /// Looks for the end of the frame, each byte in turn. Whatever decides has its last byte where it is decided, so that no cut of the
    /// input can change what comes first.
    fn search_end(&mut self, header: &FrameHeader, info: &StreamInfo) -> Found {
        let bytes_max = usize::from(header.block) * usize::from(info.channels) * (info.bits as usize + 1) / 8
            + FRAME_OVERHEAD_BYTES;
        let bytes_min = header.len + FRAME_BODY_BYTES_MIN;
        loop {
            if let Some(end) = self.end_before_header(header, info) {
                return Found::Damaged { header: *header, end, following: true };
            }
            let len = self.scanned - self.start;
            if len > bytes_max {
                return Found::Damaged { header: *header, end: self.scanned, following: false };
            }
            if self.scanned == self.buf.len() {
                return Found::Nothing;
            }
            self.scan(self.start + bytes_max + 1);
            let len = self.scanned - self.start;
            if self.crc == 0 && len >= bytes_min && self.tries < END_TRIES_MAX + len / BYTES_PER_END_TRY {
                self.tries += 1;
                return Found::End { header: *header, end: self.scanned };
            }
        }
    }

    /// Goes on by a byte at least: to where the checksum comes to zero, or before a byte that may begin a header, or to `limit`.
    fn scan(&mut self, limit: usize) {
        let bytes = &self.buf[self.scanned..limit.min(self.buf.len())];
        let plain =
            if self.candidates.is_empty() { memchr::memchr2(0xff, b'f', bytes).unwrap_or(bytes.len()) } else { 0 };
        if plain > 0 {
            let (n, crc) = crc16_to_zero(self.crc, &bytes[..plain]);
            self.crc = crc;
            self.scanned += n;
            return;
        }
        if bytes[0] == 0xff || bytes[0] == b'f' {
            self.candidates.push(Candidate { at: self.scanned, ends_frame: self.crc == 0 });
        }
        self.crc = crc16(self.crc, &bytes[..1]);
        self.scanned += 1;
    }

    /// Where the frame must end because what was scanned last completes the header of what follows it.
    fn end_before_header(&mut self, header: &FrameHeader, info: &StreamInfo) -> Option<usize> {
        let mut end = None;
        let scanned = &self.buf[..self.scanned];
        self.candidates.retain(|candidate| {
            let bytes = &scanned[candidate.at..];
            let (follows, waits) = match parse(bytes) {
                Parsed::Header(next) => {
                    (info.admits(&next) && (candidate.ends_frame || follows(header, &next, info)), false)
                }
                Parsed::Short => (false, true),
                Parsed::No => (is_restart(bytes), could_be_restart(bytes)),
            };
            if follows && end.is_none() {
                end = Some(candidate.at);
            }
            waits && !follows
        });
        end
    }

    /// Where a frame begins, in sample frames.
    fn position(header: &FrameHeader, info: &StreamInfo) -> u64 {
        if header.variable { header.number } else { header.number * u64::from(info.block_max) }
    }

    pub(super) fn expect_after(&mut self, header: &FrameHeader, info: &StreamInfo) {
        self.next = Some(Self::position(header, info) + u64::from(header.block));
    }

    /// Whether the frame's time was handed out already: what decodes nowhere and says so is no frame.
    pub(super) fn is_past(&self, header: &FrameHeader, info: &StreamInfo) -> bool {
        self.next.is_some_and(|next| Self::position(header, info) < next)
    }

    /// Sample frames lost before this frame, where damage explains it.
    pub(super) fn lost(&self, header: &FrameHeader, info: &StreamInfo) -> u64 {
        let Some(next) = self.next.filter(|_| self.damaged) else { return 0 };
        let lost = Self::position(header, info).saturating_sub(next);
        if lost <= (LOST_BLOCKS_MAX * u64::from(header.block)).min(LOST_FRAMES_MAX) { lost } else { 0 }
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
