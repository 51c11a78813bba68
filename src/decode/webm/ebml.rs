//! EBML (RFC 8794): element headers and the values of small elements.
//!
//! Knows no Matroska but for the identifiers.

/// Element identifiers of Matroska (RFC 9559), their length marker included.
pub(super) mod id {
    pub(in super::super) const EBML: u32 = 0x1A45_DFA3;
    pub(in super::super) const EBML_MAX_ID_LENGTH: u32 = 0x42F2;
    pub(in super::super) const EBML_MAX_SIZE_LENGTH: u32 = 0x42F3;
    pub(in super::super) const DOC_TYPE: u32 = 0x4282;
    pub(in super::super) const VOID: u32 = 0xEC;
    pub(in super::super) const CRC_32: u32 = 0xBF;
    pub(in super::super) const SEGMENT: u32 = 0x1853_8067;
    pub(in super::super) const SEEK_HEAD: u32 = 0x114D_9B74;
    pub(in super::super) const INFO: u32 = 0x1549_A966;
    pub(in super::super) const TRACKS: u32 = 0x1654_AE6B;
    pub(in super::super) const CUES: u32 = 0x1C53_BB6B;
    pub(in super::super) const CHAPTERS: u32 = 0x1043_A770;
    pub(in super::super) const ATTACHMENTS: u32 = 0x1941_A469;
    pub(in super::super) const TAGS: u32 = 0x1254_C367;
    pub(in super::super) const CLUSTER: u32 = 0x1F43_B675;
    pub(in super::super) const TIMESTAMP: u32 = 0xE7;
    pub(in super::super) const POSITION: u32 = 0xA7;
    pub(in super::super) const PREV_SIZE: u32 = 0xAB;
    pub(in super::super) const SIMPLE_BLOCK: u32 = 0xA3;
    pub(in super::super) const BLOCK_GROUP: u32 = 0xA0;
    pub(in super::super) const BLOCK: u32 = 0xA1;
    pub(in super::super) const DISCARD_PADDING: u32 = 0x75A2;
    pub(in super::super) const TRACK_ENTRY: u32 = 0xAE;
    pub(in super::super) const TRACK_NUMBER: u32 = 0xD7;
    pub(in super::super) const TRACK_TYPE: u32 = 0x83;
    pub(in super::super) const CODEC_ID: u32 = 0x86;
    pub(in super::super) const CODEC_PRIVATE: u32 = 0x63A2;
    pub(in super::super) const CODEC_DELAY: u32 = 0x56AA;
    pub(in super::super) const CONTENT_ENCODINGS: u32 = 0x6D80;
    pub(in super::super) const AUDIO: u32 = 0xE1;
    pub(in super::super) const SAMPLING_FREQUENCY: u32 = 0xB5;
    pub(in super::super) const CHANNELS: u32 = 0x9F;
    pub(in super::super) const BIT_DEPTH: u32 = 0x6264;
}

/// Bytes the longest element header takes: an identifier of four, a size of eight.
pub(super) const HEADER_BYTES_MAX: usize = 12;

/// An element's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Its identifier.
    pub(super) id: u32,
    /// Bytes of its content; `None` where the writer did not know.
    pub(super) size: Option<u64>,
    /// Bytes of the header itself.
    pub(super) bytes: usize,
}

/// What the first bytes of an element are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read<T> {
    /// All of it is there.
    Whole(T),
    /// At least this many bytes are needed to say.
    Need(usize),
    /// Nothing well-formed begins like this.
    Damaged,
}

/// Reads an element's header (RFC 8794 sections 4 to 6).
pub(super) fn read_header(bytes: &[u8]) -> Read<Header> {
    let Some(&first) = bytes.first() else { return Read::Need(2) };
    let id_bytes = first.leading_zeros() as usize + 1;
    if id_bytes > 4 {
        return Read::Damaged;
    }
    let Some(&size_first) = bytes.get(id_bytes) else { return Read::Need(id_bytes + 1) };
    let size_bytes = size_first.leading_zeros() as usize + 1;
    if size_bytes > 8 {
        return Read::Damaged;
    }
    let total = id_bytes + size_bytes;
    let Some(header) = bytes.get(..total) else { return Read::Need(total) };
    let (id, size) = header.split_at(id_bytes);
    let id = id.iter().fold(0, |id, &b| id << 8 | u32::from(b));
    Read::Whole(Header { id, size: vint(size).filter(|&size| size != unknown_size(size_bytes)), bytes: total })
}

