//! Frame headers of MPEG audio (ISO/IEC 11172-3 section 2.4.1.3, 13818-3) and ADTS (13818-7 section 6.2), as far as telling them needs.

use crate::audio::Encoding;

/// What bytes are as a row of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chain {
    /// As many frames in a row as were asked for.
    Whole(Encoding),
    /// All so far; the rest has not come.
    Open,
    /// None.
    Broken,
}

/// A frame header: what stays the same from frame to frame, and where the next one stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    encoding: Encoding,
    /// Version, layer or profile, rate, for ADTS the channels.
    constant: u32,
    bytes: usize,
}

enum Parsed {
    Header(Header),
    Short,
    No,
}

/// Whether at least `frames` frames stand in a row at the front of `bytes`.
pub(super) fn chain(bytes: &[u8], frames: usize) -> Chain {
    let mut at = 0;
    let mut first: Option<Header> = None;
    for _ in 0..frames {
        let header = match parse(bytes.get(at..).unwrap_or_default()) {
            Parsed::Header(header) => header,
            Parsed::Short => return Chain::Open,
            Parsed::No => return Chain::Broken,
        };
        if first.is_some_and(|f| (f.encoding, f.constant) != (header.encoding, header.constant)) {
            return Chain::Broken;
        }
        first.get_or_insert(header);
        at += header.bytes;
    }
    first.map_or(Chain::Broken, |header| Chain::Whole(header.encoding))
}

/// A single frame that fills `bytes`.
pub(super) fn sole_frame(bytes: &[u8]) -> Option<Encoding> {
    match parse(bytes) {
        Parsed::Header(header) if header.bytes == bytes.len() => Some(header.encoding),
        Parsed::Header(_) | Parsed::Short | Parsed::No => None,
    }
}

fn parse(b: &[u8]) -> Parsed {
    let sync = b.first().is_none_or(|&b| b == 0xff) && b.get(1).is_none_or(|&b| b & 0xe0 == 0xe0);
    if !sync {
        return Parsed::No;
    }
    let Some(&second) = b.get(1) else { return Parsed::Short };
    if second & 0x06 == 0 { adts(b, second) } else { mpeg_audio(b, second) }
}

fn adts(b: &[u8], second: u8) -> Parsed {
    if second & 0xf0 != 0xf0 {
        return Parsed::No;
    }
    let Some(h) = b.first_chunk::<7>() else {
        return match b.get(2) {
            Some(third) if third >> 2 & 15 > 12 => Parsed::No,
            _ => Parsed::Short,
        };
    };
    let rate = h[2] >> 2 & 15;
    let bytes = usize::from(h[3] & 3) << 11 | usize::from(h[4]) << 3 | usize::from(h[5]) >> 5;
    if rate > 12 || bytes < 8 {
        return Parsed::No;
    }
    // All of the fixed header but the private and copyright bits.
    let constant = u32::from(second) << 16 | u32::from(h[2] & 0xfd) << 8 | u32::from(h[3] & 0xc0);
    Parsed::Header(Header { encoding: Encoding::Aac, constant, bytes })
}

fn mpeg_audio(b: &[u8], second: u8) -> Parsed {
    // In kbit/s: MPEG-1 layers 1, 2, 3; MPEG-2 layer 1; MPEG-2 layers 2 and 3. Index 0 is the free format, 15 forbidden.
    const KBIT_S: [[u32; 15]; 5] = [
        [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
        [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
        [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
        [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
        [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    ];
    let (version, layer) = (second >> 3 & 3, 4 - (second >> 1 & 3));
    if version == 1 {
        return Parsed::No;
    }
    let Some(&third) = b.get(2) else { return Parsed::Short };
    let (rate_code, bitrate_code) = (third >> 2 & 3, usize::from(third >> 4));
    if rate_code == 3 || bitrate_code == 0 || bitrate_code == 15 {
        return Parsed::No;
    }
    let Some(&fourth) = b.get(3) else { return Parsed::Short };
    // Emphasis 2 is reserved.
    if fourth & 3 == 2 {
        return Parsed::No;
    }
    let mpeg1 = version == 3;
    let row = match (mpeg1, layer) {
        (true, layer) => usize::from(layer) - 1,
        (false, 1) => 3,
        (false, _) => 4,
    };
    let bit_s = KBIT_S[row][bitrate_code] * 1_000;
    let rate_hz = [44_100, 48_000, 32_000][usize::from(rate_code)] >> [2, 0, 1, 0][usize::from(version)];
    let padding = u32::from(third >> 1 & 1);
    let bytes = match (layer, mpeg1) {
        (1, _) => (12 * bit_s / rate_hz + padding) * 4,
        (3, false) => 72 * bit_s / rate_hz + padding,
        _ => 144 * bit_s / rate_hz + padding,
    };
    // No encoder changes these on its way: version, layer, rate, one channel or two, copyright, original, emphasis.
    let mono = u32::from(fourth >> 6 == 3);
    let constant = u32::from(second & 0xfe) << 16 | u32::from(rate_code) << 8 | mono << 4 | u32::from(fourth & 15);
    Parsed::Header(Header { encoding: Encoding::Mp3, constant, bytes: bytes as usize })
}
