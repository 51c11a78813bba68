//! AAC in ADTS frames (ISO/IEC 13818-7 section 6.2, 14496-3 section 1.A.2.2), the `aac` encoding. Tells no priming and no padding:
//! all that is decoded is played, as ffmpeg does.

use super::codec;
use super::codec::aac::{self, Aac};
use super::codec::{Openings, Tally};
use super::framing::{FrameHeader, Framer, Next};
use super::{DecodeError, DecodeOut, DecodeParams, Decoder, Step};
use crate::audio::StreamFormat;

const NAME: &str = "ADTS";

/// The fixed and variable header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    /// MPEG-4 audio object type less one: 1 is AAC-LC.
    profile: u8,
    rate_hz: u32,
    /// channel_configuration; 0: a program config element tells.
    channel_configuration: u8,
    /// Whether two bytes of CRC follow the header.
    has_crc: bool,
    /// raw_data_blocks in the frame.
    blocks: u8,
    frame_bytes: usize,
}

impl Header {
    fn payload_at(&self) -> usize {
        if self.has_crc { 9 } else { 7 }
    }

    /// What opens the decoder, where the stream is one that is decoded.
    fn config(&self) -> Result<aac::Config, DecodeError> {
        if self.blocks != 1 {
            let what = "more than one AAC block in a frame".into();
            return Err(DecodeError::Unsupported { container: NAME, what });
        }
        aac::Config::adts(self.profile + 1, self.rate_hz, self.channel_configuration)
    }
}

impl FrameHeader for Header {
    const HEADER_BYTES: usize = 7;
    const FRAME_BYTES_MAX: usize = 0x1fff;
    const NAME: &'static str = NAME;

    fn parse(bytes: &[u8]) -> Option<Self> {
        let &[0xff, b1, b2, b3, b4, b5, b6, ..] = bytes else { return None };
        // syncword, and layer, which is always 0.
        if b1 & 0xf6 != 0xf0 {
            return None;
        }
        let header = Self {
            profile: b2 >> 6,
            rate_hz: aac::rate_hz((b2 >> 2) & 0xf)?,
            channel_configuration: ((b2 & 1) << 2) | (b3 >> 6),
            has_crc: b1 & 1 == 0,
            blocks: (b6 & 3) + 1,
            frame_bytes: usize::from(b3 & 3) << 11 | usize::from(b4) << 3 | usize::from(b5 >> 5),
        };
        (header.frame_bytes > header.payload_at()).then_some(header)
    }

    fn frame_bytes(&self) -> usize {
        self.frame_bytes
    }

    fn is_same_stream(&self, other: &Self) -> bool {
        self.profile == other.profile
            && self.rate_hz == other.rate_hz
            && self.channel_configuration == other.channel_configuration
    }
}

/// The decoder of `aac` streams.
pub(super) struct Adts {
    declared: StreamFormat,
    framer: Framer<Header>,
    open: Option<(Header, Aac)>,
    tally: Tally,
    openings: Openings,
}

impl Adts {
    /// A decoder at the beginning of a stream; opens no codec yet.
    pub(super) fn new(params: &DecodeParams) -> Self {
        Self {
            declared: params.format,
            framer: Framer::new(),
            open: None,
            tally: Tally::default(),
            openings: Openings::default(),
        }
    }

    fn step(&mut self, out: &mut DecodeOut) -> Result<bool, DecodeError> {
        let Next::Frame(header) = self.framer.next(&mut out.warnings)? else { return Ok(false) };
        if self.open.as_ref().is_none_or(|(open, _)| !open.is_same_stream(&header)) {
            let config = header.config()?;
            if self.open.is_none() {
                config.check_declared(&self.declared, NAME)?;
            }
            self.openings.note(NAME)?;
            self.open = Some((header, Aac::open(config)?));
        }
        if let Some((_, decoder)) = &mut self.open {
            let packet = &self.framer.frame()[header.payload_at()..];
            self.tally.note(codec::decode_or_conceal(decoder, packet, out));
        }
        self.framer.advance();
        Ok(true)
    }
}

impl Decoder for Adts {
    fn decode(&mut self, input: &[u8], out: &mut DecodeOut) -> Result<Step, DecodeError> {
        let consumed = self.framer.fill(input);
        let more = self.step(out)?;
        Ok(Step { consumed, more })
    }

    fn finish(&mut self, out: &mut DecodeOut) -> Result<bool, DecodeError> {
        self.framer.end();
        if self.step(out)? {
            return Ok(true);
        }
        self.framer.finish(&mut out.warnings)?;
        self.tally.check(NAME)?;
        Ok(false)
    }

    fn pending_bytes(&self) -> usize {
        self.framer.pending_bytes()
    }
}

#[cfg(test)]
mod tests;
