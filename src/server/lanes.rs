//! Worker threads: each runs its own connections to their end on a runtime of its own, so that a frame never changes thread.

use std::cell::{Cell, OnceCell};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::accept::Slot;
use super::monitor;
use super::pace::Pace;
use super::router::Routes;
use super::state::App;
use super::ws::Restored;
use crate::clock::Clock;
use crate::journal::Found;
use crate::telemetry::LaneFigures;

/// Accepted sockets that may wait for a worker; the accept loop waits beyond that, and the kernel's own queue fills.
const HANDOVER_MAX: usize = 1_024;
/// How often a worker's timer is looked at: several times a sample, and an idle server still sleeps.
const LAG_EVERY: Duration = Duration::from_millis(250);
/// A worker whose timer was not called for so long gets no new sockets while there is another: it is held up, whatever its load.
const SILENT_MS: u64 = 2_000;
/// What a worker's connections may take to come to their end once the drain time is over.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// An accepted socket on its way to a worker.
pub(super) struct Accepted {
    pub(super) socket: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) slot: Slot,
}

struct Lane {
    hand: mpsc::Sender<(Accepted, Load)>,
    load: Arc<AtomicUsize>,
    figures: Arc<LaneFigures>,
    thread: JoinHandle<()>,
}

/// Connections of a worker, counted while this lives.
pub(super) struct Load(Arc<AtomicUsize>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All worker threads.
pub struct Lanes {
    lanes: Vec<Lane>,
    clock: Clock,
}

impl Lanes {
    /// Starts one worker per core this process may use, and spreads the sessions over them that a killed server left.
    ///
    /// # Errors
    /// Where a thread or its runtime cannot be had.
    pub fn start(app: &Arc<App>, found: Vec<Found>) -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let mut shares: Vec<Vec<Restored>> = (0..cores).map(|_| Vec::new()).collect();
        // All are known before the first socket is served: nobody comes back too early.
        for (n, restored) in found.into_iter().filter_map(|f| Restored::register(app, f)).enumerate() {
            shares[n % cores].push(restored);
        }
        let start = |(n, share)| Lane::start(n, Arc::clone(app), share);
        let lanes = shares.into_iter().enumerate().map(start).collect::<io::Result<_>>()?;
        Ok(Self { lanes, clock: app.clock })
    }

    /// Hands a socket to the worker with the fewest connections, of those that are not held up.
    pub(super) async fn hand(&self, accepted: Accepted) {
        let now_ms = self.clock.now_ms();
        let rank = |l: &&Lane| {
            let held_up = now_ms.saturating_sub(l.figures.alive_ms.load(Ordering::Relaxed)) >= SILENT_MS;
            (held_up, l.load.load(Ordering::Relaxed))
        };
        let Some(lane) = self.lanes.iter().min_by_key(rank) else { return };
        lane.load.fetch_add(1, Ordering::Relaxed);
        let load = Load(Arc::clone(&lane.load));
        // A worker that is gone has been told to stop: the socket is closed by being dropped.
        let _ = lane.hand.send((accepted, load)).await;
    }

    /// Lets every worker finish its connections and waits for it.
    pub fn join(self) {
        let threads: Vec<_> = self.lanes.into_iter().map(|l| l.thread).collect(); // the senders go: no more sockets come
        for t in threads {
            if t.join().is_err() {
                tracing::error!("a worker thread panicked");
            }
        }
    }
}

thread_local! {
    static FIGURES: OnceCell<Arc<LaneFigures>> = const { OnceCell::new() };
    static SERVED: Cell<u32> = const { Cell::new(0) };
    static PACE: Cell<Pace> = const { Cell::new(Pace::new()) };
}

/// What this worker counts; of other threads nobody asks.
pub(super) fn figures() -> Arc<LaneFigures> {
    FIGURES.with(|f| Arc::clone(f.get_or_init(Arc::default)))
}

/// How late this thread's timer is called, again and again: its connections wait as long for each other.
async fn measure_lag(app: Arc<App>, figures: Arc<LaneFigures>) {
    let mut due = tokio::time::Instant::now();
    loop {
        figures.alive_ms.store(app.clock.now_ms(), Ordering::Relaxed);
        due += LAG_EVERY;
        tokio::time::sleep_until(due).await;
        let now = tokio::time::Instant::now();
        figures.lag.add(u64::try_from(now.duration_since(due).as_micros()).unwrap_or(u64::MAX));
        due = now;
    }
}

/// Counts a socket that this worker served.
pub(super) fn served() {
    SERVED.set(SERVED.get() + 1);
}

/// Whether a small answer shall wait until this worker's other sockets have been read: see [`Pace`].
pub(super) fn answers_together() -> bool {
    PACE.get().answers_together()
}

/// Called before a worker waits for its sockets: see [`Pace`].
fn gather(started: Instant) {
    let mut pace = PACE.get();
    let rest = pace.rest(started.elapsed(), SERVED.take());
    PACE.set(pace);
    if !rest.is_zero() {
        std::thread::sleep(rest);
    }
}

impl Lane {
    fn start(number: usize, app: Arc<App>, restored: Vec<Restored>) -> io::Result<Self> {
        let (hand, mut taken) = mpsc::channel::<(Accepted, Load)>(HANDOVER_MAX);
        let load = Arc::new(AtomicUsize::new(restored.len()));
        let restored: Vec<_> = restored.into_iter().map(|r| (r, Load(Arc::clone(&load)))).collect();
        let figures = Arc::new(LaneFigures::default());
        figures.alive_ms.store(app.clock.now_ms(), Ordering::Relaxed);
        app.monitor.add_lane(monitor::Lane { figures: Arc::clone(&figures), load: Arc::clone(&load) });
        let started = Instant::now();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || gather(started))
            .build()?;
        let (own, seen) = (Arc::clone(&figures), Arc::clone(&figures));
        let work = async move {
            tokio::spawn(measure_lag(Arc::clone(&app), figures)); // until the runtime ends
            let tasks = TaskTracker::new();
            let routes = Routes::new(&app, &tasks);
            for (session, load) in restored {
                let task = Box::pin(session.run(&app));
                tasks.spawn(async move {
                    let _load = load;
                    task.await;
                });
            }
            while let Some((accepted, load)) = taken.recv().await {
                tasks.spawn(routes.clone().serve(accepted, load));
            }
            tasks.close();
            let deadline_ms = app.drain_deadline_ms().unwrap_or(0).saturating_sub(app.clock.now_ms());
            let patience = Duration::from_millis(deadline_ms) + LAST_WORDS;
            if tokio::time::timeout(patience, tasks.wait()).await.is_err() {
                tracing::warn!(connections = tasks.len(), "connections cut at the end of the drain time");
            }
        };
        let thread = std::thread::Builder::new().name(format!("lane-{number}")).spawn(move || {
            FIGURES.with(|f| f.set(own)).expect("a new thread has none");
            runtime.block_on(work);
            runtime.shutdown_timeout(Duration::from_millis(100));
        })?;
        Ok(Self { hand, load, figures: seen, thread })
    }
}
