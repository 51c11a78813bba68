//! Media data that comes before its index, kept until that comes. Knows no boxes and no codec.

use super::{NAME, Sample};
use crate::decode::DecodeError;

/// `mdat` boxes before the index: usual is one.
const PIECES_MAX: usize = 1_024;

/// Media data that came before its index.
#[derive(Debug, Default)]
pub(super) struct Held {
    bytes: Vec<u8>,
    /// Offset in the file and in `bytes` where each piece begins.
    pieces: Vec<(u64, usize)>,
}

impl Held {
    /// The bytes of a sample, where all of them are here.
    pub(super) fn get(&self, sample: Sample) -> Option<&[u8]> {
        let index = self.pieces.partition_point(|&(offset, _)| offset <= sample.offset).checked_sub(1)?;
        let (offset, at) = self.pieces[index];
        let end = self.pieces.get(index + 1).map_or(self.bytes.len(), |&(_, next)| next);
        let start = usize::try_from(sample.offset - offset).ok()?;
        self.bytes[at..end].get(start..)?.get(..sample.bytes as usize)
    }
    /// Begins a piece of `left` bytes at `offset` in the file.
    ///
    /// # Errors
    /// [`DecodeError::TooLarge`] where it would make more than `bytes_max` in all, or one piece too many.
    pub(super) fn begin(&mut self, offset: u64, left: u64, bytes_max: u64) -> Result<(), DecodeError> {
        let too_large = |what, limit| Err(DecodeError::TooLarge { container: NAME, what, limit });
        if left.saturating_add(self.bytes.len() as u64) > bytes_max {
            let what = "the audio data before its index (moov) in bytes (a fragmented file, or one with its index in front, has no such limit)";
            return too_large(what, bytes_max);
        }
        if self.pieces.len() == PIECES_MAX {
            return too_large("the number of mdat boxes before the index (moov)", PIECES_MAX as u64);
        }
        self.pieces.push((offset, self.bytes.len()));
        Ok(())
    }

    /// Adds to the piece begun last.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether no piece was begun.
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes held.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}
