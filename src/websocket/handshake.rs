//! The opening handshake's rules (RFC 6455 section 4), on plain header values.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// Why a request is no WebSocket handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// A version of HTTP before 1.1, or no `Host`.
    #[error("a WebSocket handshake is HTTP/1.1 and names its Host")]
    Http,
    /// No `Upgrade: websocket` or no `Connection: Upgrade`.
    #[error("this address speaks WebSocket: send 'Connection: Upgrade' and 'Upgrade: websocket'")]
    NotUpgrade,
    /// A version other than 13.
    #[error("Sec-WebSocket-Version must be 13")]
    Version,
    /// A key that is not 16 bytes in base64.
    #[error("Sec-WebSocket-Key must be 16 bytes in base64")]
    Key,
}

/// Checks the values of `Connection`, `Upgrade`, `Sec-WebSocket-Version` and `Sec-WebSocket-Key`.
///
/// # Errors
/// [`HandshakeError`] for the first rule that is broken.
pub fn check_upgrade(
    connection: &str,
    upgrade: &str,
    version: Option<&str>,
    key: Option<&str>,
) -> Result<(), HandshakeError> {
    let has = |list: &str, token: &str| list.split(',').any(|t| t.trim().eq_ignore_ascii_case(token));
    if !has(connection, "upgrade") || !has(upgrade, "websocket") {
        return Err(HandshakeError::NotUpgrade);
    }
    if version.map(str::trim) != Some("13") {
        return Err(HandshakeError::Version);
    }
    match key.map(|k| STANDARD.decode(k.trim())) {
        Some(Ok(k)) if k.len() == 16 => Ok(()),
        _ => Err(HandshakeError::Key),
    }
}

/// The `Sec-WebSocket-Accept` value for a key (RFC 6455 section 4.2.2).
pub fn accept_key(key: &str) -> String {
    let mut h = Sha1::new();
    h.update(key.trim().as_bytes());
    h.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(h.finalize())
}
