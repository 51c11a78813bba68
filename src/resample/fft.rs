//! Overlap-add resampling: each block of input is transformed, filtered, its spectrum cut or extended to the output's
//! length and transformed back. Plans and filters are shared by all streams of a ratio, work space by all streams of a
//! thread; a stream owns one block of input and the overlap only (4.3 KB for mono 48 to 16 kHz, where a self-contained
//! instance needs 70 KB).

use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use realfft::num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use super::kernel::Kernel;
use super::sane;

/// Wanted length of an input block in milliseconds: that of the frames nearly every client sends.
const BLOCK_MS: u32 = 20;
/// Longest transform. Rates whose ratio needs a longer one (nearly coprime) go to the sinc engine: latency and memory grow with it.
const TRANSFORM_MAX: usize = 16_384;
/// Longest input block in milliseconds, for the same reason.
const BLOCK_MS_MAX: u32 = 60;
/// Plans kept for reuse. More than the usual rates need; a sender of many odd rates evicts, running streams keep theirs.
const PLANS_MAX: usize = 24;

static PLANS: Mutex<Vec<Arc<Plan>>> = Mutex::new(Vec::new());

thread_local! {
    static WORK: RefCell<Work> = const { RefCell::new(Work::EMPTY) };
}

/// What streams of one ratio share.
struct Plan {
    from_hz: u32,
    to_hz: u32,
    /// Input and output frames of a block.
    block_in: usize,
    block_out: usize,
    /// Transform lengths; those of the same ratio as the blocks.
    size_in: usize,
    size_out: usize,
    /// Output frames the filter delays by, exactly.
    delay_out: usize,
    /// Filter spectrum with the transforms' scale; the bins from the lower Nyquist frequency on are zero and not stored.
    filter: Vec<Complex32>,
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plan({} to {} Hz, {} in {})", self.from_hz, self.to_hz, self.block_in, self.size_in)
    }
}

/// Work space of a thread; grows to the largest plan that runs on it.
struct Work {
    time_in: Vec<f32>,
    spectrum_in: Vec<Complex32>,
    spectrum_out: Vec<Complex32>,
    time_out: Vec<f32>,
    scratch: Vec<Complex32>,
}

impl Work {
    const EMPTY: Self = Self {
        time_in: Vec::new(),
        spectrum_in: Vec::new(),
        spectrum_out: Vec::new(),
        time_out: Vec::new(),
        scratch: Vec::new(),
    };

    fn fit(&mut self, plan: &Plan) {
        fn grow<T: Clone>(v: &mut Vec<T>, len: usize, zero: T) {
            if v.len() < len {
                v.resize(len, zero);
            }
        }
        let zero = Complex32::new(0.0, 0.0);
        grow(&mut self.time_in, plan.size_in, 0.0);
        grow(&mut self.spectrum_in, plan.size_in / 2 + 1, zero);
        grow(&mut self.spectrum_out, plan.size_out / 2 + 1, zero);
        grow(&mut self.time_out, plan.size_out, 0.0);
        grow(&mut self.scratch, plan.forward.get_scratch_len().max(plan.inverse.get_scratch_len()), zero);
    }
}

impl Plan {
    /// The plan for a ratio, made or found; `None` where the ratio needs too long a transform.
    fn shared(from_hz: u32, to_hz: u32) -> Option<Arc<Self>> {
        let find = |plans: &[Arc<Self>]| plans.iter().find(|p| p.from_hz == from_hz && p.to_hz == to_hz).cloned();
        if let Some(plan) = find(&PLANS.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Some(plan);
        }
        // Made outside the lock: planning takes up to milliseconds. Two streams may both make one; either is good.
        let plan = Arc::new(Self::make(from_hz, to_hz)?);
        let mut plans = PLANS.lock().unwrap_or_else(PoisonError::into_inner);
        if plans.len() >= PLANS_MAX {
            plans.remove(0);
        }
        plans.push(Arc::clone(&plan));
        Some(plan)
    }

