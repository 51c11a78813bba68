//! Packet decoders: one whole packet in, its PCM out. Containers find the packets and open these.

pub(crate) mod aac;
pub(super) mod alac;
pub(super) mod flac;
pub(crate) mod mp3;
pub(crate) mod opus;
mod order;
mod symphonia;
pub(crate) mod vorbis;

use super::{DecodeError, DecodeOut, DecodeWarning};
use crate::audio::{OutputFormat, PcmSpec};

/// How a container describes its codec.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CodecSetup<'a> {
    /// Opus with its identification header (RFC 7845 section 5.1): `OpusHead` of Ogg and WebM, rewritten from `dOps` in MP4.
    Opus { head: &'a [u8] },
    /// Vorbis with its identification and setup headers.
    Vorbis { ident: &'a [u8], setup: &'a [u8] },
    /// FLAC with the 34 bytes of its STREAMINFO.
    Flac { streaminfo: &'a [u8] },
    /// AAC with its AudioSpecificConfig (ISO/IEC 14496-3), read.
    Aac { config: &'a aac::Config },
    /// MPEG audio: the packets say everything.
    Mp3,
    /// ALAC with its magic cookie.
    Alac { cookie: &'a [u8] },
}

/// A packet that does not decode. The stream goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the packet does not decode")]
pub(crate) struct BadPacket;

/// A codec's decoder. Never allocates per packet once its buffers have grown to the stream's packet size, but for AAC and
/// surround Vorbis.
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
        CodecSetup::Vorbis { ident, setup } => vorbis::open(ident, setup),
        CodecSetup::Flac { streaminfo } => Ok(Box::new(flac::Flac::new(streaminfo)?)),
        CodecSetup::Aac { config } => Ok(Box::new(aac::Aac::open(config.clone())?)),
        CodecSetup::Mp3 => Ok(Box::new(mp3::MpegAudio::default())),
        CodecSetup::Alac { cookie } => Ok(Box::new(alac::Alac::new(cookie)?)),
    }
}

/// Decoders one stream may open: files appended, recorders restarted. Opening costs some 0.3 ms, and a stream could make each of
/// its smallest frames another format.
const OPENINGS_MAX: u32 = 1_000;

/// Counts the decoders a stream opens.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Openings(u32);

impl Openings {
    /// Notes one more.
    ///
    /// # Errors
    /// [`DecodeError::TooLarge`] beyond [`OPENINGS_MAX`].
    pub(crate) fn note(&mut self, container: &'static str) -> Result<(), DecodeError> {
        self.0 += 1;
        if self.0 > OPENINGS_MAX {
            let what = "the number of format changes and new beginnings in the stream";
            return Err(DecodeError::TooLarge { container, what, limit: u64::from(OPENINGS_MAX) });
        }
        Ok(())
    }
}

/// Whether any packet of a stream decoded: one in which none did is an error, not silence.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    decoded: bool,
    failed: bool,
}

impl Tally {
    /// Notes a packet's fate.
    pub(crate) fn note(&mut self, decoded: bool) {
        self.decoded |= decoded;
        self.failed |= !decoded;
    }

    /// Notes the fate of a packet that may have been no audio.
    pub(crate) fn note_some(&mut self, decoded: Option<bool>) {
        if let Some(decoded) = decoded {
            self.note(decoded);
        }
    }

    /// Checks at the end of a stream.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] where packets came and none decoded.
    pub(crate) fn check(self, container: &'static str) -> Result<(), DecodeError> {
        if self.failed && !self.decoded {
            return Err(DecodeError::Malformed { container, what: "no packet of it decodes" });
        }
        Ok(())
    }
}

/// Silence as long as `last`, the packet before, was; nothing if there was none.
fn silence(last: Option<(PcmSpec, usize)>, out: &mut DecodeOut) {
    if let Some((spec, frames)) = last.filter(|&(_, frames)| frames > 0) {
        out.pcm.spec = spec;
        let samples = out.pcm.samples.len() + frames * usize::from(spec.channels);
        out.pcm.samples.resize(samples, 0.0);
    }
}

/// Decodes a packet, or fills its place and says so. Returns whether it decoded, which is to be noted in the stream's [`Tally`].
pub(crate) fn decode_or_conceal(decoder: &mut dyn PacketDecoder, packet: &[u8], out: &mut DecodeOut) -> bool {
    let from = out.pcm.samples.len();
    let decoded = decoder.decode(packet, out).is_ok();
    if !decoded {
        decoder.conceal(out);
        let codec = decoder.name();
        let concealed = out.pcm.samples.len() > from;
        out.warnings.push(if concealed {
            DecodeWarning::PacketConcealed { codec }
        } else {
            DecodeWarning::PacketSkipped { codec }
        });
    }
    decoded
}

#[cfg(test)]
mod tests;
