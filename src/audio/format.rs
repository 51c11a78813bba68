//! What a sender may declare about its audio and what it may ask for, checked where it is made.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Lowest sample rate taken in, in hertz.
pub const RATE_HZ_MIN: u32 = 8_000;
/// Highest sample rate taken in, in hertz.
pub const RATE_HZ_MAX: u32 = 192_000;
/// Most channels taken in.
pub const CHANNELS_MAX: u16 = 8;
/// Sample rates the server puts out, in hertz.
pub const OUTPUT_RATES_HZ: [u32; 4] = [8_000, 16_000, 24_000, 48_000];

/// How the bytes of a stream are encoded (protocol section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Signed 16-bit little-endian PCM.
    PcmS16le,
    /// Signed 16-bit big-endian PCM.
    PcmS16be,
    /// Signed 24-bit little-endian PCM, three bytes a sample.
    PcmS24le,
    /// Signed 32-bit little-endian PCM.
    PcmS32le,
    /// 32-bit IEEE float little-endian PCM, full scale at ±1.0.
    PcmF32le,
    /// G.711 mu-law.
    Mulaw,
    /// G.711 A-law.
    Alaw,
    /// Bare Opus packets, one a frame (RFC 6716).
    Opus,
    /// RIFF/WAVE, RF64 or BW64.
    Wav,
    /// Native FLAC (RFC 9639).
    Flac,
    /// MPEG-1/2 audio layers 1 to 3.
    Mp3,
    /// AAC in ADTS frames (ISO/IEC 13818-7).
    Aac,
    /// Ogg (RFC 3533) with Opus, Vorbis or FLAC.
    Ogg,
    /// WebM or Matroska with Opus, Vorbis or PCM.
    Webm,
    /// ISO base media file, fragmented or not, with AAC, Opus, FLAC or ALAC.
    Mp4,
    /// AIFF or AIFF-C.
    Aiff,
    /// Core Audio Format.
    Caf,
    /// Told from the first bytes.
    Auto,
}

impl Encoding {
    /// Every encoding, in the order of the protocol's list.
    pub const ALL: [Self; 18] = [
        Self::PcmS16le,
        Self::PcmS16be,
        Self::PcmS24le,
        Self::PcmS32le,
        Self::PcmF32le,
        Self::Mulaw,
        Self::Alaw,
        Self::Opus,
        Self::Wav,
        Self::Flac,
        Self::Mp3,
        Self::Aac,
        Self::Ogg,
        Self::Webm,
        Self::Mp4,
        Self::Aiff,
        Self::Caf,
        Self::Auto,
    ];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::PcmS16le => "pcm_s16le",
            Self::PcmS16be => "pcm_s16be",
            Self::PcmS24le => "pcm_s24le",
            Self::PcmS32le => "pcm_s32le",
            Self::PcmF32le => "pcm_f32le",
            Self::Mulaw => "mulaw",
            Self::Alaw => "alaw",
            Self::Opus => "opus",
            Self::Wav => "wav",
            Self::Flac => "flac",
            Self::Mp3 => "mp3",
            Self::Aac => "aac",
            Self::Ogg => "ogg",
            Self::Webm => "webm",
            Self::Mp4 => "mp4",
            Self::Aiff => "aiff",
            Self::Caf => "caf",
            Self::Auto => "auto",
        }
    }

    /// Bytes one sample of one channel takes, for encodings where that is fixed: the PCM and G.711 ones.
    pub fn sample_bytes(self) -> Option<usize> {
        match self {
            Self::Mulaw | Self::Alaw => Some(1),
            Self::PcmS16le | Self::PcmS16be => Some(2),
            Self::PcmS24le => Some(3),
            Self::PcmS32le | Self::PcmF32le => Some(4),
            Self::Opus
            | Self::Wav
            | Self::Flac
            | Self::Mp3
            | Self::Aac
            | Self::Ogg
            | Self::Webm
            | Self::Mp4
            | Self::Aiff
            | Self::Caf
            | Self::Auto => None,
        }
    }

    /// Whether the bytes say nothing of rate and channels, so that the sender must.
    pub fn is_raw(self) -> bool {
        self.sample_bytes().is_some() || self == Self::Opus
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Encoding {
    type Err = FormatError;

    fn from_str(s: &str) -> Result<Self, FormatError> {
        Self::ALL
            .into_iter()
            .find(|e| e.name() == s)
            .ok_or_else(|| FormatError::Encoding { got: s.chars().take(32).collect() })
    }
}

/// Why a declared format cannot be taken. The sender's fault; another format would do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// No encoding of that name.
    #[error(
        "format.encoding: '{got}' is not one of pcm_s16le, pcm_s16be, pcm_s24le, pcm_s32le, pcm_f32le, mulaw, alaw, opus, wav, flac, mp3, aac, ogg, webm, mp4, aiff, caf, auto"
    )]
    Encoding {
        /// What was sent, cut to 32 characters.
        got: String,
    },
    /// A raw encoding without its rate or channel count.
    #[error("format.{field} is required for {encoding}")]
    Missing {
        /// The absent field.
        field: &'static str,
        /// The encoding that needs it.
        encoding: Encoding,
    },
    /// A number outside what is taken.
    #[error("{field}: {got} is outside {min} to {max}")]
    Range {
        /// The field at fault.
        field: &'static str,
        /// What was sent.
        got: u32,
        /// The least that is taken.
        min: u32,
        /// The most that is taken.
        max: u32,
    },
    /// An output rate that is not offered.
    #[error("output.sample_rate: {got} is not one of 8000, 16000, 24000, 48000")]
    OutputRate {
        /// What was asked for.
        got: u32,
    },
    /// An output channel choice that is not offered.
    #[error("output.channels: {got} is neither 1 nor \"source\"")]
    OutputChannels {
        /// What was asked for, cut to 32 characters.
        got: String,
    },
}

