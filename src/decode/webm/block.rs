//! Blocks and what is done with their frames: the half of the decoder that makes sound.

use super::ebml::{HEADER_BYTES_MAX, Header, Read, children, id, int, read_header};
use super::lace::{BlockHeader, Lacing, read_block_header};
use super::track::{NS_PER_S, Payload, Track};
use super::{BLOCK_BYTES_MAX, State, Webm};
use crate::decode::feed::{Feed, Progress};
use crate::decode::segment::{Segment, scale_frames};
use crate::decode::{DecodeError, DecodeOut, DecodeWarning};

/// Bytes of a block of another track: a large key frame.
const FOREIGN_BLOCK_BYTES_MAX: u64 = 16 << 20;

/// Bytes a block group may have beside its block: durations, references, additions.
pub(super) const GROUP_EXTRA_BYTES_MAX: u64 = 4 << 10;

impl Webm {
    /// Looks at the header of the block that begins `at` bytes from the front. `None`: more input is needed.
    fn peek_block(feed: &mut Feed<'_>, at: usize, size: u64) -> Option<Read<BlockHeader>> {
        let mut need = 1;
        loop {
            if need as u64 > size {
                return Some(Read::Damaged);
            }
            match read_block_header(&feed.peek(at + need)?[at..]) {
                Read::Need(more) => need = more,
                // What follows the element is there to be read already, but none of it is the block's.
                Read::Whole(block) if block.bytes as u64 > size => return Some(Read::Damaged),
                read @ (Read::Whole(_) | Read::Damaged) => return Some(read),
            }
        }
    }

    pub(super) fn block(
        &mut self,
        header: Header,
        size: u64,
        feed: &mut Feed<'_>,
        out: &mut DecodeOut,
    ) -> Result<Progress, DecodeError> {
        let block = match Self::peek_block(feed, header.bytes, size) {
            None => return Ok(Progress::Starved),
            Some(Read::Whole(block)) => block,
            Some(Read::Need(_) | Read::Damaged) => return self.damaged(feed),
        };
        let Some(track) = self.track.as_ref().filter(|track| track.number == block.track) else {
            return self.skip_element(header, size, feed);
        };
        let front = header.bytes + block.bytes;
        match &track.payload {
            Payload::Pcm(_) if size <= BLOCK_BYTES_MAX => self.pcm_block(block, front, header, size, feed),
            Payload::Packets { block_bytes_max, .. } if size <= *block_bytes_max => {
                let total = header.bytes + size as usize;
                let Some(element) = feed.peek(total) else { return Ok(Progress::Starved) };
                self.frames(block.lacing, &element[front..total], 0, out);
                feed.take(total);
                Ok(Progress::Packet)
            }
            Payload::Pcm(_) | Payload::Packets { .. } => self.damaged(feed),
        }
    }

    /// PCM is converted as it comes; nothing but a lace's sizes needs to be whole.
    fn pcm_block(
        &mut self,
        block: BlockHeader,
        front: usize,
        header: Header,
        size: u64,
        feed: &mut Feed<'_>,
    ) -> Result<Progress, DecodeError> {
        let mut lace_bytes = 0;
        if block.lacing != Lacing::None {
            let total = header.bytes + size as usize;
            let Some(element) = feed.peek(total) else { return Ok(Progress::Starved) };
            match self.lace.measure(block.lacing, &element[front..total]) {
                Some(bytes) => lace_bytes = bytes,
                None => return self.damaged(feed),
            }
        }
        feed.take(front + lace_bytes);
        self.state = State::Pcm(size - (block.bytes + lace_bytes) as u64);
        Ok(Progress::On)
    }

    pub(super) fn pcm(&mut self, left: u64, feed: &mut Feed<'_>, out: &mut DecodeOut) -> Progress {
        let Some(Track { payload: Payload::Pcm(layout), .. }) = &self.track else {
            self.state = State::Skip(left);
            return Progress::On;
        };
        let frame_bytes = layout.frame_bytes();
        if left < frame_bytes as u64 {
            // A block ends with a whole frame: what is left over is the writer's fault.
            self.state = State::Skip(left);
            return Progress::On;
        }
        let Some(front) = feed.peek(frame_bytes) else { return Progress::Starved };
        let here = usize::try_from(left).unwrap_or(usize::MAX).min(front.len());
        let taken = layout.convert(&front[..here], out);
        feed.take(taken);
        self.state = State::Pcm(left - taken as u64);
        Progress::Packet
    }

