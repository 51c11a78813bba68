//! Looking at bytes that may be cut anywhere: what is whole in the caller's input is seen there, what is not is carried over.
//!
//! Knows no container.

use super::{DecodeError, DecodeOut, Step};

/// What one look at the front of a stream led to.
pub(super) enum Progress {
    /// Something was taken: look again.
    On,
    /// A packet was decoded, whatever the trimming left of it.
    Packet,
    /// More input is needed.
    Starved,
}

/// A step of a decoder: looks at the front of the stream until a packet was decoded, damage was met or input is missing. `carry` is what
/// the calls before left over, and then what this one does; there is more to come of it if the step ended before the input did.
pub(super) fn step(
    carry: &mut Vec<u8>,
    input: &[u8],
    out: &mut DecodeOut,
    mut look: impl FnMut(&mut Feed<'_>, &mut DecodeOut) -> Result<Progress, DecodeError>,
) -> Result<Step, DecodeError> {
    let mut feed = Feed::new(std::mem::take(carry), input);
    let more = loop {
        match look(&mut feed, out) {
            Ok(Progress::On) if out.pcm.samples.is_empty() && out.warnings.is_empty() => {}
            Ok(Progress::On | Progress::Packet) => break Ok(!feed.carry.is_empty()),
            Ok(Progress::Starved) => break Ok(false),
            Err(e) => break Err(e),
        }
    };
    let consumed = feed.consumed();
    *carry = feed.carry;
    Ok(Step { consumed, more: more? })
}

/// The bytes carried over from the calls before, then the input of this call.
pub(crate) struct Feed<'a> {
    /// Bytes taken from earlier inputs and not done with. Handed back to the decoder at the end of the call.
    pub(crate) carry: Vec<u8>,
    input: &'a [u8],
    at: usize,
}

/// Length of the marks that [`Feed::skip_to`] looks for.
pub(crate) const MARK_BYTES: usize = 4;

impl<'a> Feed<'a> {
    /// Bytes carried over and new ones.
    pub(crate) fn new(carry: Vec<u8>, input: &'a [u8]) -> Self {
        Self { carry, input, at: 0 }
    }

    /// Bytes of the input that are done with or carried over.
    pub(crate) fn consumed(&self) -> usize {
        self.at
    }

    /// Whether no byte is left, neither carried nor new.
    pub(crate) fn is_empty(&self) -> bool {
        self.carry.is_empty() && self.at == self.input.len()
    }

    /// At least the next `need` bytes in one piece, or, with all there is carried over, `None`. Takes nothing off the front.
    pub(crate) fn peek(&mut self, need: usize) -> Option<&[u8]> {
        if self.carry.is_empty() && self.input.len() - self.at >= need {
            return Some(&self.input[self.at..]);
        }
        self.hold(need).then_some(&self.carry[..])
    }

    /// As [`Self::peek`], but the bytes are in [`Self::carry`] afterwards, where they outlast the call.
    pub(crate) fn hold(&mut self, need: usize) -> bool {
        let missing = need.saturating_sub(self.carry.len());
        let taken = missing.min(self.input.len() - self.at);
        self.carry.extend_from_slice(&self.input[self.at..self.at + taken]);
        self.at += taken;
        taken == missing
    }

    /// Any bytes that are there in one piece, without a copy. Empty only if none are left.
    pub(crate) fn front(&self) -> &[u8] {
        if self.carry.is_empty() { &self.input[self.at..] } else { &self.carry }
    }

    /// Takes `n` bytes off the front. They must have been seen by [`Self::peek`] or [`Self::front`].
    pub(crate) fn take(&mut self, n: usize) {
        if self.carry.is_empty() {
            self.at += n;
        } else if n == self.carry.len() {
            self.carry.clear();
        } else {
            self.carry.drain(..n);
        }
    }

    /// Takes up to `n` bytes off the front, seen or not. Returns how many.
    pub(crate) fn skip(&mut self, n: u64) -> u64 {
        let mut left = n;
        while left > 0 && !self.is_empty() {
            let some = usize::try_from(left).unwrap_or(usize::MAX).min(self.front().len());
            self.take(some);
            left -= some as u64;
        }
        n - left
    }

    /// Takes bytes off the front until one of `marks` stands there. Returns how many, and whether a mark was found; where
    /// none was, up to three bytes that may begin one stay.
    pub(crate) fn skip_to(&mut self, marks: &[[u8; MARK_BYTES]]) -> (u64, bool) {
        let mut skipped = 0u64;
        let carried = self.carry.len();
        if carried > 0 {
            let lookahead = (MARK_BYTES - 1).min(self.input.len() - self.at);
            self.carry.extend_from_slice(&self.input[self.at..self.at + lookahead]);
            if let Some(i) = find_mark(&self.carry, marks) {
                // Only three bytes were added, so the mark begins in what was carried.
                self.carry.truncate(carried);
                self.carry.drain(..i);
                return (i as u64, true);
            }
            if lookahead < MARK_BYTES - 1 {
                self.at += lookahead;
                let drop = self.carry.len().saturating_sub(MARK_BYTES - 1);
                self.carry.drain(..drop);
                return (drop as u64, false);
            }
            self.carry.clear();
            skipped += carried as u64;
        }
        let rest = &self.input[self.at..];
        let (n, found) = match find_mark(rest, marks) {
            Some(i) => (i, true),
            None => (rest.len().saturating_sub(MARK_BYTES - 1), false),
        };
        self.at += n;
        skipped += n as u64;
        if !found {
            self.carry.extend_from_slice(&self.input[self.at..]);
            self.at = self.input.len();
        }
        (skipped, found)
    }
}

fn find_mark(bytes: &[u8], marks: &[[u8; MARK_BYTES]]) -> Option<usize> {
    marks.iter().filter_map(|mark| memchr::memmem::find(bytes, mark)).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: [u8; 4] = *b"MARK";

    #[test]
    fn a_mark_is_found_however_the_bytes_are_cut() {
        let bytes = b"junkMAjunkMARMARKrest";
        for first in 0..bytes.len() {
            for second in first..bytes.len() {
                let mut carry = Vec::new();
                let (mut skipped, mut rest, mut found) = (0, Vec::new(), false);
                for part in [&bytes[..first], &bytes[first..second], &bytes[second..]] {
                    let mut feed = Feed::new(carry, part);
                    if !found {
                        let (n, hit) = feed.skip_to(&[MARK]);
                        skipped += n;
                        found = hit;
                    }
                    if found {
                        while !feed.is_empty() {
                            rest.extend_from_slice(feed.front());
                            feed.take(feed.front().len());
                        }
                    }
                    carry = feed.carry;
                }
                assert!(found);
                assert_eq!((skipped, &rest[..]), (13, &b"MARKrest"[..]), "cuts at {first}, {second}");
            }
        }
    }

    #[test]
    fn what_is_whole_is_not_copied_and_what_is_not_is_carried() {
        let mut feed = Feed::new(Vec::new(), b"abcdef");
        assert_eq!(feed.peek(4).map(|b| &b[..4]), Some(&b"abcd"[..]));
        assert!(feed.carry.is_empty());
        feed.take(4);
        assert_eq!(feed.peek(3), None);
        assert_eq!((feed.consumed(), &feed.carry[..]), (6, &b"ef"[..]));
        let mut feed = Feed::new(feed.carry, b"gh");
        assert_eq!(feed.peek(3), Some(&b"efg"[..]));
        feed.take(3);
        assert_eq!(feed.front(), b"h");
        assert_eq!((feed.skip(9), feed.is_empty()), (1, true));
    }
}
