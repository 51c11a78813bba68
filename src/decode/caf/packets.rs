//! ALAC packets of a CAF file: their sizes from the packet table, their bytes from the data chunk, whichever comes first.

use std::collections::VecDeque;

use super::{CONTAINER, malformed};
use crate::decode::codec::PacketDecoder;
use crate::decode::codec::alac::Alac;
use crate::decode::{DecodeError, DecodeOut, DecodeWarning};

/// Packets of a table: a day of audio at 48 kHz in packets of 4096 sample frames.
const PACKETS_MAX: usize = 1 << 20;
/// Largest packet: 16384 sample frames of eight channels with 32 bits, and its headers.
const PACKET_BYTES_MAX: u32 = (16_384 * 8 * 4) + 4_096;
/// What a packet table begins with: packets, valid sample frames, priming and remainder frames.
const TABLE_HEADER_BYTES: usize = 24;

/// The packets of one data chunk.
pub(super) struct Packets {
    codec: Option<Alac>,
    table: Table,
    /// The data not decoded yet: a packet in the making, or all of it where the table is still to come.
    held: Vec<u8>,
    at: usize,
    bytes_max: usize,
}

/// The table as it is read.
#[derive(Default)]
struct Table {
    header: [u8; TABLE_HEADER_BYTES],
    len: usize,
    /// Packets the header promises that were not read yet.
    left: u64,
    complete: bool,
    /// Sizes of the packets still to be decoded.
    sizes: VecDeque<u32>,
    /// The integer being read, seven bits a byte.
    value: u32,
    /// Packets of varying duration have it behind their size.
    durations: bool,
    in_duration: bool,
    /// Sample frames still to be dropped at the front, and to be handed out behind; absent where the table does not say.
    priming: u64,
    valid: Option<u64>,
}

impl Packets {
    /// `desc` is the body of the description.
    pub(super) fn new(bytes_max: usize, desc: &[u8]) -> Self {
        let durations = desc.get(20..24).is_none_or(|frames| frames == [0; 4]);
        Self { codec: None, table: Table { durations, ..Table::default() }, held: Vec::new(), at: 0, bytes_max }
    }

    pub(super) fn open(&mut self, cookie: &[u8]) -> Result<(), DecodeError> {
        self.codec = Some(Alac::new(cookie)?);
        Ok(())
    }

    pub(super) fn is_open(&self) -> bool {
        self.codec.is_some()
    }

    pub(super) fn pending(&self) -> usize {
        self.held.len() - self.at
    }

    /// Takes more of the table. Returns whether packets can be decoded now that could not before.
    pub(super) fn table(&mut self, bytes: &[u8]) -> Result<bool, DecodeError> {
        if self.table.complete {
            return Ok(false);
        }
        self.table.read(bytes)?;
        Ok(self.table.complete && self.pending() > 0)
    }

