//! Many channels to one: the mean of all, so that nothing can clip that did not before.

/// Appends the mean of the channels of each frame of `interleaved` to `out`.
pub fn append_mono(interleaved: &[f32], channels: u16, out: &mut Vec<f32>) {
    match channels {
        0 | 1 => out.extend_from_slice(interleaved),
        2 => out.extend(interleaved.chunks_exact(2).map(|f| (f[0] + f[1]) * 0.5)),
        n => {
            let scale = 1.0 / f32::from(n);
            out.extend(interleaved.chunks_exact(usize::from(n)).map(|f| f.iter().sum::<f32>() * scale));
        }
    }
}

/// Replaces interleaved frames by their mean, in place.
pub fn to_mono(samples: &mut Vec<f32>, channels: u16) {
    if channels < 2 {
        return;
    }
    let n = usize::from(channels);
    let scale = 1.0 / f32::from(channels);
    let frames = samples.len() / n;
    for i in 0..frames {
        samples[i] = samples[i * n..(i + 1) * n].iter().sum::<f32>() * scale;
    }
    samples.truncate(frames);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_the_same_appended_and_in_place() {
        for channels in 1..=8_u16 {
            let n = usize::from(channels);
            let input: Vec<f32> = (0..n * 7).map(|i| (i as f32 * 0.37).sin()).collect();
            let mut appended = vec![9.0];
            append_mono(&input, channels, &mut appended);
            let mut in_place = input.clone();
            to_mono(&mut in_place, channels);
            assert_eq!(in_place.len(), 7);
            for (f, (a, b)) in appended[1..].iter().zip(&in_place).enumerate() {
                let mean = input[f * n..(f + 1) * n].iter().map(|&x| f64::from(x)).sum::<f64>() / n as f64;
                assert!((f64::from(*a) - mean).abs() < 1e-6 && (f64::from(*b) - mean).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn full_scale_stays_within_full_scale() {
        let mut out = Vec::new();
        append_mono(&[1.0; 12], 6, &mut out);
        assert!(out.iter().all(|&x| (0.999..=1.0).contains(&x)));
    }
}
