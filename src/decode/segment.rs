//! What the decoders of containers share: a codec's run from one header to the next, its delay and padding trimmed.
//!
//! Knows no container's syntax.

use std::ops::Range;

use super::DecodeOut;
use super::codec::{PacketDecoder, decode_or_conceal};
use crate::audio::PcmBuf;

/// Takes the encoder's delay off the front and its padding off the end. Counts sample frames at the rate they are decoded to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trim {
    skip_left: u64,
    decoded: u64,
    cut: Range<u64>,
}

impl Trim {
    /// Leaves out the first `skip_frames`.
    pub(crate) fn new(skip_frames: u64) -> Self {
        Self { skip_left: skip_frames, decoded: 0, cut: 0..0 }
    }

    /// Frames decoded so far, those left out included.
    pub(crate) fn decoded(&self) -> u64 {
        self.decoded
    }

    /// Leaves out `frames` more from where the decoding is now.
    pub(crate) fn skip_more(&mut self, frames: u64) {
        self.skip_left = self.skip_left.saturating_add(frames);
    }

    /// Leaves out all frames from the `end`th decoded one on, those skipped at the front included in the count.
    pub(crate) fn set_end(&mut self, end: u64) {
        self.cut = end..u64::MAX;
    }

    /// Leaves out these decoded frames, those skipped at the front included in the count: padding that other audio follows.
    pub(crate) fn set_cut(&mut self, cut: Range<u64>) {
        self.cut = cut;
    }

    /// Trims what was decoded since `pcm` held `from_sample` samples.
    pub(crate) fn apply(&mut self, pcm: &mut PcmBuf, from_sample: usize) {
        let channels = usize::from(pcm.spec.channels.max(1));
        let frames = (pcm.samples.len() - from_sample) / channels;
        let begin = self.decoded;
        self.decoded += frames as u64;
        let mut kept = frames;
        if self.cut.start < self.decoded && begin < self.cut.end {
            let within = |at: u64| from_sample + (at.clamp(begin, self.decoded) - begin) as usize * channels;
            let cut = within(self.cut.start)..within(self.cut.end);
            kept -= cut.len() / channels;
            pcm.samples.drain(cut);
        }
        if self.skip_left > 0 {
            let skipped = usize::try_from(self.skip_left).unwrap_or(usize::MAX).min(kept);
            pcm.trim_front(from_sample, skipped);
            // What the end took away was not skipped, but nothing comes after it either.
            self.skip_left -= skipped as u64;
        }
    }
}

/// A codec's run over one segment of a stream.
pub(crate) struct Segment {
    /// The packets' decoder.
    pub(crate) codec: Box<dyn PacketDecoder>,
    /// What is left out of its output.
    pub(crate) trim: Trim,
}

impl Segment {
    /// Decodes one packet or fills its place, and trims. Returns whether it decoded.
    pub(crate) fn packet(&mut self, packet: &[u8], out: &mut DecodeOut) -> bool {
        let from = out.pcm.samples.len();
        let decoded = decode_or_conceal(self.codec.as_mut(), packet, out);
        self.trim.apply(&mut out.pcm, from);
        decoded
    }

    /// Fills the place of a packet that never came, with `frames_max` at the most. Returns how many frames it filled.
    pub(crate) fn lost_packet(&mut self, frames_max: u64, out: &mut DecodeOut) -> u64 {
        let from = out.pcm.samples.len();
        self.codec.conceal(out);
        let frames = (out.pcm.samples.len() - from) / usize::from(out.pcm.spec.channels.max(1));
        let filled = usize::try_from(frames_max).unwrap_or(usize::MAX).min(frames);
        out.pcm.trim_back(frames - filled);
        self.trim.apply(&mut out.pcm, from);
        filled as u64
    }
}

/// `frames` counted at `from_hz`, as frames at `to_hz`, to the nearest.
pub(crate) fn scale_frames(frames: u64, from_hz: u32, to_hz: u32) -> u64 {
    let from = u128::from(from_hz.max(1));
    let scaled = (u128::from(frames) * u128::from(to_hz) + from / 2) / from;
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::PcmSpec;

    fn trimmed(trim: &mut Trim, samples: &[f32]) -> Vec<f32> {
        let mut pcm = PcmBuf { spec: PcmSpec { rate_hz: 48_000, channels: 2 }, samples: vec![9.0, 9.0] };
        pcm.samples.extend_from_slice(samples);
        trim.apply(&mut pcm, 2);
        pcm.samples
    }

    #[test]
    fn front_and_end_are_cut_across_packets() {
        let mut trim = Trim::new(3);
        assert_eq!(trimmed(&mut trim, &[0.0, 0.0, 1.0, 1.0]), [9.0, 9.0]);
        trim.set_end(5);
        assert_eq!(trimmed(&mut trim, &[2.0, 2.0, 3.0, 3.0]), [9.0, 9.0, 3.0, 3.0]);
        assert_eq!(trimmed(&mut trim, &[4.0, 4.0, 5.0, 5.0]), [9.0, 9.0, 4.0, 4.0]);
        assert_eq!(trimmed(&mut trim, &[6.0, 6.0]), [9.0, 9.0]);
    }

    #[test]
    fn front_and_end_may_meet_in_one_packet() {
        let mut trim = Trim::new(1);
        trim.set_end(2);
        assert_eq!(trimmed(&mut trim, &[0.0, 0.0, 1.0, 1.0, 2.0, 2.0]), [9.0, 9.0, 1.0, 1.0]);
    }

    #[test]
    fn padding_is_cut_and_what_follows_it_is_kept() {
        let mut trim = Trim::new(1);
        trim.set_cut(3..5);
        assert_eq!(trimmed(&mut trim, &[0.0, 0.0, 1.0, 1.0]), [9.0, 9.0, 1.0, 1.0]);
        assert_eq!(trimmed(&mut trim, &[2.0, 2.0, 3.0, 3.0]), [9.0, 9.0, 2.0, 2.0]);
        assert_eq!(trimmed(&mut trim, &[4.0, 4.0, 5.0, 5.0]), [9.0, 9.0, 5.0, 5.0]);
        assert_eq!(trimmed(&mut trim, &[6.0, 6.0]), [9.0, 9.0, 6.0, 6.0]);
    }

    #[test]
    fn scaling_rounds_to_the_nearest_and_never_overflows() {
        assert_eq!(scale_frames(312, 48_000, 16_000), 104);
        assert_eq!(scale_frames(313, 48_000, 8_000), 52);
        assert_eq!(scale_frames(315, 48_000, 8_000), 53);
        assert_eq!(scale_frames(u64::MAX, 1, 48_000), u64::MAX);
    }
}
