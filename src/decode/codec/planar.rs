//! Planar PCM as symphonia's decoders hand it out, appended to the interleaved blocks of this crate. Knows no codec.

use symphonia::core::audio::{Audio, AudioBuffer};

use crate::audio::PcmSpec;
use crate::decode::DecodeOut;

/// Largest magnitude a decoded sample may have: corrupt packets decode to absurd values that would ring on in a resampler.
const SAMPLE_ABS_MAX: f32 = 8.0;

/// A sample as the stages after it may rely on: finite and within ±8.
fn sane(sample: f32) -> f32 {
    if sample.is_nan() { 0.0 } else { sample.clamp(-SAMPLE_ABS_MAX, SAMPLE_ABS_MAX) }
}

/// Appends `buffer` to `out`, interleaved, and sets its spec.
pub(crate) fn append(buffer: &AudioBuffer<f32>, out: &mut DecodeOut) {
    let channels = buffer.num_planes().max(1);
    let spec = PcmSpec { rate_hz: buffer.spec().rate(), channels: channels as u16 };
    out.pcm.spec = spec;
    let samples = &mut out.pcm.samples;
    match (buffer.plane(0), buffer.plane(1)) {
        (Some(mono), None) => samples.extend(mono.iter().map(|&s| sane(s))),
        (Some(left), Some(right)) if channels == 2 => {
            samples.extend(left.iter().zip(right).flat_map(|(&l, &r)| [sane(l), sane(r)]));
        }
        _ => {
            let start = samples.len();
            samples.resize(start + buffer.frames() * channels, 0.0);
            for channel in 0..channels {
                let Some(plane) = buffer.plane(channel) else { continue };
                for (slot, &sample) in samples[start + channel..].iter_mut().step_by(channels).zip(plane) {
                    *slot = sane(sample);
                }
            }
        }
    }
}

/// The length of the packet before, for decoders without concealment of their own: a corrupt packet becomes as much silence.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LastPacket(Option<(PcmSpec, usize)>);

impl LastPacket {
    /// Notes what was appended since `out` held `from_sample` samples.
    pub(crate) fn note(&mut self, from_sample: usize, out: &DecodeOut) {
        self.0 = Some((out.pcm.spec, out.pcm.samples.len() - from_sample));
    }

    /// Appends silence as long as the packet before; nothing if there was none.
    pub(crate) fn silence(&self, out: &mut DecodeOut) {
        if let Some((spec, samples)) = self.0 {
            out.pcm.spec = spec;
            out.pcm.samples.resize(out.pcm.samples.len() + samples, 0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_samples_are_made_harmless() {
        assert_eq!(sane(f32::NAN), 0.0);
        assert_eq!(sane(f32::INFINITY), 8.0);
        assert_eq!(sane(-1e30), -8.0);
        assert_eq!(sane(-0.25), -0.25);
    }
}
