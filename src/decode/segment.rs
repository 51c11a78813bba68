//! What the decoders of containers share: a codec's run from one header to the next, its delay and padding trimmed.
//!
//! Knows no container's syntax.

use super::codec::PacketDecoder;
use super::{DecodeError, DecodeOut, DecodeWarning};
use crate::audio::{PcmBuf, StreamFormat};

/// Takes the encoder's delay off the front and its padding off the end. Counts sample frames at the rate they are decoded to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trim {
    skip_left: u64,
    decoded: u64,
    end: Option<u64>,
}

impl Trim {
    /// Leaves out the first `skip_frames`.
    pub(crate) fn new(skip_frames: u64) -> Self {
        Self { skip_left: skip_frames, decoded: 0, end: None }
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
        self.end = Some(end);
    }

    /// Trims what was decoded since `pcm` held `from_sample` samples.
    pub(crate) fn apply(&mut self, pcm: &mut PcmBuf, from_sample: usize) {
        let channels = usize::from(pcm.spec.channels.max(1));
        let frames = (pcm.samples.len() - from_sample) / channels;
        self.decoded += frames as u64;
        let mut kept = frames;
        if let Some(end) = self.end {
            let cut = usize::try_from(self.decoded.saturating_sub(end)).unwrap_or(usize::MAX).min(frames);
            pcm.trim_back(cut);
            kept -= cut;
        }
        if self.skip_left > 0 {
            let cut = usize::try_from(self.skip_left).unwrap_or(usize::MAX).min(kept);
            pcm.trim_front(from_sample, cut);
            // What the end took away was not skipped, but nothing comes after it either.
            self.skip_left -= cut as u64;
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
    /// Decodes one packet or fills its place, and trims.
    pub(crate) fn packet(&mut self, packet: &[u8], out: &mut DecodeOut) {
        let from = out.pcm.samples.len();
        if self.codec.decode(packet, out).is_err() {
            self.codec.conceal(out);
            let codec = self.codec.name();
            out.warnings.push(if out.pcm.samples.len() > from {
                DecodeWarning::PacketConcealed { codec }
            } else {
                DecodeWarning::PacketSkipped { codec }
            });
        }
        self.trim.apply(&mut out.pcm, from);
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

/// Tells a stream of which nothing decodes from one that is merely damaged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hearing {
    heard: bool,
    skipped: bool,
}

impl Hearing {
    /// Notes what a step brought.
    pub(crate) fn note(&mut self, out: &DecodeOut) {
        self.heard |= !out.pcm.samples.is_empty();
        self.skipped |= out.warnings.iter().any(|w| matches!(w, DecodeWarning::PacketSkipped { .. }));
    }

    /// At the end of the stream.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] where packets came and none of them gave a sound.
    pub(crate) fn check(self, container: &'static str) -> Result<(), DecodeError> {
        if self.skipped && !self.heard {
            return Err(DecodeError::Malformed { container, what: "not one packet decodes" });
        }
        Ok(())
    }
}

/// Checks what the sender declared against a container's header. `rates_hz` are all that it may truly have said.
///
/// # Errors
/// [`DecodeError::Contradiction`].
pub(crate) fn check_declared(
    declared: &StreamFormat,
    container: &'static str,
    rates_hz: &[u32],
    channels: u16,
) -> Result<(), DecodeError> {
    if let (Some(rate), Some(&found)) = (declared.sample_rate, rates_hz.first())
        && !rates_hz.contains(&rate)
    {
        return Err(DecodeError::Contradiction { field: "sample_rate", declared: rate, found, container });
    }
    match declared.channels {
        Some(n) if n != channels => Err(DecodeError::Contradiction {
            field: "channels",
            declared: u32::from(n),
            found: u32::from(channels),
            container,
        }),
        Some(_) | None => Ok(()),
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
    fn scaling_rounds_to_the_nearest_and_never_overflows() {
        assert_eq!(scale_frames(312, 48_000, 16_000), 104);
        assert_eq!(scale_frames(313, 48_000, 8_000), 52);
        assert_eq!(scale_frames(315, 48_000, 8_000), 53);
        assert_eq!(scale_frames(u64::MAX, 1, 48_000), u64::MAX);
    }
}
