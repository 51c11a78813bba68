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
        let fraction = self.rest as f64 / self.to_hz as f64;
        self.weights.clear();
        let mut sum = 0.0_f32;
        for i in 0..=2 * self.reach {
            let distance = (i as f64 - self.reach as f64 - fraction).abs() * self.step;
            let index = distance as usize;
            let w = match self.table.get(index..index + 2) {
                Some(&[a, b]) => a + (b - a) * (distance - index as f64) as f32,
                _ => 0.0,
            };
            sum += w;
            self.weights.push(w);
        }
        let start = usize::try_from(self.at - self.reach as i64 - self.first).unwrap_or(0) * self.channels;
        let near = &self.history[start..start + self.weights.len() * self.channels];
        // Dividing by the sum keeps the gain at 0 Hz exactly 1 whatever the phase.
        for c in 0..self.channels {
            let y: f32 = near[c..].iter().step_by(self.channels).zip(&self.weights).map(|(x, w)| x * w).sum();
            out.push(y / sum);
        }
    }
}
