//! Finding a box again after damage. Knows the state of the demuxer, no box's inside.

use super::{MOOF_BYTES_MAX, Mp4, NAME, State};
use crate::decode::{DecodeError, DecodeOut, DecodeWarning};

/// Bytes passed over in search of a box after damage: a lost fragment or two, not a whole stream of something else.
const RESYNC_BYTES_MAX: u64 = 4 << 20;

impl Mp4 {
    /// Looks for the header of a box that can go on after damage, byte by byte.
    pub(super) fn search(&mut self, skipped: u64, input: &[u8], out: &mut DecodeOut) -> Result<usize, DecodeError> {
        let mut skipped = skipped;
        let mut taken = 0;
        loop {
            if let Some(header) = self.head.first_chunk::<8>() {
                if can_resume(header) {
                    out.warnings.push(DecodeWarning::Resynced { container: NAME, bytes: skipped });
                    self.state = State::Header;
                    return Ok(taken);
                }
                skipped += 1;
                self.head.remove(0);
                if skipped > RESYNC_BYTES_MAX {
                    return Err(DecodeError::Malformed {
                        container: NAME,
                        what: "no box was found again after damage",
                    });
                }
            }
            let missing = 8_usize.saturating_sub(self.head.len()).min(input.len() - taken);
            if missing == 0 && self.head.len() < 8 {
                self.state = State::Lost { skipped };
                return Ok(taken);
            }
            self.head.extend_from_slice(&input[taken..taken + missing]);
            self.position += missing as u64;
            taken += missing;
        }
    }
}

/// Whether these bytes begin a box that recorders write at the top level, of a believable size.
fn can_resume(header: &[u8; 8]) -> bool {
    let [a, b, c, d, kind @ ..] = *header;
    let size = u64::from(u32::from_be_bytes([a, b, c, d]));
    matches!(&kind, b"ftyp" | b"styp" | b"moov" | b"moof" | b"sidx") && (8..=MOOF_BYTES_MAX).contains(&size)
}
