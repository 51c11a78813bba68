//! Speech as it passes: brings any output to the 16 kHz mono the detector needs and puts its findings on the stream's timeline.

use super::{Block, Push, Sink, SinkEvent};
use crate::analysis::voice::{VOICE_RATE_HZ, Voice, VoiceDetector};
use crate::audio::{PcmSpec, convert};
use crate::resample::{Resampler, downmix};

/// Tells where speech begins and ends.
#[derive(Debug)]
pub struct VoiceSink {
    detector: VoiceDetector,
    source: Option<Source>,
    failed: bool,
}

/// How this stream's blocks become 16 kHz mono, and where on its timeline the sink joined.
#[derive(Debug)]
struct Source {
    spec: PcmSpec,
    joined_ms: u64,
    resampler: Option<Resampler>,
    mono: Vec<f32>,
    resampled: Vec<f32>,
    s16: Vec<i16>,
}

impl VoiceSink {
    /// A sink for a stream; it may join while the stream runs.
    pub fn new() -> Self {
        Self { detector: VoiceDetector::new(), source: None, failed: false }
    }
}

impl Default for VoiceSink {
    fn default() -> Self {
        Self::new()
    }
}

impl Source {
    fn new(block: &Block<'_>) -> Option<Self> {
        let spec = block.spec;
        let resampler = match spec.rate_hz {
            VOICE_RATE_HZ => None,
            rate_hz => Some(Resampler::new(rate_hz, VOICE_RATE_HZ, 1).ok()?),
        };
        let joined_ms = block.position * 1000 / u64::from(spec.rate_hz);
        Some(Self { spec, joined_ms, resampler, mono: Vec::new(), resampled: Vec::new(), s16: Vec::new() })
    }

    fn event(&self, voice: Voice) -> SinkEvent {
        let ms = |samples: u64| self.joined_ms + samples * 1000 / u64::from(VOICE_RATE_HZ);
        match voice {
            Voice::Started { at } => SinkEvent::SpeechStarted { at_ms: ms(at) },
            Voice::Ended { start, end } => SinkEvent::SpeechEnded { start_ms: ms(start), end_ms: ms(end) },
        }
    }

    /// The block as 16 kHz mono, or what of it is through the resampler.
    fn convert(&mut self, samples: &[f32]) {
        self.mono.clear();
        self.resampled.clear();
        self.s16.clear();
        downmix::append_mono(samples, self.spec.channels, &mut self.mono);
        match &mut self.resampler {
            Some(resampler) => {
                resampler.process(&self.mono, &mut self.resampled);
                convert::f32_to_s16(&self.resampled, &mut self.s16);
            }
            None => convert::f32_to_s16(&self.mono, &mut self.s16),
        }
    }
}

impl Sink for VoiceSink {
    fn name(&self) -> &'static str {
        "voice"
    }

    fn push(&mut self, block: &Block<'_>, events: &mut Vec<SinkEvent>) -> Push {
        if self.failed {
            return Push::Taken;
        }
        if self.source.is_none() {
            self.source = Source::new(block);
        }
        let Some(source) = &mut self.source else {
            self.failed = true;
            events.push(SinkEvent::Failed {
                sink: "voice",
                by_limit: false,
                retry_after_ms: None,
                message: "speech cannot be found at this sample rate".to_owned(),
            });
            return Push::Taken;
        };
        if source.spec == (PcmSpec { rate_hz: VOICE_RATE_HZ, channels: 1 }) {
            self.detector.push(block.s16, |voice| events.push(source.event(voice)));
        } else {
            source.convert(block.samples);
            self.detector.push(&source.s16, |voice| events.push(source.event(voice)));
        }
        Push::Taken
    }

    fn finish(&mut self, events: &mut Vec<SinkEvent>) {
        let Some(source) = &mut self.source else { return };
        if let Some(resampler) = &mut source.resampler {
            source.resampled.clear();
            source.s16.clear();
            resampler.finish(&mut source.resampled);
            convert::f32_to_s16(&source.resampled, &mut source.s16);
            self.detector.push(&source.s16, |voice| events.push(source.event(voice)));
        }
        self.detector.finish(|voice| events.push(source.event(voice)));
        events.push(SinkEvent::SpeechTotal { speech_ms: self.detector.speech_ms() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speech48_stereo() -> Vec<f32> {
        let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/audio/stereo48.s16le")).unwrap();
        let speech = bytes.chunks_exact(2).map(|b| convert::s16_to_f32(i16::from_le_bytes([b[0], b[1]])));
        let silence = || std::iter::repeat_n(0.0, 2 * 48_000);
        silence().chain(speech).chain(silence()).collect()
    }

    fn run(samples: &[f32], spec: PcmSpec, joined: u64) -> (Vec<(u64, u64)>, u64) {
        let mut sink = VoiceSink::new();
        let (mut events, mut position) = (Vec::new(), joined);
        for samples in samples.chunks(spec.rate_hz as usize / 50 * usize::from(spec.channels)) {
            let mut s16 = Vec::new();
            convert::f32_to_s16(samples, &mut s16);
            sink.push(&Block { spec, position, samples, s16: &s16, after_gap: false }, &mut events);
            position += (samples.len() / usize::from(spec.channels)) as u64;
        }
        sink.finish(&mut events);
        let total = events.iter().find_map(|e| match e {
            SinkEvent::SpeechTotal { speech_ms } => Some(*speech_ms),
            _ => None,
        });
        let ended = events.iter().filter_map(|e| match e {
            SinkEvent::SpeechEnded { start_ms, end_ms } => Some((*start_ms, *end_ms)),
            _ => None,
        });
        (ended.collect(), total.unwrap())
    }

    #[test]
    fn the_output_format_makes_no_difference_to_what_is_found() {
        let stereo48 = speech48_stereo();
        let (found48, ms48) = run(&stereo48, PcmSpec { rate_hz: 48_000, channels: 2 }, 0);
        let mut mono = Vec::new();
        downmix::append_mono(&stereo48, 2, &mut mono);
        let mut resampler = Resampler::new(48_000, 16_000, 1).unwrap();
        let mut mono16 = Vec::new();
        resampler.process(&mono, &mut mono16);
        resampler.finish(&mut mono16);
        let (found16, ms16) = run(&mono16, PcmSpec { rate_hz: 16_000, channels: 1 }, 0);
        assert!(!found16.is_empty());
        assert_eq!((&found48, ms48), (&found16, ms16));
        assert_eq!(ms16, found16.iter().map(|(start, end)| end - start).sum::<u64>());
        let (later, _) = run(&mono16, PcmSpec { rate_hz: 16_000, channels: 1 }, 16_000 * 7);
        assert_eq!(later, found16.iter().map(|(s, e)| (s + 7_000, e + 7_000)).collect::<Vec<_>>());
    }
}
