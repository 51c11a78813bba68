//! What a connection's task writes, and when: at once, or after the thread's other connections have read. Knows no message.

use std::pin::Pin;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use super::lane::Lane;
use super::task::{Phase, Task};
use crate::server::lanes::answers_together;

/// Largest output that waits for the thread's other connections to read: a few acknowledgements. More is worth a write of its own.
const DEFERRED_BYTES_MAX: usize = 1_024;

impl Task {
    /// Keeps a small answer for the next poll where several connections of the thread have something to do. Each write wakes the
    /// other end or rings the network card: all reads of a turn, then all writes, cost a tenth less with two hundred streams.
    pub(super) fn defer(&mut self, lane: &mut Lane) -> bool {
        let usual = 1..=DEFERRED_BYTES_MAX;
        if self.phase != Phase::Open || !usual.contains(&lane.out.len()) || !self.out.is_empty() || !answers_together()
        {
            return false;
        }
        self.out.extend_from_slice(&lane.out);
        lane.out.clear();
        self.deferred = true;
        true
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, lane: &mut Lane) {
        let deferred = std::mem::take(&mut self.deferred);
        if self.phase == Phase::Gone {
            lane.out.clear();
            return;
        }
        if !self.out.is_empty() {
            self.out.extend_from_slice(&lane.out);
            lane.out.clear();
            let mut pending = std::mem::take(&mut self.out);
            let written = self.write(cx, &pending, lane.now_us);
            match written {
                Some(n) if n == pending.len() => {
                    if !deferred {
                        self.connection.outbox.wake(); // what was held back may go now
                    } else if !self.streams.is_empty() {
                        pending.clear();
                        self.out = pending; // the next acknowledgement finds its place made
                    }
                }
                Some(n) => {
                    pending.drain(..n);
                    self.out = pending;
                }
                None => self.gone(),
            }
        } else if !lane.out.is_empty() {
            let n = self.write(cx, &lane.out, lane.now_us);
            match n {
                Some(n) => self.out.extend_from_slice(&lane.out[n..]),
                None => self.gone(),
            }
            lane.out.clear();
        }
        if self.phase == Phase::Closing(0) && self.out.is_empty() {
            self.gone();
        }
        if self.out.len() > self.app.config.connections.queue_bytes {
            self.gone(); // a frame may be cut in the middle: not even a close can follow
        }
    }

    /// Writes what the socket takes. `None` where it is broken.
    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8], now_us: u64) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            match Pin::new(&mut self.socket).poll_write(cx, &bytes[at..]) {
                Poll::Pending => break,
                Poll::Ready(Ok(n)) if n > 0 => at += n,
                Poll::Ready(_) => return None,
            }
        }
        if at > 0 {
            self.wrote_ms = now_us / 1_000;
            count(&self.connection.counters.bytes_out, at as u64);
        }
        Some(at)
    }
}

/// Adds to a figure that this task alone writes: nothing need lock the bus.
pub(super) fn count(figure: &AtomicU64, n: u64) {
    figure.store(figure.load(Relaxed) + n, Relaxed);
}
