//! The first frame of an MP3 file that holds no audio but facts on the rest: Xing or Info with LAME's extension, VBRI. No standard:
//! fields as LAME writes and ffmpeg reads them.

use std::ops::Range;

use super::header::{HEADER_BYTES, Header, Layer};

/// Samples every layer 3 decoder is late by.
const DECODER_DELAY: u64 = 528 + 1;

/// What of a file's decoded audio is no audio, in sample frames since its first frame after this one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Info {
    /// Left out from the front.
    pub(super) delay: u64,
    /// Left out at the end; what follows is played: another file appended without a first frame of its own.
    pub(super) padding: Range<u64>,
}

impl Info {
    /// What the frame tells; none where it is one of audio.
    pub(super) fn read(header: &Header, frame: &[u8]) -> Option<Self> {
        if header.layer != Layer::Three {
            return None;
        }
        // VBRI stands where MPEG-1 stereo's side information ends, whatever the frame is.
        if frame.get(HEADER_BYTES + 32..).is_some_and(|rest| rest.starts_with(b"VBRI")) {
            return Some(Self::default());
        }
        let (side_info, tag) = frame.get(HEADER_BYTES..)?.split_at_checked(header.side_info_bytes())?;
        let marked = tag.starts_with(b"Xing") || tag.starts_with(b"Info");
        if !marked || side_info.iter().any(|&b| b != 0) {
            return None;
        }
        Some(Self::from_tag(header, tag).unwrap_or_default())
    }

    fn from_tag(header: &Header, tag: &[u8]) -> Option<Self> {
        let word = |at: usize| tag.get(at..)?.first_chunk().map(|b| u32::from_be_bytes(*b));
        let flags = word(4)?;
        let mut at = 8;
        let mut frames = None;
        // Frame count, byte count, seek table and quality, as far as they are there.
        for (flag, bytes) in [(1, 4), (2, 4), (4, 100), (8, 4)] {
            if flags & flag != 0 {
                if flag == 1 {
                    frames = word(at);
                }
                at += bytes;
            }
        }
        let extension = tag.get(at..)?;
        if ![b"LAME", b"Lavf", b"Lavc"].iter().any(|name| extension.starts_with(*name)) {
            return None;
        }
        let packed = extension.get(21..24)?;
        let delay = u64::from(packed[0]) << 4 | u64::from(packed[1] >> 4);
        let padding = u64::from(packed[1] & 0xf) << 8 | u64::from(packed[2]);
        let padding = match frames {
            Some(frames) if frames > 0 => {
                let end = u64::from(frames) * u64::from(header.samples());
                (end + DECODER_DELAY).saturating_sub(padding).min(end)..end
            }
            _ => 0..0,
        };
        Some(Self { delay: delay + DECODER_DELAY, padding })
    }
}
