//! Apple Lossless packets, by the codec's published reference. Exact up to 24 bits.

use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_ALAC;

use super::symphonia::Symphonia;
use super::{BadPacket, PacketDecoder};
use crate::decode::{DecodeError, DecodeOut};

const NAME: &str = "ALAC";

/// Length of ALACSpecificConfig.
const CONFIG_BYTES: usize = 24;
/// The reference encoder makes packets of 4096 sample frames; more than a few times that is a claim, not a need.
const FRAME_LENGTH_MAX: u32 = 16_384;

/// The configuration within a magic cookie: CAF and old MP4 files wrap it in a `frma` and an `alac` atom, MP4 begins with version and flags.
///
/// # Errors
/// [`DecodeError::Malformed`] where there is none.
pub(in crate::decode) fn config(cookie: &[u8]) -> Result<&[u8; CONFIG_BYTES], DecodeError> {
    let mut rest = cookie;
    for atom in [b"frma", b"alac"] {
        if rest.get(4..8) == Some(atom) {
            rest = rest.get(12..).unwrap_or_default();
        }
    }
    // An `alac` atom's content without its header still has version and flags in front.
    if matches!(rest.len(), 28 | 52) {
        rest = &rest[4..];
    }
    rest.first_chunk().ok_or(DecodeError::Malformed { container: NAME, what: "its magic cookie is too short" })
}

/// Rate and channel count a configuration states.
pub(in crate::decode) fn rate_and_channels(config: &[u8; CONFIG_BYTES]) -> (u32, u32) {
    (u32::from_be_bytes([config[20], config[21], config[22], config[23]]), u32::from(config[9]))
}

/// The packet decoder.
pub(in crate::decode) struct Alac {
    inner: Symphonia,
}

impl Alac {
    /// # Errors
    /// [`DecodeError`] where the cookie is damaged or claims absurd packets.
    pub(in crate::decode) fn new(cookie: &[u8]) -> Result<Self, DecodeError> {
        let config = config(cookie)?;
        let frame_length = u32::from_be_bytes([config[0], config[1], config[2], config[3]]);
        if frame_length > FRAME_LENGTH_MAX {
            let (what, limit) = ("the number of sample frames in a packet", u64::from(FRAME_LENGTH_MAX));
            return Err(DecodeError::TooLarge { container: NAME, what, limit });
        }
        if !matches!(config[5], 16 | 20 | 24 | 32) {
            return Err(DecodeError::Malformed { container: NAME, what: "its sample depth is none the codec has" });
        }
        let mut params = AudioCodecParameters::new();
        params.for_codec(CODEC_ID_ALAC).with_extra_data(Box::new(*config));
        Ok(Self { inner: Symphonia::open(NAME, &params)? })
    }
}

impl PacketDecoder for Alac {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn decode(&mut self, packet: &[u8], out: &mut DecodeOut) -> Result<(), BadPacket> {
        self.inner.decode(packet, out)
    }

    fn conceal(&mut self, out: &mut DecodeOut) {
        self.inner.conceal(out);
    }
}
