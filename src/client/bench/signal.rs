//! A speech-like signal in every raw encoding.

use std::f64::consts::TAU;

use crate::audio::Encoding;

/// One second of it, interleaved, the same in all channels: partials of a voice, syllables, a little noise.
pub(super) fn second(rate_hz: u32, channels: u16) -> Vec<i16> {
    let mut noise = 12_345u32;
    let mut samples = Vec::with_capacity(rate_hz as usize * usize::from(channels));
    for n in 0..rate_hz {
        let t = f64::from(n) / f64::from(rate_hz);
        let syllable = 0.5 + 0.5 * (TAU * 4.0 * t).sin();
        let voice: f64 = (1..8).map(|k| (TAU * 140.0 * f64::from(k) * t).sin() / f64::from(k)).sum();
        // Numerical Recipes' linear congruential generator: the same noise in every run.
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let hiss = f64::from(noise >> 16) / 65_536.0 - 0.5;
        let sample = (voice * syllable * 6_000.0 + hiss * 400.0).clamp(-32_768.0, 32_767.0) as i16;
        samples.extend(std::iter::repeat_n(sample, usize::from(channels)));
    }
    samples
}

/// Samples in a raw encoding; `None` for one that cannot be generated here.
pub(super) fn encode(samples: &[i16], encoding: Encoding) -> Option<Vec<u8>> {
    let each = |f: fn(i16) -> Vec<u8>| Some(samples.iter().flat_map(|&s| f(s)).collect());
    match encoding {
        Encoding::PcmS16le => each(|s| s.to_le_bytes().to_vec()),
        Encoding::PcmS16be => each(|s| s.to_be_bytes().to_vec()),
        Encoding::PcmS24le => each(|s| (i32::from(s) << 8).to_le_bytes()[..3].to_vec()),
        Encoding::PcmS32le => each(|s| (i32::from(s) << 16).to_le_bytes().to_vec()),
        Encoding::PcmF32le => each(|s| (f32::from(s) / 32_768.0).to_le_bytes().to_vec()),
        Encoding::Mulaw => each(|s| vec![mulaw(s)]),
        Encoding::Alaw => each(|s| vec![alaw(s)]),
        Encoding::Opus
        | Encoding::Wav
        | Encoding::Flac
        | Encoding::Mp3
        | Encoding::Aac
        | Encoding::Ogg
        | Encoding::Webm
        | Encoding::Mp4
        | Encoding::Aiff
        | Encoding::Caf
        | Encoding::Auto => None,
    }
}

/// ITU-T G.711 table 2a: sign, segment, step, all bits inverted on the line.
fn mulaw(sample: i16) -> u8 {
    const BIAS: i32 = 0x84;
    const CLIP: i32 = 32_635;
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = i32::from(sample).abs().min(CLIP) + BIAS;
    let segment = (31 - magnitude.leading_zeros()) - 7;
    let step = (magnitude >> (segment + 3)) & 0x0f;
    !(sign | (segment as u8) << 4 | step as u8)
}

/// ITU-T G.711 table 1a: as mu-law without the bias, even bits inverted on the line, a set sign bit positive.
fn alaw(sample: i16) -> u8 {
    let sign = if sample < 0 { 0 } else { 0x80 };
    let magnitude = if sample < 0 { -i32::from(sample) - 1 } else { i32::from(sample) };
    let segment = (32 - (magnitude >> 8).leading_zeros()).min(7);
    let step = (magnitude >> if segment < 2 { 4 } else { segment + 3 }) & 0x0f;
    (sign | (segment as u8) << 4 | step as u8) ^ 0x55
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{OutputChannels, OutputFormat, StreamFormat, convert};
    use crate::decode::{DecodeOut, DecodeParams, open};

    fn decode(bytes: &[u8], encoding: Encoding) -> Vec<i16> {
        let params = DecodeParams {
            format: StreamFormat::new(encoding, Some(16_000), Some(1)).unwrap(),
            output: OutputFormat { rate_hz: 16_000, channels: OutputChannels::Source },
            whole_file_bytes_max: 0,
        };
        let mut decoder = open(&params).unwrap();
        let (mut out, mut all, mut rest) = (DecodeOut::default(), Vec::new(), bytes);
        loop {
            out.clear();
            let step = decoder.decode(rest, &mut out).unwrap();
            rest = &rest[step.consumed..];
            convert::f32_to_s16(&out.pcm.samples, &mut all);
            if rest.is_empty() && !step.more {
                return all;
            }
        }
    }

    #[test]
    fn what_is_encoded_decodes_to_itself() {
        let samples = second(16_000, 1);
        assert_eq!(samples.len(), 16_000);
        for encoding in
            [Encoding::PcmS16le, Encoding::PcmS16be, Encoding::PcmS24le, Encoding::PcmS32le, Encoding::PcmF32le]
        {
            assert_eq!(decode(&encode(&samples, encoding).unwrap(), encoding), samples, "{encoding}");
        }
    }

    #[test]
    fn companded_samples_come_back_within_half_a_step() {
        let samples: Vec<i16> = (i16::MIN..=i16::MAX).step_by(7).collect();
        for encoding in [Encoding::Mulaw, Encoding::Alaw] {
            for (&want, got) in samples.iter().zip(decode(&encode(&samples, encoding).unwrap(), encoding)) {
                let error = (i32::from(want) - i32::from(got)).abs();
                // Segments of 16 steps: half a step is 1/32 of the magnitude; the ends of the scale are clipped by one step.
                assert!(error <= 16 + i32::from(want).abs() / 24, "{encoding} {want} became {got}");
            }
        }
    }

    #[test]
    fn containers_cannot_be_generated() {
        assert_eq!(encode(&[0], Encoding::Webm), None);
    }
}
