//! The promises of the module, measured with sines on every kind of ratio: coprime ones, upward and downward.

use std::f64::consts::TAU;

use proptest::prelude::*;

use super::*;

/// Pairs that run on the FFT engine.
const FFT_PAIRS: [(u32, u32); 13] = [
    (48_000, 16_000),
    (44_100, 16_000),
    (24_000, 16_000),
    (8_000, 16_000),
    (48_000, 8_000),
    (16_000, 48_000),
    (44_100, 48_000),
    (11_025, 16_000),
    (22_050, 24_000),
    (96_000, 16_000),
    (192_000, 16_000),
    (32_000, 8_000),
    (8_000, 48_000),
];
/// Pairs that run on the table engine.
const SINC_PAIRS: [(u32, u32); 5] =
    [(44_101, 16_000), (15_999, 16_000), (8_003, 48_000), (191_999, 48_000), (47_999, 8_000)];

fn all_pairs() -> impl Iterator<Item = (u32, u32)> {
    FFT_PAIRS.into_iter().chain(SINC_PAIRS)
}

fn run(from_hz: u32, to_hz: u32, channels: u16, input: &[f32]) -> Vec<f32> {
    let mut r = Resampler::new(from_hz, to_hz, channels).unwrap();
    let mut out = Vec::new();
    r.process(input, &mut out);
    r.finish(&mut out);
    out
}

fn sine(f_hz: f64, rate_hz: u32, frames: usize) -> Vec<f32> {
    (0..frames).map(|n| (0.5 * (TAU * f_hz * n as f64 / f64::from(rate_hz)).sin()) as f32).collect()
}

/// Gain in dB, delay in output samples and everything else in dB below the tone, for a tone of 0.5 resampled.
fn measure(from_hz: u32, to_hz: u32, f_hz: f64) -> (f64, f64, f64) {
    let frames = from_hz as usize / 5;
    let out = run(from_hz, to_hz, 1, &sine(f_hz, from_hz, frames));
    let skip = to_hz as usize / 20;
    let (mut s, mut c, mut ss, mut cc, mut sc) = (0.0, 0.0, 0.0, 0.0, 0.0);
    let inner = skip..out.len() - skip;
    for n in inner.clone() {
        let (sin, cos) = (TAU * f_hz * n as f64 / f64::from(to_hz)).sin_cos();
        let y = f64::from(out[n]);
        s += y * sin;
        c += y * cos;
        ss += sin * sin;
        cc += cos * cos;
        sc += sin * cos;
    }
    let det = ss * cc - sc * sc;
    let (a, b) = ((s * cc - c * sc) / det, (c * ss - s * sc) / det);
    let residue: f64 = inner
        .clone()
        .map(|n| {
            let (sin, cos) = (TAU * f_hz * n as f64 / f64::from(to_hz)).sin_cos();
            (f64::from(out[n]) - a * sin - b * cos).powi(2)
        })
        .sum::<f64>()
        / inner.len() as f64;
    let delay = -b.atan2(a) / TAU / f_hz * f64::from(to_hz);
    (20.0 * (a.hypot(b) / 0.5).log10(), delay, 10.0 * (residue / 0.125).max(1e-30).log10())
}

/// What is left of a tone above the output's Nyquist frequency, in dB.
fn alias_db(from_hz: u32, to_hz: u32, f_hz: f64) -> f64 {
    let out = run(from_hz, to_hz, 1, &sine(f_hz, from_hz, from_hz as usize / 5));
    let inner = &out[to_hz as usize / 20..out.len() - to_hz as usize / 20];
    let power = inner.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / inner.len() as f64;
    10.0 * (power / 0.125).max(1e-30).log10()
}

#[test]
fn the_pass_band_is_flat_in_time_and_free_of_images() {
    for (from, to) in all_pairs() {
        let nyquist = f64::from(from.min(to)) / 2.0;
        for share in [0.0061, 0.3307, 0.7003, 0.849] {
            let (gain, delay, residue) = measure(from, to, nyquist * share);
            assert!(gain.abs() < 0.01, "{from}->{to} at {share}: {gain:.4} dB");
            assert!(delay.abs() < 0.005, "{from}->{to} at {share}: {delay:.4} samples late");
            assert!(residue < -100.0, "{from}->{to} at {share}: images {residue:.1} dB");
        }
    }
}

