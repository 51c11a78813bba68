//! Who is connected and what is live: connections, their outbound queues, running streams and who listens to them.
//! Knows no socket: a connection's own task writes what is queued for it.

mod connections;
mod outbox;
mod streams;
#[cfg(test)]
mod tests;

pub use connections::{Connection, ConnectionMeta, Connections, Counters};
pub use outbox::{Outbox, OutboxItem, OutboxLimits};
pub use streams::{Directory, Listening, LiveStream, LiveStreamMeta};
