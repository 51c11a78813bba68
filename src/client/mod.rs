//! The other end of the wire: a thin client for the command line's `replay`, `listen`, `bench` and `demo`.
//!
//! Speaks the protocol as written and nothing else: it knows no server, no configuration and no terminal.

pub mod bench;
mod connection;
mod error;
pub mod listen;
pub mod pace;
pub mod process;
pub mod replay;
#[cfg(test)]
mod tests;
mod transport;
mod url;
pub mod wav;
pub mod wire;

pub use connection::{Connection, Message};
pub use error::ClientError;
pub use transport::Trust;
pub use url::WsUrl;
