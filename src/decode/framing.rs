//! Streams of frames that begin with a sync word (ADTS, MPEG audio): finding frames, finding them again after damage, passing over
//! tags between them. Knows no codec.

use super::{DecodeError, DecodeWarning};

/// Bytes passed over before the first frame: more than any frame, so that a stream of something else is soon told.
const FIRST_FRAME_WITHIN_BYTES: u64 = 64 << 10;

/// Bytes passed over after damage: a picture in an unmarked tag, not a whole stream of something else.
const NEXT_FRAME_WITHIN_BYTES: u64 = 4 << 20;

/// Bytes of the largest tag header looked at: APEv2.
const TAG_HEADER_BYTES: usize = 32;

/// A frame's header.
pub(super) trait FrameHeader: Copy {
    /// Bytes of the header, at least four.
    const HEADER_BYTES: usize;
    /// Bytes of the largest frame.
    const FRAME_BYTES_MAX: usize;
    /// The stream's name in messages.
    const NAME: &'static str;

    /// The header `bytes`, [`FrameHeader::HEADER_BYTES`] or more, begin with.
    fn parse(bytes: &[u8]) -> Option<Self>;

    /// Length of the frame, header included; at most [`FrameHeader::FRAME_BYTES_MAX`].
    fn frame_bytes(&self) -> usize;

    /// Whether frames with these two headers can follow each other without a new stream beginning.
    fn is_same_stream(&self, other: &Self) -> bool;
}

/// What comes next in a stream.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next<H> {
    /// A frame, [`Framer::frame`]; [`Framer::advance`] then passes it.
    Frame(H),
    /// More input is needed.
    Starved,
}

/// Finds frames. A frame is believed when it follows another of the same stream, or when the next follows it: at the start, after
/// damage and where the format changes.
#[derive(Debug)]
pub(super) struct Framer<H> {
    bytes: Vec<u8>,
    /// Where the unread part of `bytes` begins.
    at: usize,
    /// Length of the frame told last.
    frame_bytes: usize,
    /// The header frames are compared to; none before the first and after damage.
    locked: Option<H>,
    /// Bytes of a tag still to pass over.
    tag_left: u64,
    /// Bytes passed over since the last frame that belong to nothing.
    skipped: u64,
    /// The first bytes that should have been a frame and were none.
    first_miss: Option<[u8; 4]>,
    found_any: bool,
    ended: bool,
}

