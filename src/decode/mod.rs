//! Push decoders: bytes in as they arrive, PCM out. One file a container or codec, one table ([`open`]).
//!
//! No decoder knows a socket, a clock or a queue. Bytes may be cut anywhere; the PCM is the same however they were cut.

use crate::audio::{Encoding, FormatError, OutputFormat, PcmBuf, StreamFormat};

mod adts;
mod aiff;
mod caf;
mod chunks;
pub(crate) mod codec;
#[doc(hidden)]
pub mod faults;
mod feed;
mod flac;
mod framing;
mod g711;
pub(crate) mod header;
mod mp3;
mod mp4;
mod ogg;
mod opus;
mod pcm;
mod pcm_file;
mod segment;
mod sniff;
#[cfg(test)]
pub(crate) mod testing;
mod wav;
mod webm;

/// What a decoder is opened with.
#[derive(Clone, Copy, Debug)]
pub struct DecodeParams {
    /// What the sender declared.
    pub format: StreamFormat,
    /// What will be made of it: a codec that can decode straight to this rate and channel count does.
    pub output: OutputFormat,
    /// Bytes a file that needs its end first (an MP4 with its index at the end) may hold in memory.
    pub whole_file_bytes_max: usize,
}

/// Default of [`DecodeParams::whole_file_bytes_max`]: about 35 minutes of a phone's 128 kbit/s AAC.
pub const WHOLE_FILE_BYTES_MAX: usize = 32 << 20;

/// Sample frames a decoder hands out in one step at the most, but for a single packet that holds more.
pub const STEP_FRAMES_MAX: usize = 4_096;

/// What one call of [`Decoder::decode`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes taken from the front of the input.
    pub consumed: usize,
    /// More PCM can come out without any more input: call again, with what is left of the input or with none.
    pub more: bool,
}

/// A push decoder: the single mutation is [`Decoder::decode`], then [`Decoder::finish`] at the end.
///
/// The order of calls: `decode` until all input is consumed and `more` is false, as often as bytes come; then `finish` until
/// it returns false. After an `Err` the decoder is spent. The caller clears `out` (and `warnings`) before each call. A call appends
/// to `out.samples` PCM of one single `out.spec`, which it sets: a step ends before the format changes. At most
/// [`STEP_FRAMES_MAX`] frames or one packet's worth, so that no input can hold a thread.
pub trait Decoder: Send {
    /// Takes bytes from the front of `input` and decodes what they complete.
    ///
    /// # Errors
    /// [`DecodeError`] only for what ends the stream; damage that can be skipped or concealed is a warning.
    fn decode(&mut self, input: &[u8], out: &mut DecodeOut) -> Result<Step, DecodeError>;

    /// No more bytes come: hands out what is still inside. Call again while it returns true.
    ///
    /// # Errors
    /// [`DecodeError`] where nothing could be made of the whole stream.
    fn finish(&mut self, out: &mut DecodeOut) -> Result<bool, DecodeError>;

    /// Bytes taken by `decode` that no PCM has come of yet: an unfinished packet, page or box.
    fn pending_bytes(&self) -> usize;
}

/// What comes out of a decoder, reused from step to step.
#[derive(Debug, Default)]
pub struct DecodeOut {
    /// The PCM of this step.
    pub pcm: PcmBuf,
    /// Damage met in this step.
    pub warnings: Vec<DecodeWarning>,
}

impl DecodeOut {
    /// Empties it, keeps the memory.
    pub fn clear(&mut self) {
        self.pcm.clear();
        self.warnings.clear();
    }
}

