//! MPEG audio streams, layers 1 to 3 (ISO/IEC 11172-3, 13818-3), the `mp3` encoding: frames, and what their first one tells of
//! the encoder's delay and padding. Knows no codec's inside.

pub(crate) mod header;
mod info;

use header::{HEADER_BYTES, Header};
use info::Info;

use super::codec::{self, Openings, Tally, mp3::MpegAudio};
use super::framing::{FrameHeader, Framer, Next};
use super::segment::Trim;
use super::{DecodeError, DecodeOut, DecodeParams, Decoder, Step};
use crate::audio::{PcmSpec, StreamFormat};

const NAME: &str = "MP3";

impl FrameHeader for Header {
    const HEADER_BYTES: usize = HEADER_BYTES;
    /// Layer 2 at 160 kbit/s and 8 kHz, with padding.
    const FRAME_BYTES_MAX: usize = 2_881;
    const NAME: &'static str = NAME;

    fn parse(bytes: &[u8]) -> Option<Self> {
        Header::parse(bytes)
    }

    fn frame_bytes(&self) -> usize {
        self.frame_bytes
    }

    fn is_same_stream(&self, other: &Self) -> bool {
        Header::is_same_stream(self, other)
    }
}

/// The decoder of `mp3` streams.
pub(super) struct Mp3 {
    declared: StreamFormat,
    framer: Framer<Header>,
    decoder: MpegAudio,
    /// As the first frame of the file at hand tells.
    trim: Trim,
    /// The header before.
    last: Option<Header>,
    tally: Tally,
    openings: Openings,
}

impl Mp3 {
    /// A decoder at the beginning of a stream; opens no codec yet.
    pub(super) fn new(params: &DecodeParams) -> Self {
        Self {
            declared: params.format,
            framer: Framer::new(),
            decoder: MpegAudio::default(),
            trim: Trim::default(),
            last: None,
            tally: Tally::default(),
            openings: Openings::default(),
        }
    }

    fn step(&mut self, out: &mut DecodeOut) -> Result<bool, DecodeError> {
        let Next::Frame(header) = self.framer.next(&mut out.warnings)? else { return Ok(false) };
        if self.last.is_none() {
            let PcmSpec { rate_hz, channels } = header.spec;
            super::header::check_declared(&self.declared, NAME, &[rate_hz], &[u32::from(channels)])?;
        }
        if self.last.is_none_or(|last| !last.is_same_stream(&header)) {
            self.openings.note(NAME)?;
        }
        self.last = Some(header);
        if !header.is_decodable() {
            let what = "MPEG-2 layer 2 in stereo at a bit rate MPEG-1 forbids (32, 48, 56 and 80 kbit/s)".into();
            return Err(DecodeError::Unsupported { container: NAME, what });
        }
        if let Some(info) = Info::read(&header, self.framer.frame()) {
            // A file begins; its first frame holds no audio.
            self.openings.note(NAME)?;
            self.trim = info.trim();
            self.decoder = MpegAudio::default();
        } else {
            let start = out.pcm.samples.len();
            self.tally.note(codec::decode_or_conceal(&mut self.decoder, self.framer.frame(), out));
            self.trim.apply(&mut out.pcm, start);
        }
        self.framer.advance();
        Ok(true)
    }

    /// A free-format stream has valid headers and no length in them: said so rather than that nothing was found.
    fn explain(&self, error: DecodeError) -> DecodeError {
        match error {
            DecodeError::Malformed { .. } if self.framer.first_miss().is_some_and(|b| Header::is_free_format(&b)) => {
                DecodeError::Unsupported {
                    container: NAME,
                    what: "free format, a bit rate outside of the table,".into(),
                }
            }
            other => other,
        }
    }
}

impl Decoder for Mp3 {
    fn decode(&mut self, input: &[u8], out: &mut DecodeOut) -> Result<Step, DecodeError> {
        let consumed = self.framer.fill(input);
        let more = self.step(out).map_err(|e| self.explain(e))?;
        Ok(Step { consumed, more })
    }

    fn finish(&mut self, out: &mut DecodeOut) -> Result<bool, DecodeError> {
        self.framer.end();
        if self.step(out).map_err(|e| self.explain(e))? {
            return Ok(true);
        }
        self.framer.finish(&mut out.warnings).map_err(|e| self.explain(e))?;
        self.tally.check(NAME)?;
        Ok(false)
    }

    fn pending_bytes(&self) -> usize {
        self.framer.pending_bytes()
    }
}

#[cfg(test)]
mod tests;
