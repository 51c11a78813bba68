//! MPEG-1, -2 and -2.5 audio frames, layers 1 to 3 (ISO/IEC 11172-3, 13818-3), over symphonia's decoder. Knows no container.

use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::packet::PacketRef;
use symphonia::core::units::{Duration, Timestamp};
use symphonia::default::codecs::MpaDecoder;

use super::planar::{self, LastPacket};
use super::{BadPacket, Openings, PacketDecoder};
use crate::decode::DecodeOut;
use crate::decode::mp3::header::{Header, Layer};

/// An MPEG audio decoder: opened by the first frame, again where layer, rate or channels change.
#[derive(Default)]
pub(crate) struct MpegAudio {
    open: Option<(Header, MpaDecoder)>,
    last: LastPacket,
    openings: Openings,
}

impl MpegAudio {
    /// The decoder for frames like `header`'s: the one at hand, or a new one where symphonia's cannot change over.
    fn decoder_for(&mut self, header: Header) -> Result<&mut MpaDecoder, BadPacket> {
        let reusable = self.open.as_ref().is_some_and(|(opened, _)| opened.is_same_stream(&header));
        if !reusable {
            self.openings.note("MP3").map_err(|_| BadPacket)?;
            let mut params = AudioCodecParameters::new();
            params.for_codec(match header.layer {
                Layer::One => CODEC_ID_MP1,
                Layer::Two => CODEC_ID_MP2,
                Layer::Three => CODEC_ID_MP3,
            });
            let options = AudioDecoderOptions::default().gapless(false);
            self.open = Some((header, MpaDecoder::try_new(&params, &options).map_err(|_| BadPacket)?));
        }
        self.open.as_mut().map(|(_, decoder)| decoder).ok_or(BadPacket)
    }
}

impl PacketDecoder for MpegAudio {
    fn name(&self) -> &'static str {
        "MP3"
    }

    fn decode(&mut self, packet: &[u8], out: &mut DecodeOut) -> Result<(), BadPacket> {
        let header = Header::parse(packet).ok_or(BadPacket)?;
        let packet = PacketRef::new(0, Timestamp::ZERO, Duration::ZERO, packet);
        match self.decoder_for(header)?.decode_ref(&packet) {
            Ok(GenericAudioBufferRef::F32(buffer)) => {
                let from = out.pcm.samples.len();
                planar::append(buffer, out);
                self.last.note(from, out);
                Ok(())
            }
            Ok(_) | Err(_) => Err(BadPacket),
        }
    }

    fn conceal(&mut self, out: &mut DecodeOut) {
        self.last.silence(out);
    }
}
