//! The vocabulary of sound: encodings, formats, PCM blocks and sample conversion. Knows no decoder, no stream, no I/O.

pub mod convert;
mod format;
mod pcm;

pub use format::{
    CHANNELS_MAX, Encoding, FormatError, OUTPUT_RATES_HZ, OutputChannels, OutputFormat, RATE_HZ_MAX, RATE_HZ_MIN,
    StreamFormat,
};
pub use pcm::{PcmBuf, PcmSpec};