#[test]
fn what_the_output_rate_cannot_hold_is_gone() {
    for (from, to) in all_pairs().filter(|(from, to)| from > to) {
        let (low, high) = (f64::from(to) / 2.0, f64::from(from) / 2.0);
        for share in [1.025, 1.06, 1.9, 2.6] {
            let f = low * share;
            if f < high {
                let left = alias_db(from, to, f);
                assert!(left < -100.0, "{from}->{to}: {f:.0} Hz left at {left:.1} dB");
            }
        }
    }
}

#[test]
fn an_impulse_stays_where_it_was() {
    for (from, to) in all_pairs() {
        let at = from as usize / 9 + 17;
        let mut input = vec![0.0; from as usize / 4];
        input[at] = 1.0;
        let out = run(from, to, 1, &input);
        // The phase of a low frequency in the response is its position.
        let f = f64::from(from.min(to)) / 64.0;
        let (mut re, mut im) = (0.0, 0.0);
        let expected = at as f64 * f64::from(to) / f64::from(from);
        for (n, &y) in out.iter().enumerate() {
            let (s, c) = (TAU * f * (n as f64 - expected) / f64::from(to)).sin_cos();
            re += f64::from(y) * c;
            im += f64::from(y) * s;
        }
        let late = im.atan2(re) / TAU / f * f64::from(to);
        assert!(late.abs() < 0.005, "{from}->{to}: {late} samples late");
        let gain = re.hypot(im) * f64::from(from) / f64::from(to);
        assert!((gain - 1.0).abs() < 1e-3, "{from}->{to}: gain {gain}");
    }
}

#[test]
fn a_constant_from_the_first_sample_on_keeps_its_level_inside() {
    for (from, to) in all_pairs() {
        let out = run(from, to, 1, &vec![0.25; from as usize / 2]);
        let inner = &out[to as usize / 20..out.len() - to as usize / 20];
        assert!(inner.iter().all(|x| (x - 0.25).abs() < 2e-5), "{from}->{to}");
    }
}

#[test]
fn lengths_are_exact_for_every_length_of_input() {
    for (from, to) in all_pairs() {
        for frames in [0_usize, 1, 2, 3, 7, 159, 160, 441, 959, 960, 961, 4_409, 12_345] {
            let out = run(from, to, 1, &vec![0.1; frames]);
            let exact = frames as f64 * f64::from(to) / f64::from(from);
            assert_eq!(out.len() as u64, exact.round() as u64, "{from}->{to}, {frames} frames");
        }
    }
}

#[test]
fn channels_do_not_mix() {
    for (from, to) in [(48_000, 16_000), (44_101, 16_000), (8_000, 48_000)] {
        let tones: Vec<Vec<f32>> = (0..8).map(|c| sine(200.0 + 130.0 * f64::from(c), from, 9_000)).collect();
        let interleaved: Vec<f32> = (0..9_000).flat_map(|n| tones.iter().map(move |t| t[n])).collect();
        let together = run(from, to, 8, &interleaved);
        for (c, tone) in tones.iter().enumerate() {
            let alone = run(from, to, 1, tone);
            assert!(together[c..].iter().step_by(8).eq(alone.iter()), "{from}->{to}: channel {c}");
        }
    }
}

#[test]
fn rubato_agrees_inside_the_pass_band() {
    use audioadapter_buffers::direct::InterleavedSlice;
    use rubato::{FixedSync, Resampler as _, WindowFunction};
    let input: Vec<f32> =
        sine(437.0, 48_000, 48_000).iter().zip(sine(5_011.0, 48_000, 48_000)).map(|(a, b)| a + b * 0.3).collect();
    let ours = run(48_000, 16_000, 1, &input);
    let mut reference =
        rubato::Fft::<f32>::new_custom(48_000, 16_000, 960, 1, 1, WindowFunction::BlackmanHarris2, FixedSync::Input)
            .unwrap();
    let mut theirs = Vec::new();
    for block in input.chunks_exact(960) {
        let mut out = vec![0.0; 320];
        let from = InterleavedSlice::new(block, 1, 960).unwrap();
        let mut to = InterleavedSlice::new_mut(&mut out, 1, 320).unwrap();
        reference.process_into_buffer(&from, &mut to, None).unwrap();
        theirs.extend(out);
    }
    theirs.drain(..reference.output_delay());
    for (a, b) in ours[400..15_000].iter().zip(&theirs[400..15_000]) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}

