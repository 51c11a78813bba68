//! Streams damaged at random, repeatably.

use super::{Cut, DecodeParams, run};

/// splitmix64: repeatable, good enough for cuts and damage.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// `bytes` with a few of them changed, overwritten, left out, doubled, put in or cut off.
pub(crate) fn mutate(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(6) {
        if bytes.is_empty() {
            break;
        }
        // Headers are where decoders break: half of the damage goes there.
        let reach = if random.below(2) == 0 { bytes.len().min(200) } else { bytes.len() };
        let at = random.below(reach);
        // Most holes are small; some are as large as a packet.
        let long = [9, 301, 3_000][random.below(3)];
        let some = (1 + random.below(long)).min(bytes.len() - at);
        match random.below(8) {
            0 | 1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes[at] = random.next() as u8,
            3 => bytes[at..at + some].iter_mut().for_each(|b| *b = random.next() as u8),
            4 => drop(bytes.drain(at..at + some)),
            5 => {
                let copy = bytes[at..at + some].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, copy);
            }
            6 => {
                let end = at + some.min(8);
                bytes[at..end].fill(if random.below(2) == 0 { 0xff } else { 0 });
            }
            _ if random.below(2) == 0 => bytes.truncate(random.below(bytes.len())),
            _ => {
                let noise: Vec<u8> = (0..random.below(200)).map(|_| random.next() as u8).collect();
                bytes.splice(at..at, noise);
            }
        }
    }
    bytes
}

/// Decodes damaged copies of a stream: errors are fine, panics, broken contracts and more than `pending_limit` bytes held are not.
/// Returns how many of them still gave samples.
pub(crate) fn survive_damage(params: &DecodeParams, bytes: &[u8], rounds: u64, pending_limit: usize) -> usize {
    let mut alive = 0;
    for seed in 0..rounds {
        let mut random = Random(seed);
        let damaged = mutate(bytes, &mut random);
        let cut = match random.below(4) {
            0 => Cut::Random(seed),
            1 => Cut::Every(1 + random.below(600)),
            _ => Cut::Whole,
        };
        let decoded = run(params, &damaged, cut);
        assert!(decoded.pending_max <= pending_limit, "seed {seed}: {} bytes held", decoded.pending_max);
        alive += usize::from(!decoded.samples.is_empty());
    }
    alive
}

/// Decodes noise: it is refused, or next to nothing comes of it.
pub(crate) fn survive_garbage(params: &DecodeParams, rounds: u64) {
    for seed in 1..=rounds {
        let mut random = Random(seed);
        let garbage: Vec<u8> = (0..20_000).map(|_| random.next() as u8).collect();
        let decoded = run(params, &garbage, Cut::Random(seed));
        assert!(decoded.error.is_some() || decoded.samples.len() < 1 << 20, "seed {seed}");
    }
}
