//! The server's memory over time.

use std::fmt;
use std::time::{Duration, Instant};

use crate::support::process::ServerProcess;

/// A sample of resident memory each second: seconds, KiB.
pub struct Watch(Vec<(f64, f64)>);

impl Watch {
    pub async fn run(server: &ServerProcess, end: Instant) -> Self {
        let begun = Instant::now();
        let mut samples = Vec::new();
        let mut clock = tokio::time::interval(Duration::from_secs(1));
        while Instant::now() < end {
            clock.tick().await;
            samples.push((begun.elapsed().as_secs_f64(), server.resident_kib() as f64));
        }
        Self(samples)
    }

    /// The second half: what is made once has been made.
    fn later(&self) -> &[(f64, f64)] {
        &self.0[self.0.len() / 2..]
    }

    fn mean_kib(samples: &[(f64, f64)]) -> f64 {
        samples.iter().map(|s| s.1).sum::<f64>() / samples.len() as f64
    }

    /// Least squares over the second half, in KiB a minute.
    fn slope_kib_per_min(&self) -> f64 {
        let samples = self.later();
        let mean_s = samples.iter().map(|s| s.0).sum::<f64>() / samples.len() as f64;
        let mean_kib = Self::mean_kib(samples);
        let covariance: f64 = samples.iter().map(|(s, kib)| (s - mean_s) * (kib - mean_kib)).sum();
        let variance: f64 = samples.iter().map(|(s, _)| (s - mean_s).powi(2)).sum();
        60.0 * covariance / variance
    }

    /// Flat: what the slope would add in ten minutes is less than a fifth of what is held, or the run is too short to tell.
    pub fn assert_flat(&self) {
        let minutes = self.later().len() as f64 / 60.0;
        let grown_kib = self.slope_kib_per_min() * minutes;
        let held_kib = Self::mean_kib(self.later());
        assert!(grown_kib < held_kib * 0.1 + 4_096.0, "memory grows: {self}");
        if minutes >= 4.0 {
            assert!(self.slope_kib_per_min() * 10.0 < held_kib * 0.2, "memory grows: {self}");
        }
    }
}

impl fmt::Display for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quarter = (self.0.len() / 4).max(1);
        let means: Vec<u64> = self.0.chunks(quarter).take(4).map(|q| Self::mean_kib(q) as u64).collect();
        write!(
            f,
            "mean KiB of each quarter {means:?}, slope of the second half {:.0} KiB/min",
            self.slope_kib_per_min()
        )
    }
}
