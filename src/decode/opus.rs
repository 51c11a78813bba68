//! Bare Opus packets, one a call: the encoding `opus`. Nothing tells their pre-skip, so none is taken off.

use super::codec::PacketDecoder;
use super::codec::opus::{OPUS_RATES_HZ, Opus};
use super::segment::{Segment, Trim};
use super::{DecodeError, DecodeOut, DecodeParams, Decoder, Step};

const NAME: &str = "opus";

/// Decoder of bare packets. Each `input` is one whole packet.
pub(super) struct OpusPackets {
    segment: Segment,
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
            return Err(unsupported(format!("a sample rate of {rate} Hz; 8000, 12000, 16000, 24000 and 48000 are")));
        }
        let channels = params.format.channels.unwrap_or(1);
        let Some(channels) = u8::try_from(channels).ok().filter(|n| (1..=2).contains(n)) else {
            return Err(unsupported(format!("{channels} channels in bare packets; 1 and 2 are")));
        };
        let codec: Box<dyn PacketDecoder> = Box::new(Opus::plain(channels, params.output)?);
        Ok(Self { segment: Segment { codec, trim: Trim::default() } })
    }
}

impl Decoder for OpusPackets {
    fn decode(&mut self, input: &[u8], out: &mut DecodeOut) -> Result<Step, DecodeError> {
        if !input.is_empty() {
            self.segment.packet(input, out);
        }
        Ok(Step { consumed: input.len(), more: false })
    }

    fn finish(&mut self, _out: &mut DecodeOut) -> Result<bool, DecodeError> {
        Ok(false)
    }

    fn pending_bytes(&self) -> usize {
        0
    }
}
