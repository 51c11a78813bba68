//! Boxes of the ISO base media file format (ISO/IEC 14496-12 section 4.2) in memory: bounded reads that give none past the end.
//! Knows no particular box.

/// A four-character code.
pub(super) type FourCc = [u8; 4];

/// The header of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BoxHeader {
    /// The box's type.
    pub(super) kind: FourCc,
    /// Bytes of the header itself.
    pub(super) header_bytes: u64,
    /// Bytes of the body; none where the box reaches to the end of the file.
    pub(super) body_bytes: Option<u64>,
}

/// What the first bytes of a box say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderRead {
    /// The header.
    Whole(BoxHeader),
    /// The header has this many bytes.
    Needs(usize),
    /// No box begins like this.
    Broken,
}

impl BoxHeader {
    /// Bytes of a header with the 64-bit size.
    pub(super) const BYTES_MAX: usize = 16;

    /// Reads the header `bytes` begin with.
    pub(super) fn read(bytes: &[u8]) -> HeaderRead {
        let mut reader = Reader::new(bytes);
        let (Some(size), Some(kind)) = (reader.u32(), reader.four_cc()) else { return HeaderRead::Needs(8) };
        if !kind.iter().all(|&c| (0x20..0x7f).contains(&c) || c == 0xa9) {
            return HeaderRead::Broken;
        }
        let (header_bytes, size) = match size {
            0 => return HeaderRead::Whole(Self { kind, header_bytes: 8, body_bytes: None }),
            1 => match reader.u64() {
                Some(size) => (16, size),
                None => return HeaderRead::Needs(Self::BYTES_MAX),
            },
            plain => (8, u64::from(plain)),
        };
        match size.checked_sub(header_bytes) {
            Some(body) => HeaderRead::Whole(Self { kind, header_bytes, body_bytes: Some(body) }),
            None => HeaderRead::Broken,
        }
    }
}

/// Big-endian fields, front to back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// What has not been read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.bytes.split_at_checked(count)?;
        self.bytes = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = tail;
        Some(*head)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn four_cc(&mut self) -> Option<FourCc> {
        self.array()
    }

    /// Version and flags of a FullBox (section 4.2).
    pub(super) fn full_box(&mut self) -> Option<(u8, u32)> {
        let word = self.u32()?;
        Some(((word >> 24) as u8, word & 0x00ff_ffff))
    }

    /// A field that is 64 bits wide from version 1 on.
    pub(super) fn sized(&mut self, version: u8) -> Option<u64> {
        if version == 0 { self.u32().map(u64::from) } else { self.u64() }
    }
}

/// The boxes in a body, front to back; ends at the first that is broken or reaches past the end.
pub(super) struct Children<'a> {
    bytes: &'a [u8],
}

impl<'a> Children<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }
}

impl<'a> Iterator for Children<'a> {
    type Item = (FourCc, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let HeaderRead::Whole(header) = BoxHeader::read(self.bytes) else { return None };
        let body = self.bytes.get(header.header_bytes as usize..)?;
        let length = header.body_bytes.map_or(Some(body.len()), |n| usize::try_from(n).ok())?;
        let (body, rest) = body.split_at_checked(length)?;
        self.bytes = rest;
        Some((header.kind, body))
    }
}

/// The first child of a type.
pub(super) fn child<'a>(bytes: &'a [u8], kind: &FourCc) -> Option<&'a [u8]> {
    Children::of(bytes).find(|(k, _)| k == kind).map(|(_, body)| body)
}

/// The box a path of types leads to, always into the first of its kind.
pub(super) fn descend<'a>(bytes: &'a [u8], path: &[&FourCc]) -> Option<&'a [u8]> {
    path.iter().try_fold(bytes, |body, kind| child(body, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_believed_only_where_they_fit() {
        assert_eq!(BoxHeader::read(b"\0\0\0\x08fr"), HeaderRead::Needs(8));
        assert_eq!(BoxHeader::read(b"\0\0\0\x07free"), HeaderRead::Broken);
        assert_eq!(BoxHeader::read(b"\0\0\0\x01mdat\0\0\0\0\0\0\0"), HeaderRead::Needs(16));
        assert_eq!(BoxHeader::read(b"\0\0\0\x01mdat\0\0\0\0\0\0\0\x0f"), HeaderRead::Broken);
        assert_eq!(BoxHeader::read(b"RIFF\x04\x00\x00\x00"), HeaderRead::Broken);
        let open_ended = BoxHeader { kind: *b"mdat", header_bytes: 8, body_bytes: None };
        assert_eq!(BoxHeader::read(b"\0\0\0\0mdat"), HeaderRead::Whole(open_ended));
        assert_eq!(Children::of(b"\0\0\0\x10free").count(), 0);
        assert_eq!(descend(b"\0\0\0\x14moov\0\0\0\x0ctrak1234", &[b"moov", b"trak"]), Some(&b"1234"[..]));
    }
}
