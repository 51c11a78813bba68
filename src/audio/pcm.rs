//! PCM between the stages: interleaved 32-bit floats, full scale at ±1.0.

/// Rate and channel count of a block of PCM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PcmSpec {
    /// Sample rate in hertz.
    pub rate_hz: u32,
    /// Channels, interleaved.
    pub channels: u16,
}

/// A reusable buffer of decoded audio. `samples.len()` is a multiple of `spec.channels`.
#[derive(Clone, Debug)]
pub struct PcmBuf {
    /// What the samples are.
    pub spec: PcmSpec,
    /// Interleaved samples, full scale at ±1.0.
    pub samples: Vec<f32>,
}

impl PcmBuf {
    /// An empty buffer; nothing is allocated.
    pub fn new() -> Self {
        Self { spec: PcmSpec { rate_hz: 0, channels: 1 }, samples: Vec::new() }
    }

    /// Samples per channel.
    pub fn frames(&self) -> usize {
        self.samples.len() / usize::from(self.spec.channels.max(1))
    }

    /// Drops the samples, keeps the memory.
    pub fn clear(&mut self) {
        self.samples.clear();
    }

    /// Removes `frames` sample frames from the front of what was appended since the buffer held `from_sample` samples.
    pub fn trim_front(&mut self, from_sample: usize, frames: usize) {
        let end = (from_sample + frames * usize::from(self.spec.channels)).min(self.samples.len());
        self.samples.drain(from_sample..end);
    }

    /// Removes `frames` sample frames from the end.
    pub fn trim_back(&mut self, frames: usize) {
        let keep = self.samples.len().saturating_sub(frames * usize::from(self.spec.channels));
        self.samples.truncate(keep);
    }
}

impl Default for PcmBuf {
    fn default() -> Self {
        Self::new()
    }
}
