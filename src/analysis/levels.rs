//! Root mean square and peak, over a whole stream and over tenths of a second.

use crate::audio::PcmSpec;

/// What silence measures: JSON has no negative infinity, and 16 bits reach to -96 dB.
pub const FLOOR_DBFS: f32 = -120.0;
/// Magnitude from which a sample counts as clipped: the largest positive 16-bit value.
const CLIP: f32 = 32_767.0 / 32_768.0;
/// Windows a second.
const WINDOWS_PER_S: u32 = 10;

/// A magnitude (full scale 1.0) in dB below full scale, never under [`FLOOR_DBFS`]; NaN is silence.
pub fn dbfs(magnitude: f64) -> f32 {
    let db = 20.0 * magnitude.log10();
    if db > f64::from(FLOOR_DBFS) { db as f32 } else { FLOOR_DBFS }
}

/// Running level over any number of samples; a full-scale square wave is 0 dB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter {
    sum_squares: f64,
    peak: f32,
    samples: u64,
}

impl Meter {
    /// Takes samples of any channel order.
    pub fn add(&mut self, samples: &[f32]) {
        // Independent lanes, so that the compiler can use vector registers; f32 is exact enough within a few hundred samples.
        const LANES: usize = 16;
        for piece in samples.chunks(LANES * 64) {
            let (mut sums, mut peaks) = ([0.0_f32; LANES], [0.0_f32; LANES]);
            let lanes = piece.chunks_exact(LANES);
            for (i, &x) in lanes.remainder().iter().enumerate() {
                sums[i] = x * x;
                peaks[i] = x.abs();
            }
            for lane in lanes {
                for ((sum, peak), &x) in sums.iter_mut().zip(&mut peaks).zip(lane) {
                    *sum += x * x;
                    // `f32::max` minds NaN and costs twice as much.
                    *peak = if x.abs() > *peak { x.abs() } else { *peak };
                }
            }
            let sum: f32 = sums.iter().sum();
            if sum.is_finite() {
                self.sum_squares += f64::from(sum);
                self.peak = peaks.into_iter().fold(self.peak, f32::max);
            }
        }
        self.samples += samples.len() as u64;
    }

    /// Root mean square in dB below full scale.
    pub fn rms_dbfs(&self) -> f32 {
        dbfs((self.sum_squares / self.samples.max(1) as f64).sqrt())
    }

    /// Largest magnitude in dB below full scale.
    pub fn peak_dbfs(&self) -> f32 {
        dbfs(f64::from(self.peak))
    }

    /// Whether a sample reached full scale.
    pub fn clipped(&self) -> bool {
        self.peak >= CLIP
    }
}

/// Level of one tenth of a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// Position of the first sample (per channel) after it.
    pub end_position: u64,
    /// Root mean square in dB below full scale.
    pub rms_dbfs: f32,
    /// Largest magnitude in dB below full scale.
    pub peak_dbfs: f32,
    /// Whether a sample reached full scale.
    pub clipped: bool,
}

/// Measures every tenth of a second of a timeline.
#[derive(Debug)]
pub struct LevelWindows {
    channels: usize,
    window_frames: u64,
    position: u64,
    meter: Meter,
}

impl LevelWindows {
    /// Windows of a stream whose next sample is at `position`; the first one ends at the next full tenth.
    pub fn new(spec: PcmSpec, position: u64) -> Self {
        Self {
            channels: usize::from(spec.channels.max(1)),
            window_frames: u64::from((spec.rate_hz / WINDOWS_PER_S).max(1)),
            position,
            meter: Meter::default(),
        }
    }

    /// Takes interleaved samples that follow on the last ones; calls `each` for every window they complete.
    pub fn push(&mut self, mut samples: &[f32], mut each: impl FnMut(Level)) {
        while !samples.is_empty() {
            let left = self.window_frames - self.position % self.window_frames;
            let frames = (samples.len() / self.channels).min(usize::try_from(left).unwrap_or(usize::MAX));
            if frames == 0 {
                return;
            }
            let (now, later) = samples.split_at(frames * self.channels);
            samples = later;
            self.meter.add(now);
            self.position += frames as u64;
            if self.position.is_multiple_of(self.window_frames) {
                each(self.level());
                self.meter = Meter::default();
            }
        }
    }

    /// The window under way, where it holds anything.
    pub fn finish(&mut self) -> Option<Level> {
        let level = (self.meter.samples > 0).then(|| self.level());
        self.meter = Meter::default();
        level
    }

    fn level(&self) -> Level {
        Level {
            end_position: self.position,
            rms_dbfs: self.meter.rms_dbfs(),
            peak_dbfs: self.meter.peak_dbfs(),
            clipped: self.meter.clipped(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(amplitude: f32, frames: usize) -> Vec<f32> {
        (0..frames).map(|n| amplitude * (n as f32 * std::f32::consts::TAU / 16.0).sin()).collect()
    }

    #[test]
    fn known_signals_measure_as_known() {
        let mut square = Meter::default();
        square.add(&[1.0, -1.0].repeat(777));
        assert!(square.rms_dbfs().abs() < 1e-3 && square.peak_dbfs().abs() < 1e-3 && square.clipped());
        let mut tone = Meter::default();
        tone.add(&sine(0.5, 16_000));
        assert!((tone.rms_dbfs() + 9.031).abs() < 0.01, "{}", tone.rms_dbfs());
        assert!((tone.peak_dbfs() + 6.021).abs() < 0.01 && !tone.clipped());
    }

    #[test]
    fn silence_and_nothing_and_nan_are_the_floor() {
        for samples in [&[][..], &[0.0; 100], &[f32::NAN; 100], &[f32::INFINITY; 3]] {
            let mut meter = Meter::default();
            meter.add(samples);
            assert_eq!((meter.rms_dbfs(), meter.peak_dbfs(), meter.clipped()), (FLOOR_DBFS, FLOOR_DBFS, false));
        }
    }

    #[test]
    fn the_cut_does_not_show() {
        let tone = sine(0.7, 5_003);
        let (mut whole, mut cut) = (Meter::default(), Meter::default());
        whole.add(&tone);
        tone.chunks(37).for_each(|c| cut.add(c));
        assert!((whole.rms_dbfs() - cut.rms_dbfs()).abs() < 1e-4);
        assert_eq!(whole.peak_dbfs(), cut.peak_dbfs());
    }

    #[test]
    fn windows_end_at_full_tenths_whatever_the_blocks() {
        let spec = PcmSpec { rate_hz: 16_000, channels: 2 };
        let mut windows = LevelWindows::new(spec, 1_000);
        let mut ends = Vec::new();
        let samples = sine(0.5, 2 * 4_000);
        for block in samples.chunks(2 * 333) {
            windows.push(block, |l| ends.push((l.end_position, l.clipped)));
        }
        assert_eq!(ends, [(1_600, false), (3_200, false), (4_800, false)]);
        assert_eq!(windows.finish().map(|l| l.end_position), Some(5_000));
        assert_eq!(windows.finish(), None);
    }
}
