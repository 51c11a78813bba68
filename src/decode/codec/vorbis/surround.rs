//! Vorbis of more than two channels by lewton: symphonia 0.6 is some 8 dB off and mixes the channels of six up, lewton is within -130 dB
//! of ffmpeg. It takes three times as long, so mono and stereo stay with symphonia.

use lewton::audio::{PreviousWindowRight, read_audio_packet_generic};
use lewton::header::{IdentHeader, SetupHeader, read_header_ident, read_header_setup};

use super::malformed;
use crate::audio::PcmSpec;
use crate::audio::convert::clean;
use crate::decode::codec::order::wave_from_vorbis;
use crate::decode::codec::{BadPacket, silence};
use crate::decode::{DecodeError, DecodeOut};

/// One stream's decoder. Allocates per packet, as lewton does.
pub(in crate::decode::codec) struct Surround {
    ident: IdentHeader,
    setup: SetupHeader,
    overlap: PreviousWindowRight,
    spec: PcmSpec,
    last_frames: usize,
}

impl Surround {
    /// A decoder for what the headers describe, whose sizes were checked.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] where lewton finds them damaged.
    pub(super) fn new(ident: &[u8], setup: &[u8], spec: PcmSpec) -> Result<Self, DecodeError> {
        let ident = read_header_ident(ident).map_err(|_| malformed("the identification header is damaged"))?;
        let block_sizes = (ident.blocksize_0, ident.blocksize_1);
        let setup = read_header_setup(setup, ident.audio_channels, block_sizes)
            .map_err(|_| malformed("the set-up header is damaged"))?;
        Ok(Self { ident, setup, overlap: PreviousWindowRight::new(), spec, last_frames: 0 })
    }

    pub(super) fn decode(&mut self, packet: &[u8], out: &mut DecodeOut) -> Result<(), BadPacket> {
        let planes: Vec<Vec<f32>> =
            read_audio_packet_generic(&self.ident, &self.setup, packet, &mut self.overlap).map_err(|_| BadPacket)?;
        let frames = planes.first().map_or(0, Vec::len);
        let places = wave_from_vorbis(self.spec.channels);
        let from = out.pcm.samples.len();
        out.pcm.samples.resize(from + frames * places.len(), 0.0);
        for (channel, &place) in places.iter().enumerate() {
            let slots = out.pcm.samples[from..].iter_mut().skip(channel).step_by(places.len());
            for (slot, &sample) in slots.zip(&planes[usize::from(place)]) {
                *slot = clean(sample);
            }
        }
        out.pcm.spec = self.spec;
        self.last_frames = frames;
        Ok(())
    }

    /// Silence as long as the packet before.
    pub(super) fn silence(&self, out: &mut DecodeOut) {
        silence(Some((self.spec, self.last_frames)), out);
    }
}
