//! The headers of Vorbis: what they tell, and what they would cost, checked before a decoder is built by them.

use crate::audio::{CHANNELS_MAX, PcmSpec, RATE_HZ_MAX, RATE_HZ_MIN};
use crate::decode::DecodeError;

pub(super) const NAME: &str = "Vorbis";

/// Bytes of the identification header (section 4.2.2).
pub(super) const IDENT_BYTES: usize = 30;

/// Bytes of the set-up header: libvorbis writes 3 to 11 KiB.
pub(crate) const SETUP_BYTES_MAX: usize = 64 << 10;

/// Entries of all codebooks: libvorbis has up to 20,000. A few bytes of header can claim millions of them.
const CODEBOOK_ENTRIES_MAX: u32 = 1 << 16;

/// Values of all codebooks' vectors: libvorbis has up to 86,000. As floats, they take 2 MiB at this limit.
const CODEBOOK_VALUES_MAX: u64 = 1 << 19;

pub(super) fn malformed(what: &'static str) -> DecodeError {
    DecodeError::Malformed { container: NAME, what }
}

/// What the headers tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Headers {
    /// Rate and channels.
    pub(crate) spec: PcmSpec,
    /// How long packets last.
    pub(crate) times: PacketTimes,
}

impl Headers {
    /// Reads the identification header and as much of the set-up header as is needed.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`], [`DecodeError::Unsupported`] or [`DecodeError::TooLarge`].
    pub(crate) fn parse(ident: &[u8], setup: &[u8]) -> Result<Self, DecodeError> {
        let unsupported = |what| Err(DecodeError::Unsupported { container: NAME, what });
        if ident.len() < IDENT_BYTES || !ident.starts_with(b"\x01vorbis") {
            return Err(malformed("the identification header is not one"));
        }
        if setup.len() > SETUP_BYTES_MAX {
            return Err(DecodeError::TooLarge {
                container: NAME,
                what: "the size of the set-up header in bytes",
                limit: SETUP_BYTES_MAX as u64,
            });
        }
        let Some(body) = setup.strip_prefix(b"\x05vorbis") else {
            return Err(malformed("the set-up header is not one"));
        };
        let channels = u16::from(ident[11]);
        let rate_hz = u32::from_le_bytes([ident[12], ident[13], ident[14], ident[15]]);
        if !(1..=CHANNELS_MAX).contains(&channels) {
            return unsupported(format!("{channels} channels (1 to {CHANNELS_MAX} are decoded)"));
        }
        if !(RATE_HZ_MIN..=RATE_HZ_MAX).contains(&rate_hz) {
            return unsupported(format!("a sample rate of {rate_hz} Hz ({RATE_HZ_MIN} to {RATE_HZ_MAX} are decoded)"));
        }
        let (short, long) = (ident[28] & 15, ident[28] >> 4);
        if !(6..=13).contains(&short) || !(short..=13).contains(&long) {
            return Err(malformed("the block sizes are none"));
        }
        check_setup(body)?;
        let (modes, long_modes) = find_modes(body).ok_or(malformed("the set-up header has no modes"))?;
        let mode_bits = u32::BITS - (modes - 1).leading_zeros();
        let times = PacketTimes { mode_bits, long_modes, block_frames: [1 << short, 1 << long], before: None };
        Ok(Self { spec: PcmSpec { rate_hz, channels }, times })
    }
}

/// Tells how long each packet lasts (section 4.3.1), without decoding it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PacketTimes {
    mode_bits: u32,
    /// A bit a mode: set for those of long blocks.
    long_modes: u64,
    block_frames: [u16; 2],
    before: Option<u16>,
}

impl PacketTimes {
    /// Frames the next packet completes: blocks overlap by half, so the first completes none. `None` if it is no audio packet.
    pub(crate) fn next(&mut self, packet: &[u8]) -> Option<u64> {
        let mut bits = Bits { bytes: packet, at: 0 };
        if bits.take(1)? != 0 {
            return None;
        }
        let mode = bits.take(self.mode_bits)?;
        let block = self.block_frames[(self.long_modes >> mode & 1) as usize];
        let before = self.before.replace(block);
        Some(before.map_or(0, |before| (u64::from(before) + u64::from(block)) / 4))
    }
}

/// Bits, lowest first (section 2.1).
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// The next `n` bits, 32 at the most.
    fn take(&mut self, n: u32) -> Option<u32> {
        let value = bits_at(self.bytes, self.at, n)?;
        self.at += n as usize;
        Some(value)
    }

    fn skip(&mut self, n: u64) -> Option<()> {
        let at = usize::try_from(n).ok()?.checked_add(self.at)?;
        self.at = at;
        (at <= self.bytes.len() * 8).then_some(())
    }
}

fn bits_at(bytes: &[u8], at: usize, n: u32) -> Option<u32> {
    if at + n as usize > bytes.len() * 8 {
        return None;
    }
    let window = bytes[at / 8..].iter().take(5).enumerate().fold(0u64, |w, (i, &b)| w | u64::from(b) << (8 * i));
    Some((window >> (at % 8) & ((1 << n) - 1)) as u32)
}

