//! Times in buckets a few percent wide: any number of values in a fixed few kilobytes.

/// Buckets to each doubling: values are known to 1/32, about 3 %.
const SUB_BUCKET_BITS: u32 = 5;
const SUB_BUCKETS: usize = 1 << SUB_BUCKET_BITS;
/// Values have 32 bits: the doublings above the first 32 values, which have a bucket each.
const BUCKETS: usize = SUB_BUCKETS * (32 - SUB_BUCKET_BITS as usize + 1);

/// A histogram of microseconds.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u32,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max: 0 }
    }
}

impl Histogram {
    /// Counts `times` values.
    pub fn record(&mut self, value: u32, times: u64) {
        self.counts[bucket(value)] += times;
        self.total += times;
        self.max = self.max.max(value);
    }

    /// The value that a share `quantile` of all lies at or below, up to the bucket's width; `None` where there are none.
    pub fn quantile(&self, quantile: f64) -> Option<u32> {
        if self.total == 0 {
            return None;
        }
        let rank = ((self.total as f64 * quantile).ceil() as u64).clamp(1, self.total);
        let mut seen = 0;
        for (index, &count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Some(upper_bound(index).min(self.max));
            }
        }
        Some(self.max)
    }

    /// The largest value, exactly.
    pub fn max(&self) -> Option<u32> {
        (self.total > 0).then_some(self.max)
    }
}

fn bucket(value: u32) -> usize {
    let doublings = (32 - value.leading_zeros()).saturating_sub(SUB_BUCKET_BITS + 1);
    doublings as usize * SUB_BUCKETS + (value >> doublings) as usize
}

fn upper_bound(bucket: usize) -> u32 {
    let doublings = (bucket / SUB_BUCKETS).saturating_sub(1);
    let top = ((bucket - doublings * SUB_BUCKETS + 1) as u64) << doublings;
    u32::try_from(top - 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_and_buckets_are_narrow() {
        let mut last = 0;
        for value in (0..100_000u32).chain([1 << 20, u32::MAX / 3, u32::MAX - 1, u32::MAX]) {
            let bucket = bucket(value);
            assert!(bucket >= last && bucket < BUCKETS, "{value}");
            last = bucket;
            let top = upper_bound(bucket);
            assert!(top >= value, "{value} above {top}");
            assert!(u64::from(top) <= u64::from(value) + u64::from(value) / 32, "{value}: {top}");
        }
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.quantile(0.5), histogram.max()), (None, None));
        for value in 1..=1_000 {
            histogram.record(value, 3);
        }
        for (quantile, want) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0)] {
            let got = f64::from(histogram.quantile(quantile).unwrap());
            assert!(got >= want && got <= want * 1.04, "{quantile}: {got}");
        }
        assert_eq!((histogram.quantile(1.0), histogram.max()), (Some(1_000), Some(1_000)));
    }
}
