//! Ogg (RFC 3533) with Opus (RFC 7845), Vorbis or FLAC (RFC 9639 section 10.1), read as a live stream.
//!
//! The first supported logical stream of a chain is decoded, others are passed over. A new chain goes on on the same timeline.

mod logical;
mod page;
#[cfg(test)]
mod tests;

use logical::Logical;
use page::{Found, Page, PageFinder, Piece};

use super::codec::Tally;
use super::feed::{self, Feed, Progress};
use super::{DecodeError, DecodeOut, DecodeParams, DecodeWarning, Decoder, Step};

const NAME: &str = "Ogg";

/// Bytes passed over in search of a page before the stream is given up: a dozen of the largest pages.
const RESYNC_BYTES_MAX: u64 = 1 << 20;

/// Pages passed over before a stream that can be decoded begins: a stream that came in late never gets its headers again.
const PAGES_UNKNOWN_MAX: u32 = 256;

/// A packet that earlier pages began.
#[derive(Default)]
struct Partial {
    bytes: Vec<u8>,
    /// Its beginning was seen.
    begun: bool,
    /// It is longer than what is kept of it.
    cut: bool,
    /// How much of it is kept.
    bytes_max: usize,
}

impl Partial {
    fn begin(&mut self, bytes_max: usize) {
        self.bytes.clear();
        (self.begun, self.cut, self.bytes_max) = (true, false, bytes_max);
    }

    fn drop_it(&mut self) {
        self.bytes.clear();
        self.begun = false;
    }

    fn push(&mut self, bytes: &[u8]) {
        let kept = bytes.len().min(self.bytes_max - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..kept]);
        self.cut |= kept < bytes.len();
    }
}

/// The decoder.
pub(super) struct Ogg {
    params: DecodeParams,
    carry: Vec<u8>,
    finder: PageFinder,
    /// The page whose packets are being decoded; its bytes are at the front of `carry`.
    page: Option<Page>,
    partial: Partial,
    logical: Option<Logical>,
    pages_unknown: u32,
    /// The first bytes of a stream that is not supported.
    unsupported: Option<[u8; 8]>,
    seen_bytes: bool,
    opened: bool,
    tally: Tally,
}

impl Ogg {
    /// A decoder for a stream from its beginning.
    pub(super) fn new(params: &DecodeParams) -> Self {
        Self {
            params: *params,
            carry: Vec::new(),
            finder: PageFinder::default(),
            page: None,
            partial: Partial::default(),
            logical: None,
            pages_unknown: 0,
            unsupported: None,
            seen_bytes: false,
            opened: false,
            tally: Tally::default(),
        }
    }

    fn look(&mut self, feed: &mut Feed<'_>, out: &mut DecodeOut) -> Result<Progress, DecodeError> {
        match self.page {
            Some(page) => self.next_packet(page, feed, out),
            None => self.next_page(feed, out),
        }
    }

    fn next_page(&mut self, feed: &mut Feed<'_>, out: &mut DecodeOut) -> Result<Progress, DecodeError> {
        let found = self.finder.find(feed);
        if self.finder.skipped() > RESYNC_BYTES_MAX {
            return Err(DecodeError::Malformed { container: NAME, what: "no page was found" });
        }
        let (page, skipped) = match found {
            Found::Starved => return Ok(Progress::Starved),
            Found::Page(page, skipped) => (page, skipped),
        };
        if skipped > 0 {
            out.warnings.push(DecodeWarning::Resynced { container: NAME, bytes: skipped });
        }
        if page.begins {
            self.begin_stream(page, &feed.carry)?;
            feed.take(page.bytes);
            return Ok(Progress::On);
        }
        let Some(logical) = self.logical.as_mut().filter(|logical| logical.serial == page.serial) else {
            feed.take(page.bytes);
            self.pages_unknown += u32::from(self.logical.is_none());
            return self.check_known().map(|()| Progress::On);
        };
        logical.under_way = true;
        if !page.continued || page.sequence != logical.next_sequence {
            self.partial.drop_it();
        }
        let first = self.partial.begun.then_some(&self.partial.bytes[..]);
        logical.begin_page(&page, &feed.carry[..page.bytes], first);
        logical.next_sequence = page.sequence.wrapping_add(1);
        self.page = Some(page);
        Ok(Progress::On)
    }

