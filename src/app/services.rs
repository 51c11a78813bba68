//! The thread that asks services over the network: one runtime for the responder, and for whatever else waits on others. Audio and
//! messages never run here, so nothing that hangs here holds them up.

use std::future::Future;
use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// What a service may take to come to its end: it has been told, and what it still does is for nobody.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The services' thread.
pub(super) struct Services {
    handle: Handle,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// A start that fails halfway leaves no thread behind.
    stops_when_dropped: DropGuard,
    thread: JoinHandle<()>,
}

impl Services {
    /// Starts the thread; nothing runs on it yet.
    ///
    /// # Errors
    /// Where the thread or its runtime cannot be had.
    pub(super) fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (handle, tasks, stop) = (runtime.handle().clone(), TaskTracker::new(), CancellationToken::new());
        let thread = std::thread::Builder::new().name("services".to_owned()).spawn({
            let (tasks, stop) = (tasks.clone(), stop.clone());
            move || {
                runtime.block_on(async {
                    stop.cancelled().await;
                    tasks.close();
                    if tokio::time::timeout(LAST_WORDS, tasks.wait()).await.is_err() {
                        tracing::warn!(services = tasks.len(), "services cut at the end");
                    }
                });
                runtime.shutdown_background(); // a name look-up may hang in the system
            }
        })?;
        Ok(Self { handle, tasks, stops_when_dropped: stop.clone().drop_guard(), stop, thread })
    }

    /// Runs a service until it ends; it should when the token it is given is cancelled.
    pub(super) fn spawn<F>(&self, service: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn_on(service(self.stop.child_token()), &self.handle);
    }

    /// Runs what has no end of its own until everything stops.
    pub(super) fn keep(&self, service: impl Future<Output = ()> + Send + 'static) {
        self.spawn(|stop| async move {
            stop.run_until_cancelled(service).await;
        });
    }

    /// Does something on the services' runtime and waits for it, from any thread.
    ///
    /// # Errors
    /// Where it panicked.
    pub(super) fn run<T: Send, F: Future<Output = T>>(&self, work: impl FnOnce() -> F + Send) -> io::Result<T> {
        // A thread of its own: the caller's may belong to another runtime, which must not be blocked on.
        std::thread::scope(|scope| scope.spawn(|| self.handle.block_on(work())).join())
            .map_err(|_| io::Error::other("the work of a service panicked"))
    }

    /// Tells every service to stop and waits for them, two seconds at the most.
    pub(super) fn shutdown(self) {
        drop(self.stops_when_dropped);
        if self.thread.join().is_err() {
            tracing::error!("the services' thread panicked");
        }
    }
}
