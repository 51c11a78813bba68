//! Voice activity: where speech begins and ends in 16 kHz mono, decided by earshot's network on frames of 16 ms.

use std::fmt;

use earshot::Detector;

/// The only rate the network was trained for, in hertz.
pub const VOICE_RATE_HZ: u32 = 16_000;
/// The only frame length it takes, in samples.
const FRAME: usize = 256;
/// Score from which a frame is speech: 97 % hits with 0-5 % false alarms, measured in clean and noisy speech.
const THRESHOLD: f32 = 0.5;
/// Speech frames in a row that begin speech: a click is shorter.
const START_FRAMES: u32 = 3;
/// Silence that ends speech, in samples: 500 ms, longer than the pause between two words.
const HANG_OVER: u64 = VOICE_RATE_HZ as u64 / 2;

/// An edge of speech; positions are in samples at 16 kHz since the detector's first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// It began at the first of the frames that showed it.
    Started {
        /// Position of that frame.
        at: u64,
    },
    /// It ended with the last frame that held speech.
    Ended {
        /// Where it began.
        start: u64,
        /// Position after that frame.
        end: u64,
    },
}

/// Finds speech in one stream.
pub struct VoiceDetector {
    detector: Box<Detector>,
    frame: [i16; FRAME],
    filled: usize,
    /// Position of the frame being filled.
    position: u64,
    /// Speech frames in a row.
    run: u32,
    /// Begin of the speech under way.
    start: Option<u64>,
    /// Position after the last speech frame.
    last_voiced: u64,
    speech_samples: u64,
}

impl fmt::Debug for VoiceDetector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VoiceDetector")
            .field("position", &self.position)
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

impl VoiceDetector {
    /// A detector at the start of a stream; about 8 KB.
    pub fn new() -> Self {
        Self {
            detector: Detector::default_boxed(),
            frame: [0; FRAME],
            filled: 0,
            position: 0,
            run: 0,
            start: None,
            last_voiced: 0,
            speech_samples: 0,
        }
    }

    /// Takes the next samples (16 kHz, mono); calls `each` for every edge they bring.
    pub fn push(&mut self, mut samples: &[i16], mut each: impl FnMut(Voice)) {
        while !samples.is_empty() {
            let n = samples.len().min(FRAME - self.filled);
            self.frame[self.filled..self.filled + n].copy_from_slice(&samples[..n]);
            self.filled += n;
            samples = &samples[n..];
            if self.filled == FRAME {
                self.filled = 0;
                let voiced = self.detector.predict_i16(&self.frame) >= THRESHOLD;
                self.advance(voiced, &mut each);
            }
        }
    }

    /// The stream ended: speech under way ends with its last frame.
    pub fn finish(&mut self, mut each: impl FnMut(Voice)) {
        self.end(&mut each);
    }

    /// Speech so far in milliseconds, that under way included.
    pub fn speech_ms(&self) -> u64 {
        let running = self.start.map_or(0, |start| self.last_voiced - start);
        (self.speech_samples + running) * 1000 / u64::from(VOICE_RATE_HZ)
    }

    fn advance(&mut self, voiced: bool, each: &mut impl FnMut(Voice)) {
        self.position += FRAME as u64;
        if voiced {
            self.run += 1;
            if self.start.is_none() && self.run >= START_FRAMES {
                let at = self.position - u64::from(self.run) * FRAME as u64;
                self.start = Some(at);
                each(Voice::Started { at });
            }
            if self.start.is_some() {
                self.last_voiced = self.position;
            }
        } else {
            self.run = 0;
            if self.position - self.last_voiced >= HANG_OVER {
                self.end(each);
            }
        }
    }

    fn end(&mut self, each: &mut impl FnMut(Voice)) {
        if let Some(start) = self.start.take() {
            self.speech_samples += self.last_voiced - start;
            each(Voice::Ended { start, end: self.last_voiced });
        }
    }
}

impl Default for VoiceDetector {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds decisions instead of sound.
    fn edges(decisions: &[(bool, u32)]) -> (Vec<Voice>, u64) {
        let mut detector = VoiceDetector::new();
        let mut edges = Vec::new();
        for &(voiced, frames) in decisions {
            for _ in 0..frames {
                detector.advance(voiced, &mut |v| edges.push(v));
            }
        }
        detector.finish(|v| edges.push(v));
        (edges, detector.speech_ms())
    }

    #[test]
    fn speech_begins_at_the_first_of_three_frames_and_ends_with_the_last() {
        let (edges, ms) = edges(&[(false, 10), (true, 20), (false, 40), (true, 2), (false, 5), (true, 3)]);
        let at = |frame: u64| frame * 256;
        assert_eq!(
            edges,
            [
                Voice::Started { at: at(10) },
                Voice::Ended { start: at(10), end: at(30) },
                Voice::Started { at: at(77) },
                Voice::Ended { start: at(77), end: at(80) },
            ]
        );
        assert_eq!(ms, 23 * 16);
    }

    #[test]
    fn a_pause_shorter_than_the_hang_over_does_not_end_speech() {
        assert_eq!(edges(&[(true, 5), (false, 31), (true, 5), (false, 31)]).0.len(), 2);
        assert_eq!(edges(&[(true, 5), (false, 32), (true, 5), (false, 32)]).0.len(), 4);
    }

    #[test]
    fn real_speech_is_found_and_silence_and_noise_are_not() {
        let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/audio/mono16.s16le")).unwrap();
        let speech: Vec<i16> = bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
        let run = |samples: &[i16], cut: usize| {
            let mut detector = VoiceDetector::new();
            let mut edges = Vec::new();
            samples.chunks(cut).for_each(|c| detector.push(c, |v| edges.push(v)));
            detector.finish(|v| edges.push(v));
            (edges, detector.speech_ms())
        };
        let mut stream = vec![0_i16; 16_000];
        stream.extend(&speech);
        stream.extend(vec![0_i16; 16_000]);
        let (edges, ms) = run(&stream, 320);
        let total_ms = speech.len() as u64 / 16;
        assert!(matches!(edges.first(), Some(Voice::Started { at }) if (15_000..20_000).contains(at)), "{edges:?}");
        assert!(matches!(edges.last(), Some(Voice::Ended { .. })));
        assert!(ms > total_ms / 2 && ms < total_ms + 300, "{ms} of {total_ms}");
        assert_eq!(run(&stream, 7), (edges, ms));
        let mut seed = 1_u32;
        let noise: Vec<i16> = (0..48_000)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ((seed >> 16) as i16) / 64
            })
            .collect();
        assert_eq!(run(&noise, 320), (vec![], 0));
        assert_eq!(run(&[0; 48_000], 320), (vec![], 0));
    }
}
