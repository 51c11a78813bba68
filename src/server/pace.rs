//! When a busy worker rests, so that one wake-up serves many sockets: an idle one answers at once. Knows no socket and no clock.

use std::time::Duration;

/// Sockets in a turn from which on a rest pays: for one alone it only delays.
const RESTS_FROM: u32 = 2;
/// Sockets in a turn from which on turns need not be longer.
const WELL_FILLED: u32 = 8;
/// From turn to turn while turns are well filled: a thirtieth of a frame's 20 ms, and a third less CPU with a thousand streams.
const TURN: Duration = Duration::from_micros(550);
/// The same while they are not: with a hundred streams or two it is the waking up that costs.
const TURN_SPARSE: Duration = Duration::from_micros(900);
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
    /// Turns to come without a rest.
    off: u32,
    turn: Duration,
}

impl Pace {
    pub(super) const fn new() -> Self {
        Self { began: Duration::ZERO, served: 0, resting: false, off: 0, turn: TURN_SPARSE }
    }

    /// Whether it rests between turns.
    pub(super) fn in_turns(self) -> bool {
        self.resting
    }

    /// Called when all work is done, with the sockets served since the last call. How long to rest before looking for more.
    pub(super) fn rest(&mut self, now: Duration, served: u32) -> Duration {
        self.served += served;
        let passed = now.saturating_sub(self.began);
        if !self.resting && passed < self.turn {
            return Duration::ZERO; // still counting what a rest would have gathered
        }
        // What came in a turn that waited long for it did not come often.
        let gathered = self.served >= RESTS_FROM && passed < 2 * self.turn;
        if self.resting && !gathered {
            self.off = TURNS_OFF;
        }
        self.off = self.off.saturating_sub(1);
        self.turn = if self.served < WELL_FILLED { TURN_SPARSE } else { TURN };
        let rest = match (gathered && self.off == 0, self.resting) {
            (false, _) => Duration::ZERO,
            (true, false) => self.turn,
            (true, true) => self.turn.saturating_sub(passed),
        };
        self.resting = gathered && self.off == 0;
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
        for (gap_us, turns_max) in [(300, 1_200), (100, 1_500), (20, 2_000)] {
            let (turns, rested) = second(gap_us);
            assert!(turns <= turns_max && turns >= 900, "{gap_us}: {turns}");
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
