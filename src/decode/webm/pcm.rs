//! How a track's PCM is stored; block edges anywhere between its sample frames.

use crate::audio::PcmSpec;
use crate::decode::pcm::SampleKind;
use crate::decode::{DecodeOut, STEP_FRAMES_MAX};

/// How a track's PCM is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct PcmLayout {
    kind: SampleKind,
    spec: PcmSpec,
}

impl PcmLayout {
    /// The layout of a codec identifier and bit depth; `None` if there is none such.
    pub(super) fn new(codec_id: &[u8], bits: u64, spec: PcmSpec) -> Option<Self> {
        let kind = match (codec_id, bits) {
            (b"A_PCM/INT/LIT" | b"A_PCM/INT/BIG", 8) => SampleKind::U8,
            (b"A_PCM/INT/LIT", 16) => SampleKind::S16le,
            (b"A_PCM/INT/LIT", 24) => SampleKind::S24le,
            (b"A_PCM/INT/LIT", 32) => SampleKind::S32le,
            (b"A_PCM/INT/BIG", 16) => SampleKind::S16be,
            (b"A_PCM/INT/BIG", 24) => SampleKind::S24be,
            (b"A_PCM/INT/BIG", 32) => SampleKind::S32be,
            (b"A_PCM/FLOAT/IEEE", 32) => SampleKind::F32le,
            (b"A_PCM/FLOAT/IEEE", 64) => SampleKind::F64le,
            _ => return None,
        };
        Some(Self { kind, spec })
    }

    /// Bytes of one sample of all channels.
    pub(super) fn frame_bytes(self) -> usize {
        self.kind.bytes() * usize::from(self.spec.channels)
    }

    /// Converts as many whole frames of `bytes` as a step may hold. Returns how many bytes they took.
    pub(super) fn convert(self, bytes: &[u8], out: &mut DecodeOut) -> usize {
        let frames = (bytes.len() / self.frame_bytes()).min(STEP_FRAMES_MAX);
        let taken = frames * self.frame_bytes();
        out.pcm.spec = self.spec;
        self.kind.convert(&bytes[..taken], &mut out.pcm.samples);
        taken
    }
}