impl<H: FrameHeader> Framer<H> {
    /// Holds a frame and the header of the one after it twice over, so that bytes are moved seldom.
    const CAPACITY: usize = 2 * (H::FRAME_BYTES_MAX + H::HEADER_BYTES + TAG_HEADER_BYTES);

    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            at: 0,
            frame_bytes: 0,
            locked: None,
            tag_left: 0,
            skipped: 0,
            first_miss: None,
            found_any: false,
            ended: false,
        }
    }

    /// Takes bytes from the front of `input`: all, or as many as there is room for. After [`Next::Starved`] there is room.
    pub(super) fn fill(&mut self, input: &[u8]) -> usize {
        let mut taken = 0;
        if self.at == self.bytes.len() {
            self.bytes.clear();
            self.at = 0;
            taken = usize::try_from(self.tag_left).map_or(input.len(), |left| left.min(input.len()));
            self.tag_left -= taken as u64;
        }
        let input = &input[taken..];
        if self.bytes.len() + input.len() > Self::CAPACITY && self.at >= Self::CAPACITY / 2 {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        let room = (Self::CAPACITY - self.bytes.len()).min(input.len());
        self.bytes.extend_from_slice(&input[..room]);
        taken + room
    }

    /// No more input comes: what needed a look at the next frame is decided without.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// After [`Framer::end`] and the last frame: tells of what is left over.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] where bytes came and none was of a frame.
    pub(super) fn finish(&mut self, warnings: &mut Vec<DecodeWarning>) -> Result<(), DecodeError> {
        let left = self.pending_bytes() as u64;
        if !self.found_any && self.skipped + left > 0 {
            return Err(DecodeError::Malformed { container: H::NAME, what: "no frame was found" });
        }
        if self.skipped > 0 {
            self.skipped += left;
            self.report_skipped(warnings);
        } else if left > 0 {
            warnings.push(DecodeWarning::TruncatedTail { what: "packet", bytes: left });
        }
        self.at = self.bytes.len();
        Ok(())
    }

    /// Bytes taken that belong to no frame told yet.
    pub(super) fn pending_bytes(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The first bytes that should have been a frame and were none.
    pub(super) fn first_miss(&self) -> Option<[u8; 4]> {
        self.first_miss
    }

    /// The bytes of the frame told last.
    pub(super) fn frame(&self) -> &[u8] {
        &self.bytes[self.at..self.at + self.frame_bytes]
    }

    /// Passes the frame told last.
    pub(super) fn advance(&mut self) {
        self.at += self.frame_bytes;
        self.frame_bytes = 0;
    }

    /// Looks for the next frame.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] where none was found for too long.
    pub(super) fn next(&mut self, warnings: &mut Vec<DecodeWarning>) -> Result<Next<H>, DecodeError> {
        loop {
            if self.tag_left > 0 && !self.pass_tag() {
                return Ok(Next::Starved);
            }
            let rest = &self.bytes[self.at..];
            if rest.len() < H::HEADER_BYTES.max(4) {
                return Ok(Next::Starved);
            }
            if let Some(header) = H::parse(rest) {
                let follows = self.locked.is_some_and(|locked| locked.is_same_stream(&header));
                match self.judge(rest, &header, follows) {
                    Judgement::Frame => {
                        self.accept(header, warnings);
                        return Ok(Next::Frame(header));
                    }
                    Judgement::NeedsMore | Judgement::Truncated => return Ok(Next::Starved),
                    Judgement::NoFrame => {}
                }
            } else if let Some(tag) = tag_bytes(rest) {
                match tag {
                    Some(bytes) => self.tag_left = bytes,
                    None if self.ended => self.tag_left = rest.len() as u64,
                    None => return Ok(Next::Starved),
                }
                // A tag ends a stream: what comes after it may be another.
                self.locked = None;
                continue;
            }
            self.miss()?;
        }
    }

    fn judge(&self, rest: &[u8], header: &H, follows: bool) -> Judgement {
        let length = header.frame_bytes();
        let Some(after) = rest.get(length..) else {
            return match (self.ended, follows) {
                (false, _) => Judgement::NeedsMore,
                // The stream was cut inside it.
                (true, true) => Judgement::Truncated,
                (true, false) => Judgement::NoFrame,
            };
        };
        if follows {
            return Judgement::Frame;
        }
        if after.len() < H::HEADER_BYTES.max(4) {
            return match (self.ended, after.is_empty()) {
                (false, _) => Judgement::NeedsMore,
                (true, true) => Judgement::Frame,
                (true, false) => Judgement::NoFrame,
            };
        }
        if H::parse(after).is_some_and(|next| next.is_same_stream(header)) {
            return Judgement::Frame;
        }
        match tag_bytes(after) {
            Some(Some(_)) => Judgement::Frame,
            // Whether it is a tag is told by its whole header.
            Some(None) if self.ended => Judgement::Frame,
            Some(None) => Judgement::NeedsMore,
            None => Judgement::NoFrame,
        }
    }

    fn accept(&mut self, header: H, warnings: &mut Vec<DecodeWarning>) {
        self.report_skipped(warnings);
        self.frame_bytes = header.frame_bytes();
        self.locked = Some(header);
        self.found_any = true;
    }

    /// Tells of bytes passed over, once.
    fn report_skipped(&mut self, warnings: &mut Vec<DecodeWarning>) {
        if self.skipped > 0 {
            warnings.push(DecodeWarning::Resynced { container: H::NAME, bytes: self.skipped });
            self.skipped = 0;
        }
    }

    /// Passes over a byte that begins no frame, and those after it that cannot.
    fn miss(&mut self) -> Result<(), DecodeError> {
        let rest = &self.bytes[self.at..];
        if self.first_miss.is_none() {
            self.first_miss = rest.first_chunk().copied();
        }
        // Frames begin with 0xff; tags with a capital letter.
        let next = rest.iter().skip(1).position(|&b| b == 0xff || b == b'I' || b == b'T' || b == b'A');
        let passed = next.map_or(rest.len(), |next| next + 1);
        self.locked = None;
        self.at += passed;
        self.skipped += passed as u64;
        let (limit, what) = if self.found_any {
            (NEXT_FRAME_WITHIN_BYTES, "no frame was found again after damage")
        } else {
            (FIRST_FRAME_WITHIN_BYTES, "no frame was found at the beginning")
        };
        if self.skipped > limit {
            return Err(DecodeError::Malformed { container: H::NAME, what });
        }
        Ok(())
    }

    /// Passes over what is there of a tag; false where more of it has to come.
    fn pass_tag(&mut self) -> bool {
        let here = self.bytes.len() - self.at;
        let passed = usize::try_from(self.tag_left).map_or(here, |left| left.min(here));
        self.at += passed;
        self.tag_left -= passed as u64;
        self.tag_left == 0
    }
}

enum Judgement {
    Frame,
    NeedsMore,
    Truncated,
    NoFrame,
}

/// The length of the tag `bytes` begin with, header included: ID3v2 (id3.org, sections 3.1 and 3.4), ID3v1, APEv1 and APEv2. The
/// inner none: it begins like one, but more bytes are needed to tell its length.
fn tag_bytes(bytes: &[u8]) -> Option<Option<u64>> {
    match bytes {
        [b'I', b'D', b'3', ..] => {
            let Some(header) = bytes.first_chunk::<10>() else { return Some(None) };
            let size = &header[6..];
            if header[3] == 0xff || header[4] == 0xff || size.iter().any(|&b| b >= 0x80) {
                return None;
            }
            let size = size.iter().fold(0, |size, &b| (size << 7) | u64::from(b));
            let footer = if header[5] & 0x10 != 0 { 10 } else { 0 };
            Some(Some(10 + size + footer))
        }
        [b'T', b'A', b'G', ..] => Some(Some(128)),
        [b'A', b'P', b'E', b'T', ..] => {
            let Some(header) = bytes.first_chunk::<TAG_HEADER_BYTES>() else { return Some(None) };
            if &header[..8] != b"APETAGEX" {
                return None;
            }
            // The size counts items and footer; flag 29 tells a header from a footer that is met alone.
            let size = u32::from_le_bytes([header[12], header[13], header[14], header[15]]);
            let is_header = header[23] & 0x20 != 0;
            Some(Some(if is_header { 32 + u64::from(size) } else { 32 }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_tell_their_length() {
        assert_eq!(tag_bytes(b"ID3\x03\x00\x00\x00\x00\x02\x01"), Some(Some(10 + 257)));
        assert_eq!(tag_bytes(b"ID3\x04\x00\x10\x00\x00\x00\x05"), Some(Some(25)));
        assert_eq!(tag_bytes(b"ID3\x04"), Some(None));
        assert_eq!(tag_bytes(b"ID3\x04\x00\x10\x00\x00\x00\x85"), None);
        assert_eq!(tag_bytes(b"TAG title"), Some(Some(128)));
        let mut ape = *b"APETAGEX\xd0\x07\x00\x00\x64\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\xa0\0\0\0\0\0\0\0\0";
        assert_eq!(tag_bytes(&ape), Some(Some(132)));
        ape[23] = 0x80;
        assert_eq!(tag_bytes(&ape), Some(Some(32)));
        assert_eq!(tag_bytes(b"fLaC"), None);
    }
}
