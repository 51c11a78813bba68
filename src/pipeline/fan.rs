//! One block to many sinks, each of which takes it or keeps it waiting.

use crate::sink::{Block, Push, Sink, SinkEvent};

/// A block a sink would not take yet.
#[derive(Debug)]
pub(super) struct Stalled {
    pub(super) samples: Vec<f32>,
    pub(super) s16: Vec<i16>,
    pub(super) after_gap: bool,
    /// Sinks that have taken it, a bit each.
    pub(super) taken: u64,
}

/// Offers a block to each sink that has not taken it. Returns who has it now, a bit each.
pub(super) fn push_all(
    sinks: &mut [Box<dyn Sink>],
    block: &Block<'_>,
    mut taken: u64,
    events: &mut Vec<SinkEvent>,
) -> u64 {
    for (i, sink) in sinks.iter_mut().enumerate() {
        if taken & 1 << i == 0 && sink.push(block, events) == Push::Taken {
            taken |= 1 << i;
        }
    }
    taken
}

/// The mask in which every sink has a block.
pub(super) fn all(sinks: usize) -> u64 {
    (1 << sinks) - 1
}
