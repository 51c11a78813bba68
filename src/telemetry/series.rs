//! The history of the server's figures in memory: a point a second for the last minutes, a coarser one for the last day. Bounded by the
//! number of points. Knows no server: points are given to it.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use super::histogram::Durations;
use crate::protocol::MetricsPoint;

/// Points of a second that are kept: five minutes.
const FINE_POINTS: usize = 300;
/// A trend within this share of the mean is none.
const STEADY_PERCENT: f64 = 5.0;

#[derive(Clone, Debug)]
struct Kept {
    /// On the server's monotonic clock.
    at_ms: u64,
    point: MetricsPoint,
    /// Acknowledgement latencies of the while: what quantiles over many points are made of.
    latency: Box<[(u8, u32)]>,
}

/// Points of one length, the newest of them.
#[derive(Debug)]
pub struct Series {
    kept: VecDeque<Kept>,
    max: usize,
}

impl Series {
    fn new(max: usize) -> Self {
        Self { kept: VecDeque::new(), max: max.max(1) }
    }

    fn push(&mut self, at_ms: u64, point: MetricsPoint, latency: &Durations) {
        if self.kept.len() == self.max {
            self.kept.pop_front();
        }
        self.kept.push_back(Kept { at_ms, point, latency: latency.pack() });
    }
}

/// Fine and coarse points.
#[derive(Debug)]
pub struct History {
    fine: Series,
    coarse: Series,
}

/// How a figure went over a window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trend {
    /// Its mean.
    pub mean: f64,
    /// Its least.
    pub min: f64,
    /// Its most.
    pub max: f64,
    /// The second half's mean against the first's; none where the first half's is 0.
    pub change_percent: Option<f64>,
    /// `rising`, `falling` or `steady`.
    pub direction: &'static str,
}

/// Acknowledgement latencies over a window, in microseconds; none where there was no acknowledgement.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Latency {
    pub count: u64,
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    pub max: Option<u64>,
}

/// The last while of the history.
#[derive(Clone, Debug, Serialize)]
pub struct Window {
    /// Oldest first.
    pub points: Vec<MetricsPoint>,
    /// Over all of them.
    pub ack_latency_us: Latency,
    /// Of each figure.
    pub trends: BTreeMap<&'static str, Trend>,
}

