//! Native FLAC (RFC 9639) as it arrives. A frame's length is written nowhere: it ends where its checksum comes to zero and the next frame's
//! header stands, or, at the end of what has come, where it decodes. Each byte is looked at once.

mod head;

use super::codec::flac::frame::{CRC_BYTES, FrameHeader, Parsed, crc16, parse};
use super::codec::flac::{Flac, StreamInfo};
use super::{DecodeError, DecodeOut, DecodeParams, DecodeWarning, Decoder, STEP_FRAMES_MAX, Step};
use head::{Head, HeadEvent};

const CONTAINER: &str = "flac";

/// Bytes taken in one step: about the frames of one step, so that little is moved within the buffer.
const STEP_BYTES: usize = 16 << 10;
/// A frame of incompressible samples is larger than its samples by its headers.
const FRAME_OVERHEAD_BYTES: usize = 1_024;
/// Lost frames that are made up for by silence: some seconds. What is more is another stream's numbering.
const LOST_BLOCKS_MAX: u64 = 64;
/// Places at which the end of one frame is tried by decoding it: a checksum of 16 bits is right by accident once in 65536 places.
const END_TRIES_MAX: u8 = 16;
/// A subframe has a header of 8 bits at least and a value of 4, and the checksum has two bytes.
const FRAME_BODY_BYTES_MIN: usize = 2 + CRC_BYTES;
/// The marker of a stream with the header of the STREAMINFO that must follow, its last-block flag cleared.
const RESTART: [u8; 8] = *b"fLaC\0\0\0\x22";

/// The decoder.
pub(super) struct FlacStream {
    params: DecodeParams,
    head: Option<Head>,
    codec: Option<(Flac, StreamInfo)>,
    frames: Frames,
}

/// The bytes from the beginning of the current frame on.
#[derive(Default)]
struct Frames {
    buf: Vec<u8>,
    /// Where the frame begins in `buf`.
    start: usize,
    /// Up to where it was searched for what follows the frame.
    scanned: usize,
    /// Checksum of the frame up to `scanned`.
    crc: u16,
    header: Option<FrameHeader>,
    /// How often the end of input was tried as the frame's end, in vain.
    tries: u8,
    /// Bytes passed over since the last frame.
    skipped: u64,
    /// Where the next frame should begin, in sample frames.
    next: Option<u64>,
    /// Damage was met since the last good frame.
    damaged: bool,
    /// Silence still to be handed out for lost frames, in sample frames.
    silence: u64,
}

/// What the search within the buffer came to.
enum Found {
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

impl FlacStream {
    pub(super) fn new(params: &DecodeParams) -> Self {
        Self { params: *params, head: Some(Head::new()), codec: None, frames: Frames::default() }
    }

    /// Feeds the metadata at a stream's beginning. Returns the bytes it took.
    fn feed_head(&mut self, input: &[u8]) -> Result<usize, DecodeError> {
        let mut consumed = 0;
        while let Some(head) = &mut self.head {
            let (n, event) = head.feed(&input[consumed..])?;
            consumed += n;
            match event {
                HeadEvent::Starved => break,
                HeadEvent::StreamInfo(block) => {
                    let info = StreamInfo::read(&block)?;
                    super::header::check(&self.params, CONTAINER, info.rate_hz, u32::from(info.channels))?;
                    self.codec = Some((Flac::new(&block)?, info));
                }
                HeadEvent::End => {
                    self.head = None;
                    self.frames.begin_stream();
                }
            }
        }
        Ok(consumed)
    }