    /// Takes bytes of the data chunk from the front of `bytes`; decodes at most one packet. Returns how many.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut DecodeOut) -> Result<usize, DecodeError> {
        if !self.table.complete {
            if self.held.len() + bytes.len() > self.bytes_max {
                let what = "ALAC data before its packet table, in bytes (a file with the table in front is decoded as it comes),";
                return Err(DecodeError::TooLarge { container: CONTAINER, what, limit: self.bytes_max as u64 });
            }
            self.held.extend_from_slice(bytes);
            return Ok(bytes.len());
        }
        let Some(&size) = self.table.sizes.front() else {
            // Behind the last packet of the table.
            return Ok(bytes.len());
        };
        let n = (size as usize).saturating_sub(self.pending()).min(bytes.len());
        self.held.extend_from_slice(&bytes[..n]);
        self.drain(out);
        Ok(n)
    }

    /// Decodes the next packet if all of it is there. Returns whether it was.
    pub(super) fn drain(&mut self, out: &mut DecodeOut) -> bool {
        let (Some(codec), true) = (&mut self.codec, self.table.complete) else { return false };
        let Some(&size) = self.table.sizes.front() else { return false };
        let end = self.at + size as usize;
        let Some(packet) = self.held.get(self.at..end) else { return false };
        let from = out.pcm.samples.len();
        if codec.decode(packet, out).is_err() {
            out.warnings.push(DecodeWarning::PacketConcealed { codec: codec.name() });
            codec.conceal(out);
        }
        self.table.trim(from, out);
        self.table.sizes.pop_front();
        self.at = end;
        if self.at == self.held.len() {
            self.at = 0;
            self.held.clear();
        }
        true
    }

    /// At the end: decodes what is left. Returns whether to call again.
    pub(super) fn finish(&mut self, out: &mut DecodeOut) -> Result<bool, DecodeError> {
        if !self.table.complete && self.pending() > 0 {
            if self.table.sizes.is_empty() {
                return Err(malformed("its packet table is missing"));
            }
            // What came of a table that was cut off is good for as many packets.
            self.table.complete = true;
        }
        if self.drain(out) {
            return Ok(true);
        }
        let bytes = self.pending() as u64;
        if bytes > 0 && !self.table.sizes.is_empty() {
            out.warnings.push(DecodeWarning::TruncatedTail { what: "packet", bytes });
        }
        self.held = Vec::new();
        self.at = 0;
        Ok(false)
    }
}

impl Table {
    fn read(&mut self, mut bytes: &[u8]) -> Result<(), DecodeError> {
        if self.len < TABLE_HEADER_BYTES {
            let n = (TABLE_HEADER_BYTES - self.len).min(bytes.len());
            self.header[self.len..self.len + n].copy_from_slice(&bytes[..n]);
            self.len += n;
            bytes = &bytes[n..];
            if self.len < TABLE_HEADER_BYTES {
                return Ok(());
            }
            self.begin()?;
        }
        for &byte in bytes {
            if self.left == 0 {
                break;
            }
            if self.value >> 25 != 0 {
                return Err(malformed("its packet table is damaged"));
            }
            self.value = self.value << 7 | u32::from(byte & 0x7f);
            if byte & 0x80 != 0 {
                continue;
            }
            let value = std::mem::take(&mut self.value);
            if !self.in_duration {
                if value > PACKET_BYTES_MAX {
                    let limit = u64::from(PACKET_BYTES_MAX);
                    return Err(DecodeError::TooLarge { container: CONTAINER, what: "the bytes of a packet", limit });
                }
                // A packet of no bytes has no samples.
                if value > 0 {
                    self.sizes.push_back(value);
                }
            }
            self.in_duration = self.durations && !self.in_duration;
            if !self.in_duration {
                self.left -= 1;
            }
        }
        self.complete = self.left == 0;
        Ok(())
    }

    fn begin(&mut self) -> Result<(), DecodeError> {
        let h = &self.header;
        let number = |range: std::ops::Range<usize>| h[range].iter().fold(0u64, |n, &b| n << 8 | u64::from(b));
        self.left = number(0..8);
        let (valid, priming) = (number(8..16), number(16..20));
        if self.left > PACKETS_MAX as u64 {
            let what = "the number of packets";
            return Err(DecodeError::TooLarge { container: CONTAINER, what, limit: PACKETS_MAX as u64 });
        }
        // Negative counts are nonsense; they are taken for unknown.
        self.valid = (valid > 0 && valid <= i64::MAX as u64).then_some(valid);
        self.priming = if priming <= i32::MAX as u64 { priming } else { 0 };
        Ok(())
    }

    /// Takes encoder delay and padding off what was appended since `from`.
    fn trim(&mut self, from: usize, out: &mut DecodeOut) {
        let channels = usize::from(out.pcm.spec.channels.max(1));
        let mut frames = ((out.pcm.samples.len() - from) / channels) as u64;
        let front = frames.min(self.priming);
        self.priming -= front;
        out.pcm.trim_front(from, front as usize);
        frames -= front;
        if let Some(valid) = &mut self.valid {
            let kept = frames.min(*valid);
            *valid -= kept;
            out.pcm.trim_back((frames - kept) as usize);
        }
    }
}
