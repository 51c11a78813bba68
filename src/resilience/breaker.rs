//! Circuit breakers by name: after some failures in a row a service is left alone for a while, then asked once to see whether it is back.
//! The state machine is failsafe's; what is added are names, figures, one probe at a time and who is told. Knows no service.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use failsafe::backoff::Constant;
use failsafe::failure_policy::{ConsecutiveFailures, consecutive_failures};
use failsafe::{Instrument, StateMachine};

use crate::clock::unix_ms;

/// While another call is probing, the rest are told to come back: a probe takes about as long as an answer.
const PROBE_WAIT: Duration = Duration::from_secs(1);

/// When a breaker opens and for how long.
#[derive(Clone, Copy, Debug)]
pub struct BreakerSettings {
    /// Failures in a row that open it.
    pub failures_max: u32,
    /// Time until a probe is let through.
    pub open_for: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self { failures_max: 5, open_for: Duration::from_secs(30) }
    }
}

/// Whether calls are let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// All of them.
    Closed,
    /// None.
    Open,
    /// One at a time, to see whether the service is back.
    HalfOpen,
}

/// A breaker as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerStatus {
    /// Its name.
    pub name: &'static str,
    /// Its state. An open breaker shows as open until somebody asks again, however long that takes.
    pub state: BreakerState,
    /// Failures in a row, up to now.
    pub failures: u64,
    /// When it opened last, in milliseconds since the Unix epoch; `None` while closed.
    pub opened_unix_ms: Option<u64>,
}

/// A breaker changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerChange {
    /// Its name.
    pub name: &'static str,
    /// What it is now.
    pub to: BreakerState,
    /// Failures in a row before the change.
    pub failures: u64,
}

/// A call was not let through: the service is being left alone. Worth a retry after the time it tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} failed too often and is left alone for another {} ms", retry_after.as_millis())]
pub struct CircuitOpen {
    /// The breaker.
    pub name: &'static str,
    /// When a call may be let through again.
    pub retry_after: Duration,
}

type Observer = Box<dyn Fn(&BreakerChange) + Send + Sync>;

/// Every breaker there is.
#[derive(Default)]
pub struct Breakers {
    settings: BreakerSettings,
    all: Mutex<Vec<Arc<Breaker>>>,
    observers: Arc<Mutex<Vec<Arc<Observer>>>>,
}

impl Breakers {
    /// No breakers yet; those to come have these settings.
    pub fn new(settings: BreakerSettings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Calls `observer` at every change of every breaker, on the thread that caused it: it must not block. No lock is held.
    pub fn observe(&self, observer: impl Fn(&BreakerChange) + Send + Sync + 'static) {
        lock(&self.observers).push(Arc::new(Box::new(observer)));
    }

    /// The breaker of that name, made at the first call.
    pub fn get(&self, name: &'static str) -> Arc<Breaker> {
        let mut all = lock(&self.all);
        if let Some(found) = all.iter().find(|b| b.name == name) {
            return Arc::clone(found);
        }
        let made = Arc::new(Breaker::new(name, self.settings, Arc::clone(&self.observers)));
        all.push(Arc::clone(&made));
        made
    }

    /// How each of them is, in the order they were made.
    pub fn list(&self) -> Vec<BreakerStatus> {
        lock(&self.all).iter().map(|b| b.status()).collect()
    }

    /// Whether all let calls through.
    pub fn all_closed(&self) -> bool {
        lock(&self.all).iter().all(|b| b.status().state == BreakerState::Closed)
    }

    /// Closes the breaker of that name, or all. The names of those there were.
    pub fn reset(&self, name: Option<&str>) -> Vec<&'static str> {
        let chosen: Vec<_> = lock(&self.all).iter().filter(|b| name.is_none_or(|n| n == b.name)).cloned().collect();
        chosen
            .iter()
            .map(|b| {
                b.reset();
                b.name
            })
            .collect()
    }
}

/// What failsafe does not tell: it reports each change here, under its own lock at times, so nothing is called from here.
#[derive(Debug)]
struct Watch {
    state: BreakerState,
    failures: u64,
    opened: Option<(Instant, u64)>,
    probing: bool,
    untold: Vec<BreakerState>,
}

