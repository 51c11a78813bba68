//! The queue of writes before a backend's writer, and the loop that keeps them in groups: all that came while the last group was being made
//! durable is the next. Knows no database; a backend is whoever keeps a group.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::error::StoreError;
use super::records::StoreStatus;
use super::write::Write;
use crate::resilience::{Breaker, Permit};

/// Writes that wait or are under way. A disk that takes 50 ms a commit keeps 10,000 a second in groups: this is 0.4 s of them.
pub(super) const QUEUE_WRITES_MAX: usize = 4_096;

/// What they hold: messages may have a megabyte each.
const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Writes of one group. More would not be faster, and makes the first wait for the last.
pub(super) const GROUP_WRITES_MAX: usize = 512;

/// What one group may hold: well below what makes SQLite's log grow beyond its usual size.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Keeps groups of writes.
pub(super) trait Keeper: Send {
    /// Makes the whole group durable, or none of it. Sets the value of each write's reply.
    fn keep(&mut self, group: &mut [Write]) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// The queue and the figures about it.
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Notify,
    /// Leaves a store alone that failed too often: what is queued meanwhile is refused at once instead of waiting for the disk.
    breaker: Option<Arc<Breaker>>,
}

struct State {
    waiting: VecDeque<Write>,
    /// Writes of the group under way.
    in_hand: usize,
    /// What waits and is under way.
    bytes: usize,
    closed: bool,
    status: StoreStatus,
}

impl Queue {
    pub(super) fn new(breaker: Option<Arc<Breaker>>) -> Self {
        let status = StoreStatus { healthy: true, queued: 0, last_error: None, commits: 0, writes: 0 };
        let state = State { waiting: VecDeque::new(), in_hand: 0, bytes: 0, closed: false, status };
        Self { state: Mutex::new(state), filled: Notify::new(), breaker }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock; were it so, the counts would still be right.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a write, or refuses it without telling its callback.
    pub(super) fn submit(&self, write: Write) -> Result<(), StoreError> {
        match self.push(write) {
            Ok(()) => {
                self.filled.notify_one();
                Ok(())
            }
            Err((write, error)) => {
                write.discard();
                Err(error)
            }
        }
    }

    #[expect(clippy::result_large_err, reason = "the write goes back to be let go outside the lock")]
    fn push(&self, write: Write) -> Result<(), (Write, StoreError)> {
        let mut state = self.state();
        let (count, bytes) = (state.waiting.len() + state.in_hand, write.bytes());
        if state.closed {
            return Err((write, StoreError::Closed));
        }
        // One write alone may be larger than the bound: the comparison at the start with very many recordings is.
        if count >= QUEUE_WRITES_MAX || (count > 0 && state.bytes + bytes > QUEUE_BYTES_MAX) {
            return Err((write, StoreError::Busy { waiting: count }));
        }
        state.bytes += bytes;
        state.waiting.push_back(write);
        Ok(())
    }

    /// Takes no more writes; those that wait are still kept.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.filled.notify_one();
    }

    /// How the store is.
    pub(super) fn status(&self) -> StoreStatus {
        let state = self.state();
        StoreStatus { queued: state.waiting.len() + state.in_hand, ..state.status.clone() }
    }

    /// The next group; none once the queue is closed and empty.
    async fn next_group(&self) -> Option<Vec<Write>> {
        loop {
            {
                let mut state = self.state();
                if !state.waiting.is_empty() {
                    return Some(state.take_group());
                }
                if state.closed {
                    return None;
                }
            }
            self.filled.notified().await;
        }
    }

    /// Leave to bother the store; none needed where nobody counts its failures.
    fn permit(&self) -> Result<Option<Permit>, StoreError> {
        let Some(breaker) = &self.breaker else { return Ok(None) };
        breaker.permit().map(Some).map_err(|open| StoreError::LeftAlone {
            retry_after_ms: u64::try_from(open.retry_after.as_millis()).unwrap_or(u64::MAX).max(1),
        })
    }

    fn kept(&self, writes: usize) {
        let status = &mut self.state().status;
        status.commits += 1;
        status.writes += writes as u64;
        if !status.healthy {
            status.healthy = true;
            tracing::info!("the store keeps writes again");
        }
    }

    fn failed(&self, error: &StoreError, writes: usize) {
        let status = &mut self.state().status;
        status.last_error = Some(error.to_string());
        if error.is_of_the_operation() {
            tracing::warn!(%error, "the store refused a write");
        } else if status.healthy {
            // Said once: a disk that is full fails many times a second.
            status.healthy = false;
            tracing::error!(%error, writes, retryable = error.is_retryable(), "the store cannot keep writes");
        }
    }

    fn finished(&self, writes: usize, bytes: usize) {
        let mut state = self.state();
        state.in_hand -= writes;
        state.bytes -= bytes;
    }

    /// Nobody will keep anything any more: those that wait are told.
    fn abandon(&self) {
        let left = {
            let mut state = self.state();
            state.closed = true;
            (state.in_hand, state.bytes) = (0, 0);
            std::mem::take(&mut state.waiting)
        };
        drop(left);
    }
}

impl State {
    fn take_group(&mut self) -> Vec<Write> {
        let (mut count, mut bytes) = (0, 0);
        for write in self.waiting.iter().take(GROUP_WRITES_MAX) {
            bytes += write.bytes();
            if count > 0 && bytes > GROUP_BYTES_MAX {
                break;
            }
            count += 1;
        }
        self.in_hand += count;
        self.waiting.drain(..count).collect()
    }
}

/// Sees to it that no write waits for a writer that is gone: its task may be cut off with its runtime.
struct Abandon(Arc<Queue>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// Keeps what is queued until the queue is closed and empty. Gives the keeper back for its own end. Let go at any time, before its first
/// poll too, it tells those that wait.
pub(super) fn run<K: Keeper>(queue: Arc<Queue>, mut keeper: K) -> impl Future<Output = K> + Send {
    let abandon = Abandon(Arc::clone(&queue));
    async move {
        while let Some(group) = queue.next_group().await {
            let (writes, bytes) = (group.len(), group.iter().map(Write::bytes).sum());
            keep_group(&queue, &mut keeper, group).await;
            queue.finished(writes, bytes);
        }
        drop(abandon);
        keeper
    }
}

async fn keep_group<K: Keeper>(queue: &Queue, keeper: &mut K, mut group: Vec<Write>) {
    let permit = match queue.permit() {
        Ok(permit) => permit,
        Err(error) => return tell(group, &Err(error)),
    };
    let kept = keeper.keep(&mut group).await;
    if let Some(permit) = permit {
        match &kept {
            Err(error) if !error.is_of_the_operation() => permit.failure(),
            Ok(()) | Err(_) => permit.success(),
        }
    }
    match kept {
        Ok(()) => {
            queue.kept(group.len());
            tell(group, &Ok(()));
        }
        // One that the database refuses must not take the others with it.
        Err(error) if error.is_of_the_operation() && group.len() > 1 => {
            for write in group {
                let mut alone = vec![write];
                let result = keeper.keep(&mut alone).await;
                match &result {
                    Ok(()) => queue.kept(1),
                    Err(error) => queue.failed(error, 1),
                }
                tell(alone, &result);
            }
        }
        Err(error) => {
            queue.failed(&error, group.len());
            tell(group, &Err(error));
        }
    }
}

fn tell(group: Vec<Write>, result: &Result<(), StoreError>) {
    for write in group {
        write.finish(result.clone());
    }
}
