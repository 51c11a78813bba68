//! Sample conversion between integers and floats. Integer PCM of up to 24 bits survives the way through `f32` bit for bit.

/// Full scale of 16-bit PCM as a float factor.
pub const S16_SCALE: f32 = 32_768.0;

/// Largest magnitude a decoded sample may have. The overshoot of lossy codecs fits well within; what is beyond is the work of a
/// corrupt packet and would ring on in a resampler.
pub const SAMPLE_ABS_MAX: f32 = 8.0;

/// A decoded sample as the stages after it may rely on: silence for what is no number, the rest within ±[`SAMPLE_ABS_MAX`].
pub fn clean(sample: f32) -> f32 {
    if sample.is_finite() { sample.clamp(-SAMPLE_ABS_MAX, SAMPLE_ABS_MAX) } else { 0.0 }
}

/// Appends `samples` (full scale ±1.0) to `out` as 16-bit integers, rounded to nearest, clamped at full scale.
pub fn f32_to_s16(samples: &[f32], out: &mut Vec<i16>) {
    // 1.5 * 2^23: adding it rounds to an integer in the low mantissa bits, many times faster than `round()`.
    const MAGIC: f32 = 12_582_912.0;
    out.extend(samples.iter().map(|&x| {
        // Not `clamp`, which minds NaN and costs twice as much; here NaN becomes full scale.
        let scaled = x * S16_SCALE;
        let scaled = if scaled < 32_767.0 { scaled } else { 32_767.0 };
        let scaled = if scaled > -32_768.0 { scaled } else { -32_768.0 };
        ((scaled + MAGIC).to_bits() as i32).wrapping_sub(MAGIC.to_bits() as i32) as i16
    }));
}

/// A 16-bit sample as a float, exactly.
pub fn s16_to_f32(sample: i16) -> f32 {
    f32::from(sample) / S16_SCALE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_16_bit_sample_survives_the_round_trip() {
        let all: Vec<i16> = (i16::MIN..=i16::MAX).collect();
        let floats: Vec<f32> = all.iter().map(|&s| s16_to_f32(s)).collect();
        let mut back = Vec::new();
        f32_to_s16(&floats, &mut back);
        assert_eq!(all, back);
    }

    #[test]
    fn absurd_samples_are_made_harmless() {
        assert_eq!(clean(f32::NAN), 0.0);
        assert_eq!(clean(f32::INFINITY), 0.0);
        assert_eq!(clean(-1e30), -8.0);
        assert_eq!(clean(1e30), 8.0);
        assert_eq!(clean(-0.25), -0.25);
    }

    #[test]
    fn beyond_full_scale_is_clamped() {
        let mut out = Vec::new();
        f32_to_s16(&[9.0, -9.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN], &mut out);
        assert_eq!(out, [32_767, -32_768, 32_767, -32_768, 32_767]);
    }
}