    /// A stream that is not supported, or one without its beginning, is an error once it is clear that no other comes.
    fn check_known(&self) -> Result<(), DecodeError> {
        if self.logical.is_some() {
            return Ok(());
        }
        if let Some(first) = self.unsupported {
            let name: String = first.iter().filter(|b| b.is_ascii_graphic()).map(|&b| char::from(b)).collect();
            return Err(DecodeError::Unsupported {
                container: NAME,
                what: format!("the codec '{name}' (Opus, Vorbis and FLAC are decoded)"),
            });
        }
        if self.pages_unknown > PAGES_UNKNOWN_MAX {
            return Err(DecodeError::Malformed { container: NAME, what: "the stream does not begin with its headers" });
        }
        Ok(())
    }

    fn begin_stream(&mut self, mut page: Page, bytes: &[u8]) -> Result<(), DecodeError> {
        // Streams that are multiplexed all begin before any of them goes on.
        let multiplexed =
            self.logical.as_ref().is_some_and(|logical| !logical.under_way && logical.serial != page.serial);
        let Some(piece) = page.next_piece(bytes) else { return Ok(()) };
        if multiplexed || !piece.complete {
            return Ok(());
        }
        let packet = &bytes[piece.start..piece.end];
        match logical::begin(&page, packet, &self.params)? {
            Some(logical) => {
                self.logical = Some(logical);
                self.partial.drop_it();
                self.opened = true;
            }
            None => {
                let mut first = [0; 8];
                let kept = packet.len().min(first.len());
                first[..kept].copy_from_slice(&packet[..kept]);
                self.unsupported = Some(first);
            }
        }
        Ok(())
    }

    fn next_packet(
        &mut self,
        mut page: Page,
        feed: &mut Feed<'_>,
        out: &mut DecodeOut,
    ) -> Result<Progress, DecodeError> {
        let Some(logical) = self.logical.as_mut() else {
            self.page = None;
            feed.take(page.bytes);
            return Ok(Progress::On);
        };
        if logical.fill_gap(out) {
            return Ok(Progress::Packet);
        }
        let bytes = &feed.carry[..page.bytes];
        let Some(Piece { start, end, continues, complete }) = page.next_piece(bytes) else {
            self.page = None;
            feed.take(page.bytes);
            return Ok(Progress::On);
        };
        self.page = Some(page);
        let piece = &bytes[start..end];
        if complete && !continues {
            let cut = piece.len() > logical.packet_bytes_max(piece);
            let decoded = logical.packet(piece, cut, &self.params, out)?;
            self.tally.note_some(decoded);
            return Ok(Progress::Packet);
        }
        if !continues {
            self.partial.begin(logical.packet_bytes_max(piece));
        }
        if self.partial.begun {
            self.partial.push(piece);
            if complete {
                let decoded = logical.packet(&self.partial.bytes, self.partial.cut, &self.params, out)?;
                self.tally.note_some(decoded);
                self.partial.drop_it();
                return Ok(Progress::Packet);
            }
        }
        Ok(Progress::On)
    }
}

impl Decoder for Ogg {
    fn decode(&mut self, input: &[u8], out: &mut DecodeOut) -> Result<Step, DecodeError> {
        self.seen_bytes |= !input.is_empty();
        let mut carry = std::mem::take(&mut self.carry);
        let step = feed::step(&mut carry, input, out, |feed, out| self.look(feed, out));
        self.carry = carry;
        step
    }

    fn finish(&mut self, out: &mut DecodeOut) -> Result<bool, DecodeError> {
        let bytes = std::mem::take(&mut self.carry).len() as u64;
        let skipped = self.finder.skipped();
        if skipped > 0 {
            out.warnings.push(DecodeWarning::Resynced { container: NAME, bytes: skipped + bytes });
        } else if bytes > 0 {
            out.warnings.push(DecodeWarning::TruncatedTail { what: "page", bytes });
        } else if self.partial.begun {
            out.warnings.push(DecodeWarning::TruncatedTail { what: "packet", bytes: self.partial.bytes.len() as u64 });
        }
        self.partial.drop_it();
        self.finder = PageFinder::default();
        if !self.opened && self.seen_bytes {
            self.check_known()?;
            return Err(DecodeError::Malformed { container: NAME, what: "the stream ended before its headers" });
        }
        self.tally.check(NAME)?;
        Ok(false)
    }

    fn pending_bytes(&self) -> usize {
        self.carry.len() + self.partial.bytes.len()
    }
}
