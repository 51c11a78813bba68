//! What time brings to a connection: heartbeats, streams that stall, tokens that end, a session nobody came back for.

use std::sync::atomic::Ordering::Relaxed;
use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;

use super::lane::Lane;
use super::task::{Phase, TICK_MS, Task};
use crate::protocol::{CloseCode, Event};
use crate::websocket::{self, OpCode};

/// How late a timer is called where the thread, or all of the process, did not run meanwhile.
const LATE: Duration = Duration::from_millis(100);
/// What the runtime gets to tell of sockets before a connection is given up: it does so each time it has nothing else to do.
const LAST_LOOK_MS: u64 = 20;

/// How often it gets that in a row: it may be stopped again meanwhile, but a worker that is always late shall not put off for ever.
const LOOKS_MAX: u8 = 3;

impl Task {
    /// Brings the timer forward: something was begun that time will end.
    pub(super) fn look_within(&mut self, ms: u64) {
        let at = Instant::now() + Duration::from_millis(ms);
        if at < self.timer.deadline() {
            self.timer.as_mut().reset(at);
            self.timer_due_ms = 0;
            self.connection.outbox.wake(); // the timer must be polled again to count
        }
    }

    pub(super) fn poll_timer(&mut self, cx: &mut Context<'_>, lane: &mut Lane) {
        if lane.now_us / 1_000 < self.timer_due_ms {
            return;
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let now_ms = self.app.clock.now_ms();
            let looks_first = self.looks < LOOKS_MAX && self.must_look_first(now_ms);
            let next_ms = if looks_first {
                self.looks += 1;
                now_ms + LAST_LOOK_MS
            } else {
                self.looks = 0;
                self.on_timer(now_ms, lane).max(now_ms + 1)
            };
            self.timer.as_mut().reset(Instant::now() + Duration::from_millis(next_ms - now_ms));
            self.timer_due_ms = next_ms;
        }
    }

    /// Whether the socket is to be read once more before time decides anything. A server that was stopped, like a machine that slept,
    /// finds the time up for all, and what they said meanwhile in their sockets; which of both the runtime tells first is chance.
    fn must_look_first(&self, now_ms: u64) -> bool {
        let late = Instant::now().saturating_duration_since(self.timer.deadline()) >= LATE;
        let timeout_ms = self.app.config.connections.heartbeat_timeout_ms;
        let silent = now_ms.saturating_sub(self.heard_ms()) >= timeout_ms;
        self.socket.is_some() && (late || (silent && self.looks == 0))
    }

    fn heard_ms(&self) -> u64 {
        self.connection.counters.last_activity_ms.load(Relaxed)
    }

    /// Looks at everything that depends on time. Returns when to look again.
    fn on_timer(&mut self, now_ms: u64, lane: &mut Lane) -> u64 {
        if let Phase::Detached(until_ms) = self.phase {
            self.check_drain(lane);
            return self.wait_for_return(until_ms, now_ms, lane);
        }
        if let Phase::Closing(until_ms) = self.phase
            && now_ms >= until_ms
        {
            self.lost();
        }
        let config = &self.app.config.connections;
        let (interval_ms, timeout_ms) = (config.heartbeat_interval_ms, config.heartbeat_timeout_ms);
        let heard_ms = self.heard_ms();
        let silent = now_ms.saturating_sub(heard_ms) >= timeout_ms;
        let stuck = self.has_unsent() && now_ms.saturating_sub(self.wrote_ms) >= timeout_ms;
        if stuck {
            self.lost(); // a close frame could not be written either
        } else if silent && !self.is_paused(now_ms * 1_000) {
            self.close(CloseCode::Idle, "no traffic", lane);
        } else if now_ms.saturating_sub(heard_ms) >= interval_ms
            && self.pinged_ms.is_none_or(|p| now_ms >= p + interval_ms)
        {
            self.pinged_ms = Some(now_ms);
            self.send(&Event::Ping, None, lane);
            websocket::encode(&mut lane.out, OpCode::Ping, b"");
        }
        self.check_drain(lane);
        self.check_stream_times(now_ms, lane);
        let mut next_ms = heard_ms.max(self.pinged_ms.unwrap_or(0)) + interval_ms;
        if let Phase::Closing(until_ms) = self.phase {
            next_ms = next_ms.min(until_ms);
        }
        if !self.streams.is_empty() || self.has_unsent() {
            next_ms = next_ms.min(now_ms + TICK_MS);
        }
        if self.read_after_ms > now_ms {
            next_ms = next_ms.min(self.read_after_ms);
        }
        let mut effects = Vec::new();
        if let Some(at_ms) = self.session.on_time(now_ms, &mut effects) {
            next_ms = next_ms.min(at_ms);
        }
        self.carry_out_all(effects, lane);
        let verdict_ms = if silent { now_ms + TICK_MS } else { heard_ms + timeout_ms };
        next_ms.min(verdict_ms).max(now_ms + 1)
    }
}
