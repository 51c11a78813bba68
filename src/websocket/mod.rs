//! WebSocket framing (RFC 6455) without I/O: bytes in, messages out, frames out as bytes. Both roles.
//!
//! Messages are unmasked in place and lent to the caller; only what is cut by a read is copied, once. An idle connection holds
//! no buffer. Extensions are not negotiated. Knows nothing of what the messages mean.

mod frame;
mod handshake;
mod reader;

pub use frame::{OpCode, close_payload, encode, encode_header, encode_masked};
pub use handshake::{HandshakeError, accept_key, check_upgrade};
pub use reader::{Incoming, Limits, Reader, Role, WebSocketError};

#[cfg(test)]
mod tests;
