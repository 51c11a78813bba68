//! AAC packets (ISO/IEC 14496-3, one raw_data_block each) over rusty_aac: all of the family but USAC. Knows no container.
//!
//! HE-AAC adds spectral band replication, which doubles the rate, and parametric stereo, which makes two channels of one. A header need not
//! mention either: only the packets tell.

use rusty_aac::config::{self, StreamConfig, aot};
use rusty_aac::decode::Decoder;

use super::{BadPacket, PacketDecoder};
use crate::audio::convert::clean;
use crate::audio::{CHANNELS_MAX, PcmSpec, StreamFormat};
use crate::decode::{DecodeError, DecodeOut, header};

const NAME: &str = "AAC";

/// The syntactic element that ends a raw_data_block (ISO/IEC 14496-3 table 4.85).
const ID_END: u8 = 7;

/// The rate a samplingFrequencyIndex stands for (ISO/IEC 14496-3 table 1.18); none for the reserved ones.
pub(crate) fn rate_hz(index: u8) -> Option<u32> {
    config::SAMPLE_RATES.get(usize::from(index)).copied()
}

/// What a header says of a stream, checked to be what is decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config(StreamConfig);

impl Config {
    /// Reads an AudioSpecificConfig (ISO/IEC 14496-3 section 1.6.2.1).
    ///
    /// # Errors
    /// [`DecodeError::Unsupported`] for what is not decoded, [`DecodeError::Malformed`] for one that cannot be read.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self(config::parse(bytes).map_err(refusal)?).checked()
    }

    /// What a header of ADTS says: `channel_configuration` 0 leaves the channels to the packets.
    ///
    /// # Errors
    /// [`DecodeError::Unsupported`] for what is not decoded.
    pub(crate) fn adts(object_type: u8, rate_hz: u32, channel_configuration: u8) -> Result<Self, DecodeError> {
        Self(StreamConfig::lc(object_type, rate_hz, channel_configuration)).checked()
    }

    fn checked(self) -> Result<Self, DecodeError> {
        let config = &self.0;
        match config.object_type {
            // Its gain control would be left out.
            aot::AAC_SSR => return Err(unsupported("scalable sample rate (send AAC-LC)".into())),
            aot::ER_AAC_ELD if config.sbr || config.eld.as_ref().is_some_and(|eld| eld.ld_sbr) => {
                return Err(unsupported(
                    "low-delay spectral band replication (send AAC-ELD without, or AAC-LC)".into(),
                ));
            }
            _ => {}
        }
        let told = if self.channels() == 0 { 1 } else { self.channels() };
        header::check_range(NAME, config.sample_rate, told)?;
        header::check_range(NAME, config.ext_sample_rate, told)?;
        Ok(self)
    }

    /// Channels of the configuration; 0 where the packets tell.
    fn channels(&self) -> u32 {
        u32::try_from(self.0.channels()).unwrap_or(u32::MAX)
    }

    /// Compares what the sender declared: the rate before band replication and after, one channel and the two that may become of it.
    ///
    /// # Errors
    /// As [`header::check_declared`].
    pub(crate) fn check_declared(&self, declared: &StreamFormat, container: &'static str) -> Result<(), DecodeError> {
        let StreamConfig { sample_rate, ext_sample_rate, .. } = self.0;
        let channels = match self.channels() {
            0 => &[][..],
            1 => &[1, 2],
            several => &[several],
        };
        header::check_declared(declared, container, &[ext_sample_rate, sample_rate, 2 * sample_rate], channels)
    }
}

fn unsupported(what: String) -> DecodeError {
    DecodeError::Unsupported { container: NAME, what }
}

fn refusal(error: rusty_aac::Error) -> DecodeError {
    match error {
        // Its messages name the codec, as ours do.
        rusty_aac::Error::Unsupported(what) => {
            unsupported(what.split_once(": ").map_or(what.as_str(), |(_, what)| what).to_owned())
        }
        _ => DecodeError::Malformed { container: NAME, what: "the decoder configuration cannot be read" },
    }
}

/// An AAC decoder and the length of what it gave last.
pub(crate) struct Aac {
    decoder: Decoder,
    last: Option<(PcmSpec, usize)>,
}

impl Aac {
    /// Opens a decoder.
    ///
    /// # Errors
    /// [`DecodeError::Unsupported`] for a configuration that is not decoded.
    pub(crate) fn open(config: Config) -> Result<Self, DecodeError> {
        Ok(Self { decoder: Decoder::with_stream_config(config.0).map_err(refusal)?, last: None })
    }
}

impl PacketDecoder for Aac {
    fn name(&self) -> &'static str {
        NAME
    }

    fn decode(&mut self, packet: &[u8], out: &mut DecodeOut) -> Result<(), BadPacket> {
        // Without an element what came of the packet before would be handed out again.
        if packet.first().is_none_or(|byte| byte >> 5 == ID_END) {
            return Err(BadPacket);
        }
        let decoded = self.decoder.decode(packet, None).map_err(|_| BadPacket)?;
        if !(1..=CHANNELS_MAX).contains(&decoded.channels) {
            return Err(BadPacket);
        }
        let spec = PcmSpec { rate_hz: decoded.sample_rate, channels: decoded.channels };
        self.last = Some((spec, decoded.frames()));
        out.pcm.spec = spec;
        out.pcm.samples.extend(decoded.samples.iter().map(|&sample| clean(sample)));
        Ok(())
    }

    fn conceal(&mut self, out: &mut DecodeOut) {
        super::silence(self.last, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Encoding;

    #[test]
    fn configurations_say_what_may_be_declared() {
        let declared = |rate_hz, channels| StreamFormat::new(Encoding::Aac, rate_hz, channels).expect("a format");
        let stereo = Config::read(&[0x11, 0x90, 0x56, 0xe5, 0x00]).expect("AAC-LC of 48 kHz and two channels");
        assert_eq!(stereo.check_declared(&declared(Some(48_000), Some(2)), NAME), Ok(()));
        assert!(stereo.check_declared(&declared(Some(44_100), None), NAME).is_err());
        assert!(stereo.check_declared(&declared(None, Some(1)), NAME).is_err());
        // 24 kHz, which may become 48; one channel, which may become two.
        let mono = Config::read(&[0x13, 0x08]).expect("AAC-LC of 24 kHz and one channel");
        for (rate_hz, channels) in [(24_000, 1), (48_000, 2)] {
            assert_eq!(mono.check_declared(&declared(Some(rate_hz), Some(channels)), NAME), Ok(()));
        }
    }

    #[test]
    fn what_would_sound_wrong_is_refused() {
        // Scalable sample rate, xHE-AAC, AAC-ELD with band replication, 7,350 Hz, 22.2 channels.
        for config in
            [&[0x19, 0x90][..], &[0xf9, 0x46, 0x40], &[0xf8, 0xe6, 0x41, 0x80, 0, 0, 0], &[0x16, 0x10], &[0x11, 0xe8]]
        {
            let error = Config::read(config).expect_err("refused");
            assert!(error.is_unsupported(), "{config:02x?}: {error}");
        }
        assert!(!Config::read(&[0x11]).expect_err("cut short").is_unsupported());
    }
}