    /// Hands out one frame or one step of silence. Returns whether to call again without more input.
    fn step(&mut self, at_end: bool, out: &mut DecodeOut) -> Result<bool, DecodeError> {
        loop {
            let Some((codec, info)) = &mut self.codec else { return Ok(false) };
            if self.frames.silence > 0 {
                let frames = self.frames.silence.min(STEP_FRAMES_MAX as u64);
                self.frames.silence -= frames;
                push_silence(info, frames as usize, out);
                return Ok(true);
            }
            match self.frames.search(info, at_end) {
                Found::Again => {}
                Found::Nothing => return Ok(false),
                Found::Restart => {
                    self.frames.end_stream(out);
                    self.head = Some(Head::new());
                    // The marker is read again as the beginning it is.
                    let buf = std::mem::take(&mut self.frames.buf);
                    let rest = &buf[self.frames.start..];
                    let n = self.feed_head(rest)?;
                    let mut kept = rest[n..].to_vec();
                    kept.append(&mut self.frames.buf);
                    self.frames.restart_with(kept);
                    return Ok(true);
                }
                Found::Damaged { header, end, following } => {
                    if self.frames.accept(&header, info, out) {
                        continue;
                    }
                    let info = *info;
                    if let Some(left) = self.decode_alone(&header, end, out) {
                        self.frames.pass_over(self.frames.start + left);
                        return Ok(true);
                    }
                    if following {
                        out.warnings.push(DecodeWarning::PacketConcealed { codec: CONTAINER });
                        self.frames.expect_after(&header, &info);
                        self.frames.cut(end);
                        self.frames.silence = u64::from(header.block);
                    } else {
                        self.frames.pass_over(end);
                    }
                    self.frames.damaged = true;
                    return Ok(true);
                }
                Found::Frame { header, end } => {
                    if self.frames.accept(&header, info, out) {
                        continue;
                    }
                    let frame = &self.frames.buf[self.frames.start..end];
                    if codec.decode_checked(&header, frame, out).is_err() {
                        out.warnings.push(DecodeWarning::PacketConcealed { codec: CONTAINER });
                        push_silence(info, usize::from(header.block), out);
                    }
                    self.frames.expect_after(&header, info);
                    self.frames.damaged = false;
                    self.frames.cut(end);
                    return Ok(true);
                }
            }
        }
    }

    /// Whether the frame decodes as cut at the end of what has come: it lacks no bit then, and the checksum says it has none too many.
    fn try_end(&mut self, out: &mut DecodeOut) -> bool {
        let (Some((codec, info)), frames) = (&mut self.codec, &mut self.frames) else { return false };
        let Some(header) = frames.header else { return false };
        if frames.tries >= END_TRIES_MAX
            || frames.silence > 0
            || frames.residue() != 0
            || frames.lost(&header, info) > 0
        {
            return false;
        }
        let frame = &frames.buf[frames.start..];
        if frame.len() < header.len + FRAME_BODY_BYTES_MIN {
            return false;
        }
        frames.tries += 1;
        if codec.decode_checked(&header, frame, out).is_err() {
            return false;
        }
        frames.told_skipped(out);
        frames.expect_after(&header, info);
        let end = frames.buf.len();
        frames.cut(end);
        true
    }

    /// What stands behind a frame is no frame, so that its end must be found by its checksum alone. Decodes it; what follows up to `limit`
    /// is to be passed over without another look, or a flood of false frames would be searched again and again: returns how much that is.
    fn decode_alone(&mut self, header: &FrameHeader, limit: usize, out: &mut DecodeOut) -> Option<usize> {
        let (Some((codec, info)), frames) = (&mut self.codec, &mut self.frames) else { return None };
        let bytes = &frames.buf[frames.start..limit];
        let mut crc = crc16(0, &bytes[..header.len.min(bytes.len())]);
        let mut tries = 0;
        for (at, &byte) in bytes.iter().enumerate().skip(header.len) {
            crc = crc16(crc, &[byte]);
            let len = at + 1;
            if crc == 0 && len >= header.len + FRAME_BODY_BYTES_MIN && tries < END_TRIES_MAX {
                tries += 1;
                if codec.decode_checked(header, &bytes[..len], out).is_ok() {
                    let end = frames.start + len;
                    frames.expect_after(header, info);
                    frames.cut(end);
                    return Some(limit - end);
                }
            }
        }
        None
    }

