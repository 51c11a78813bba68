//! Headers and checksums of FLAC frames (RFC 9639 sections 9.1 and 9.3), from which native FLAC is cut.

/// Length of the checksum a frame ends with.
pub(in crate::decode) const CRC_BYTES: usize = 2;

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) struct FrameHeader {
    /// Sample frames in it.
    pub(in crate::decode) block: u16,
    /// Absent where STREAMINFO says it.
    pub(in crate::decode) rate_hz: Option<u32>,
    pub(in crate::decode) channels: u16,
    /// Whether a channel is the difference of two.
    pub(in crate::decode) decorrelated: bool,
    /// Absent where STREAMINFO says it.
    pub(in crate::decode) bits: Option<u32>,
    /// Number of its first sample where blocks vary in size, else its own number.
    pub(in crate::decode) number: u64,
    /// Whether blocks vary in size.
    pub(in crate::decode) variable: bool,
    /// Bytes of the header, its CRC-8 included.
    pub(in crate::decode) len: usize,
}

/// What bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) enum Parsed {
    /// A header with a good checksum.
    Header(FrameHeader),
    /// It may be one; more bytes tell.
    Short,
    /// None.
    No,
}

/// Reads the header at the front of `b`.
pub(in crate::decode) fn parse(b: &[u8]) -> Parsed {
    parse_inner(b).unwrap_or(Parsed::Short)
}

/// `None` where bytes are missing.
fn parse_inner(b: &[u8]) -> Option<Parsed> {
    if *b.first()? != 0xff || *b.get(1)? & 0xfe != 0xf8 {
        return Some(Parsed::No);
    }
    let variable = b[1] & 1 == 1;
    let (block_code, rate_code) = (b.get(2)? >> 4, b[2] & 15);
    let (channel_code, bits_code) = (b.get(3)? >> 4, b[3] >> 1 & 7);
    if block_code == 0 || rate_code == 15 || channel_code > 10 || bits_code == 3 || b[3] & 1 == 1 {
        return Some(Parsed::No);
    }
    let lead = *b.get(4)?;
    let number_bytes = match lead.leading_ones() as usize {
        0 => 1,
        n @ 2..=7 => n,
        _ => return Some(Parsed::No),
    };
    let mut number = if number_bytes == 1 { u64::from(lead) } else { u64::from(lead) & (0x7f >> number_bytes) };
    for i in 1..number_bytes {
        let byte = *b.get(4 + i)?;
        if byte & 0xc0 != 0x80 {
            return Some(Parsed::No);
        }
        number = number << 6 | u64::from(byte & 0x3f);
    }
    let mut at = 4 + number_bytes;
    let mut tail = |bytes: usize| -> Option<u32> {
        let value = b.get(at..at + bytes)?.iter().fold(0, |v, &byte| v << 8 | u32::from(byte));
        at += bytes;
        Some(value)
    };
    let block = match block_code {
        1 => 192,
        2..=5 => 144 << block_code,
        6 => tail(1)? + 1,
        7 => tail(2)? + 1,
        _ => 1 << block_code,
    };
    let rate_hz = match rate_code {
        0 => None,
        12 => Some(tail(1)? * 1_000),
        13 => Some(tail(2)?),
        14 => Some(tail(2)? * 10),
        code => Some(RATES_HZ[usize::from(code) - 1]),
    };
    let crc = *b.get(at)?;
    // 65536 does not fit the fields of STREAMINFO and is forbidden.
    let Ok(block) = u16::try_from(block) else { return Some(Parsed::No) };
    if crc8(&b[..at]) != crc {
        return Some(Parsed::No);
    }
    Some(Parsed::Header(FrameHeader {
        block,
        rate_hz,
        channels: if channel_code < 8 { u16::from(channel_code) + 1 } else { 2 },
        decorrelated: channel_code >= 8,
        bits: [None, Some(8), Some(12), None, Some(16), Some(20), Some(24), Some(32)][usize::from(bits_code)],
        number,
        variable,
        len: at + 1,
    }))
}

/// Sample rates of codes 1 to 11 (table 15).
const RATES_HZ: [u32; 11] = [88_200, 176_400, 192_000, 8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000];