#[derive(Clone, Debug)]
struct Recorder(Arc<Mutex<Watch>>);

impl Recorder {
    fn change(&self, to: BreakerState) {
        let mut w = lock(&self.0);
        w.state = to;
        w.probing = false;
        match to {
            BreakerState::Open => w.opened = Some((Instant::now(), unix_ms())),
            BreakerState::Closed => w.opened = None,
            BreakerState::HalfOpen => {}
        }
        w.untold.push(to);
    }
}

impl Instrument for Recorder {
    fn on_call_rejected(&self) {}

    fn on_open(&self) {
        self.change(BreakerState::Open);
    }

    fn on_half_open(&self) {
        self.change(BreakerState::HalfOpen);
    }

    fn on_closed(&self) {
        self.change(BreakerState::Closed);
    }
}

/// The circuit breaker of one service.
pub struct Breaker {
    name: &'static str,
    open_for: Duration,
    machine: StateMachine<ConsecutiveFailures<Constant>, Recorder>,
    watch: Arc<Mutex<Watch>>,
    observers: Arc<Mutex<Vec<Arc<Observer>>>>,
}

impl Breaker {
    fn new(name: &'static str, settings: BreakerSettings, observers: Arc<Mutex<Vec<Arc<Observer>>>>) -> Self {
        let watch = Arc::new(Mutex::new(Watch {
            state: BreakerState::Closed,
            failures: 0,
            opened: None,
            probing: false,
            untold: Vec::new(),
        }));
        let policy = consecutive_failures(settings.failures_max, failsafe::backoff::constant(settings.open_for));
        let machine = StateMachine::new(policy, Recorder(Arc::clone(&watch)));
        lock(&watch).untold.clear(); // that it begins closed is no news
        Self { name, open_for: settings.open_for, machine, watch, observers }
    }

    /// Leave to call the service. Whoever has it says how the call went; dropping it says nothing of the service.
    ///
    /// # Errors
    /// [`CircuitOpen`] while the service is left alone, or another call is finding out whether it is back.
    pub fn permit(self: &Arc<Self>) -> Result<Permit, CircuitOpen> {
        let permitted = self.machine.is_call_permitted();
        self.tell();
        let mut w = lock(&self.watch);
        let left = w.opened.map_or(Duration::ZERO, |(at, _)| self.open_for.saturating_sub(at.elapsed()));
        if !permitted {
            return Err(CircuitOpen { name: self.name, retry_after: left });
        }
        let probe = w.state == BreakerState::HalfOpen;
        if probe && std::mem::replace(&mut w.probing, true) {
            return Err(CircuitOpen { name: self.name, retry_after: PROBE_WAIT });
        }
        Ok(Permit { breaker: Arc::clone(self), probe })
    }

    /// How it is.
    pub fn status(&self) -> BreakerStatus {
        let w = lock(&self.watch);
        BreakerStatus {
            name: self.name,
            state: w.state,
            failures: w.failures,
            opened_unix_ms: w.opened.map(|(_, unix_ms)| unix_ms),
        }
    }

    fn reset(&self) {
        lock(&self.watch).failures = 0;
        self.machine.reset();
        self.machine.on_success(); // a closed machine that is reset would go on counting
        self.tell();
    }

    fn tell(&self) {
        let (untold, failures) = {
            let mut w = lock(&self.watch);
            (std::mem::take(&mut w.untold), w.failures)
        };
        if untold.is_empty() {
            return;
        }
        let observers = lock(&self.observers).clone();
        for to in untold {
            let change = BreakerChange { name: self.name, to, failures };
            for observer in &observers {
                observer(&change);
            }
        }
    }
}

/// Leave for one call.
pub struct Permit {
    breaker: Arc<Breaker>,
    probe: bool,
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Permit").field("of", &self.breaker.name).field("probe", &self.probe).finish()
    }
}

impl Permit {
    /// Whether this call finds out if the service is back: it should not be repeated.
    pub fn is_probe(&self) -> bool {
        self.probe
    }

