//! Levels as they pass, ten a second, for streams somebody watches.

use super::{Block, Push, Sink, SinkEvent};
use crate::analysis::levels::{Level, LevelWindows};

/// The sink's name.
pub const NAME: &str = "levels";

/// Tells the level of every tenth of a second.
#[derive(Debug, Default)]
pub struct LevelSink {
    windows: Option<(u32, LevelWindows)>,
}

impl LevelSink {
    /// A sink for a stream; it may join while the stream runs.
    pub fn new() -> Self {
        Self::default()
    }
}

fn event(rate_hz: u32, level: Level) -> SinkEvent {
    let Level { end_position, rms_dbfs, peak_dbfs, clipped } = level;
    SinkEvent::Level { at_ms: end_position * 1000 / u64::from(rate_hz.max(1)), rms_dbfs, peak_dbfs, clipped }
}

impl Sink for LevelSink {
    fn name(&self) -> &'static str {
        NAME
    }

    fn wants_s16(&self) -> bool {
        false
    }

    fn push(&mut self, block: &Block<'_>, events: &mut Vec<SinkEvent>) -> Push {
        let (rate_hz, windows) =
            self.windows.get_or_insert_with(|| (block.spec.rate_hz, LevelWindows::new(block.spec, block.position)));
        windows.push(block.samples, |level| events.push(event(*rate_hz, level)));
        Push::Taken
    }

    fn finish(&mut self, events: &mut Vec<SinkEvent>) {
        if let Some((rate_hz, windows)) = &mut self.windows {
            events.extend(windows.finish().map(|level| event(*rate_hz, level)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::PcmSpec;

    #[test]
    fn ten_a_second_on_the_streams_own_timeline() {
        let mut sink = LevelSink::new();
        let mut events = Vec::new();
        for i in 0..25_u64 {
            let (samples, s16) = ([0.5_f32; 320], [16_384_i16; 320]);
            let spec = PcmSpec { rate_hz: 16_000, channels: 1 };
            let block = Block { spec, position: 16_000 + i * 320, samples: &samples, s16: &s16, after_gap: false };
            assert_eq!(sink.push(&block, &mut events), Push::Taken);
        }
        sink.finish(&mut events);
        let at: Vec<u64> = events
            .iter()
            .map(|e| match e {
                SinkEvent::Level { at_ms, rms_dbfs, peak_dbfs, clipped: false } if rms_dbfs == peak_dbfs => *at_ms,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(at, [1_100, 1_200, 1_300, 1_400, 1_500]);
    }
}