    fn make(from_hz: u32, to_hz: u32) -> Option<Self> {
        let divisor = gcd(from_hz, to_hz);
        let (unit_in, unit_out) = ((from_hz / divisor) as usize, (to_hz / divisor) as usize);
        let units = (from_hz as usize * BLOCK_MS as usize).div_ceil(1000 * unit_in);
        let (block_in, block_out) = (units * unit_in, units * unit_out);
        if block_in > (from_hz as usize * BLOCK_MS_MAX as usize) / 1000 {
            return None;
        }
        let low_hz = from_hz.min(to_hz);
        let kernel = Kernel::new(Kernel::is_music(low_hz));
        let low_per_in = f64::from(low_hz) / f64::from(from_hz);
        let out_per_in = f64::from(to_hz) / f64::from(from_hz);
        // The delay is a whole number of output frames, so that taking it off leaves no fraction of a sample.
        let delay_out = (kernel.half_width / low_per_in * out_per_in).ceil() as usize;
        let centre = delay_out as f64 / out_per_in;
        let taps = (2.0 * centre).floor() as usize + 1;
        let k = (block_in + taps - 1).div_ceil(unit_in);
        let k = (k..).find(|&k| (k * unit_in).is_multiple_of(2) && (k * unit_out).is_multiple_of(2) && is_smooth(k))?;
        let (size_in, size_out) = (k * unit_in, k * unit_out);
        if size_in > TRANSFORM_MAX || size_out > TRANSFORM_MAX {
            return None;
        }
        let mut planner = RealFftPlanner::<f32>::new();
        let forward = planner.plan_fft_forward(size_in);
        let inverse = planner.plan_fft_inverse(size_out);
        let filter = filter_spectrum(&kernel, size_in, size_in.min(size_out) / 2, taps, centre, low_per_in);
        Some(Self { from_hz, to_hz, block_in, block_out, size_in, size_out, delay_out, filter, forward, inverse })
    }

    /// Resamples one block of one channel: the result is in `work.time_out[..size_out]`, to be overlapped and added.
    fn run(&self, block: &[f32], work: &mut Work) {
        work.fit(self);
        let time_in = &mut work.time_in[..self.size_in];
        for (to, from) in time_in.iter_mut().zip(block) {
            *to = sane(*from);
        }
        time_in[self.block_in..].fill(0.0);
        let spectrum_in = &mut work.spectrum_in[..self.size_in / 2 + 1];
        let lengths_match = "lengths were fitted to the plan";
        self.forward.process_with_scratch(time_in, spectrum_in, &mut work.scratch).expect(lengths_match);
        let spectrum_out = &mut work.spectrum_out[..self.size_out / 2 + 1];
        let (kept, rest) = spectrum_out.split_at_mut(self.filter.len());
        for ((o, i), f) in kept.iter_mut().zip(spectrum_in.iter()).zip(&self.filter) {
            *o = *i * *f;
        }
        kept[0].im = 0.0;
        rest.fill(Complex32::new(0.0, 0.0));
        let time_out = &mut work.time_out[..self.size_out];
        self.inverse.process_with_scratch(spectrum_out, time_out, &mut work.scratch).expect(lengths_match);
    }
}

