//! AAC-LC packets (ISO/IEC 14496-3, one raw_data_block each) over symphonia's decoder. Knows no container.

use symphonia::core::audio::{Channels, GenericAudioBufferRef, layouts};
use symphonia::core::codecs::audio::well_known::CODEC_ID_AAC;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::packet::PacketRef;
use symphonia::core::units::{Duration, Timestamp};
use symphonia::default::codecs::AacDecoder;

use super::planar::{self, LastPacket};
use super::{BadPacket, PacketDecoder};
use crate::audio::{PcmSpec, RATE_HZ_MAX, RATE_HZ_MIN};
use crate::decode::{DecodeError, DecodeOut};

/// Rates by samplingFrequencyIndex (ISO/IEC 14496-3 table 1.18).
const RATES_HZ: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// The syntactic element that ends a raw_data_block (ISO/IEC 14496-3 table 4.85).
const ID_END: u8 = 7;

/// The rate a samplingFrequencyIndex stands for; none for the reserved ones.
pub(crate) fn rate_hz(index: u8) -> Option<u32> {
    RATES_HZ.get(usize::from(index)).copied()
}

/// An AAC-LC decoder.
pub(crate) struct Aac {
    decoder: AacDecoder,
    last: LastPacket,
}

impl Aac {
    /// Opens a decoder for an AudioSpecificConfig.
    ///
    /// # Errors
    /// As [`parse_config`].
    pub(crate) fn open(config: &[u8]) -> Result<Self, DecodeError> {
        Self::for_spec(parse_config(config)?)
    }

    /// Opens a decoder for AAC-LC of a known rate and channel count.
    ///
    /// # Errors
    /// [`DecodeError::Unsupported`] for a channel count or rate that is not decoded.
    pub(crate) fn for_spec(spec: PcmSpec) -> Result<Self, DecodeError> {
        let channels = match spec.channels {
            1 => layouts::CHANNEL_LAYOUT_MONO,
            2 => layouts::CHANNEL_LAYOUT_STEREO,
            more => return Err(unsupported(format!("{more} channels (one or two are decoded)"))),
        };
        check_rate(spec.rate_hz)?;
        let mut params = AudioCodecParameters::new();
        params.for_codec(CODEC_ID_AAC).with_sample_rate(spec.rate_hz).with_channels(Channels::clone(&channels));
        let options = AudioDecoderOptions::default().gapless(false);
        let decoder = AacDecoder::try_new(&params, &options).map_err(|e| unsupported(e.to_string()))?;
        Ok(Self { decoder, last: LastPacket::default() })
    }
}

impl PacketDecoder for Aac {
    fn name(&self) -> &'static str {
        "AAC"
    }

    fn decode(&mut self, packet: &[u8], out: &mut DecodeOut) -> Result<(), BadPacket> {
        // Without an element symphonia hands out the packet before again.
        if packet.first().is_none_or(|byte| byte >> 5 == ID_END) {
            return Err(BadPacket);
        }
        let packet = PacketRef::new(0, Timestamp::ZERO, Duration::ZERO, packet);
        match self.decoder.decode_ref(&packet) {
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

fn unsupported(what: String) -> DecodeError {
    DecodeError::Unsupported { container: "AAC", what }
}

fn check_rate(rate_hz: u32) -> Result<(), DecodeError> {
    if (RATE_HZ_MIN..=RATE_HZ_MAX).contains(&rate_hz) {
        Ok(())
    } else {
        Err(unsupported(format!("a sample rate of {rate_hz} Hz")))
    }
}

/// Bits of an AudioSpecificConfig, first to last; reads past the end give none.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = *self.bytes.get(self.at / 8)?;
            value = (value << 1) | u32::from((byte >> (7 - self.at % 8)) & 1);
            self.at += 1;
        }
        Some(value)
    }

    /// GetAudioObjectType (ISO/IEC 14496-3 section 1.6.2.1).
    fn object_type(&mut self) -> Option<u32> {
        match self.take(5)? {
            31 => Some(32 + self.take(6)?),
            plain => Some(plain),
        }
    }

    fn rate(&mut self) -> Option<u32> {
        match self.take(4)? {
            15 => self.take(24),
            index => rate_hz(index as u8),
        }
    }
}

