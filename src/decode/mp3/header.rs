//! MPEG audio frame headers (ISO/IEC 11172-3 section 2.4.1.3, 13818-3; MPEG-2.5 by common practice). Knows no stream.

use crate::audio::PcmSpec;

/// Bytes of a frame header.
pub(crate) const HEADER_BYTES: usize = 4;

/// MPEG version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// MPEG-1: 32 to 48 kHz.
    One,
    /// MPEG-2: half of those rates.
    Two,
    /// MPEG-2.5: a quarter of those rates.
    TwoAndAHalf,
}

/// Audio layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    /// MP1.
    One,
    /// MP2.
    Two,
    /// MP3.
    Three,
}

/// A frame header with a tabulated bit rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// MPEG version.
    pub(crate) version: Version,
    /// Audio layer.
    pub(crate) layer: Layer,
    /// Rate and channels.
    pub(crate) spec: PcmSpec,
    /// Bit rate in kbit/s.
    pub(crate) kbps: u32,
    /// Length of the frame in bytes, header included.
    pub(crate) frame_bytes: usize,
}

// Bit rates in kbit/s by bitrate_index (ISO/IEC 11172-3 table 3-B.1, 13818-3 section 2.4.2.3); 0 is free format, 15 forbidden.
const KBPS_1_L1: [u32; 15] = [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448];
const KBPS_1_L2: [u32; 15] = [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384];
const KBPS_1_L3: [u32; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
const KBPS_2_L1: [u32; 15] = [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256];
const KBPS_2_L23: [u32; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];

/// The fields of a header that hold whether or not its bit rate is tabulated.
struct Fields {
    version: Version,
    layer: Layer,
    bitrate_index: usize,
    rate_hz: u32,
    padded: bool,
    channels: u16,
}

fn fields(bytes: &[u8]) -> Option<Fields> {
    let &[0xff, b1, b2, b3, ..] = bytes else { return None };
    if b1 & 0xe0 != 0xe0 || b3 & 0x03 == 0x02 {
        return None;
    }
    let version = match (b1 >> 3) & 3 {
        0 => Version::TwoAndAHalf,
        2 => Version::Two,
        3 => Version::One,
        _ => return None,
    };
    let layer = match (b1 >> 1) & 3 {
        1 => Layer::Three,
        2 => Layer::Two,
        3 => Layer::One,
        _ => return None,
    };
    let full_rate_hz = match (b2 >> 2) & 3 {
        0 => 44_100,
        1 => 48_000,
        2 => 32_000,
        _ => return None,
    };
    let rate_hz = match version {
        Version::One => full_rate_hz,
        Version::Two => full_rate_hz / 2,
        Version::TwoAndAHalf => full_rate_hz / 4,
    };
    let channels = if b3 >> 6 == 3 { 1 } else { 2 };
    Some(Fields { version, layer, bitrate_index: usize::from(b2 >> 4), rate_hz, padded: b2 & 2 != 0, channels })
}

impl Header {
    /// The header `bytes` begin with; none where they begin with no valid one, or one of free format.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let f = fields(bytes)?;
        let table = match (f.version, f.layer) {
            (Version::One, Layer::One) => &KBPS_1_L1,
            (Version::One, Layer::Two) => &KBPS_1_L2,
            (Version::One, Layer::Three) => &KBPS_1_L3,
            (Version::Two | Version::TwoAndAHalf, Layer::One) => &KBPS_2_L1,
            (Version::Two | Version::TwoAndAHalf, Layer::Two | Layer::Three) => &KBPS_2_L23,
        };
        let kbps = *table.get(f.bitrate_index).filter(|&&kbps| kbps > 0)?;
        // Frame length in slots (section 2.4.3.1): a slot is four bytes in layer 1, else one.
        let (factor, slot_bytes) = match (f.layer, f.version) {
            (Layer::One, _) => (12, 4),
            (Layer::Two, _) | (Layer::Three, Version::One) => (144, 1),
            (Layer::Three, Version::Two | Version::TwoAndAHalf) => (72, 1),
        };
        let slots = factor * kbps * 1_000 / f.rate_hz + u32::from(f.padded);
        let spec = PcmSpec { rate_hz: f.rate_hz, channels: f.channels };
        let header = Self { version: f.version, layer: f.layer, spec, kbps, frame_bytes: slots as usize * slot_bytes };
        (header.version != Version::One || header.is_decodable()).then_some(header)
    }

    /// Whether `bytes` begin with a valid header but for its bit rate, which is free.
    pub(crate) fn is_free_format(bytes: &[u8]) -> bool {
        fields(bytes).is_some_and(|f| f.bitrate_index == 0)
    }

    /// Whether the decoder takes it: MPEG-1 layer 2 forbids some pairs of bit rate and mode (ISO/IEC 11172-3 section 2.4.2.3), and
    /// symphonia refuses them in MPEG-2 too, where they are allowed.
    pub(crate) fn is_decodable(&self) -> bool {
        let forbidden = if self.spec.channels == 1 { self.kbps >= 224 } else { matches!(self.kbps, 32 | 48 | 56 | 80) };
        self.layer != Layer::Two || !forbidden
    }

    /// Whether a frame with this header can follow one with `other`'s in the same stream.
    pub(crate) fn is_same_stream(&self, other: &Self) -> bool {
        self.version == other.version && self.layer == other.layer && self.spec == other.spec
    }

    /// Sample frames the frame decodes to.
    pub(crate) fn samples(&self) -> u32 {
        match (self.layer, self.version) {
            (Layer::One, _) => 384,
            (Layer::Two, _) | (Layer::Three, Version::One) => 1_152,
            (Layer::Three, Version::Two | Version::TwoAndAHalf) => 576,
        }
    }

    /// Bytes of layer 3 side information (ISO/IEC 11172-3 section 2.4.1.7, 13818-3 section 2.4.1.7).
    pub(crate) fn side_info_bytes(&self) -> usize {
        match (self.version, self.spec.channels) {
            (Version::One, 1) => 17,
            (Version::One, _) => 32,
            (_, 1) => 9,
            (_, _) => 17,
        }
    }
}
