//! A stream's bounded queue: bytes in a ring, frames marked in it, so that nothing is allocated a frame.

use std::collections::VecDeque;

/// A frame that waits.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// Bytes of it not decoded yet.
    left: usize,
    /// When it came, in microseconds of the server's monotonic clock.
    arrived_us: u64,
}

/// Frames that wait for their decoder, oldest first.
#[derive(Debug, Default)]
pub struct AudioQueue {
    bytes: Vec<u8>,
    /// Bytes at the front of `bytes` that are done.
    head: usize,
    marks: VecDeque<Mark>,
}

/// Memory an empty queue may keep for the next burst.
const KEPT_BYTES: usize = 4_096;

impl AudioQueue {
    /// Bytes that wait.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len() - self.head
    }

    /// Whether no frame waits.
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Appends the rest of a frame.
    pub fn push(&mut self, frame: &[u8], arrived_us: u64) {
        if self.head > 0 && self.head >= self.bytes.len() / 2 {
            self.bytes.drain(..self.head); // amortised: at most as many bytes move as were consumed
            self.head = 0;
        }
        self.bytes.extend_from_slice(frame);
        self.marks.push_back(Mark { left: frame.len(), arrived_us });
    }

    /// What is left of the oldest frame.
    pub fn front(&self) -> Option<&[u8]> {
        self.marks.front().map(|m| &self.bytes[self.head..self.head + m.left])
    }

    /// Marks `n` bytes of the oldest frame as done.
    pub fn consume(&mut self, n: usize) {
        if let Some(m) = self.marks.front_mut() {
            let n = n.min(m.left);
            m.left -= n;
            self.head += n;
        }
    }

    /// Removes the oldest frame, whose bytes are done. Returns when it came.
    pub fn pop(&mut self) -> Option<u64> {
        let m = self.marks.pop_front()?;
        self.head += m.left;
        if self.marks.is_empty() {
            self.bytes.clear();
            self.head = 0;
            if self.bytes.capacity() > KEPT_BYTES {
                self.bytes = Vec::new();
                self.marks = VecDeque::new();
            }
        }
        Some(m.arrived_us)
    }
}
