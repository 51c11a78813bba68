//! Frame headers and masking (RFC 6455 section 5.2, 5.3).

/// What a frame carries (RFC 6455 section 11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpCode {
    /// The next fragment of a message.
    Continuation,
    /// UTF-8 text.
    Text,
    /// Bytes.
    Binary,
    /// Close, with an optional code and reason.
    Close,
    /// Ping.
    Ping,
    /// Pong.
    Pong,
}

impl OpCode {
    pub(super) fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    pub(super) fn is_control(self) -> bool {
        match self {
            Self::Close | Self::Ping | Self::Pong => true,
            Self::Continuation | Self::Text | Self::Binary => false,
        }
    }
}

/// A parsed frame header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) fin: bool,
    pub(super) reserved: bool,
    pub(super) opcode: Option<OpCode>,
    pub(super) mask: Option<[u8; 4]>,
    pub(super) payload_bytes: u64,
    /// Whether the length is written in as few bytes as it fits.
    pub(super) shortest: bool,
    pub(super) header_bytes: usize,
}

impl Header {
    /// Reads a header from the front of `b`; `None` where it is not whole yet.
    pub(super) fn parse(b: &[u8]) -> Option<Self> {
        let (&b0, &b1) = (b.first()?, b.get(1)?);
        let (payload_bytes, longer_than, mut at) = match b1 & 0x7f {
            126 => (u64::from(u16::from_be_bytes([*b.get(2)?, *b.get(3)?])), Some(125), 4),
            127 => (u64::from_be_bytes(b.get(2..10)?.try_into().ok()?), Some(u64::from(u16::MAX)), 10),
            n => (u64::from(n), None, 2),
        };
        let mask = if b1 & 0x80 != 0 {
            let m = b.get(at..at + 4)?;
            at += 4;
            Some([m[0], m[1], m[2], m[3]])
        } else {
            None
        };
        Some(Self {
            fin: b0 & 0x80 != 0,
            reserved: b0 & 0x70 != 0,
            opcode: OpCode::from_bits(b0 & 0x0f),
            mask,
            payload_bytes,
            shortest: longer_than.is_none_or(|shorter| payload_bytes > shorter),
            header_bytes: at,
        })
    }
}

/// Applies a mask in place; doing it twice gives the bytes back.
pub(super) fn apply_mask(data: &mut [u8], mask: [u8; 4]) {
    let word = u64::from(u32::from_ne_bytes(mask));
    let wide = word | word << 32;
    let mut chunks = data.chunks_exact_mut(8);
    for c in &mut chunks {
        let v = u64::from_ne_bytes([c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]]) ^ wide;
        c.copy_from_slice(&v.to_ne_bytes());
    }
    for (b, m) in chunks.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *b ^= m;
    }
}

fn push_header(out: &mut Vec<u8>, opcode: OpCode, payload_bytes: usize, mask_bit: u8) {
    out.push(0x80 | opcode.bits());
    if payload_bytes < 126 {
        out.push(mask_bit | payload_bytes as u8);
    } else if let Ok(n) = u16::try_from(payload_bytes) {
        out.push(mask_bit | 126);
        out.extend_from_slice(&n.to_be_bytes());
    } else {
        out.push(mask_bit | 127);
        out.extend_from_slice(&(payload_bytes as u64).to_be_bytes());
    }
}

/// Appends the header of an unfragmented, unmasked frame (a server's).
pub fn encode_header(out: &mut Vec<u8>, opcode: OpCode, payload_bytes: usize) {
    push_header(out, opcode, payload_bytes, 0);
}

/// Appends an unfragmented, unmasked frame (a server's).
pub fn encode(out: &mut Vec<u8>, opcode: OpCode, payload: &[u8]) {
    push_header(out, opcode, payload.len(), 0);
    out.extend_from_slice(payload);
}

/// Appends an unfragmented, masked frame (a client's).
pub fn encode_masked(out: &mut Vec<u8>, opcode: OpCode, payload: &[u8], mask: [u8; 4]) {
    push_header(out, opcode, payload.len(), 0x80);
    out.extend_from_slice(&mask);
    let from = out.len();
    out.extend_from_slice(payload);
    apply_mask(&mut out[from..], mask);
}

/// The payload of a close frame; the reason is cut to the 123 bytes that fit, at a character's edge.
pub fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut p = Vec::with_capacity(2 + end);
    p.extend_from_slice(&code.to_be_bytes());
    p.extend_from_slice(&reason.as_bytes()[..end]);
    p
}
