//! Streaming sample-rate conversion: any input rate to an output rate, sample 0 out standing where sample 0 in stood.
//! Knows no stream, no codec and no sink; its state runs across call edges, so how the input is cut does not show.
//!
//! Common ratios run as FFT overlap-add with everything but a block of input and the overlap shared between streams; ratios
//! of large coprime numbers (44 101 to 16 000) run as a windowed sinc read from one shared table. Both are linear-phase, flat to
//! 85 % of the lower Nyquist frequency and more than 100 dB down from the Nyquist frequency on.

pub mod downmix;
mod fft;
mod kernel;
mod sinc;

use crate::audio::{CHANNELS_MAX, OUTPUT_RATES_HZ, RATE_HZ_MAX, RATE_HZ_MIN};

/// Samples beyond this magnitude (full scale is 1.0), and NaN, are taken as silence: a corrupt packet must not spread over a block.
const MAGNITUDE_MAX: f32 = 16.0;

/// Why no resampler can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResampleError {
    /// The input rate is out of range.
    #[error("cannot resample from {got} Hz: outside {RATE_HZ_MIN} to {RATE_HZ_MAX}")]
    InputRate {
        /// The rate asked for, in hertz.
        got: u32,
    },
    /// The output rate is not offered.
    #[error("cannot resample to {got} Hz: not one of 8000, 16000, 24000, 48000")]
    OutputRate {
        /// The rate asked for, in hertz.
        got: u32,
    },
    /// The channel count is out of range.
    #[error("cannot resample {got} channels: outside 1 to {CHANNELS_MAX}")]
    Channels {
        /// The count asked for.
        got: u16,
    },
}

#[derive(Debug)]
enum Engine {
    Fft(fft::FftEngine),
    Sinc(sinc::SincEngine),
}

impl Engine {
    fn push(&mut self, interleaved: &[f32], out: &mut Vec<f32>) {
        match self {
            Self::Fft(e) => e.push(interleaved, out),
            Self::Sinc(e) => e.push(interleaved, out),
        }
    }
}

/// Converts one stream of interleaved PCM. Calls: [`process`](Self::process) any number of times, then
/// [`finish`](Self::finish) once. Equal rates work but cost as much: the caller passes those through.
#[derive(Debug)]
pub struct Resampler {
    engine: Engine,
    from_hz: u32,
    to_hz: u32,
    channels: u16,
    frames_in: u64,
    frames_out: u64,
}

impl Resampler {
    /// A resampler for `channels` interleaved channels.
    ///
    /// # Errors
    /// [`ResampleError`] for a rate or channel count outside what the server takes.
    pub fn new(from_hz: u32, to_hz: u32, channels: u16) -> Result<Self, ResampleError> {
        if !(RATE_HZ_MIN..=RATE_HZ_MAX).contains(&from_hz) {
            return Err(ResampleError::InputRate { got: from_hz });
        }
        if !OUTPUT_RATES_HZ.contains(&to_hz) {
            return Err(ResampleError::OutputRate { got: to_hz });
        }
        if !(1..=CHANNELS_MAX).contains(&channels) {
            return Err(ResampleError::Channels { got: channels });
        }
        let engine = match fft::FftEngine::new(from_hz, to_hz, channels) {
            Some(engine) => Engine::Fft(engine),
            None => Engine::Sinc(sinc::SincEngine::new(from_hz, to_hz, channels)),
        };
        Ok(Self { engine, from_hz, to_hz, channels, frames_in: 0, frames_out: 0 })
    }

    /// Takes whole frames of interleaved samples and appends what is ready to `out`: at most 20 ms plus half the filter
    /// (about 3 ms) of input wait inside. Values that are not finite count as silence.
    pub fn process(&mut self, interleaved: &[f32], out: &mut Vec<f32>) {
        debug_assert_eq!(interleaved.len() % usize::from(self.channels), 0, "whole frames only");
        let before = out.len();
        self.engine.push(interleaved, out);
        self.frames_in += (interleaved.len() / usize::from(self.channels)) as u64;
        self.frames_out += ((out.len() - before) / usize::from(self.channels)) as u64;
    }

    /// Input has ended: appends the rest, so that all calls together gave exactly `round(frames in × to / from)` frames.
    pub fn finish(&mut self, out: &mut Vec<f32>) {
        const SILENCE: [f32; 512] = [0.0; 512];
        let channels = usize::from(self.channels);
        let whole = SILENCE.len() / channels * channels;
        let mut missing = usize::try_from(self.frames_due().saturating_sub(self.frames_out)).unwrap_or(usize::MAX);
        while missing > 0 {
            let before = out.len();
            self.engine.push(&SILENCE[..whole], out);
            let got = ((out.len() - before) / channels).min(missing);
            out.truncate(before + got * channels);
            missing -= got;
            self.frames_out += got as u64;
        }
    }

    /// Input frames that have not come out yet, the part inside the filter included.
    pub fn pending_frames_in(&self) -> u64 {
        let shown = u128::from(self.frames_out) * u128::from(self.from_hz) / u128::from(self.to_hz);
        self.frames_in.saturating_sub(u64::try_from(shown).unwrap_or(u64::MAX))
    }

    fn frames_due(&self) -> u64 {
        let (from, to) = (u128::from(self.from_hz), u128::from(self.to_hz));
        u64::try_from((2 * u128::from(self.frames_in) * to + from) / (2 * from)).unwrap_or(u64::MAX)
    }
}

/// A sample fit for a filter (see [`MAGNITUDE_MAX`]).
fn sane(x: f32) -> f32 {
    if x.abs() <= MAGNITUDE_MAX { x } else { 0.0 }
}

#[cfg(test)]
mod tests;
