//! Ogg pages (RFC 3533 section 6): found, checked and taken apart into packets' pieces.
//!
//! Knows no codec.

use crate::decode::feed::{Feed, MARK_BYTES};

/// What every page begins with.
const CAPTURE: [u8; MARK_BYTES] = *b"OggS";

/// Bytes of a page header before its lacing values.
const HEADER_BYTES: usize = 27;

/// Damaged pages in a row that are searched for pages inside them. Beyond, a damaged page is passed over whole: checking
/// every overlapping candidate would cost hostile input hundreds of checksummed bytes for each byte sent.
const RESCANS_MAX: u32 = 8;

/// A page that is whole and undamaged. Its bytes are at the front of the feed's carry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    /// Its first packet began on an earlier page.
    pub(super) continued: bool,
    /// First page of its logical stream.
    pub(super) begins: bool,
    /// Last page of its logical stream.
    pub(super) ends: bool,
    /// Codec's time at the end of the last packet that ends here; `None` if none does.
    pub(super) granule: Option<i64>,
    /// Which logical stream it belongs to.
    pub(super) serial: u32,
    /// Counts the pages of a logical stream.
    pub(super) sequence: u32,
    /// Bytes of the whole page.
    pub(super) bytes: usize,
    segments: u8,
    next_segment: u8,
    at: usize,
}

/// A packet's part on one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Where it begins in the page.
    pub(super) start: usize,
    /// Where it ends in the page.
    pub(super) end: usize,
    /// The packet began on an earlier page.
    pub(super) continues: bool,
    /// The packet ends here.
    pub(super) complete: bool,
}

impl Page {
    fn parse(bytes: &[u8], total: usize) -> Self {
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let granule = i64::from(u32_at(6)) | i64::from(u32_at(10)) << 32;
        Self {
            continued: bytes[5] & 1 != 0,
            begins: bytes[5] & 2 != 0,
            ends: bytes[5] & 4 != 0,
            granule: (granule >= 0).then_some(granule),
            serial: u32_at(14),
            sequence: u32_at(18),
            bytes: total,
            segments: bytes[26],
            next_segment: 0,
            at: HEADER_BYTES + usize::from(bytes[26]),
        }
    }

    /// The next piece of a packet; `page` are the page's bytes.
    pub(super) fn next_piece(&mut self, page: &[u8]) -> Option<Piece> {
        if self.next_segment == self.segments {
            return None;
        }
        let (start, continues) = (self.at, self.continued && self.next_segment == 0);
        let mut complete = false;
        while self.next_segment < self.segments && !complete {
            let lacing = page[HEADER_BYTES + usize::from(self.next_segment)];
            self.next_segment += 1;
            self.at += usize::from(lacing);
            complete = lacing < 255;
        }
        Some(Piece { start, end: self.at, continues, complete })
    }
}

/// What a look for a page led to.
pub(super) enum Found {
    /// A page stands at the front of the carry; so many bytes were passed over to find it.
    Page(Page, u64),
    /// More input is needed.
    Starved,
}

/// Finds pages in a stream that may be damaged.
#[derive(Debug, Default)]
pub(super) struct PageFinder {
    skipped: u64,
    damaged_in_a_row: u32,
    #[cfg(test)]
    checked_bytes: usize,
}

