//! Vorbis I packets, by symphonia or where there are more than two channels by lewton, the headers checked first for what they would cost.
//!
//! Knows no container. Sections are those of the Vorbis I specification.

mod headers;
mod surround;

use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_VORBIS;

pub(crate) use self::headers::{Headers, PacketTimes, SETUP_BYTES_MAX};
use self::headers::{IDENT_BYTES, NAME};
use self::surround::Surround;
use super::PacketDecoder;
use super::symphonia::Symphonia;
use crate::decode::DecodeError;

/// Opens the decoder for what the headers describe.
///
/// # Errors
/// As [`Headers::parse`].
pub(super) fn open(ident: &[u8], setup: &[u8]) -> Result<Box<dyn PacketDecoder>, DecodeError> {
    let headers = Headers::parse(ident, setup)?;
    if headers.spec.channels > 2 {
        return Ok(Box::new(Surround::new(ident, setup, headers)?));
    }
    let mut extra_data = ident[..IDENT_BYTES].to_vec();
    extra_data.extend_from_slice(setup);
    let mut params = AudioCodecParameters::new();
    params.for_codec(CODEC_ID_VORBIS).with_extra_data(extra_data.into_boxed_slice());
    Ok(Box::new(Symphonia::open(NAME, &params)?))
}