    /// The service answered.
    pub fn success(self) {
        self.breaker.machine.on_success();
        self.breaker.tell();
        lock(&self.breaker.watch).failures = 0;
    }

    /// The service failed.
    pub fn failure(self) {
        lock(&self.breaker.watch).failures += 1;
        self.breaker.machine.on_error();
        self.breaker.tell();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.probe {
            lock(&self.breaker.watch).probing = false;
        }
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use BreakerState::{Closed, HalfOpen, Open};

    const LONG: Duration = Duration::from_secs(3_600);

    fn breakers(open_for: Duration) -> (Breakers, Arc<Mutex<Vec<BreakerState>>>) {
        let all = Breakers::new(BreakerSettings { failures_max: 5, open_for });
        let seen = Arc::new(Mutex::new(Vec::new()));
        all.observe({
            let seen = Arc::clone(&seen);
            move |change| lock(&seen).push(change.to)
        });
        (all, seen)
    }

    /// Leave, as soon as the clock has moved past an opening of no length.
    fn soon(b: &Arc<Breaker>) -> Permit {
        loop {
            if let Ok(p) = b.permit() {
                return p;
            }
        }
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_a_success_between_begins_anew() {
        let (all, seen) = breakers(LONG);
        let b = all.get("x");
        for _ in 0..4 {
            b.permit().unwrap().failure();
        }
        b.permit().unwrap().success();
        for n in 1..=5 {
            assert_eq!(b.status().state, Closed, "after {n}");
            b.permit().unwrap().failure();
        }
        let status = b.status();
        assert_eq!((status.state, status.failures, status.opened_unix_ms.is_some()), (Open, 5, true));
        let refused = b.permit().err().unwrap();
        assert!(refused.retry_after > LONG - Duration::from_secs(60) && refused.retry_after <= LONG);
        assert_eq!(*lock(&seen), [Open]);
        assert!(!all.all_closed());
    }

    #[test]
    fn one_probe_at_a_time_decides_whether_it_closes() {
        let (all, seen) = breakers(Duration::ZERO);
        let b = all.get("x");
        for _ in 0..5 {
            b.permit().unwrap().failure();
        }
        let probe = soon(&b);
        assert!(probe.is_probe());
        assert!(b.permit().is_err(), "another while one probes");
        drop(probe); // cancelled: it says nothing
        assert_eq!(b.status().state, HalfOpen);
        soon(&b).failure();
        soon(&b).success();
        assert_eq!((b.status().state, b.status().failures, b.status().opened_unix_ms), (Closed, 0, None));
        assert_eq!(*lock(&seen), [Open, HalfOpen, Open, HalfOpen, Closed]);
        assert!(!b.permit().unwrap().is_probe());
    }

    #[test]
    fn a_reset_closes_it_and_forgets_the_failures() {
        let (all, seen) = breakers(LONG);
        for name in ["x", "y"] {
            for _ in 0..5 {
                all.get(name).permit().unwrap().failure();
            }
        }
        assert_eq!(all.reset(Some("x")), ["x"]);
        assert_eq!(all.list().iter().map(|s| s.state).collect::<Vec<_>>(), [Closed, Open]);
        assert_eq!((all.reset(Some("z")).len(), all.reset(None)), (0, vec!["x", "y"]));
        assert!(all.all_closed());
        assert_eq!(*lock(&seen), [Open, Open, Closed, Closed]);
        for _ in 0..4 {
            all.get("x").permit().unwrap().failure();
        }
        all.reset(None);
        all.get("x").permit().unwrap().failure();
        assert!(all.all_closed(), "failures before a reset do not count");
    }

    #[test]
    fn an_observer_may_ask_the_registry() {
        let all = Arc::new(Breakers::new(BreakerSettings { failures_max: 1, open_for: LONG }));
        let (weak, seen) = (Arc::downgrade(&all), Arc::new(Mutex::new(Vec::new())));
        all.observe({
            let seen = Arc::clone(&seen);
            move |_| lock(&seen).extend(weak.upgrade().map(|all| all.list()))
        });
        all.get("x").permit().unwrap().failure();
        assert_eq!(lock(&seen)[0][0].state, Open);
    }
}