fn unknown_size(size_bytes: usize) -> u64 {
    (1 << (7 * size_bytes)) - 1
}

/// A variable-length integer that fills `bytes` exactly, without its length marker.
fn vint(bytes: &[u8]) -> Option<u64> {
    let first = *bytes.first()?;
    let marker = 0x80u8.checked_shr(bytes.len() as u32 - 1)?;
    Some(bytes[1..].iter().fold(u64::from(first & (marker - 1)), |value, &b| value << 8 | u64::from(b)))
}

/// The variable-length integer at the front of `bytes`, and how many bytes it takes.
pub(super) fn read_vint(bytes: &[u8]) -> Read<(u64, usize)> {
    let Some(&first) = bytes.first() else { return Read::Need(1) };
    let len = first.leading_zeros() as usize + 1;
    if len > 8 {
        return Read::Damaged;
    }
    match bytes.get(..len).and_then(vint) {
        Some(value) => Read::Whole((value, len)),
        None => Read::Need(len),
    }
}

/// The children of a master element that is whole in memory. Ends where they stop being well-formed.
pub(super) fn children(content: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let mut rest = content;
    std::iter::from_fn(move || {
        let Read::Whole(header) = read_header(rest) else { return None };
        let size = usize::try_from(header.size?).ok()?;
        let end = header.bytes.checked_add(size)?;
        let child = rest.get(header.bytes..end)?;
        rest = &rest[end..];
        Some((header.id, child))
    })
}

/// An unsigned integer element's value; `None` if it is longer than eight bytes.
pub(super) fn uint(content: &[u8]) -> Option<u64> {
    (content.len() <= 8).then(|| content.iter().fold(0, |value, &b| value << 8 | u64::from(b)))
}

/// A signed integer element's value; `None` if it is longer than eight bytes.
pub(super) fn int(content: &[u8]) -> Option<i64> {
    let value = uint(content)?;
    let unused_bits = 64 - 8 * content.len() as u32;
    Some(if unused_bits == 64 { 0 } else { (value << unused_bits) as i64 >> unused_bits })
}

/// A float element's value; `None` if it is neither 4 nor 8 bytes long.
pub(super) fn float(content: &[u8]) -> Option<f64> {
    match content.len() {
        4 => Some(f64::from(f32::from_be_bytes(content.try_into().ok()?))),
        8 => Some(f64::from_be_bytes(content.try_into().ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_at_every_length() {
        assert_eq!(read_header(&[0xA3, 0x41, 0x11]), Read::Whole(Header { id: 0xA3, size: Some(0x111), bytes: 3 }));
        let unknown = [0x18, 0x53, 0x80, 0x67, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
        assert_eq!(read_header(&unknown), Read::Whole(Header { id: id::SEGMENT, size: None, bytes: 12 }));
        for n in 0..unknown.len() {
            assert!(matches!(read_header(&unknown[..n]), Read::Need(need) if need > n && need <= HEADER_BYTES_MAX));
        }
        assert_eq!(
            read_header(&[0x1F, 0x43, 0xB6, 0x75, 0xFF]),
            Read::Whole(Header { id: id::CLUSTER, size: None, bytes: 5 })
        );
        assert_eq!(read_header(&[0x08, 0x80]), Read::Damaged);
        assert_eq!(read_header(&[0xA3, 0x00]), Read::Damaged);
    }

    #[test]
    fn values_are_read_at_every_length() {
        assert_eq!((uint(&[]), uint(&[1, 2]), uint(&[0; 9])), (Some(0), Some(258), None));
        assert_eq!((int(&[]), int(&[0xFF]), int(&[0xFF, 0x7F])), (Some(0), Some(-1), Some(-129)));
        assert_eq!(int(&(-5_000_000_000i64).to_be_bytes()), Some(-5_000_000_000));
        assert_eq!(float(&48_000f32.to_be_bytes()), Some(48_000.0));
        assert_eq!(read_vint(&[0x40, 0x02]), Read::Whole((2, 2)));
    }
}
