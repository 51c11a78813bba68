//! The last session events, encoded, for a client that was away (protocol section 6). Bounded by count and by bytes.

use std::collections::VecDeque;

/// Bytes of events kept: a ring of short events never comes near, one of long ones keeps fewer.
const BYTES_MAX: usize = 256 * 1024;

/// What a returning client gets.
#[derive(Debug, PartialEq, Eq)]
pub struct Replay<'a> {
    /// The texts of the events it has not seen, oldest first.
    pub events: Vec<&'a [u8]>,
    /// Events it has not seen that are not kept any more.
    pub missed: u64,
}

#[derive(Debug)]
pub(super) struct Ring {
    max: usize,
    events: VecDeque<(u64, Box<[u8]>)>,
    bytes: usize,
    /// The newest number given out.
    last_seq: u64,
}

impl Ring {
    pub(super) fn new(max: usize) -> Self {
        Self { max, events: VecDeque::new(), bytes: 0, last_seq: 0 }
    }

    /// The number of the next event.
    pub(super) fn next_seq(&mut self) -> u64 {
        self.last_seq += 1;
        self.last_seq
    }

    /// Events were lost before they could be encoded: their numbers are never seen.
    pub(super) fn skip(&mut self, lost: u64) {
        self.last_seq += lost;
    }

    /// The newest number given out.
    pub(super) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Keeps the event that got the newest number.
    pub(super) fn push(&mut self, text: &[u8]) {
        self.bytes += text.len();
        self.events.push_back((self.last_seq, text.into()));
        while self.events.len() > self.max || (self.bytes > BYTES_MAX && self.events.len() > 1) {
            if let Some((_, old)) = self.events.pop_front() {
                self.bytes -= old.len();
            }
        }
    }

    /// The events after `seq`.
    pub(super) fn after(&self, seq: u64) -> Replay<'_> {
        let events: Vec<_> = self.events.iter().filter(|(n, _)| *n > seq).map(|(_, text)| &**text).collect();
        let missed = self.last_seq.saturating_sub(seq).saturating_sub(events.len() as u64);
        Replay { events, missed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(ring: &mut Ring, text: &str) {
        ring.next_seq();
        ring.push(text.as_bytes());
    }

    #[test]
    fn what_fell_off_or_was_never_kept_is_counted() {
        let mut ring = Ring::new(3);
        assert_eq!(ring.after(0), Replay { events: vec![], missed: 0 });
        for text in ["1", "2", "3", "4"] {
            told(&mut ring, text);
        }
        assert_eq!(ring.after(0), Replay { events: vec![b"2", b"3", b"4"], missed: 1 });
        assert_eq!(ring.after(3), Replay { events: vec![b"4"], missed: 0 });
        ring.skip(2);
        told(&mut ring, "7");
        assert_eq!(ring.after(3), Replay { events: vec![b"4", b"7"], missed: 2 });
        assert_eq!(ring.after(99), Replay { events: vec![], missed: 0 });
    }

    #[test]
    fn its_bytes_are_bounded_but_the_newest_event_is_always_there() {
        let mut ring = Ring::new(256);
        let long = "x".repeat(100_000);
        (0..10).for_each(|_| told(&mut ring, &long));
        assert_eq!(ring.after(0).events.len(), 2);
        let longer = "x".repeat(BYTES_MAX + 1);
        told(&mut ring, &longer);
        assert_eq!(ring.after(0), Replay { events: vec![longer.as_bytes()], missed: 10 });
    }
}
