//! When which bytes are due: a file's bytes spread over the time of its audio. Time is a parameter.

use std::time::Duration;

/// How fast a file is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// So many times real time.
    Times(f64),
    /// As fast as the server takes it.
    Max,
}

/// Slower than a thousandth or faster than a thousand times real time is a typing error.
const SPEED: std::ops::RangeInclusive<f64> = 0.001..=1_000.0;

impl std::str::FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        match text.parse::<f64>() {
            Ok(times) if SPEED.contains(&times) => Ok(Self::Times(times)),
            _ => Err("use a factor such as 1 or 2.5, or max".to_owned()),
        }
    }
}

/// The frames of a file: how its bytes are cut and when each cut is due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    total_bytes: u64,
    /// Time of the whole audio.
    duration_ms: u64,
    frame_ms: u64,
    /// Cuts fall on multiples of it.
    unit_bytes: u64,
    /// `None`: at once.
    speed: Option<f64>,
}

impl Pace {
    /// Spreads `total_bytes` over `duration_ms`, `frame_ms` a frame, cut at multiples of `unit_bytes`.
    pub fn timed(total_bytes: u64, duration_ms: u64, frame_ms: u64, unit_bytes: u64, speed: Speed) -> Self {
        let speed = match speed {
            Speed::Times(times) => Some(times),
            Speed::Max => None,
        };
        Self {
            total_bytes,
            duration_ms: duration_ms.max(1),
            frame_ms: frame_ms.max(1),
            unit_bytes: unit_bytes.max(1),
            speed,
        }
    }

    /// Frames of `frame_bytes`, each due at once: for a file whose duration is not known.
    pub fn at_once(total_bytes: u64, frame_bytes: u64) -> Self {
        let frame_bytes = frame_bytes.max(1);
        Self {
            total_bytes,
            duration_ms: total_bytes.div_ceil(frame_bytes).max(1),
            frame_ms: 1,
            unit_bytes: frame_bytes,
            speed: None,
        }
    }

    /// Where frame `index` ends, in bytes. Grows to `total_bytes`; a frame may be empty where bytes are few.
    pub fn frame_end(&self, index: u64) -> u64 {
        let time_ms = u128::from(index + 1) * u128::from(self.frame_ms);
        if time_ms >= u128::from(self.duration_ms) {
            return self.total_bytes;
        }
        let units = u128::from(self.total_bytes.div_ceil(self.unit_bytes));
        let due = (units * time_ms).div_ceil(u128::from(self.duration_ms)) * u128::from(self.unit_bytes);
        u64::try_from(due).unwrap_or(u64::MAX).min(self.total_bytes)
    }

    /// When frame `index` is due, from the start: when a microphone would have finished it.
    pub fn due(&self, index: u64) -> Duration {
        match self.speed {
            None => Duration::ZERO,
            Some(speed) => {
                let time_ms = ((index + 1) * self.frame_ms).min(self.duration_ms);
                Duration::from_secs_f64(time_ms as f64 / 1_000.0 / speed)
            }
        }
    }

    /// The audio time of the first `bytes`, in milliseconds.
    pub fn audio_ms(&self, bytes: u64) -> u64 {
        let ms = u128::from(bytes.min(self.total_bytes)) * u128::from(self.duration_ms)
            / u128::from(self.total_bytes.max(1));
        u64::try_from(ms).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The frames of a pace.
    fn cuts(pace: Pace) -> Vec<u64> {
        let mut cuts = Vec::new();
        let mut at = 0;
        while at < pace.total_bytes {
            let end = pace.frame_end(cuts.len() as u64);
            assert!(end >= at, "cuts go forward");
            cuts.push(end - at);
            at = end;
        }
        cuts
    }

    #[test]
    fn pcm_is_cut_into_frames_of_its_time() {
        let pace = Pace::timed(32_000, 1_000, 20, 2, Speed::Times(1.0));
        assert_eq!(cuts(pace), vec![640; 50]);
        assert_eq!(pace.due(0), Duration::from_millis(20));
        assert_eq!(pace.due(49), Duration::from_secs(1));
    }

    #[test]
    fn an_odd_tail_comes_at_the_end_and_cuts_keep_to_samples() {
        let pace = Pace::timed(1_001 * 6 + 5, 1_001, 20, 6, Speed::Times(2.0));
        let cuts = cuts(pace);
        assert_eq!(cuts.iter().sum::<u64>(), 6_011);
        assert!(cuts[..cuts.len() - 1].iter().all(|bytes| bytes % 6 == 0), "{cuts:?}");
        assert_eq!(pace.due(cuts.len() as u64 - 1), Duration::from_secs_f64(1.001 / 2.0));
    }

    #[test]
    fn a_container_is_spread_evenly_even_if_it_has_fewer_bytes_than_frames() {
        assert_eq!(cuts(Pace::timed(1_000, 10_000, 100, 1, Speed::Times(1.0))), vec![10; 100]);
        let sparse = cuts(Pace::timed(3, 1_000, 20, 1, Speed::Times(1.0)));
        assert_eq!(sparse.iter().sum::<u64>(), 3);
        assert!(sparse.iter().all(|&bytes| bytes <= 1));
    }

    #[test]
    fn at_once_nothing_waits_and_everything_goes() {
        let pace = Pace::at_once(40_000, 16_384);
        assert_eq!(cuts(pace), vec![16_384, 16_384, 7_232]);
        assert_eq!(pace.due(99), Duration::ZERO);
        assert_eq!(cuts(Pace::at_once(1, 16_384)), vec![1]);
    }

    #[test]
    fn audio_time_of_bytes_is_proportional() {
        let pace = Pace::timed(32_000, 1_000, 20, 2, Speed::Max);
        assert_eq!((pace.audio_ms(0), pace.audio_ms(16_000), pace.audio_ms(99_999)), (0, 500, 1_000));
    }

    #[test]
    fn huge_files_do_not_overflow() {
        let pace = Pace::timed(u64::MAX, u64::MAX, 20, 1, Speed::Times(1.0));
        assert_eq!(pace.frame_end(0), 20);
        assert_eq!(pace.audio_ms(u64::MAX), u64::MAX);
    }

    #[test]
    fn speeds_are_factors_or_max() {
        assert_eq!("max".parse(), Ok(Speed::Max));
        assert_eq!("2.5".parse(), Ok(Speed::Times(2.5)));
        for text in ["", "0", "-1", "NaN", "inf", "fast", "1e9"] {
            assert!(text.parse::<Speed>().is_err(), "{text}");
        }
    }
}
