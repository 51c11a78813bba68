//! What happens to a stream's bytes between the socket and the sinks: a bounded queue, then decode, down-mix and resample, then
//! every sink. One owner runs it in budgeted steps, so a stream needs no thread and no task of its own. It knows no socket.

mod budget;
mod chain;
mod fan;
mod figures;
mod offline;
mod queue;
mod stream;
#[cfg(test)]
mod tests;

pub use budget::{MemoryBudget, Reservation};
pub use chain::{Chain, ChainStep, Scratch};
pub use figures::{Progress, RunState, StreamError, StreamReport, StreamSettings};
pub use offline::{OfflineError, OfflineReport, decode_all};
pub use queue::AudioQueue;
pub use stream::StreamPipeline;