/// The format of a stream as its sender declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StreamFormat {
    /// How the bytes are encoded.
    pub encoding: Encoding,
    /// Sample rate in hertz; always there for raw encodings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_rate: Option<u32>,
    /// Channels, interleaved; always there for raw encodings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<u16>,
}

impl StreamFormat {
    /// The format of a stream nothing was said about.
    pub const AUTO: Self = Self { encoding: Encoding::Auto, sample_rate: None, channels: None };

    /// Checks a declaration.
    ///
    /// # Errors
    /// [`FormatError`] where a raw encoding lacks its rate or channels, or a number is out of range.
    pub fn new(encoding: Encoding, sample_rate: Option<u32>, channels: Option<u32>) -> Result<Self, FormatError> {
        if encoding.is_raw() {
            let field = match (sample_rate, channels) {
                (None, _) => Some("sample_rate"),
                (_, None) => Some("channels"),
                (Some(_), Some(_)) => None,
            };
            if let Some(field) = field {
                return Err(FormatError::Missing { field, encoding });
            }
        }
        if let Some(got) = sample_rate
            && !(RATE_HZ_MIN..=RATE_HZ_MAX).contains(&got)
        {
            return Err(FormatError::Range { field: "format.sample_rate", got, min: RATE_HZ_MIN, max: RATE_HZ_MAX });
        }
        let channels = match channels {
            None => None,
            Some(got) => match u16::try_from(got) {
                Ok(n) if (1..=CHANNELS_MAX).contains(&n) => Some(n),
                _ => {
                    return Err(FormatError::Range {
                        field: "format.channels",
                        got,
                        min: 1,
                        max: u32::from(CHANNELS_MAX),
                    });
                }
            },
        };
        Ok(Self { encoding, sample_rate, channels })
    }

    /// Bytes a second of the stream takes, where the encoding fixes it.
    pub fn bytes_per_s(&self) -> Option<usize> {
        Some(self.encoding.sample_bytes()? * usize::from(self.channels?) * self.sample_rate? as usize)
    }
}

/// How many channels come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputChannels {
    /// One: the mean of all.
    Mono,
    /// As many as the source has.
    Source,
}

/// What a stream is turned into: signed 16-bit PCM of this rate and channel choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputFormat {
    /// Sample rate in hertz, one of [`OUTPUT_RATES_HZ`].
    pub rate_hz: u32,
    /// Channel choice.
    pub channels: OutputChannels,
}

impl OutputFormat {
    /// Checks an output rate.
    ///
    /// # Errors
    /// [`FormatError::OutputRate`] for a rate that is not offered.
    pub fn new(rate_hz: u32, channels: OutputChannels) -> Result<Self, FormatError> {
        if OUTPUT_RATES_HZ.contains(&rate_hz) {
            Ok(Self { rate_hz, channels })
        } else {
            Err(FormatError::OutputRate { got: rate_hz })
        }
    }
}

impl Default for OutputFormat {
    fn default() -> Self {
        Self { rate_hz: 16_000, channels: OutputChannels::Mono }
    }
}
