//! Resampling between nearly coprime rates: each output sample is the input weighted by the kernel, read from one table with
//! linear interpolation. Slower than the FFT engine but the same for every ratio, in little memory.

use std::sync::OnceLock;

use super::kernel::Kernel;
use super::sane;

/// Table points per sample of the lower rate: linear interpolation between them errs by less than -110 dB.
const TABLE_STEPS: usize = 1024;
/// Input frames taken between drains of the history, so that a large call grows nothing.
const PIECE_FRAMES: usize = 1024;

/// Half of each kernel (voice, music): it is symmetric.
static TABLES: [OnceLock<Vec<f32>>; 2] = [OnceLock::new(), OnceLock::new()];

fn table(music: bool) -> &'static [f32] {
    TABLES[usize::from(music)].get_or_init(|| {
        let kernel = Kernel::new(music);
        let points = (kernel.half_width * TABLE_STEPS as f64).ceil() as usize + 2;
        (0..points).map(|i| kernel.at(i as f64 / TABLE_STEPS as f64) as f32).collect()
    })
}

/// The state of one stream.
#[derive(Debug)]
pub(super) struct SincEngine {
    from_hz: u64,
    to_hz: u64,
    channels: usize,
    table: &'static [f32],
    /// Table points between two input frames.
    step: f64,
    /// Input frames the kernel reaches to either side.
    reach: usize,
    /// Interleaved input still needed; its first frame is number `first` of the stream (negative: silence before the start).
    history: Vec<f32>,
    first: i64,
    /// Number of the input frame at or before the next output frame, and the rest in units of 1/to.
    at: i64,
    rest: u64,
    weights: Vec<f32>,
}

impl SincEngine {
    pub(super) fn new(from_hz: u32, to_hz: u32, channels: u16) -> Self {
        let low_hz = from_hz.min(to_hz);
        let music = Kernel::is_music(low_hz);
        let low_per_in = f64::from(low_hz) / f64::from(from_hz);
        let reach = (Kernel::new(music).half_width / low_per_in).ceil() as usize + 1;
        let channels = usize::from(channels);
        let mut history = Vec::with_capacity((2 * reach + 1 + PIECE_FRAMES) * channels);
        history.resize(reach * channels, 0.0);
        Self {
            from_hz: u64::from(from_hz),
            to_hz: u64::from(to_hz),
            channels,
            table: table(music),
            step: low_per_in * TABLE_STEPS as f64,
            reach,
            history,
            first: -(reach as i64),
            at: 0,
            rest: 0,
            weights: Vec::with_capacity(2 * reach + 1),
        }
    }

    pub(super) fn push(&mut self, interleaved: &[f32], out: &mut Vec<f32>) {
        for piece in interleaved.chunks(PIECE_FRAMES * self.channels) {
            self.history.extend(piece.iter().map(|&x| sane(x)));
            self.drain(out);
        }
    }

    /// Puts out every frame whose whole neighbourhood is there, then forgets what none to come needs.
    fn drain(&mut self, out: &mut Vec<f32>) {
        let end = self.first + (self.history.len() / self.channels) as i64;
        while self.at + (self.reach as i64) < end {
            self.put(out);
            self.rest += self.from_hz;
            self.at += (self.rest / self.to_hz) as i64;
            self.rest %= self.to_hz;
        }
        let keep_from = (self.at - self.reach as i64).min(end);
        let gone = usize::try_from(keep_from - self.first).unwrap_or(0);
        self.history.drain(..gone * self.channels);
        self.first += gone as i64;
    }

    fn put(&mut self, out: &mut Vec<f32>) {
        // Distances from the output frame in table points, 32.32 fixed point: exact steps without a float conversion a tap.
        let to_left = (self.rest as f64 / self.to_hz as f64 * self.step * FIXED_ONE) as u64;
        let step = (self.step * FIXED_ONE) as u64;
        self.weights.clear();
        let reach = self.reach as u64;
        let left = (0..=reach).rev().map(|i| to_left + i * step);
        let right = (1..=reach).map(|i| (i * step).saturating_sub(to_left));
        let table = self.table;
        self.weights.extend(left.chain(right).map(|distance| {
            let index = (distance >> 32) as usize;
            match table.get(index..index + 2) {
                Some(&[a, b]) => a + (b - a) * (distance as u32 as f32 * (1.0 / FIXED_ONE as f32)),
                _ => 0.0,
            }
        }));
        // Dividing by the sum keeps the gain at 0 Hz exactly 1 whatever the phase.
        let scale = 1.0 / sum_of(self.weights.iter().copied());
        let start = usize::try_from(self.at - self.reach as i64 - self.first).unwrap_or(0) * self.channels;
        let near = &self.history[start..start + self.weights.len() * self.channels];
        if self.channels == 1 {
            out.push(dot(near, &self.weights) * scale);
        } else {
            for c in 0..self.channels {
                out.push(
                    sum_of(near[c..].iter().step_by(self.channels).zip(&self.weights).map(|(x, w)| x * w)) * scale,
                );
            }
        }
    }
}

const FIXED_ONE: f64 = 4_294_967_296.0;
/// Partial sums, so that one addition need not wait for the last.
const LANES: usize = 8;

fn sum_of(values: impl Iterator<Item = f32>) -> f32 {
    let mut sums = [0.0; LANES];
    for (i, x) in values.enumerate() {
        sums[i % LANES] += x;
    }
    sums.iter().sum()
}

/// The same sum as [`sum_of`] gives, in vector registers.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let (a_rest, b_rest) = (a.remainder(), b.remainder());
    for (a, b) in a.zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    for ((sum, a), b) in sums.iter_mut().zip(a_rest).zip(b_rest) {
        *sum += a * b;
    }
    sums.iter().sum()
}