    /// At the end of the stream, nothing stands behind the last frame to say where it ends. Returns whether to call again.
    fn last_frame(&mut self, out: &mut DecodeOut) -> bool {
        let Some((_, info)) = &self.codec else { return false };
        if let Some(header) = self.frames.header {
            if self.frames.accept(&header, info, out) {
                return true;
            }
            let bytes = self.frames.pending() as u64;
            if let Some(left) = self.decode_alone(&header, self.frames.buf.len(), out) {
                self.frames.skipped += left as u64;
            } else {
                out.warnings.push(DecodeWarning::TruncatedTail { what: "packet", bytes });
            }
        }
        self.frames.told_skipped(out);
        self.frames = Frames::default();
        false
    }
}

fn push_silence(info: &StreamInfo, frames: usize, out: &mut DecodeOut) {
    out.pcm.spec = crate::audio::PcmSpec { rate_hz: info.rate_hz, channels: info.channels };
    let samples = out.pcm.samples.len() + frames * usize::from(info.channels);
    out.pcm.samples.resize(samples, 0.0);
}

impl Frames {
    fn begin_stream(&mut self) {
        self.next = None;
        self.damaged = false;
        self.header = None;
    }

    fn end_stream(&mut self, out: &mut DecodeOut) {
        self.told_skipped(out);
        self.header = None;
    }

    fn restart_with(&mut self, buf: Vec<u8>) {
        self.buf = buf;
        self.start = 0;
        self.scanned = 0;
        self.crc = 0;
        self.tries = 0;
    }

    fn pending(&self) -> usize {
        self.buf.len() - self.start
    }

    /// The frame's checksum over all that has come.
    fn residue(&self) -> u16 {
        crc16(self.crc, &self.buf[self.scanned..])
    }

    /// The frame, or what was passed over, ends at `end`: go on there.
    fn cut(&mut self, end: usize) {
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

    fn pass_over(&mut self, to: usize) {
        self.skipped += (to - self.start) as u64;
        self.damaged = true;
        self.cut(to);
    }

    fn told_skipped(&mut self, out: &mut DecodeOut) {
        let bytes = std::mem::take(&mut self.skipped);
        if bytes > 0 {
            out.warnings.push(DecodeWarning::Resynced { container: CONTAINER, bytes });
        }
    }

    /// Looks for the current frame's end, or for a frame where there is none.
    fn search(&mut self, info: &StreamInfo, at_end: bool) -> Found {
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

    fn expect_after(&mut self, header: &FrameHeader, info: &StreamInfo) {
        self.next = Some(Self::position(header, info) + u64::from(header.block));
    }

    /// Sample frames lost before this frame, where damage explains it.
    fn lost(&self, header: &FrameHeader, info: &StreamInfo) -> u64 {
        let Some(next) = self.next.filter(|_| self.damaged) else { return 0 };
        let lost = Self::position(header, info).saturating_sub(next);
        if lost <= LOST_BLOCKS_MAX * u64::from(header.block) { lost } else { 0 }
    }

    /// Before a good frame: tells what was passed over, and keeps the timeline by silence. Returns whether there is silence to come first.
    fn accept(&mut self, header: &FrameHeader, info: &StreamInfo, out: &mut DecodeOut) -> bool {
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

impl Decoder for FlacStream {
    fn decode(&mut self, input: &[u8], out: &mut DecodeOut) -> Result<Step, DecodeError> {
        let mut consumed = self.feed_head(input)?;
        let mut more = self.step(false, out)?;
        if !out.pcm.samples.is_empty() || more || self.head.is_some() {
            return Ok(Step { consumed, more });
        }
        let n = (input.len() - consumed).min(STEP_BYTES);
        self.frames.buf.extend_from_slice(&input[consumed..consumed + n]);
        consumed += n;
        more = self.step(false, out)?;
        if !more && n > 0 && consumed == input.len() && self.head.is_none() {
            self.try_end(out);
        }
        Ok(Step { consumed, more })
    }

    fn finish(&mut self, out: &mut DecodeOut) -> Result<bool, DecodeError> {
        if let Some(head) = &mut self.head {
            return if head.is_empty() && self.codec.is_none() {
                Ok(false)
            } else {
                Err(DecodeError::Malformed { container: CONTAINER, what: "it ends before its samples begin" })
            };
        }
        if self.step(true, out)? {
            return Ok(true);
        }
        Ok(self.last_frame(out))
    }

    fn pending_bytes(&self) -> usize {
        self.frames.pending() + self.head.as_ref().map_or(0, Head::held)
    }
}

#[cfg(test)]
mod tests;
