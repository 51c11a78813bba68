//! Who is connected and what is live: connections, their outbound queues, conversations, running streams and who listens to them.
//! Knows no socket: a connection's own task writes what is queued for it.

mod connection;
mod connections;
mod conversations;
mod notice;
mod outbox;
mod shortcut;
mod streams;
#[cfg(test)]
mod tests;

pub use connection::{Connection, ConnectionMeta, Counters};
pub use connections::{Admission, Connections, Refused, Traffic};
pub use conversations::{Conversations, Joined};
pub use notice::Notice;
pub use outbox::{Closing, Left, Outbox, OutboxItem, OutboxLimits};
pub use streams::{Directory, Listening, LiveStream, LiveStreamMeta, StreamTotals};
