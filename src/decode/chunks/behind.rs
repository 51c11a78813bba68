//! Tells samples, chunks and another file apart where a header's length cannot be trusted: behind the declared end of the samples, and in samples
//! without a known end.

use super::{TRAILER_BYTES_MAX, Walker};

/// What stands behind the declared end of the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    Unclear,
    File,
    Chunk { id: [u8; 4], size: u64 },
    Audio,
}

impl Walker {
    /// Tells chunk, file and samples apart behind the declared end of the samples. A pad byte may stand in front, or be missing.
    pub(super) fn behind(&self, odd: bool) -> Behind {
        let mut unclear = false;
        for pad in 0..=usize::from(odd) {
            // A pad byte is zero.
            if pad == 1 && self.held[0] != 0 {
                continue;
            }
            let bytes = &self.held[pad..self.len];
            if bytes.is_empty() {
                unclear = true;
                continue;
            }
            match self.behind_bytes(bytes) {
                Behind::Audio => {}
                Behind::Unclear => unclear = true,
                clear @ (Behind::File | Behind::Chunk { .. }) => return clear,
            }
        }
        if unclear { Behind::Unclear } else { Behind::Audio }
    }

    /// Whether `bytes` are a file header, as far as they go.
    pub(super) fn behind_file(&self, bytes: &[u8]) -> Behind {
        let family = self.family;
        if bytes.len() >= family.file_header {
            return if (family.is_file)(&bytes[..family.file_header]) { Behind::File } else { Behind::Audio };
        }
        if family.starts.iter().any(|start| prefix_of(bytes, start)) { Behind::Unclear } else { Behind::Audio }
    }

    /// Where in samples without a known end another file may begin, cut off at the end of `bytes` or not; else their length.
    pub(super) fn restart(&self, bytes: &[u8]) -> usize {
        let whole = self.family.starts.iter().filter_map(|start| memchr::memmem::find(bytes, start)).min();
        whole.unwrap_or_else(|| {
            let from = bytes.len().saturating_sub(3);
            (from..bytes.len()).find(|&i| self.starts_with_start(&bytes[i..])).unwrap_or(bytes.len())
        })
    }

    /// Held bytes that are samples for certain: all before the first place another file may begin, the very front left aside.
    pub(super) fn not_starting(&self) -> usize {
        (1..self.len).find(|&i| self.starts_with_start(&self.held[i..self.len])).unwrap_or(self.len)
    }

    fn starts_with_start(&self, bytes: &[u8]) -> bool {
        self.family.starts.iter().any(|start| prefix_of(bytes, start))
    }

    fn behind_bytes(&self, bytes: &[u8]) -> Behind {
        let family = self.family;
        match self.behind_file(bytes) {
            Behind::Audio => {}
            other @ (Behind::File | Behind::Unclear | Behind::Chunk { .. }) => return other,
        }
        if !family.trailing.iter().any(|id| prefix_of(bytes, id)) {
            return Behind::Audio;
        }
        if bytes.len() < family.chunk_header {
            return Behind::Unclear;
        }
        let size = (family.size)(&bytes[..family.chunk_header]);
        let id = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if size <= TRAILER_BYTES_MAX { Behind::Chunk { id, size } } else { Behind::Audio }
    }
}

/// Whether the first bytes agree, as far as both go.
fn prefix_of(bytes: &[u8], pattern: &[u8]) -> bool {
    bytes.iter().zip(pattern).all(|(a, b)| a == b)
}
