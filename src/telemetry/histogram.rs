//! How long things take, as counts in buckets a quarter of an octave wide: precise to an eighth, constant in size, cheap to add to.
//! One thread adds, anyone reads. Knows nothing of what is measured.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Buckets: up to 67 s in microseconds; what is longer counts in the last.
const BUCKETS: usize = 100;
/// Buckets of an octave.
const PER_OCTAVE: usize = 4;

/// Adds to a figure that one thread alone writes: nothing need lock the bus.
#[inline]
pub fn count(figure: &AtomicU64, n: u64) {
    figure.store(figure.load(Relaxed).wrapping_add(n), Relaxed);
}

/// Where a value belongs.
#[inline]
fn bucket(us: u64) -> usize {
    if us < PER_OCTAVE as u64 {
        return us as usize;
    }
    let octave = us.ilog2() as usize;
    let at = (octave - 1) * PER_OCTAVE + (us >> (octave - 2)) as usize % PER_OCTAVE;
    at.min(BUCKETS - 1)
}

/// The first value past a bucket, in microseconds.
fn end(bucket: usize) -> u64 {
    if bucket < PER_OCTAVE {
        return bucket as u64 + 1;
    }
    ((PER_OCTAVE + bucket % PER_OCTAVE + 1) as u64) << (bucket / PER_OCTAVE - 1)
}

/// A histogram that one thread fills.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BUCKETS], sum_us: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Adds a duration. Only from the thread it belongs to: from two, counts would get lost.
    #[inline]
    pub fn add(&self, us: u64) {
        count(&self.buckets[bucket(us)], 1);
        count(&self.sum_us, us);
    }
}

/// What histograms held at a moment; of several threads, added up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durations {
    buckets: [u64; BUCKETS],
    sum_us: u64,
}

impl Default for Durations {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS], sum_us: 0 }
    }
}

impl Durations {
    /// Adds what a thread's histogram holds.
    pub fn take_in(&mut self, histogram: &Histogram) {
        for (sum, n) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *sum += n.load(Relaxed);
        }
        self.sum_us += histogram.sum_us.load(Relaxed);
    }

    /// Adds a part that was put aside by [`Durations::pack`].
    pub fn unpack(&mut self, packed: &[(u8, u32)]) {
        for &(at, n) in packed {
            self.buckets[usize::from(at)] += u64::from(n);
        }
    }

    /// What came since an earlier moment.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut new = self.clone();
        for (n, before) in new.buckets.iter_mut().zip(&earlier.buckets) {
            *n = n.saturating_sub(*before);
        }
        new.sum_us = new.sum_us.saturating_sub(earlier.sum_us);
        new
    }

    /// The buckets that are not empty: what a point in a history keeps.
    pub fn pack(&self) -> Box<[(u8, u32)]> {
        let filled = self.buckets.iter().enumerate().filter(|(_, n)| **n > 0);
        filled.map(|(at, n)| (at as u8, u32::try_from(*n).unwrap_or(u32::MAX))).collect()
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All of them together, in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// The duration that this share (0 to 1) did not exceed, in microseconds; `None` where there were none.
    pub fn quantile_us(&self, share: f64) -> Option<f64> {
        let all = self.count();
        if all == 0 {
            return None;
        }
        let wanted = (share * all as f64).clamp(1.0, all as f64);
        let mut before = 0.0;
        for (at, &n) in self.buckets.iter().enumerate().filter(|(_, n)| **n > 0) {
            if before + n as f64 >= wanted {
                let begin = if at == 0 { 0 } else { end(at - 1) } as f64;
                return Some(begin + (end(at) as f64 - begin) * (wanted - before) / n as f64);
            }
            before += n as f64;
        }
        None
    }

    /// The end of the highest bucket that is not empty, in microseconds; `None` where all are.
    pub fn max_us(&self) -> Option<u64> {
        self.buckets.iter().rposition(|n| *n > 0).map(end)
    }

    /// Counts between powers of two from 64 us to 8.4 s and beyond: `(bound in seconds, count)`, as an exposition wants them.
    pub fn octaves(&self) -> Vec<(f64, u64)> {
        const FIRST: u32 = 6;
        const LAST: u32 = 23;
        let mut rows = Vec::with_capacity((LAST - FIRST + 2) as usize);
        let mut from = 0;
        for octave in FIRST..=LAST {
            let to = (octave as usize - 1) * PER_OCTAVE;
            rows.push(((1u64 << octave) as f64 / 1e6, self.buckets[from..to].iter().sum()));
            from = to;
        }
        rows.push((f64::INFINITY, self.buckets[from..].iter().sum()));
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_on_each_other_and_hold_what_belongs_there() {
        for us in (0..5_000).chain((0..40).map(|n| 1 << n)) {
            let at = bucket(us);
            let begin = if at == 0 { 0 } else { end(at - 1) };
            assert!(begin <= us && (us < end(at) || at == BUCKETS - 1), "{us}: {at}, {begin}..{}", end(at));
            assert!(end(at) - begin <= (begin / 4).max(1), "{us}: too wide");
        }
    }

    #[test]
    fn quantiles_are_within_an_eighth() {
        let h = Histogram::default();
        (1..=10_000).for_each(|us| h.add(us));
        let mut d = Durations::default();
        d.take_in(&h);
        assert_eq!((d.count(), d.sum_us()), (10_000, 50_005_000));
        for share in [0.5, 0.95, 0.99] {
            let (got, want) = (d.quantile_us(share).unwrap(), share * 10_000.0);
            assert!((got / want - 1.0).abs() < 0.125, "{share}: {got}");
        }
        assert_eq!(Durations::default().quantile_us(0.5), None);
        let octaves = d.octaves();
        assert_eq!(octaves.iter().map(|(_, n)| n).sum::<u64>(), 10_000);
        assert_eq!(octaves[0], (0.000_064, 63));
    }

    #[test]
    fn a_packed_part_comes_back_whole() {
        let h = Histogram::default();
        let mut before = Durations::default();
        h.add(7);
        before.take_in(&h);
        [7, 900, 1 << 40].into_iter().for_each(|us| h.add(us));
        let mut after = Durations::default();
        after.take_in(&h);
        let new = after.since(&before);
        assert_eq!((new.count(), new.pack().len()), (3, 3));
        let mut again = Durations::default();
        again.unpack(&new.pack());
        assert_eq!(again.quantile_us(1.0), new.quantile_us(1.0));
    }
}