/// Adds up what the codebooks (section 3.2.1) would take in memory, and looks at the floors behind them.
fn check_setup(body: &[u8]) -> Result<(), DecodeError> {
    let mut bits = Bits { bytes: body, at: 0 };
    let (entries, values) = codebook_sizes(&mut bits).ok_or(malformed("the codebooks are cut off or damaged"))?;
    let too_large = |what, limit| Err(DecodeError::TooLarge { container: NAME, what, limit });
    if entries > CODEBOOK_ENTRIES_MAX {
        return too_large("the codebooks' entries", u64::from(CODEBOOK_ENTRIES_MAX));
    }
    if values > CODEBOOK_VALUES_MAX {
        return too_large("the codebooks' vectors", CODEBOOK_VALUES_MAX);
    }
    if floors_are_curves(&mut bits) { Ok(()) } else { Err(malformed("a floor is no curve")) }
}

/// Whether every floor behind the codebooks can be drawn. Two points of a floor at one place are undecodable by the standard
/// (section 7.2.2), and the decoder divides by their distance.
fn floors_are_curves(bits: &mut Bits<'_>) -> bool {
    let mut floors = || {
        for _ in 0..=bits.take(6)? {
            bits.skip(16)?; // time-domain transforms, of which there are none
        }
        for _ in 0..=bits.take(6)? {
            match bits.take(16)? {
                0 => {
                    bits.skip(8 + 16 + 16 + 6 + 8)?;
                    let books = bits.take(4)? + 1;
                    bits.skip(u64::from(books) * 8)?;
                }
                1 => floor_points(bits)?,
                _ => return None,
            }
        }
        Some(())
    };
    floors().is_some()
}

/// Passes a floor of type 1 (section 7.2.2); `None` where its points are cut off or share a place.
fn floor_points(bits: &mut Bits<'_>) -> Option<()> {
    let partitions = bits.take(5)?;
    let classes = (0..partitions).map(|_| bits.take(4)).collect::<Option<Vec<_>>>()?;
    let mut dimensions = [0; 16];
    for dimension in dimensions.iter_mut().take(classes.iter().max().map_or(0, |&highest| highest as usize + 1)) {
        *dimension = bits.take(3)? + 1;
        let subclasses = bits.take(2)?;
        bits.skip(if subclasses > 0 { 8 } else { 0 })?;
        bits.skip(8 << subclasses)?;
    }
    bits.skip(2)?;
    let range_bits = bits.take(4)?;
    let mut points = vec![0, 1 << range_bits];
    for class in classes {
        for _ in 0..dimensions[class as usize] {
            points.push(bits.take(range_bits)?);
        }
    }
    points.sort_unstable();
    points.windows(2).all(|pair| pair[0] != pair[1]).then_some(())
}

/// Entries and vector values of all codebooks; `None` where they are damaged. Stops adding up once a limit is passed.
fn codebook_sizes(bits: &mut Bits<'_>) -> Option<(u32, u64)> {
    const SYNC: u32 = 0x56_4342;
    let (mut entries_total, mut values_total) = (0u32, 0u64);
    for _ in 0..=bits.take(8)? {
        if bits.take(24)? != SYNC {
            return None;
        }
        let dimensions = bits.take(16)?;
        let entries = bits.take(24)?;
        entries_total = entries_total.saturating_add(entries);
        if entries_total > CODEBOOK_ENTRIES_MAX {
            return Some((entries_total, values_total));
        }
        skip_codeword_lengths(bits, entries)?;
        let lookup = bits.take(4)?;
        if lookup > 2 {
            return None;
        }
        if lookup > 0 {
            bits.skip(64)?;
            let value_bits = bits.take(4)? + 1;
            bits.skip(1)?;
            let values = u64::from(entries) * u64::from(dimensions);
            let stored = if lookup == 1 { u64::from(lookup1_values(entries, dimensions)?) } else { values };
            bits.skip(stored * u64::from(value_bits))?;
            values_total += values;
            if values_total > CODEBOOK_VALUES_MAX {
                return Some((entries_total, values_total));
            }
        }
    }
    Some((entries_total, values_total))
}

fn skip_codeword_lengths(bits: &mut Bits<'_>, entries: u32) -> Option<()> {
    let is_ordered = bits.take(1)? == 1;
    if is_ordered {
        bits.skip(5)?;
        let mut entry = 0;
        while entry < entries {
            // A run may be empty, so that the bytes themselves are the bound of this loop.
            entry += bits.take(u32::BITS - (entries - entry).leading_zeros())?;
        }
        return (entry == entries).then_some(());
    }
    let is_sparse = bits.take(1)? == 1;
    for _ in 0..entries {
        if !is_sparse || bits.take(1)? == 1 {
            bits.skip(5)?;
        }
    }
    Some(())
}

/// The largest number whose `dimensions`th power is not above `entries` (section 9.2.3).
fn lookup1_values(entries: u32, dimensions: u32) -> Option<u32> {
    if dimensions == 0 {
        return None;
    }
    let fits = |value: u32| value.checked_pow(dimensions).is_some_and(|power| power <= entries);
    let mut value = 0;
    while fits(value + 1) {
        // A power of at least one grows to at most 2^24 entries in at most 2^16 steps, bounded by CODEBOOK_ENTRIES_MAX.
        value += 1;
    }
    Some(value)
}

