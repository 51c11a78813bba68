//! Bare Opus packets, one a call: the encoding `opus`. Nothing tells their pre-skip, so none is taken off.

use super::codec::opus::{OPUS_RATES_HZ, Opus};
use super::codec::{PacketDecoder, Tally};
use super::segment::{Segment, Trim};
use super::{DecodeError, DecodeOut, DecodeParams, Decoder, Step};

const NAME: &str = "Opus";

/// Decoder of bare packets. Each `input` is one whole packet.
pub(super) struct OpusPackets {
    segment: Segment,
    tally: Tally,
}

impl OpusPackets {
    /// Checks the declaration, which changes nothing else: every packet says what it holds.
    ///
    /// # Errors
    /// [`DecodeError::Unsupported`] for a rate or channel count Opus does not have.
    pub(super) fn new(params: &DecodeParams) -> Result<Self, DecodeError> {
        let unsupported = |what| DecodeError::Unsupported { container: NAME, what };
        if let Some(rate) = params.format.sample_rate
            && !OPUS_RATES_HZ.contains(&rate)
        {
            return Err(unsupported(format!(
                "a sample rate of {rate} Hz (8000, 12000, 16000, 24000 and 48000 are decoded)"
            )));
        }
        let channels = params.format.channels.unwrap_or(1);
        let Some(channels) = u8::try_from(channels).ok().filter(|n| (1..=2).contains(n)) else {
            return Err(unsupported(format!("{channels} channels in bare packets (1 and 2 are decoded)")));
        };
        let codec: Box<dyn PacketDecoder> = Box::new(Opus::plain(channels, params.output)?);
        Ok(Self { segment: Segment { codec, trim: Trim::default() }, tally: Tally::default() })
    }
}

impl Decoder for OpusPackets {
    fn decode(&mut self, input: &[u8], out: &mut DecodeOut) -> Result<Step, DecodeError> {
        if !input.is_empty() {
            self.tally.note(self.segment.packet(input, out));
        }
        Ok(Step { consumed: input.len(), more: false })
    }

    fn finish(&mut self, _out: &mut DecodeOut) -> Result<bool, DecodeError> {
        self.tally.check(NAME)?;
        Ok(false)
    }

    fn pending_bytes(&self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{Encoding, OutputChannels, OutputFormat, PcmSpec};
    use crate::decode::DecodeWarning;
    use crate::decode::testing::*;

    /// The packets of a stream, its two headers left out.
    fn packets() -> Vec<Vec<u8>> {
        ogg_packets(&fixture("live-opus.ogg")).split_off(2)
    }

    fn declared(rate_hz: u32, channels: u16, output_rate_hz: u32) -> DecodeParams {
        let output = OutputFormat { rate_hz: output_rate_hz, channels: OutputChannels::Source };
        let mut params = params_to(Encoding::Opus, output);
        (params.format.sample_rate, params.format.channels) = (Some(rate_hz), Some(channels));
        params
    }

    #[test]
    fn packets_are_what_they_are_in_a_container() {
        let packets = packets();
        let sizes: Vec<usize> = packets.iter().map(Vec::len).collect();
        let bare = run(&declared(16_000, 2, 48_000), &packets.concat(), Cut::Sizes(&sizes));
        assert_eq!(
            (bare.spec(), &bare.error, &bare.warnings[..]),
            (PcmSpec { rate_hz: 48_000, channels: 2 }, &None, &[][..])
        );
        let ogg = run(&native(Encoding::Ogg), &fixture("live-opus.ogg"), Cut::Whole);
        // No header tells the 312 frames of pre-skip, nor where the last packet's sound ends.
        assert_eq!(bare.frames(), packets.len() * 960);
        assert!(bare.samples[312 * 2..].starts_with(&ogg.samples));
    }

    #[test]
    fn a_corrupt_packet_is_concealed_and_an_empty_one_ignored() {
        let mut packets = packets();
        packets[10].fill(0xFF);
        packets.insert(20, Vec::new());
        packets.insert(0, vec![0xFF; 50]);
        let sizes: Vec<usize> = packets.iter().map(Vec::len).collect();
        let bare = run(&declared(48_000, 2, 16_000), &packets.concat(), Cut::Sizes(&sizes));
        assert_eq!((bare.error.as_ref(), bare.frames()), (None, (packets.len() - 2) * 320));
        let codec = "Opus";
        assert_eq!(bare.warnings, [DecodeWarning::PacketSkipped { codec }, DecodeWarning::PacketConcealed { codec }]);
    }

    #[test]
    fn a_stream_of_which_nothing_decodes_is_an_error() {
        let nothing = run(&declared(48_000, 1, 16_000), &[0xFF; 200], Cut::Every(50));
        assert!(matches!(nothing.error, Some(DecodeError::Malformed { container: "Opus", .. })));
        assert_eq!(run(&declared(48_000, 1, 16_000), &[], Cut::Whole).error, None);
    }

    #[test]
    fn declarations_that_opus_does_not_have_are_refused() {
        for (rate_hz, channels) in [(8_000, 1), (12_000, 2), (16_000, 1), (24_000, 2), (48_000, 2)] {
            assert!(OpusPackets::new(&declared(rate_hz, channels, 16_000)).is_ok());
        }
        for (rate_hz, channels) in [(44_100, 1), (11_025, 1), (48_000, 3)] {
            let refused = OpusPackets::new(&declared(rate_hz, channels, 16_000)).err();
            assert!(matches!(refused, Some(DecodeError::Unsupported { container: "Opus", .. })));
        }
    }

    #[test]
    fn random_packets_do_no_harm() {
        let mut random = Random(3);
        let (mut bytes, mut sizes) = (Vec::new(), Vec::new());
        for packet in packets().iter().cycle().take(2_000) {
            let packet = mutate(packet, &mut random);
            sizes.push(packet.len());
            bytes.extend(packet);
        }
        let decoded = run(&declared(48_000, 1, 48_000), &bytes, Cut::Sizes(&sizes));
        assert!(decoded.frames() > 1_000 * 960);
    }
}