/// Damage a stream survives. Counted, and told to the client as `DECODE_FAILED`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeWarning {
    /// A packet that does not decode; its time is filled with concealment or silence.
    #[error("a corrupt {codec} packet was concealed")]
    PacketConcealed {
        /// The codec's name.
        codec: &'static str,
    },
    /// A packet that does not decode and whose length nothing tells; it was left out.
    #[error("a corrupt {codec} packet was skipped")]
    PacketSkipped {
        /// The codec's name.
        codec: &'static str,
    },
    /// Bytes between packets that belong to nothing.
    #[error("{bytes} bytes of {container} were skipped to find the next packet")]
    Resynced {
        /// The container's name.
        container: &'static str,
        /// How many bytes were passed over.
        bytes: u64,
    },
    /// The stream ended inside a sample, packet or box.
    #[error("the last {bytes} bytes are an unfinished {what}")]
    TruncatedTail {
        /// What is unfinished: `sample`, `packet`, `page`, `element`, `box`.
        what: &'static str,
        /// Bytes of it that came.
        bytes: u64,
    },
}

/// Why a stream cannot go on. The sender's fault in every case; the same bytes again fail again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// `auto`, and the first bytes are nothing known.
    #[error("the first bytes are no known format: declare format.encoding")]
    Unrecognised,
    /// The declared format is incomplete or out of range.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The declaration contradicts the container's own header.
    #[error("format.{field}: {declared} was declared, the {container} header says {found}")]
    Contradiction {
        /// The declared field.
        field: &'static str,
        /// What was declared.
        declared: u32,
        /// What the header says.
        found: u32,
        /// The container.
        container: &'static str,
    },
    /// Well-formed, but nothing this server decodes.
    #[error("{container}: {what} is not supported")]
    Unsupported {
        /// The container or codec.
        container: &'static str,
        /// What is not supported, and what would be.
        what: String,
    },
    /// Not what it was declared as, or damaged beyond finding it again.
    #[error("{container}: {what}")]
    Malformed {
        /// The container or codec.
        container: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// A bound against hostile input was reached.
    #[error("{container}: {what} exceeds the limit of {limit}")]
    TooLarge {
        /// The container or codec.
        container: &'static str,
        /// What grew too large.
        what: &'static str,
        /// The limit, in the unit `what` names.
        limit: u64,
    },
}

impl DecodeError {
    /// Whether it is about the kind of data (`UNSUPPORTED_FORMAT`) rather than about damage in it (`DECODE_FAILED`).
    pub fn is_unsupported(&self) -> bool {
        match self {
            Self::Unrecognised | Self::Format(_) | Self::Contradiction { .. } | Self::Unsupported { .. } => true,
            Self::TooLarge { .. } | Self::Malformed { .. } => false,
        }
    }
}

/// Opens the decoder for a declared format.
///
/// # Errors
/// [`DecodeError::Format`] or [`DecodeError::Unsupported`] where the declaration alone shows that it cannot work.
pub fn open(params: &DecodeParams) -> Result<Box<dyn Decoder>, DecodeError> {
    if let Some(decoder) = faults::stand_in_for(params) {
        return Ok(decoder);
    }
    match params.format.encoding {
        Encoding::PcmS16le
        | Encoding::PcmS16be
        | Encoding::PcmS24le
        | Encoding::PcmS32le
        | Encoding::PcmF32le
        | Encoding::Mulaw
        | Encoding::Alaw => Ok(Box::new(pcm::RawPcm::new(params)?)),
        Encoding::Opus => Ok(Box::new(opus::OpusPackets::new(params)?)),
        Encoding::Wav => Ok(Box::new(wav::Wav::open(params))),
        Encoding::Flac => Ok(Box::new(flac::FlacStream::new(params))),
        Encoding::Mp3 => Ok(Box::new(mp3::Mp3::new(params))),
        Encoding::Aac => Ok(Box::new(adts::Adts::new(params))),
        Encoding::Ogg => Ok(Box::new(ogg::Ogg::new(params))),
        Encoding::Webm => Ok(Box::new(webm::Webm::new(params))),
        Encoding::Mp4 => Ok(Box::new(mp4::Mp4::new(params))),
        Encoding::Aiff => Ok(Box::new(aiff::Aiff::open(params))),
        Encoding::Caf => Ok(Box::new(caf::Caf::new(params))),
        Encoding::Auto => Ok(Box::new(sniff::Sniffer::new(params))),
    }
}
