//! Buffers a worker thread lends to whichever of its connections runs: an idle connection holds none.

use std::cell::RefCell;
use std::sync::Arc;

use super::turn::Turn;
use crate::hub::OutboxItem;
use crate::pipeline::Scratch;
use crate::server::lanes::figures;
use crate::session::Effect;
use crate::telemetry::LaneFigures;

/// Bytes read from a socket at once: a hundred frames of 20 ms in a flood.
const READ_BYTES: usize = 64 * 1024;
/// Memory an output burst may leave behind.
const KEPT_BYTES: usize = 256 * 1024;

/// One thread's buffers.
pub(super) struct Lane {
    /// What this thread counts.
    pub(super) figures: Arc<LaneFigures>,
    /// What was just read.
    pub(super) read: Box<[u8]>,
    /// Audio decoded from base64.
    pub(super) base64: Vec<u8>,
    /// What a message causes.
    pub(super) effects: Vec<Effect>,
    /// What others want a connection to be told.
    pub(super) items: Vec<OutboxItem>,
    /// Where a stream's step works.
    pub(super) scratch: Scratch,
    /// What will be written.
    pub(super) out: Vec<u8>,
    /// The server's clock as the running connection last read it.
    pub(super) now_us: u64,
    /// What the running connection may still do.
    pub(super) turn: Turn,
}

thread_local! {
    static LANE: RefCell<Lane> = RefCell::new(Lane {
        figures: figures(),
        read: vec![0; READ_BYTES].into_boxed_slice(),
        base64: Vec::new(),
        effects: Vec::new(),
        items: Vec::new(),
        scratch: Scratch::default(),
        out: Vec::new(),
        now_us: 0,
        turn: Turn::default(),
    });
}

/// Lends this thread's buffers.
pub(super) fn with_lane<R>(f: impl FnOnce(&mut Lane) -> R) -> R {
    LANE.with_borrow_mut(|lane| {
        let r = f(lane);
        lane.out.clear();
        if lane.out.capacity() > KEPT_BYTES {
            lane.out = Vec::new();
        }
        r
    })
}
