//! Vorbis of more than two channels by lewton: symphonia 0.6 is some 8 dB off and mixes the channels of six up, lewton is within -130 dB
//! of ffmpeg. It takes three times as long, so mono and stereo stay with symphonia.

use lewton::audio::{PreviousWindowRight, read_audio_packet_generic};
use lewton::header::{IdentHeader, SetupHeader, read_header_ident, read_header_setup};

use super::headers::{Headers, NAME, PacketTimes, malformed};
use crate::audio::PcmSpec;
use crate::audio::convert::clean;
use crate::decode::codec::order::wave_from_vorbis;
use crate::decode::codec::{BadPacket, PacketDecoder, silence};
use crate::decode::{DecodeError, DecodeOut};

/// One stream's decoder. Allocates per packet, as lewton does.
pub(super) struct Surround {
    ident: IdentHeader,
    setup: SetupHeader,
    overlap: PreviousWindowRight,
    spec: PcmSpec,
    /// How long packets last, the lost ones too.
    times: PacketTimes,
    last_frames: usize,
}

impl Surround {
    /// A decoder for what the headers describe, whose sizes were checked.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] where lewton finds them damaged.
    pub(super) fn new(ident: &[u8], setup: &[u8], headers: Headers) -> Result<Self, DecodeError> {
        let Headers { spec, times } = headers;
        let ident = read_header_ident(ident).map_err(|_| malformed("the identification header is damaged"))?;
        let block_sizes = (ident.blocksize_0, ident.blocksize_1);
        let setup = read_header_setup(setup, ident.audio_channels, block_sizes)
            .map_err(|_| malformed("the set-up header is damaged"))?;
        Ok(Self { ident, setup, overlap: PreviousWindowRight::new(), spec, times, last_frames: 0 })
    }
}

impl PacketDecoder for Surround {
    fn name(&self) -> &'static str {
        NAME
    }

    fn decode(&mut self, packet: &[u8], out: &mut DecodeOut) -> Result<(), BadPacket> {
        let planes: Vec<Vec<f32>> =
            read_audio_packet_generic(&self.ident, &self.setup, packet, &mut self.overlap).map_err(|_| BadPacket)?;
        let told = self.times.next(packet).unwrap_or(0) as usize;
        // Behind a packet that failed there is nothing to overlap with, and nothing comes of this one: its time passes all the same.
        let frames = planes.first().map_or(0, Vec::len).max(told);
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

    fn conceal(&mut self, out: &mut DecodeOut) {
        silence(Some((self.spec, self.last_frames)), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::testing::{fixture, ogg_packets};

    #[test]
    fn a_lost_packet_leaves_the_others_in_their_places() {
        let packets = ogg_packets(&fixture("surround48-vorbis.ogg"));
        let play = |lost: Option<(usize, &[u8])>| {
            let mut decoder = crate::decode::codec::vorbis::open(&packets[0], &packets[2]).expect("good headers");
            let (mut out, mut failed) = (DecodeOut::default(), 0);
            for (n, packet) in packets.iter().enumerate().skip(3) {
                let packet = lost.filter(|&(at, _)| at == n).map_or(packet.as_slice(), |(_, instead)| instead);
                if decoder.decode(packet, &mut out).is_err() {
                    failed += 1;
                    decoder.conceal(&mut out);
                }
            }
            assert_eq!(failed, usize::from(lost.is_some()));
            out.pcm.samples
        };
        let whole = play(None);
        let is_long = |n: usize| packets[n][0] & 2 != 0;
        let between =
            (5..packets.len() - 2).filter(|&n| is_long(n - 2) && is_long(n - 1) && is_long(n) && is_long(n + 1));
        let mut tried = 0;
        for n in between {
            // One that is no audio, by its first bit, fails before it touches what it overlaps with; one that claims the other size of
            // the packet before, by its third, behind it.
            let mut lying = packets[n].clone();
            lying[0] &= !4;
            for instead in [&[1][..], &lying] {
                let damaged = play(Some((n, instead)));
                assert_eq!(damaged.len(), whole.len(), "packet {n}");
                assert!(damaged != whole && damaged.ends_with(&whole[whole.len() - 3 * 256..]), "packet {n}");
                tried += 1;
            }
        }
        assert!(tried >= 4, "{tried}");
    }
}