/// Rate and channels of an AudioSpecificConfig (ISO/IEC 14496-3 section 1.6.2.1) that asks for plain AAC-LC.
///
/// # Errors
/// [`DecodeError::Unsupported`] for other object types: the LC core of HE-AAC alone would be half of the sound at half of the rate.
/// [`DecodeError::Malformed`] for one that cannot be read.
pub(crate) fn parse_config(config: &[u8]) -> Result<PcmSpec, DecodeError> {
    const MALFORMED: DecodeError =
        DecodeError::Malformed { container: "AAC", what: "the decoder configuration cannot be read" };
    let mut bits = Bits { bytes: config, at: 0 };
    let object_type = bits.object_type().ok_or(MALFORMED)?;
    match object_type {
        2 => {}
        5 | 29 => return Err(he_aac()),
        other => return Err(unsupported(format!("audio object type {other} (AAC-LC is decoded)"))),
    }
    let rate_hz = bits.rate().ok_or(MALFORMED)?;
    let channels = match bits.take(4).ok_or(MALFORMED)? {
        0 => {
            return Err(unsupported(
                "a channel layout given by a program config element (mono or stereo is decoded)".into(),
            ));
        }
        n @ 1..=6 => n as u16,
        7 => 8,
        other => return Err(unsupported(format!("channel configuration {other} (mono or stereo is decoded)"))),
    };
    // GASpecificConfig (section 4.4.1): frameLengthFlag, dependsOnCoreCoder, extensionFlag.
    let (short_frames, core_coder, _extension) =
        (bits.take(1).ok_or(MALFORMED)?, bits.take(1).ok_or(MALFORMED)?, bits.take(1).ok_or(MALFORMED)?);
    if short_frames == 1 || core_coder == 1 {
        return Err(unsupported("frames of 960 samples or on top of a core coder (frames of 1024 are decoded)".into()));
    }
    // Backward compatible signalling of SBR (section 1.6.5.2): syncExtensionType 0x2b7, object type 5, sbrPresentFlag.
    if bits.take(11) == Some(0x2b7) && bits.object_type() == Some(5) && bits.take(1) == Some(1) {
        return Err(he_aac());
    }
    check_rate(rate_hz)?;
    Ok(PcmSpec { rate_hz, channels })
}

fn he_aac() -> DecodeError {
    unsupported("HE-AAC, which needs spectral band replication, (send AAC-LC)".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_say_rate_and_channels() {
        assert_eq!(parse_config(&[0x11, 0x90, 0x56, 0xe5, 0x00]), Ok(PcmSpec { rate_hz: 48_000, channels: 2 }));
        assert_eq!(parse_config(&[0x14, 0x08]), Ok(PcmSpec { rate_hz: 16_000, channels: 1 }));
    }

    #[test]
    fn what_would_sound_wrong_is_refused() {
        // HE-AAC signalled explicitly, explicitly with PS, and backward compatibly.
        for config in [&[0x2b, 0x11, 0x88, 0x00][..], &[0xeb, 0x11, 0x88, 0x00], &[0x13, 0x10, 0x56, 0xe5, 0x80]] {
            let error = parse_config(config).expect_err("HE-AAC");
            assert!(error.to_string().contains("HE-AAC"), "{error}");
            assert!(error.is_unsupported());
        }
        // 960-sample frames, a program config element, ER AAC-LD.
        for config in [&[0x11, 0x94][..], &[0x11, 0x80], &[0xb9, 0x90]] {
            assert!(parse_config(config).expect_err("refused").is_unsupported(), "{config:?}");
        }
        assert!(!parse_config(&[0x11]).expect_err("cut short").is_unsupported());
        assert!(Aac::open(&[0x11, 0xb0]).is_err_and(|e| e.to_string().contains("6 channels")));
    }
}
