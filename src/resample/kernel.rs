//! The one low-pass both engines use: a Kaiser-windowed sinc, described in samples of the lower of the two rates.

use std::f64::consts::PI;

/// Stop-band attenuation the window is designed for, in dB: 100 promised, the rest is margin for f32 arithmetic.
const ATTENUATION_DB: f64 = 108.0;
/// Share of the lower Nyquist frequency that passes unchanged at voice rates: 6.8 kHz of 8.
const PASS_VOICE: f64 = 0.85;
/// The same from 32 kHz up, where audible sound reaches closer to the Nyquist frequency: 20 kHz of 22.05.
const PASS_MUSIC: f64 = 0.907;
/// Rate in hertz from which [`PASS_MUSIC`] holds.
const MUSIC_FROM_HZ: u32 = 32_000;

/// A linear-phase low-pass as a function of time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kernel {
    /// Half its length, in samples of the lower rate.
    pub(super) half_width: f64,
    /// Cut-off (-6 dB) as a share of the lower Nyquist frequency.
    cutoff: f64,
    beta: f64,
    i0_beta: f64,
}

impl Kernel {
    /// Whether the two rates get the wide pass band.
    pub(super) fn is_music(low_hz: u32) -> bool {
        low_hz >= MUSIC_FROM_HZ
    }

    pub(super) fn new(music: bool) -> Self {
        let pass = if music { PASS_MUSIC } else { PASS_VOICE };
        // Kaiser's estimates: length from attenuation and transition width, beta from attenuation.
        let transition = PI * (1.0 - pass);
        let half_width = (ATTENUATION_DB - 7.95) / (2.285 * transition) / 2.0;
        let beta = 0.1102 * (ATTENUATION_DB - 8.7);
        Self { half_width, cutoff: f64::midpoint(1.0, pass), beta, i0_beta: bessel_i0(beta) }
    }

    /// Its value at `t` samples of the lower rate from its centre; the integral is about 1.
    pub(super) fn at(&self, t: f64) -> f64 {
        let x = t / self.half_width;
        if x.abs() > 1.0 {
            return 0.0;
        }
        let a = PI * self.cutoff * t;
        let sinc = if a.abs() < 1e-9 { 1.0 } else { a.sin() / a };
        self.cutoff * sinc * bessel_i0(self.beta * (1.0 - x * x).max(0.0).sqrt()) / self.i0_beta
    }
}

/// Modified Bessel function of the first kind, order 0, by its power series.
fn bessel_i0(x: f64) -> f64 {
    let mut term = 1.0;
    let mut sum = 1.0;
    for k in 1..200 {
        let half = x / (2.0 * f64::from(k));
        term *= half * half;
        sum += term;
        if term < sum * 1e-17 {
            break;
        }
    }
    sum
}
