//! FLAC frames (RFC 9639). Frames of up to 24 bits come out exact.

pub(in crate::decode) mod frame;

use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_FLAC;

use super::symphonia::Symphonia;
use super::{BadPacket, PacketDecoder};
use crate::decode::{DecodeError, DecodeOut};
use frame::{FrameHeader, Parsed};

const NAME: &str = "FLAC";

/// Length of a STREAMINFO block's body.
pub(in crate::decode) const STREAMINFO_BYTES: usize = 34;
/// The decoder's buffer is first made for blocks as large as encoders make, whatever STREAMINFO claims; a larger block makes it grow.
const BLOCK_FIRST: u16 = 4_608;

/// The fields of STREAMINFO that count (section 8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) struct StreamInfo {
    /// Largest block in sample frames; of all blocks but the last where their size is fixed.
    pub(in crate::decode) block_max: u16,
    pub(in crate::decode) rate_hz: u32,
    pub(in crate::decode) channels: u16,
    pub(in crate::decode) bits: u32,
}

impl StreamInfo {
    /// # Errors
    /// [`DecodeError::Malformed`] where it is no STREAMINFO.
    pub(in crate::decode) fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let malformed = DecodeError::Malformed { container: NAME, what: "its STREAMINFO is damaged" };
        let Some(b) = bytes.first_chunk::<STREAMINFO_BYTES>() else { return Err(malformed) };
        let packed = b[10..18].iter().fold(0u64, |word, &byte| (word << 8) | u64::from(byte));
        let info = Self {
            block_max: u16::from_be_bytes([b[2], b[3]]),
            rate_hz: (packed >> 44) as u32,
            channels: (packed >> 41 & 7) as u16 + 1,
            bits: (packed >> 36 & 31) as u32 + 1,
        };
        if info.bits < 4 { Err(malformed) } else { Ok(info) }
    }

    /// A STREAMINFO with these fields and blocks of `block_max`; sizes, length and checksum unknown.
    fn write(&self, block_max: u16) -> [u8; STREAMINFO_BYTES] {
        let mut b = [0; STREAMINFO_BYTES];
        // 16 is the least a block can be (section 8.2).
        let block = block_max.max(16).to_be_bytes();
        b[..2].copy_from_slice(&block);
        b[2..4].copy_from_slice(&block);
        let packed =
            u64::from(self.rate_hz) << 44 | u64::from(self.channels - 1) << 41 | u64::from(self.bits - 1) << 36;
        b[10..18].copy_from_slice(&packed.to_be_bytes());
        b
    }

    /// Whether a frame can belong to this stream: one whose rate, channels or depth differ is damaged or no frame.
    pub(in crate::decode) fn admits(&self, header: &FrameHeader) -> bool {
        header.channels == self.channels
            && header.bits.is_none_or(|bits| bits == self.bits)
            && header.rate_hz.is_none_or(|rate_hz| rate_hz == self.rate_hz)
    }
}

/// The packet decoder.
pub(in crate::decode) struct Flac {
    info: StreamInfo,
    block_max: u16,
    inner: Symphonia,
}

impl Flac {
    /// # Errors
    /// [`DecodeError`] where STREAMINFO is damaged.
    pub(in crate::decode) fn new(streaminfo: &[u8]) -> Result<Self, DecodeError> {
        let info = StreamInfo::read(streaminfo)?;
        let block_max = info.block_max.min(BLOCK_FIRST);
        Ok(Self { info, block_max, inner: Self::open(&info, block_max)? })
    }

    fn open(info: &StreamInfo, block_max: u16) -> Result<Symphonia, DecodeError> {
        let mut params = AudioCodecParameters::new();
        params.for_codec(CODEC_ID_FLAC).with_extra_data(Box::new(info.write(block_max)));
        Symphonia::open(NAME, &params)
    }

    /// Decodes a frame whose header was read and whose checksum was found right.
    pub(in crate::decode) fn decode_checked(
        &mut self,
        header: &FrameHeader,
        frame: &[u8],
        out: &mut DecodeOut,
    ) -> Result<(), BadPacket> {
        // The side channel of 32-bit audio takes 33 bits, which symphonia does not read.
        if !self.info.admits(header) || (header.decorrelated && self.info.bits == 32) {
            return Err(BadPacket);
        }
        if header.block > self.block_max {
            self.inner = Self::open(&self.info, header.block).map_err(|_| BadPacket)?;
            self.block_max = header.block;
        }
        // The checksum is no part of the samples: a cut frame must not find bits in it.
        self.inner.decode(&frame[..frame.len() - frame::CRC_BYTES], out)
    }
}

impl PacketDecoder for Flac {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn decode(&mut self, packet: &[u8], out: &mut DecodeOut) -> Result<(), BadPacket> {
        match frame::parse(packet) {
            Parsed::Header(header) if packet.len() > header.len + frame::CRC_BYTES && frame::crc16(0, packet) == 0 => {
                self.decode_checked(&header, packet, out)
            }
            Parsed::Header(_) | Parsed::Short | Parsed::No => Err(BadPacket),
        }
    }

    fn conceal(&mut self, out: &mut DecodeOut) {
        self.inner.conceal(out);
    }
}