#[test]
fn speech_comes_out_as_ffmpeg_makes_it() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/audio");
    let floats = |name: &str| -> Vec<f32> {
        let bytes = std::fs::read(format!("{dir}/{name}")).unwrap();
        bytes.chunks_exact(2).map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32_768.0).collect()
    };
    let mut input = floats("stereo48.s16le");
    downmix::to_mono(&mut input, 2);
    let ours = run(48_000, 16_000, 1, &input);
    let theirs = floats("mono16.s16le");
    assert_eq!(ours.len(), theirs.len());
    let power = |it: &mut dyn Iterator<Item = f32>| it.map(|x| f64::from(x).powi(2)).sum::<f64>();
    let difference = power(&mut ours.iter().zip(&theirs).map(|(a, b)| a - b));
    let snr = 10.0 * (power(&mut theirs.iter().copied()) / difference).log10();
    // Its default filter lets the top kilohertz alias: the two can only agree this far.
    assert!(snr > 35.0, "{snr:.1} dB");
}

#[test]
fn hostile_samples_do_not_outlive_their_filter() {
    for (from, to) in [(48_000, 16_000), (44_101, 16_000)] {
        let mut input = sine(440.0, from, 48_000);
        let clean = run(from, to, 1, &input);
        for (i, bad) in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, -1e30].into_iter().enumerate() {
            input[10_000 + i] = bad;
        }
        let out = run(from, to, 1, &input);
        assert!(out.iter().all(|x| x.abs() < 2.0));
        assert!(out[..3_000].iter().zip(&clean).all(|(a, b)| (a - b).abs() < 1e-6));
        assert!(out[5_000..].iter().zip(&clean[5_000..]).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}

#[test]
fn every_rate_taken_in_can_be_resampled() {
    for from in (8_000..=192_000).step_by(9_973).chain([8_001, 191_999, 192_000, 65_537]) {
        for to in OUTPUT_RATES_HZ {
            let out = run(from, to, 2, &vec![0.1; from as usize / 50 * 2]);
            let due = (f64::from(from / 50) * f64::from(to) / f64::from(from)).round() as usize;
            assert_eq!(out.len(), due * 2, "{from}->{to}");
        }
    }
}

#[test]
fn what_cannot_be_resampled_is_refused() {
    assert_eq!(Resampler::new(7_999, 16_000, 1).unwrap_err(), ResampleError::InputRate { got: 7_999 });
    assert_eq!(Resampler::new(u32::MAX, 16_000, 1).unwrap_err(), ResampleError::InputRate { got: u32::MAX });
    assert_eq!(Resampler::new(48_000, 44_100, 1).unwrap_err(), ResampleError::OutputRate { got: 44_100 });
    assert_eq!(Resampler::new(48_000, 16_000, 0).unwrap_err(), ResampleError::Channels { got: 0 });
    assert_eq!(Resampler::new(48_000, 16_000, 9).unwrap_err(), ResampleError::Channels { got: 9 });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn how_the_input_is_cut_does_not_show(
        pair in 0..FFT_PAIRS.len() + SINC_PAIRS.len(),
        channels in 1_u16..=3,
        cuts in prop::collection::vec(0_usize..1_500, 1..24),
    ) {
        let (from, to) = all_pairs().nth(pair).unwrap();
        let n = usize::from(channels);
        let frames: usize = cuts.iter().sum();
        let input: Vec<f32> = (0..frames * n).map(|i| ((i * i % 7_919) as f32 / 7_919.0) - 0.5).collect();
        let whole = run(from, to, channels, &input);
        let mut r = Resampler::new(from, to, channels).unwrap();
        let mut out = Vec::new();
        let mut rest = &input[..];
        for cut in cuts {
            let (now, later) = rest.split_at(cut * n);
            rest = later;
            r.process(now, &mut out);
            prop_assert!((r.pending_frames_in() as f64) < f64::from(from) * 0.100);
        }
        r.finish(&mut out);
        prop_assert_eq!(whole, out);
    }
}
