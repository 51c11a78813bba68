//! Blocks (RFC 9559 section 10): their header and the lacing of several frames in one.

use super::ebml::{Read, read_vint};

/// How several frames share a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lacing {
    /// One frame, the whole block.
    None,
    Xiph,
    Fixed,
    Ebml,
}

/// The front of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockHeader {
    /// Number of the track it belongs to.
    pub(super) track: u64,
    /// How its frames lie in it.
    pub(super) lacing: Lacing,
    /// Bytes of this header.
    pub(super) bytes: usize,
}

/// Reads a block's header.
pub(super) fn read_block_header(bytes: &[u8]) -> Read<BlockHeader> {
    let (track, track_bytes) = match read_vint(bytes) {
        Read::Whole(read) => read,
        Read::Need(need) => return Read::Need(need),
        Read::Damaged => return Read::Damaged,
    };
    // A timestamp of two bytes lies between.
    let Some(&flags) = bytes.get(track_bytes + 2) else { return Read::Need(track_bytes + 3) };
    let lacing = match flags >> 1 & 3 {
        0 => Lacing::None,
        1 => Lacing::Xiph,
        2 => Lacing::Fixed,
        _ => Lacing::Ebml,
    };
    Read::Whole(BlockHeader { track, lacing, bytes: track_bytes + 3 })
}

/// Frames of one laced block that still have to be decoded.
#[derive(Default)]
pub(super) struct Lace {
    bytes: Vec<u8>,
    sizes: Vec<u32>,
    next: usize,
    at: usize,
    /// Nanoseconds of padding that the last of them ends with.
    pub(super) discard_ns: i64,
}

impl Lace {
    /// Takes in the payload of a laced block. False, with nothing in it, if the lacing is damaged.
    pub(super) fn fill(&mut self, lacing: Lacing, payload: &[u8], discard_ns: i64) -> bool {
        self.sizes.clear();
        (self.next, self.at, self.discard_ns) = (0, 0, discard_ns);
        let Some(frames_at) = read_sizes(lacing, payload, &mut self.sizes) else {
            self.sizes.clear();
            return false;
        };
        self.bytes.clear();
        self.bytes.extend_from_slice(&payload[frames_at..]);
        true
    }

    /// Bytes the sizes of a lace take that need not be decoded frame by frame; `None` if it is damaged.
    pub(super) fn measure(&mut self, lacing: Lacing, payload: &[u8]) -> Option<usize> {
        self.clear();
        let bytes = read_sizes(lacing, payload, &mut self.sizes);
        self.clear();
        bytes
    }

    /// Forgets the frames that are left.
    pub(super) fn clear(&mut self) {
        self.sizes.clear();
        self.next = 0;
    }

    /// Bytes of the frames that are left.
    pub(super) fn pending_bytes(&self) -> usize {
        if self.is_done() { 0 } else { self.bytes.len() - self.at }
    }

    /// Whether no frame is left.
    pub(super) fn is_done(&self) -> bool {
        self.next == self.sizes.len()
    }

    /// The next frame, and whether it is the last.
    pub(super) fn next_frame(&mut self) -> Option<(&[u8], bool)> {
        let size = *self.sizes.get(self.next)? as usize;
        let start = self.at;
        self.next += 1;
        self.at += size;
        Some((&self.bytes[start..self.at], self.next == self.sizes.len()))
    }
}

/// Reads the sizes of a lace; they fill the rest of `payload` exactly, from the returned offset on.
fn read_sizes(lacing: Lacing, payload: &[u8], sizes: &mut Vec<u32>) -> Option<usize> {
    let (&last, rest) = payload.split_first()?;
    let count = usize::from(last) + 1;
    let mut at = 1;
    match lacing {
        Lacing::None => return None,
        Lacing::Fixed => {
            let size = u32::try_from(rest.len() / count).ok()?;
            sizes.resize(count, size);
            return (rest.len() % count == 0).then_some(at);
        }
        Lacing::Xiph => {
            for _ in 1..count {
                let mut size = 0;
                loop {
                    let byte = *payload.get(at)?;
                    at += 1;
                    size += u32::from(byte);
                    if byte < 255 {
                        break;
                    }
                }
                sizes.push(size);
            }
        }
        Lacing::Ebml => {
            let mut size = 0i64;
            for i in 1..count {
                let Read::Whole((value, bytes)) = read_vint(&payload[at..]) else { return None };
                at += bytes;
                let value = i64::try_from(value).ok()?;
                // Differences are stored with half their range added (RFC 9559 section 10.3.3).
                size = if i == 1 { value } else { size.checked_add(value - ((1 << (7 * bytes - 1)) - 1))? };
                sizes.push(u32::try_from(size).ok()?);
            }
        }
    }
    let used: u64 = sizes.iter().map(|&size| u64::from(size)).sum();
    let left = (payload.len() - at) as u64;
    sizes.push(u32::try_from(left.checked_sub(used)?).ok()?);
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(lacing: Lacing, payload: &[u8]) -> Option<Vec<Vec<u8>>> {
        let mut lace = Lace::default();
        lace.fill(lacing, payload, 0)
            .then(|| std::iter::from_fn(|| lace.next_frame().map(|(frame, _)| frame.to_vec())).collect())
    }

    #[test]
    fn every_lacing_gives_its_frames() {
        let expected = Some(vec![vec![1u8; 2], vec![2; 3], vec![3; 1]]);
        assert_eq!(frames(Lacing::Xiph, &[2, 2, 3, 1, 1, 2, 2, 2, 3]), expected);
        assert_eq!(frames(Lacing::Ebml, &[2, 0x82, 0x80 | (1 + 63), 1, 1, 2, 2, 2, 3]), expected);
        assert_eq!(frames(Lacing::Fixed, &[1, 7, 7, 8, 8]), Some(vec![vec![7, 7], vec![8, 8]]));
        let mut long = vec![1, 255, 45];
        long.extend([9; 300]);
        long.push(1);
        assert_eq!(frames(Lacing::Xiph, &long), Some(vec![vec![9; 300], vec![1]]));
    }

    #[test]
    fn damaged_lacing_gives_none() {
        assert_eq!(frames(Lacing::Xiph, &[]), None);
        assert_eq!(frames(Lacing::Xiph, &[1, 5, 1, 1]), None);
        assert_eq!(frames(Lacing::Ebml, &[2, 0x81, 0x80, 1, 2, 3]), None);
        assert_eq!(frames(Lacing::Fixed, &[1, 1, 2, 3]), None);
        assert_eq!(frames(Lacing::Xiph, &[255, 255]), None);
    }

    #[test]
    fn block_headers_are_read_at_every_length() {
        let header = BlockHeader { track: 1, lacing: Lacing::Xiph, bytes: 4 };
        assert_eq!(read_block_header(&[0x81, 0, 0, 0x82]), Read::Whole(header));
        for n in 0..4 {
            assert!(matches!(read_block_header(&[0x81, 0, 0, 0x82][..n]), Read::Need(need) if need > n));
        }
        assert_eq!(read_block_header(&[0, 0, 0, 0]), Read::Damaged);
    }
}
