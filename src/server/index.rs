//! The index of recordings in the store, kept in step with what the recorder tells. The truth is the recorder's own; where the store is
//! behind or away, that is asked instead, so a list is never short of what is on the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use uuid::Uuid;

use crate::sink::recorder::{RecordingChange, RecordingMeta, RecordingState};
use crate::store::{RecordingFilter, RecordingProgress, RecordingRecord, Store, StoreError};

/// The recordings as the store lists them.
pub struct RecordingIndex {
    store: Arc<dyn Store>,
    /// Changes that are not in the store yet; one that failed stays counted until the next start sets the index right.
    behind: Arc<AtomicUsize>,
}

impl RecordingIndex {
    /// What the store has, which is as old as the last stop until [`RecordingIndex::reconcile`].
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, behind: Arc::default() }
    }

    /// Makes the index what there is.
    pub fn reconcile(&self, all: &[RecordingMeta]) {
        let done = self.begin();
        let queued = self.store.reconcile(all.iter().map(record).collect(), Box::new(move |r| done(r.map(drop))));
        not_queued(queued);
    }

    /// Takes over a change.
    pub fn changed(&self, change: RecordingChange<'_>) {
        let done = self.begin();
        not_queued(match change {
            RecordingChange::Put(meta) => self.store.put_recording(record(meta), Box::new(done)),
            RecordingChange::Removed(id) => self.store.delete_recording(id, Box::new(move |r| done(r.map(drop)))),
        });
    }

    /// Up to `limit` ids, newest first, of recordings older than `after`; of one user only where named. None where the store cannot tell.
    pub(super) async fn page(&self, after: Option<Uuid>, limit: usize, user_id: Option<&str>) -> Option<Vec<Uuid>> {
        if self.behind.load(Ordering::Acquire) > 0 {
            return None;
        }
        let filter = user_id.map_or(RecordingFilter::All, |u| RecordingFilter::User(u.to_owned()));
        match self.store.recordings(filter, after, limit).await {
            Ok(rows) => Some(rows.into_iter().map(|r| r.id).collect()),
            Err(error) => {
                tracing::warn!(%error, "recordings listed without the store");
                None
            }
        }
    }

    fn begin(&self) -> impl FnOnce(Result<(), StoreError>) + Send + 'static {
        self.behind.fetch_add(1, Ordering::AcqRel);
        let behind = Arc::clone(&self.behind);
        move |kept| match kept {
            Ok(()) => {
                behind.fetch_sub(1, Ordering::AcqRel);
            }
            Err(error) => tracing::warn!(%error, "the index of recordings is behind until the next start"),
        }
    }
}

fn not_queued(queued: Result<(), StoreError>) {
    match queued {
        // At the end the recorder closes what still runs; the next start lists it.
        Ok(()) | Err(StoreError::Closed) => {}
        Err(error) => tracing::warn!(%error, "the index of recordings is behind until the next start"),
    }
}

fn record(m: &RecordingMeta) -> RecordingRecord {
    RecordingRecord {
        id: m.id,
        stream_uid: m.stream_uid.clone(),
        stream_id: m.stream_id.clone(),
        client_id: m.client_id.clone(),
        user_id: m.user_id.clone(),
        conversation_id: m.conversation_id.clone(),
        created_at_ms: u64::try_from(m.created_at_ms).unwrap_or(0),
        duration_ms: m.samples.saturating_mul(1_000) / u64::from(m.sample_rate.max(1)),
        bytes: m.bytes,
        sha256: m.sha256.clone(),
        state: match m.state {
            RecordingState::Recording => RecordingProgress::Recording,
            RecordingState::Complete => RecordingProgress::Complete,
            RecordingState::Repaired => RecordingProgress::Repaired,
            RecordingState::Failed => RecordingProgress::Failed,
        },
    }
}
