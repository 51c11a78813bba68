//! How alike two pieces of audio are.

use crate::audio::convert;

/// The energy of the difference against that of `reference`, in decibels. Lengths must be equal.
#[track_caller]
pub(crate) fn difference_db(samples: &[f32], reference: &[f32]) -> f64 {
    assert_eq!(samples.len(), reference.len(), "lengths");
    let energy = |x: f64| x * x;
    let noise: f64 = samples.iter().zip(reference).map(|(&a, &b)| energy(f64::from(a) - f64::from(b))).sum();
    let signal: f64 = reference.iter().map(|&b| energy(f64::from(b))).sum();
    10.0 * ((noise + 1e-12) / (signal + 1e-12)).log10()
}

/// As [`difference_db`] once `samples` are rounded to 16 bits as the reference is, whose rounding alone is -77 dB of speech.
#[track_caller]
pub(crate) fn difference_s16_db(samples: &[f32], reference: &[f32]) -> f64 {
    let mut rounded = Vec::new();
    convert::f32_to_s16(samples, &mut rounded);
    let rounded: Vec<f32> = rounded.into_iter().map(convert::s16_to_f32).collect();
    difference_db(&rounded, reference)
}

/// That each channel is the reference's, within a limit in decibels. Of the samples only as many are compared as both have.
#[track_caller]
pub(crate) fn assert_each_channel(samples: &[f32], reference: &[f32], channels: u16, limit_db: f64) {
    let channels = usize::from(channels);
    let length = samples.len().min(reference.len());
    for channel in 0..channels {
        let one =
            |samples: &[f32]| samples[..length].iter().skip(channel).step_by(channels).copied().collect::<Vec<_>>();
        let db = difference_s16_db(&one(samples), &one(reference));
        assert!(db < limit_db, "channel {channel} of {channels}: {db} dB");
    }
}

/// The mean of the channels.
pub(crate) fn down_mix(samples: &[f32], channels: u16) -> Vec<f32> {
    samples.chunks_exact(usize::from(channels)).map(|frame| frame.iter().sum::<f32>() / f32::from(channels)).collect()
}

/// By how many samples `late` lags `early` where they are most alike, up to `lag_max` either way.
pub(crate) fn best_lag(late: &[f32], early: &[f32], lag_max: isize) -> isize {
    let score = |lag: isize| -> f64 {
        let (a, b) =
            if lag >= 0 { (late.get(lag as usize..), Some(early)) } else { (Some(late), early.get((-lag) as usize..)) };
        let (a, b) = (a.unwrap_or_default(), b.unwrap_or_default());
        a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
    };
    (-lag_max..=lag_max).max_by(|&a, &b| score(a).total_cmp(&score(b))).unwrap_or(0)
}