    /// A block with what belongs to it: the padding to leave out comes after the block, so the group is read whole.
    pub(super) fn block_group(
        &mut self,
        header: Header,
        size: u64,
        feed: &mut Feed<'_>,
        out: &mut DecodeOut,
    ) -> Result<Progress, DecodeError> {
        let Some(track) = &self.track else { return self.skip_element(header, size, feed) };
        let block_bytes_max = match &track.payload {
            Payload::Pcm(_) => {
                feed.take(header.bytes);
                return Ok(Progress::On);
            }
            Payload::Packets { block_bytes_max, .. } => *block_bytes_max,
        };
        let number = track.number;
        // Another track's group may be a large picture: told by its first child before it is held.
        let first_child = feed
            .peek(header.bytes + HEADER_BYTES_MAX.min(size as usize))
            .map(|front| read_header(&front[header.bytes..]));
        let Some(first_child) = first_child else { return Ok(Progress::Starved) };
        if let Read::Whole(Header { id: id::BLOCK, size: Some(block_size), bytes }) = first_child {
            match Self::peek_block(feed, header.bytes + bytes, block_size.min(size.saturating_sub(bytes as u64))) {
                None => return Ok(Progress::Starved),
                Some(Read::Whole(block)) if block.track != number => return self.skip_element(header, size, feed),
                Some(Read::Whole(_) | Read::Need(_) | Read::Damaged) => {}
            }
        }
        if size > block_bytes_max + GROUP_EXTRA_BYTES_MAX {
            return self.damaged(feed);
        }
        let total = header.bytes + size as usize;
        let Some(element) = feed.peek(total) else { return Ok(Progress::Starved) };
        let group = &element[header.bytes..total];
        let mut discard_ns = 0;
        let mut block = None;
        for (id, content) in children(group) {
            match id {
                id::BLOCK => block = Some(content),
                id::DISCARD_PADDING => discard_ns = int(content).unwrap_or(0),
                _ => {}
            }
        }
        if let Some(block) = block
            && let Read::Whole(front) = read_block_header(block)
            && front.track == number
        {
            self.frames(front.lacing, &block[front.bytes..], discard_ns, out);
        }
        feed.take(total);
        Ok(Progress::Packet)
    }

    fn skip_element(&mut self, header: Header, size: u64, feed: &mut Feed<'_>) -> Result<Progress, DecodeError> {
        if size > FOREIGN_BLOCK_BYTES_MAX {
            return self.damaged(feed);
        }
        feed.take(header.bytes);
        self.state = State::Skip(size);
        Ok(Progress::On)
    }

    fn frames(&mut self, lacing: Lacing, payload: &[u8], discard_ns: i64, out: &mut DecodeOut) {
        let Some(Track { payload: Payload::Packets { segment, .. }, .. }) = &mut self.track else {
            return;
        };
        if lacing == Lacing::None {
            self.tally.note(decode_frame(segment, payload, discard_ns, out));
        } else if !self.lace.fill(lacing, payload, discard_ns) {
            self.tally.note(false);
            out.warnings.push(DecodeWarning::PacketSkipped { codec: segment.codec.name() });
        }
    }

    pub(super) fn laced_frame(&mut self, out: &mut DecodeOut) -> Progress {
        let discard_ns = self.lace.discard_ns;
        if let Some(Track { payload: Payload::Packets { segment, .. }, .. }) = &mut self.track
            && let Some((frame, is_last)) = self.lace.next_frame()
        {
            self.tally.note(decode_frame(segment, frame, if is_last { discard_ns } else { 0 }, out));
        } else {
            self.lace.clear();
        }
        Progress::Packet
    }
}

/// Decodes one frame and leaves out its padding: at the end, or if negative at the front (RFC 9559 section 5.1.3.5.7). Returns
/// whether it decoded.
fn decode_frame(segment: &mut Segment, frame: &[u8], discard_ns: i64, out: &mut DecodeOut) -> bool {
    let from = out.pcm.samples.len();
    let decoded = segment.packet(frame, out);
    let frames = scale_frames(discard_ns.unsigned_abs(), NS_PER_S, out.pcm.spec.rate_hz);
    let frames = usize::try_from(frames).unwrap_or(usize::MAX).min(out.pcm.frames());
    match discard_ns.signum() {
        0 => {}
        1 => out.pcm.trim_back(frames),
        _ => out.pcm.trim_front(from, frames),
    }
    decoded
}
