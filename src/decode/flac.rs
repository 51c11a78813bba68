//! Native FLAC (RFC 9639) as it arrives. A frame's length is written nowhere: it ends where its checksum comes to zero and the next frame's
//! header stands, or, at the end of what has come, where it decodes. Each byte is looked at once.

mod frames;
mod head;

use super::codec::flac::frame::{CRC_BYTES, FrameHeader, crc16};
use super::codec::flac::{Flac, StreamInfo};
use super::{DecodeError, DecodeOut, DecodeParams, DecodeWarning, Decoder, STEP_FRAMES_MAX, Step};
use frames::{Found, Frames};
use head::{Head, HeadEvent};

const NAME: &str = "FLAC";

/// Bytes taken in one step: about the frames of one step, so that little is moved within the buffer.
const STEP_BYTES: usize = 16 << 10;
/// Places at which the end of one frame is tried by decoding it: a checksum of 16 bits is right by accident once in 65536 places.
const END_TRIES_MAX: u8 = 16;
/// A subframe has a header of 8 bits at least and a value of 4, and the checksum has two bytes.
const FRAME_BODY_BYTES_MIN: usize = 2 + CRC_BYTES;

/// The decoder.
pub(super) struct FlacStream {
    params: DecodeParams,
    head: Option<Head>,
    codec: Option<(Flac, StreamInfo)>,
    frames: Frames,
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
                    super::header::check(&self.params, NAME, info.rate_hz, u32::from(info.channels))?;
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
                    if self.frames.skipped > 0 {
                        // A step of its own: an error in the beginning that follows would take the warning with it.
                        self.frames.told_skipped(out);
                        return Ok(true);
                    }
                    self.frames.begin_stream();
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
                        out.warnings.push(DecodeWarning::PacketConcealed { codec: NAME });
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
                        out.warnings.push(DecodeWarning::PacketConcealed { codec: NAME });
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
                Err(DecodeError::Malformed { container: NAME, what: "it ends before its samples begin" })
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