/// A figure's name and how it is read from a point.
type Figure = (&'static str, fn(&MetricsPoint) -> f64);

/// The figures that have trends.
const FIGURES: [Figure; 12] = [
    ("connections", |p| p.connections as f64),
    ("streams", |p| p.streams as f64),
    ("audio_s_per_s", |p| p.audio_s_per_s),
    ("bytes_in_per_s", |p| p.bytes_in_per_s),
    ("bytes_out_per_s", |p| p.bytes_out_per_s),
    ("messages_in_per_s", |p| p.messages_in_per_s),
    ("messages_out_per_s", |p| p.messages_out_per_s),
    ("errors_per_s", |p| p.errors_per_s),
    ("dropped_ms_per_s", |p| p.dropped_ms_per_s),
    ("lag_max_ms", |p| p.lag_max_ms),
    ("process_cpu_percent", |p| p.process_cpu_percent),
    ("process_memory_bytes", |p| p.process_memory_bytes as f64),
];

impl History {
    /// An empty history with room for so many coarse points.
    pub fn new(coarse_points: usize) -> Self {
        Self { fine: Series::new(FINE_POINTS), coarse: Series::new(coarse_points) }
    }

    /// Adds a point of a second.
    pub fn push_fine(&mut self, at_ms: u64, point: MetricsPoint, latency: &Durations) {
        self.fine.push(at_ms, point, latency);
    }

    /// Adds a point of the coarser kind.
    pub fn push_coarse(&mut self, at_ms: u64, point: MetricsPoint, latency: &Durations) {
        self.coarse.push(at_ms, point, latency);
    }

    /// The newest point.
    pub fn newest(&self) -> Option<&MetricsPoint> {
        self.fine.kept.back().map(|k| &k.point)
    }

    /// The last `window_s` seconds, in fine points where they reach back that far.
    pub fn window(&self, window_s: u64, now_ms: u64) -> Window {
        let from_ms = now_ms.checked_sub(window_s.saturating_mul(1_000));
        let fine = window_s <= FINE_POINTS as u64;
        let series = if fine { &self.fine } else { &self.coarse };
        let kept: Vec<_> = series.kept.iter().filter(|k| from_ms.is_none_or(|from| k.at_ms > from)).collect();
        let mut all = Durations::default();
        kept.iter().for_each(|k| all.unpack(&k.latency));
        let ack_latency_us = Latency {
            count: all.count(),
            p50: all.quantile_us(0.5),
            p95: all.quantile_us(0.95),
            p99: all.quantile_us(0.99),
            max: all.max_us(),
        };
        let points: Vec<_> = kept.iter().map(|k| k.point.clone()).collect();
        let trends = FIGURES
            .iter()
            .filter_map(|(name, of)| Some((*name, trend(&points.iter().map(of).collect::<Vec<_>>())?)))
            .collect();
        Window { points, ack_latency_us, trends }
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.fine.kept = VecDeque::new();
        self.coarse.kept = VecDeque::new();
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn trend(values: &[f64]) -> Option<Trend> {
    if values.is_empty() {
        return None;
    }
    let (first, second) = values.split_at(values.len() / 2);
    let (before, after) = (mean(first), mean(second));
    let change_percent = (!first.is_empty() && before != 0.0).then(|| (after / before - 1.0) * 100.0);
    let change = change_percent.unwrap_or(if first.is_empty() { 0.0 } else { 100.0 * after });
    let direction = match change {
        c if c > STEADY_PERCENT => "rising",
        c if c < -STEADY_PERCENT => "falling",
        _ => "steady",
    };
    Some(Trend {
        mean: mean(values),
        min: values.iter().copied().fold(f64::INFINITY, f64::min),
        max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        change_percent,
        direction,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Histogram;

    fn point(connections: usize) -> MetricsPoint {
        MetricsPoint { connections, ..MetricsPoint::default() }
    }

    #[test]
    fn only_so_many_points_are_kept() {
        let mut h = History::new(10);
        for n in 0..1_000 {
            h.push_fine(n * 1_000, point(1), &Durations::default());
            h.push_coarse(n * 30_000, point(2), &Durations::default());
        }
        assert_eq!((h.fine.kept.len(), h.coarse.kept.len()), (FINE_POINTS, 10));
        assert_eq!(h.window(300, 999_000).points.len(), FINE_POINTS);
        let day = h.window(86_400, 86_400_000);
        assert_eq!((day.points.len(), day.points[0].connections), (10, 2));
        h.reset();
        assert!(h.newest().is_none() && h.window(1, 1).trends.is_empty());
    }

    #[test]
    fn quantiles_of_a_window_are_those_of_all_its_latencies() {
        let mut h = History::new(1);
        for us in [100, 200, 3_000] {
            let (hist, mut d) = (Histogram::default(), Durations::default());
            (0..33).for_each(|_| hist.add(us));
            d.take_in(&hist);
            h.push_fine(us, point(0), &d);
        }
        let w = h.window(300, 4_000);
        assert_eq!(w.ack_latency_us.count, 99);
        assert!((160.0..256.0).contains(&w.ack_latency_us.p50.unwrap()), "{:?}", w.ack_latency_us);
        assert!((2_560.0..3_073.0).contains(&w.ack_latency_us.p99.unwrap()), "{:?}", w.ack_latency_us);
    }

    #[test]
    fn trends_have_a_direction() {
        let of = |v: &[f64]| trend(v).unwrap();
        assert_eq!(
            (of(&[1.0, 1.0, 2.0, 2.0]).direction, of(&[1.0, 1.0, 2.0, 2.0]).change_percent),
            ("rising", Some(100.0))
        );
        assert_eq!(of(&[4.0, 4.0, 2.0, 2.0]).direction, "falling");
        assert_eq!(of(&[4.0, 4.1]).direction, "steady");
        assert_eq!((of(&[0.0, 3.0]).direction, of(&[0.0, 3.0]).change_percent), ("rising", None));
        assert_eq!((of(&[5.0]).direction, trend(&[])), ("steady", None));
    }
}