/// Number of modes and which have long blocks. They are the last fields of the set-up (section 4.2.4), so they are found
/// from its end: each is 41 bits, 32 of them zero, and their number stands before them.
fn find_modes(body: &[u8]) -> Option<(u32, u64)> {
    const MODE_BITS: usize = 41;
    const COUNT_BITS: usize = 6;
    let last = body.iter().rposition(|&b| b != 0)?;
    // The framing bit, the last that is set.
    let framing = last * 8 + 7 - body[last].leading_zeros() as usize;
    let mut found = None;
    for count in 1..=64usize {
        let Some(start) = framing.checked_sub(count * MODE_BITS + COUNT_BITS) else { break };
        let mode = start + COUNT_BITS;
        // A flag, 16 bits of window type, 16 of transform type, 8 of mapping, of which there are up to 64.
        if bits_at(body, mode + 1, 32)? != 0 || bits_at(body, mode + 33, 8)? > 63 {
            break;
        }
        if bits_at(body, start, COUNT_BITS as u32)? as usize == count - 1 {
            found = Some((count, mode));
        }
    }
    let (count, first) = found?;
    let mut long_modes = 0;
    for i in 0..count {
        long_modes |= u64::from(bits_at(body, first + i * MODE_BITS, 1)?) << i;
    }
    Some((count as u32, long_modes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::testing::fixture;

    /// Identification and set-up header as ffmpeg wrote them: alone on the first page, last on the second.
    fn headers() -> (Vec<u8>, Vec<u8>) {
        let bytes = fixture("studio48-vorbis.webm");
        let at = |mark: &[u8]| memchr::memmem::find(&bytes, mark).expect("a header");
        let (ident, setup) = (at(b"\x01vorbis"), at(b"\x05vorbis"));
        // The framing bit and what is before it decide the end; zeros behind it are allowed.
        let end = setup + memchr::memmem::find(&bytes[setup..], &[0x1F, 0x43, 0xB6, 0x75]).expect("a cluster");
        let tags = memchr::memmem::find(&bytes[setup..end], &[0x12, 0x54, 0xC3, 0x67]).map_or(end, |at| setup + at);
        (bytes[ident..ident + IDENT_BYTES].to_vec(), bytes[setup..tags].to_vec())
    }

    #[test]
    fn modes_are_found_from_the_end() {
        let (ident, setup) = headers();
        let headers = Headers::parse(&ident, &setup).expect("good headers");
        assert_eq!(headers.spec, PcmSpec { rate_hz: 48_000, channels: 2 });
        // libvorbis: mode 0 short, mode 1 long.
        assert_eq!((headers.times.mode_bits, headers.times.long_modes), (1, 0b10));
        let mut times = headers.times;
        let (short, long) = (times.block_frames[0], times.block_frames[1]);
        assert_eq!(times.next(&[0b00]), Some(0));
        assert_eq!(times.next(&[0b10]), Some(u64::from(short + long) / 4));
        assert_eq!(times.next(&[0b10]), Some(u64::from(long) / 2));
        assert_eq!((times.next(&[0b01]), times.next(&[])), (None, None));
    }

    #[test]
    fn codebooks_that_claim_much_are_refused_before_they_are_built() {
        let (ident, mut setup) = headers();
        // The first codebook's number of entries follows its 24 bits of sync and 16 of dimensions, one byte in.
        setup[7 + 1 + 5..7 + 1 + 8].fill(0xFF);
        assert!(matches!(Headers::parse(&ident, &setup), Err(DecodeError::TooLarge { .. })));
    }

    #[test]
    fn floors_with_two_points_at_one_place_are_refused() {
        // One time-domain transform, one floor of type 1: one partition of one class with two points of four bits.
        let floors = |points: [u64; 2]| {
            let fields = [(0, 6), (0, 16), (0, 6), (1, 16), (1, 5), (0, 4), (1, 3), (0, 2), (0, 8), (0, 2), (4, 4)];
            let (mut bits, mut at) = (0u128, 0);
            for (value, width) in fields.into_iter().chain(points.map(|point| (point, 4))) {
                bits |= u128::from(value) << at;
                at += width;
            }
            floors_are_curves(&mut Bits { bytes: &bits.to_le_bytes(), at: 0 })
        };
        assert!(floors([3, 9]));
        assert!(!floors([3, 3]), "the same twice");
        assert!(!floors([0, 9]), "the first point is at 0 already");
        assert!(!floors_are_curves(&mut Bits { bytes: &[0; 4], at: 0 }), "cut off");
    }

    #[test]
    fn cut_and_damaged_headers_are_errors() {
        let (ident, setup) = headers();
        for n in (0..setup.len()).step_by(97) {
            assert!(super::super::open(&ident, &setup[..n]).is_err(), "set-up of {n} bytes");
        }
        for n in 0..IDENT_BYTES {
            assert!(super::super::open(&ident[..n], &setup).is_err(), "identification of {n} bytes");
        }
    }
}
