//! Sound to send and to compare with, made by ways of its own: nothing here uses the server's decoders or resampler.

use super::fixture;

/// splitmix64: repeatable.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % n as u64) as usize
    }
}

/// The chunks a page sent: the cuts of the recorder that made the file.
pub fn recorder_cuts<'a>(name: &str, bytes: &'a [u8]) -> Vec<&'a [u8]> {
    let sizes: Vec<usize> = serde_json::from_slice(&fixture(&format!("recorders/{name}.sizes.json"))).unwrap();
    assert_eq!(sizes.iter().sum::<usize>(), bytes.len());
    let mut rest = bytes;
    sizes
        .into_iter()
        .map(|n| {
            let (piece, later) = rest.split_at(n);
            rest = later;
            piece
        })
        .collect()
}

/// Pieces of odd and even sizes, tiny and large, and some empty ones.
pub fn random_cuts(bytes: &[u8], seed: u64) -> Vec<&[u8]> {
    let mut random = Random(seed);
    let mut pieces = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let spread = [4, 200, 3_000, 40_000][random.below(4)];
        let (piece, later) = rest.split_at(random.below(spread).min(rest.len()));
        pieces.push(piece);
        rest = later;
    }
    pieces
}

/// What ffmpeg (libopus for Opus) decodes a lossy fixture to.
pub fn expected(name: &str) -> Vec<i16> {
    super::samples(&fixture(&format!("expected/{name}.s16")))
}

/// The samples of `studio48.wav`: 1.5 s, 48 kHz, stereo.
pub fn studio() -> Vec<i16> {
    hound::WavReader::new(fixture("audio/studio48.wav").as_slice()).unwrap().samples().map(Result::unwrap).collect()
}

/// Energy of the difference against that of `reference`, in decibels.
pub fn difference_db(got: &[f64], reference: &[f64]) -> f64 {
    assert_eq!(got.len(), reference.len(), "lengths");
    let noise: f64 = got.iter().zip(reference).map(|(a, b)| (a - b) * (a - b)).sum();
    let signal: f64 = reference.iter().map(|b| b * b).sum();
    10.0 * ((noise + 1e-9) / (signal + 1e-9)).log10()
}

pub fn floats(samples: &[i16]) -> Vec<f64> {
    samples.iter().map(|&s| f64::from(s)).collect()
}

/// The mean of the channels.
pub fn mean(samples: &[i16], channels: usize) -> Vec<f64> {
    samples.chunks_exact(channels).map(|f| f.iter().map(|&s| f64::from(s)).sum::<f64>() / channels as f64).collect()
}

/// What of `x` lies below `cutoff_hz`, at the instants n / 16 kHz: a windowed sinc (8 ms, Blackman) in plain `f64`.
pub fn band(x: &[f64], rate_hz: u32, cutoff_hz: f64, frames: usize) -> Vec<f64> {
    const HALF_S: f64 = 0.004;
    let rate = f64::from(rate_hz);
    let kernel = |t: f64| {
        let (u, w) = (2.0 * cutoff_hz * t * std::f64::consts::PI, std::f64::consts::PI * t / HALF_S);
        let sinc = if u.abs() < 1e-12 { 1.0 } else { u.sin() / u };
        2.0 * cutoff_hz / rate * sinc * (0.42 + 0.5 * w.cos() + 0.08 * (2.0 * w).cos())
    };
    // The kernel's phases repeat: a table of them instead of a sine a tap.
    let gcd = (1..=rate_hz.min(16_000)).rev().find(|d| rate_hz % d == 0 && 16_000 % d == 0).unwrap();
    let (phases, step) = (16_000 / gcd, rate_hz / gcd);
    let reach = (HALF_S * rate) as i64;
    let table: Vec<Vec<f64>> = (0..phases)
        .map(|p| (-reach..=reach + 1).map(|k| kernel((k as f64 - f64::from(p) / f64::from(phases)) / rate)).collect())
        .collect();
    (0..frames)
        .map(|n| {
            let at = n as u64 * u64::from(step);
            let (whole, phase) = ((at / u64::from(phases)) as i64, (at % u64::from(phases)) as usize);
            let from = whole - reach;
            let skip = usize::try_from(-from).unwrap_or(0);
            let from = usize::try_from(from).unwrap_or(0).min(x.len());
            let mut sum = 0.0;
            for (h, x) in table[phase][skip..].iter().zip(&x[from..]) {
                sum += h * x;
            }
            sum
        })
        .collect()
}

/// How much a 16 kHz mono recording differs below `cutoff_hz` from the mean of the channels of what was sent, in dB. Both begin
/// at time 0: a shift of one sample at 16 kHz is -10 dB for speech. The first two seconds tell.
pub fn difference_at_16k_db(got: &[i16], sent: &[i16], rate_hz: u32, channels: usize, cutoff_hz: f64) -> f64 {
    let frames = got.len().min(32_000);
    let reference = band(&mean(sent, channels), rate_hz, cutoff_hz, frames);
    difference_db(&band(&floats(got), 16_000, cutoff_hz, frames), &reference)
}

/// The packets of an Ogg file with one logical stream, its headers included (RFC 3533 section 6).
pub fn ogg_packets(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut packets, mut packet) = (Vec::new(), Vec::new());
    while !bytes.is_empty() {
        assert_eq!(&bytes[..4], b"OggS");
        let segments = usize::from(bytes[26]);
        let (lacing, mut body) = bytes[27..].split_at(segments);
        for &n in lacing {
            let (part, rest) = body.split_at(usize::from(n));
            packet.extend_from_slice(part);
            body = rest;
            if n < 255 {
                packets.push(std::mem::take(&mut packet));
            }
        }
        bytes = body;
    }
    packets
}
