//! The memory all streams together may hold (failures.md row 32).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A shared account of bytes.
#[derive(Debug)]
pub struct MemoryBudget {
    limit_bytes: u64,
    used_bytes: AtomicU64,
}

impl MemoryBudget {
    /// An account with nothing taken.
    pub fn new(limit_bytes: u64) -> Arc<Self> {
        Arc::new(Self { limit_bytes, used_bytes: AtomicU64::new(0) })
    }

    /// Bytes taken now.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Whether not even `bytes` more would fit.
    pub fn is_exhausted(&self, bytes: u64) -> bool {
        self.used_bytes().saturating_add(bytes) > self.limit_bytes
    }

    /// Takes `bytes` out of it until the reservation is dropped; `None` where they do not fit.
    pub fn reserve(self: &Arc<Self>, bytes: u64) -> Option<Reservation> {
        let mut r = Reservation { budget: Arc::clone(self), bytes: 0 };
        r.grow_to(bytes).then_some(r)
    }
}

/// Bytes taken from a [`MemoryBudget`].
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<MemoryBudget>,
    bytes: u64,
}

impl Reservation {
    /// Makes it at least `bytes` large. False, and unchanged, where the budget does not allow it.
    pub fn grow_to(&mut self, bytes: u64) -> bool {
        let Some(more) = bytes.checked_sub(self.bytes).filter(|&m| m > 0) else { return true };
        let limit = self.budget.limit_bytes;
        let taken = self.budget.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(more).filter(|&sum| sum <= limit)
        });
        if taken.is_ok() {
            self.bytes = bytes;
        }
        taken.is_ok()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