/// CRC-8 with polynomial x^8 + x^2 + x + 1 of a header.
fn crc8(bytes: &[u8]) -> u8 {
    bytes
        .iter()
        .fold(0, |crc, &byte| (0..8).fold(crc ^ byte, |c: u8, _| if c & 0x80 != 0 { c << 1 ^ 0x07 } else { c << 1 }))
}

/// Eight bytes at a time: entry `[k][b]` is the checksum of `b` followed by `k` zero bytes.
static CRC16: [[u16; 256]; 8] = crc16_tables();

const fn crc16_tables() -> [[u16; 256]; 8] {
    let mut t = [[0u16; 256]; 8];
    let mut b = 0;
    while b < 256 {
        let mut crc = (b as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { crc << 1 ^ 0x8005 } else { crc << 1 };
            bit += 1;
        }
        t[0][b] = crc;
        b += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut b = 0;
        while b < 256 {
            let crc = t[k - 1][b];
            t[k][b] = crc << 8 ^ t[0][(crc >> 8) as usize];
            b += 1;
        }
        k += 1;
    }
    t
}

/// Goes on with a CRC-16 (x^16 + x^15 + x^2 + 1) that began with 0. Over a whole frame, its own checksum included, it comes to 0.
pub(in crate::decode) fn crc16(mut crc: u16, bytes: &[u8]) -> u16 {
    let (eights, rest) = bytes.as_chunks::<8>();
    for b in eights {
        let [hi, lo] = crc.to_be_bytes();
        crc = CRC16[7][usize::from(b[0] ^ hi)]
            ^ CRC16[6][usize::from(b[1] ^ lo)]
            ^ CRC16[5][usize::from(b[2])]
            ^ CRC16[4][usize::from(b[3])]
            ^ CRC16[3][usize::from(b[4])]
            ^ CRC16[2][usize::from(b[5])]
            ^ CRC16[1][usize::from(b[6])]
            ^ CRC16[0][usize::from(b[7])];
    }
    rest.iter().fold(crc, |crc, &byte| crc << 8 ^ CRC16[0][usize::from((crc >> 8) as u8 ^ byte)])
}

/// As [`crc16`], but stops behind the first byte with which it comes to 0. Returns the bytes it went over, too.
pub(in crate::decode) fn crc16_to_zero(mut crc: u16, bytes: &[u8]) -> (usize, u16) {
    for (i, &byte) in bytes.iter().enumerate() {
        crc = crc << 8 ^ CRC16[0][usize::from((crc >> 8) as u8 ^ byte)];
        if crc == 0 {
            return (i + 1, 0);
        }
    }
    (bytes.len(), crc)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first frame of the example in RFC 9639 appendix D.1.
    const EXAMPLE: [u8; 15] =
        [0xff, 0xf8, 0x69, 0x18, 0x00, 0x00, 0xbf, 0x03, 0x58, 0xfd, 0x03, 0x12, 0x8b, 0xaa, 0x9a];

    #[test]
    fn the_standards_example_frame_is_read() {
        let Parsed::Header(header) = parse(&EXAMPLE) else { panic!("no header") };
        assert_eq!((header.block, header.rate_hz, header.channels, header.bits), (1, Some(44_100), 2, Some(16)));
        assert_eq!((header.number, header.variable, header.decorrelated, header.len), (0, false, false, 7));
        assert_eq!(crc16(0, &EXAMPLE), 0);
        assert_eq!(crc16(0, &EXAMPLE[..13]), 0xaa9a);
    }

    #[test]
    fn every_cut_of_a_header_is_short_and_every_bit_counts() {
        for n in 0..7 {
            assert_eq!(parse(&EXAMPLE[..n]), Parsed::Short, "{n} bytes");
        }
        for bit in 0..7 * 8 {
            let mut bytes = EXAMPLE;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(parse(&bytes), Parsed::Header(_)), "bit {bit}");
        }
    }

    #[test]
    fn a_checksum_in_parts_is_that_of_the_whole() {
        let bytes: Vec<u8> = (0..100u32).map(|i| (i * 37 + 11) as u8).collect();
        let one_by_one = bytes.iter().fold(0, |crc, b| crc16(crc, &[*b]));
        for cut in 0..100 {
            assert_eq!(crc16(crc16(0, &bytes[..cut]), &bytes[cut..]), one_by_one);
        }
    }
}