/// The filter's first `bins` frequencies, by the definition of the transform in f64: exact, and made once a ratio.
fn filter_spectrum(
    k: &Kernel,
    size_in: usize,
    bins: usize,
    taps: usize,
    centre: f64,
    low_per_in: f64,
) -> Vec<Complex32> {
    let mut h: Vec<f64> = (0..taps).map(|n| k.at((n as f64 - centre) * low_per_in)).collect();
    let sum: f64 = h.iter().sum();
    for x in &mut h {
        *x /= sum * size_in as f64;
    }
    let mut planner = RealFftPlanner::<f64>::new();
    let fft = planner.plan_fft_forward(size_in);
    h.resize(size_in, 0.0);
    let mut spectrum = fft.make_output_vec();
    fft.process(&mut h, &mut spectrum).expect("lengths come from the plan");
    spectrum[..bins].iter().map(|c| Complex32::new(c.re as f32, c.im as f32)).collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Whether a number has no prime factor above 5: transforms of such lengths are fast.
fn is_smooth(mut n: usize) -> bool {
    for p in [2, 3, 5] {
        while n.is_multiple_of(p) {
            n /= p;
        }
    }
    n == 1
}

/// The state of one stream.
#[derive(Debug)]
pub(super) struct FftEngine {
    plan: Arc<Plan>,
    channels: usize,
    /// Input waiting for a full block, one run of `block_in` a channel; empty until something has to wait.
    waiting: Box<[f32]>,
    waiting_frames: usize,
    /// What the last blocks add to the next ones, one run a channel.
    overlap: Box<[f32]>,
    /// Output frames of the filter's delay still to be left out.
    skip: usize,
}

impl FftEngine {
    /// An engine, or `None` where the ratio does not suit it.
    pub(super) fn new(from_hz: u32, to_hz: u32, channels: u16) -> Option<Self> {
        let plan = Plan::shared(from_hz, to_hz)?;
        let channels = usize::from(channels);
        Some(Self {
            channels,
            waiting: Box::default(),
            waiting_frames: 0,
            overlap: vec![0.0; (plan.size_out - plan.block_out) * channels].into_boxed_slice(),
            skip: plan.delay_out,
            plan,
        })
    }

    pub(super) fn push(&mut self, mut interleaved: &[f32], out: &mut Vec<f32>) {
        let block = self.plan.block_in;
        // Frames of a block's length, which nearly every client sends, never wait: their stream's memory stays untouched.
        while self.channels == 1 && self.waiting_frames == 0 && interleaved.len() >= block {
            let (now, later) = interleaved.split_at(block);
            interleaved = later;
            WORK.with_borrow_mut(|work| self.run_block(Some(now), work, out));
        }
        if self.waiting.is_empty() && !interleaved.is_empty() {
            self.waiting = vec![0.0; block * self.channels].into_boxed_slice();
        }
        while !interleaved.is_empty() {
            let frames = (block - self.waiting_frames).min(interleaved.len() / self.channels);
            if frames == 0 {
                return;
            }
            let (now, later) = interleaved.split_at(frames * self.channels);
            interleaved = later;
            let place = self.waiting_frames..self.waiting_frames + frames;
            if self.channels == 1 {
                self.waiting[place].copy_from_slice(now);
            } else {
                for (c, run) in self.waiting.chunks_exact_mut(block).enumerate() {
                    for (to, from) in run[place.clone()].iter_mut().zip(now[c..].iter().step_by(self.channels)) {
                        *to = *from;
                    }
                }
            }
            self.waiting_frames += frames;
            if self.waiting_frames == block {
                self.waiting_frames = 0;
                WORK.with_borrow_mut(|work| self.run_block(None, work, out));
            }
        }
    }

    /// Resamples the waiting block, or a `whole` one of a single channel.
    fn run_block(&mut self, whole: Option<&[f32]>, work: &mut Work, out: &mut Vec<f32>) {
        let plan = &*self.plan;
        let blocks = whole.unwrap_or(&self.waiting);
        let tail = plan.size_out - plan.block_out;
        let skip = self.skip.min(plan.block_out);
        self.skip -= skip;
        let start = out.len();
        out.resize(start + (plan.block_out - skip) * self.channels, 0.0);
        for (c, (block, overlap)) in
            blocks.chunks_exact(plan.block_in).zip(self.overlap.chunks_exact_mut(tail)).enumerate()
        {
            plan.run(block, work);
            let time = &mut work.time_out[..plan.size_out];
            for (t, o) in time.iter_mut().zip(overlap.iter()) {
                *t += *o;
            }
            let (ready, rest) = time.split_at(plan.block_out);
            overlap.copy_from_slice(rest);
            if self.channels == 1 {
                out[start..].copy_from_slice(&ready[skip..]);
            } else {
                for (to, from) in out[start + c..].iter_mut().step_by(self.channels).zip(&ready[skip..]) {
                    *to = *from;
                }
            }
        }
    }
}