impl PageFinder {
    /// Bytes passed over since the last good page.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Brings the next undamaged page to the front of the carry.
    pub(super) fn find(&mut self, feed: &mut Feed<'_>) -> Found {
        loop {
            let Some(front) = feed.peek(MARK_BYTES) else { return Found::Starved };
            if !front.starts_with(&CAPTURE) {
                let (skipped, found) = feed.skip_to(&[CAPTURE]);
                self.skipped += skipped;
                if !found {
                    return Found::Starved;
                }
            }
            let Some(front) = feed.peek(HEADER_BYTES) else { return Found::Starved };
            if front[4] != 0 {
                self.skipped += feed.skip(1);
                continue;
            }
            let header_bytes = HEADER_BYTES + usize::from(front[26]);
            let Some(front) = feed.peek(header_bytes) else { return Found::Starved };
            let body: usize = front[HEADER_BYTES..header_bytes].iter().map(|&lacing| usize::from(lacing)).sum();
            let total = header_bytes + body;
            if !feed.hold(total) {
                return Found::Starved;
            }
            #[cfg(test)]
            {
                self.checked_bytes += total;
            }
            let page = &feed.carry[..total];
            if checksum(page) == u32::from_le_bytes([page[22], page[23], page[24], page[25]]) {
                self.damaged_in_a_row = 0;
                return Found::Page(Page::parse(page, total), std::mem::take(&mut self.skipped));
            }
            self.damaged_in_a_row = self.damaged_in_a_row.saturating_add(1);
            let over = if self.damaged_in_a_row <= RESCANS_MAX { 1 } else { total };
            self.skipped += feed.skip(over as u64);
        }
    }
}

/// The page's checksum, its own field taken as zero.
pub(super) fn checksum(page: &[u8]) -> u32 {
    let crc = crc(crc(0, &page[..22]), &[0; 4]);
    self::crc(crc, &page[26..])
}

/// CRC-32 with polynomial 0x04C11DB7, not reflected, starting at 0 (RFC 3533 section 6), eight bytes at a time.
fn crc(mut crc: u32, bytes: &[u8]) -> u32 {
    let (chunks, rest) = bytes.as_chunks::<8>();
    for chunk in chunks {
        let [a, b, c, d] = crc.to_be_bytes();
        let [e, f, g, h, i, j, k, l] = chunk.map(usize::from);
        let [a, b, c, d] = [a, b, c, d].map(usize::from);
        crc = TABLES[7][a ^ e]
            ^ TABLES[6][b ^ f]
            ^ TABLES[5][c ^ g]
            ^ TABLES[4][d ^ h]
            ^ TABLES[3][i]
            ^ TABLES[2][j]
            ^ TABLES[1][k]
            ^ TABLES[0][l];
    }
    for &byte in rest {
        crc = crc << 8 ^ TABLES[0][(crc >> 24) as usize ^ usize::from(byte)];
    }
    crc
}

/// What a byte does to the checksum, `TABLES[n]` when `n` more bytes follow it.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000_0000 != 0 { crc << 1 ^ 0x04C1_1DB7 } else { crc << 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut following = 1;
    while following < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before: u32 = tables[following - 1][byte];
            tables[following][byte] = before << 8 ^ tables[0][(before >> 24) as usize];
            byte += 1;
        }
        following += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_pages_that_claim_much_are_not_checked_again_and_again() {
        // Every 27 bytes the beginning of a page that would reach over 18 KB of what follows.
        let hostile = b"OggS\0\0AAAAAAAABBBBCCCCDDDD\xFF".repeat(40_000);
        let mut finder = PageFinder::default();
        let mut carry = Vec::new();
        for piece in hostile.chunks(10_000) {
            let mut feed = Feed::new(std::mem::take(&mut carry), piece);
            assert!(matches!(finder.find(&mut feed), Found::Starved));
            carry = feed.carry;
        }
        assert!(finder.checked_bytes > hostile.len() / 2, "the pages are candidates at all");
        assert!(finder.checked_bytes < 2 * hostile.len(), "{} bytes were checked", finder.checked_bytes);
    }

    #[test]
    fn the_checksum_is_the_same_bit_by_bit() {
        let bytes: Vec<u8> = (0..61u8).map(|i| i.wrapping_mul(37) ^ 0x5A).collect();
        let mut expected = 0u32;
        for &byte in &bytes {
            for bit in (0..8).rev() {
                let top = expected >> 31 ^ u32::from(byte >> bit & 1);
                expected = expected << 1 ^ if top == 1 { 0x04C1_1DB7 } else { 0 };
            }
        }
        assert_eq!(crc(0, &bytes), expected);
    }
}
