//! When a busy worker rests, so that one wake-up serves many sockets: an idle one answers at once. Knows no socket and no clock.

use std::time::Duration;

/// Sockets in a turn from which on a rest pays: for one alone it only delays.
const RESTS_FROM: u32 = 2;
/// From turn to turn of a busy worker. Longer saves little with a thousand streams and takes their p99 past 2 ms.
const TURN: Duration = Duration::from_micros(800);
/// Sockets in a turn up to which their answers are written after the last of them was read. With more, a socket's memory has left
/// the caches by then, and the other end is awake anyway.
const ANSWERS_TOGETHER_MAX: u32 = 16;
/// Turns without a rest after one in which nothing gathered: a client that waits for each answer shall not wait for rests too.
const TURNS_OFF: u32 = 30;

/// The pace of one worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// When this turn began, on any clock.
    began: Duration,
    /// Sockets served in it so far.
    served: u32,
    resting: bool,
    /// Whether the last turn was small enough for [`ANSWERS_TOGETHER_MAX`].
    small: bool,
    /// Turns to come without a rest.
    off: u32,
}

impl Pace {
    pub(super) const fn new() -> Self {
        Self { began: Duration::ZERO, served: 0, resting: false, small: false, off: 0 }
    }

    /// Whether answers shall wait until all of this turn has been read.
    pub(super) fn answers_together(self) -> bool {
        self.resting && self.small
    }

    /// Called when all work is done, with the sockets served since the last call. How long to rest before looking for more.
    pub(super) fn rest(&mut self, now: Duration, served: u32) -> Duration {
        self.served += served;
        let passed = now.saturating_sub(self.began);
        if !self.resting && passed < TURN {
            return Duration::ZERO; // still counting what a rest would have gathered
        }
        // What came in a turn that waited long for it did not come often.
        let gathered = self.served >= RESTS_FROM && passed < 2 * TURN;
        if self.resting && !gathered {
            self.off = TURNS_OFF;
        }
        self.off = self.off.saturating_sub(1);
        let rest = match (gathered && self.off == 0, self.resting) {
            (false, _) => Duration::ZERO,
            (true, false) => TURN,
            (true, true) => TURN.saturating_sub(passed),
        };
        self.resting = gathered && self.off == 0;
        self.small = self.served <= ANSWERS_TOGETHER_MAX;
        self.served = 0;
        self.began = now + rest;
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames come `gap` apart, from as many sockets; each takes 10 us. Returns turns, and the time rested, in a second.
    fn second(gap_us: u64) -> (u64, Duration) {
        let (mut pace, mut now_us, mut next_us, mut turns, mut rested) = (Pace::new(), 0, 0, 0, Duration::ZERO);
        while now_us < 1_000_000 {
            now_us = now_us.max(next_us);
            let mut served = 0;
            while next_us <= now_us {
                served += 1;
                next_us += gap_us;
            }
            now_us += u64::from(served) * 10;
            turns += 1;
            let rest = pace.rest(Duration::from_micros(now_us), served);
            rested += rest;
            now_us += rest.as_micros() as u64;
        }
        (turns, rested)
    }

    #[test]
    fn a_worker_with_little_to_do_never_rests() {
        for gap_us in [20_000, 5_000, 2_000] {
            assert_eq!(second(gap_us).1, Duration::ZERO, "{gap_us}");
        }
    }

    #[test]
    fn a_busy_worker_serves_many_in_a_turn() {
        for gap_us in [300, 100, 20] {
            let (turns, rested) = second(gap_us);
            assert!((900..=1_400).contains(&turns), "{gap_us}: {turns}");
            assert!(rested > Duration::from_millis(300), "{gap_us}: {rested:?}");
        }
    }

    #[test]
    fn a_client_that_waits_for_each_answer_is_hardly_delayed() {
        // It sends again 50 us after each answer.
        let (mut pace, mut now_us, mut answers) = (Pace::new(), 0, 0);
        while now_us < 1_000_000 {
            now_us += 60;
            answers += 1;
            now_us += pace.rest(Duration::from_micros(now_us), 1).as_micros() as u64;
        }
        assert!(answers > 15_000, "{answers} of 16,666");
    }
}
