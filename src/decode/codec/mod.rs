//! Packet decoders: one whole packet in, its PCM out. Containers find the packets and open these.

pub(crate) mod opus;
pub(crate) mod vorbis;

use super::{DecodeError, DecodeOut};
use crate::audio::OutputFormat;

/// How a container describes its codec.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CodecSetup<'a> {
    /// Opus with its identification header (RFC 7845 section 5.1): `OpusHead` of Ogg and WebM, rewritten from `dOps` in MP4.
    Opus { head: &'a [u8] },
    /// Vorbis with its identification and setup headers.
    Vorbis { ident: &'a [u8], setup: &'a [u8] },
    /// FLAC with the 34 bytes of its STREAMINFO.
    Flac { streaminfo: &'a [u8] },
    /// AAC with its AudioSpecificConfig (ISO/IEC 14496-3).
    Aac { config: &'a [u8] },
    /// MPEG audio: the packets say everything.
    Mp3,
    /// ALAC with its magic cookie.
    Alac { cookie: &'a [u8] },
}

/// A packet that does not decode. The stream goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the packet does not decode")]
pub(crate) struct BadPacket;

/// A codec's decoder. Never allocates per packet once its buffers have grown to the stream's packet size.
pub(crate) trait PacketDecoder: Send {
    /// The codec's name, for messages.
    fn name(&self) -> &'static str;

    /// Decodes one packet, appending its PCM to `out.pcm` and setting `out.pcm.spec`. Samples are finite and within ±8.
    ///
    /// # Errors
    /// [`BadPacket`], with nothing appended. The decoder can go on with the next packet.
    fn decode(&mut self, packet: &[u8], out: &mut DecodeOut) -> Result<(), BadPacket>;

    /// Fills the place of a lost or corrupt packet by the codec's concealment, where it has one, else by silence as long as the
    /// packet before. Appends nothing if no packet was decoded yet.
    fn conceal(&mut self, out: &mut DecodeOut);
}

/// Opens a codec's decoder. Opus decodes straight to `output`'s rate, and to mono where that is asked for.
///
/// # Errors
/// [`DecodeError`] where the set-up data is damaged or asks for what is not supported.
pub(crate) fn open(setup: CodecSetup<'_>, output: OutputFormat) -> Result<Box<dyn PacketDecoder>, DecodeError> {
    match setup {
        CodecSetup::Opus { head } => Ok(Box::new(opus::Opus::new(head, output)?)),
        CodecSetup::Vorbis { ident, setup } => Ok(Box::new(vorbis::Vorbis::new(ident, setup)?)),
        CodecSetup::Flac { .. } | CodecSetup::Aac { .. } | CodecSetup::Mp3 | CodecSetup::Alac { .. } => {
            Err(DecodeError::Unrecognised)
        }
    }
}
