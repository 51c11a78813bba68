//! Orders of channels: Vorbis has one of its own (Vorbis I section 4.3.9), which Opus shares (RFC 7845 section 5.1.1.2). What is decoded
//! comes out in that of WAVE, as files and the other codecs have it.

use crate::audio::CHANNELS_MAX;

/// For each channel in the order of WAVE, its place in the order of Vorbis.
pub(super) fn wave_from_vorbis(channels: u16) -> &'static [u8] {
    const { assert!(CHANNELS_MAX == 8) };
    match channels {
        3 => &[0, 2, 1],
        5 => &[0, 2, 1, 3, 4],
        6 => &[0, 2, 1, 5, 3, 4],
        7 => &[0, 2, 1, 6, 5, 3, 4],
        8 => &[0, 2, 1, 7, 5, 6, 3, 4],
        // One, two and four are the same in both.
        _ => &[0, 1, 2, 3][..usize::from(channels)],
    }
}
