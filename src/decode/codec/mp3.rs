//! MPEG-1, -2 and -2.5 audio frames, layers 1 to 3 (ISO/IEC 11172-3, 13818-3), over symphonia's decoder. Knows no container.

use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3};

use super::symphonia::Symphonia;
use super::{BadPacket, Openings, PacketDecoder};
use crate::decode::DecodeOut;
use crate::decode::mp3::header::{Header, Layer};

const NAME: &str = "MP3";

/// An MPEG audio decoder: opened by the first frame, again where layer, rate or channels change.
#[derive(Default)]
pub(crate) struct MpegAudio {
    open: Option<(Header, Symphonia)>,
    openings: Openings,
}

impl MpegAudio {
    /// The decoder for frames like `header`'s: the one at hand, or a new one where symphonia's cannot change over.
    fn decoder_for(&mut self, header: Header) -> Result<&mut Symphonia, BadPacket> {
        let reusable = self.open.as_ref().is_some_and(|(opened, _)| opened.is_same_stream(&header));
        if !reusable {
            self.openings.note(NAME).map_err(|_| BadPacket)?;
            let mut params = AudioCodecParameters::new();
            params.for_codec(match header.layer {
                Layer::One => CODEC_ID_MP1,
                Layer::Two => CODEC_ID_MP2,
                Layer::Three => CODEC_ID_MP3,
            });
            self.open = Some((header, Symphonia::open(NAME, &params).map_err(|_| BadPacket)?));
        }
        self.open.as_mut().map(|(_, decoder)| decoder).ok_or(BadPacket)
    }
}

impl PacketDecoder for MpegAudio {
    fn name(&self) -> &'static str {
        NAME
    }

    fn decode(&mut self, packet: &[u8], out: &mut DecodeOut) -> Result<(), BadPacket> {
        let header = Header::parse(packet).ok_or(BadPacket)?;
        self.decoder_for(header)?.decode(packet, out)
    }

    fn conceal(&mut self, out: &mut DecodeOut) {
        if let Some((_, decoder)) = &mut self.open {
            decoder.conceal(out);
        }
    }
}
