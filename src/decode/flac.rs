//! Native FLAC (RFC 9639) as it arrives. A frame's length is written nowhere: it ends where its checksum comes to zero and it decodes.
//! Each byte is looked at once.

mod frames;
mod head;

use super::codec::flac::frame::FrameHeader;
use super::codec::flac::{Flac, StreamInfo};
use super::{DecodeError, DecodeOut, DecodeParams, DecodeWarning, Decoder, STEP_FRAMES_MAX, Step};
use frames::{Found, Frames};
use head::{Head, HeadEvent};

const NAME: &str = "FLAC";

/// Bytes taken in one step: about the frames of one step, so that little is moved within the buffer.
const STEP_BYTES: usize = 16 << 10;

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
            let Some((_, info)) = &self.codec else { return Ok(false) };
            if self.frames.silence > 0 {
                let frames = self.frames.silence.min(STEP_FRAMES_MAX as u64);
                self.frames.silence -= frames;
                push_silence(info, frames as usize, out);
                return Ok(true);
            }
            if let Some((header, end)) = self.frames.found.take() {
                return Ok(self.end_at(header, end, out));
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
                Found::End { header, end } => {
                    if self.end_at(header, end, out) {
                        return Ok(true);
                    }
                }
                Found::Damaged { header, end, following } => {
                    if following && !self.frames.is_past(&header, info) {
                        self.frames.told_skipped(out);
                        out.warnings.push(DecodeWarning::PacketConcealed { codec: NAME });
                        self.frames.silence = self.frames.lost(&header, info) + u64::from(header.block);
                        self.frames.expect_after(&header, info);
                        self.frames.cut(end);
                        self.frames.damaged = true;
                    } else {
                        // Without another look, or a flood of false frames would be searched again and again.
                        self.frames.pass_over(end);
                    }
                    return Ok(true);
                }
            }
        }
    }

    /// Hands out the frame if it decodes as cut at `end`: it lacks no bit then, and the checksum says it has none too many. What was
    /// lost before it comes first. Returns whether it decoded.
    fn end_at(&mut self, header: FrameHeader, end: usize, out: &mut DecodeOut) -> bool {
        let (Some((codec, info)), frames) = (&mut self.codec, &mut self.frames) else { return false };
        let from = out.pcm.samples.len();
        if codec.decode_checked(&header, &frames.buf[frames.start..end], out).is_err() {
            return false;
        }
        frames.told_skipped(out);
        frames.silence = frames.lost(&header, info);
        frames.damaged = false;
        if frames.silence > 0 {
            out.pcm.samples.truncate(from);
            frames.found = Some((header, end));
        } else {
            frames.expect_after(&header, info);
            frames.cut(end);
        }
        true
    }

    /// At the end of the stream, what has no end yet has none.
    fn last_frame(&mut self, out: &mut DecodeOut) {
        if self.frames.header.is_some() {
            let bytes = self.frames.pending() as u64;
            out.warnings.push(DecodeWarning::TruncatedTail { what: "packet", bytes });
        }
        self.frames.told_skipped(out);
        self.frames = Frames::default();
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
        self.last_frame(out);
        Ok(false)
    }

    fn pending_bytes(&self) -> usize {
        self.frames.pending() + self.head.as_ref().map_or(0, Head::held)
    }
}

#[cfg(test)]
mod tests;
