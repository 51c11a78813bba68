//! Repeatable randomness: where a file is cut, and what a mutation does.

/// splitmix64.
pub struct Random(u64);

impl Random {
    /// Begins at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Begins at a number that the bytes give (FNV-1a), so that the same input is always cut the same way.
    pub fn of(bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)))
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// The next number below `limit`, or 0 where that is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Values that lengths and counts are set to, because code that adds to them or multiplies them is where it breaks.
const EDGES: [u32; 8] = [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff];

/// `bytes` with a few of them changed, left out, doubled or cut off; half of the damage near the front, where the headers are.
pub fn mutate(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=random.below(5) {
        if out.is_empty() {
            out.push(random.next() as u8);
        }
        let reach = if random.below(2) == 0 { out.len().min(256) } else { out.len() };
        let at = random.below(reach);
        let some = (1 + random.below(200)).min(out.len() - at);
        match random.below(8) {
            0 => out[at] ^= 1 << random.below(8),
            1 => out[at] = random.next() as u8,
            2 => {
                let edge = EDGES[random.below(EDGES.len())];
                let edge = if random.below(2) == 0 { edge.to_be_bytes() } else { edge.to_le_bytes() };
                out[at..].iter_mut().zip(edge).for_each(|(b, e)| *b = e);
            }
            3 => out[at..at + some].iter_mut().for_each(|b| *b = random.next() as u8),
            4 => drop(out.drain(at..at + some)),
            5 => {
                let copy = out[at..at + some].to_vec();
                let to = random.below(out.len());
                out.splice(to..to, copy);
            }
            6 if random.below(4) == 0 => out.truncate(at),
            _ => out[at] = 0xff,
        }
    }
    out
}
