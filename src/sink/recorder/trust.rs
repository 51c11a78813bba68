//! Whether the disk is worth asking: failures are counted, and after some in a row new recordings are refused at once for a while, by
//! the circuit breaker that every service has. Knows no file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::RecordError;
use crate::resilience::{Breaker, Permit};

/// Name of the recorder's circuit breaker.
pub const BREAKER: &str = "recorder";

/// What is thought of the disk.
pub(super) struct Trust {
    breaker: Option<Arc<Breaker>>,
    failures: AtomicU64,
    degraded: AtomicBool,
}

impl Trust {
    pub(super) fn new(breaker: Option<Arc<Breaker>>) -> Self {
        Self { breaker, failures: AtomicU64::new(0), degraded: AtomicBool::new(false) }
    }

    /// Leave for a recording, which tells how it fared with its first bytes.
    pub(super) fn permit(&self) -> Result<Option<Permit>, RecordError> {
        let permit = self.breaker.as_ref().map(Breaker::permit).transpose();
        permit.map_err(|open| RecordError::LeftAlone { retry_after: open.retry_after })
    }

    /// The disk failed a recording, at its begin (where its permit still is) or later.
    pub(super) fn failed(&self, permit: Option<Permit>) {
        self.count_failure();
        if let Some(p) = permit.or_else(|| self.breaker.as_ref()?.permit().ok()) {
            p.failure();
        }
    }

    /// A recording failed for which the disk cannot be blamed.
    pub(super) fn count_failure(&self) {
        self.failures.fetch_add(1, Relaxed);
        self.degraded.store(true, Relaxed);
    }

    /// A recording came to its end.
    pub(super) fn ended(&self) {
        self.degraded.store(false, Relaxed);
    }

    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    pub(super) fn is_degraded(&self) -> bool {
        self.degraded.load(Relaxed)
    }
}
