//! What can go wrong on the way to a server and back.

use crate::websocket::WebSocketError;

/// Why a client gave up.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// An address that cannot be used. The caller's fault.
    #[error("{url}: {problem}")]
    Url {
        /// The address, without its query.
        url: String,
        /// What is wrong, and what would be right.
        problem: &'static str,
    },
    /// Nobody answers there. A retry is worth it once somebody does.
    #[error("cannot connect to {address}: {source}; start a server with: voxgate serve")]
    Connect {
        /// Host and port.
        address: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Nobody can be trusted to be the server. The caller's fault.
    #[error("{}: {problem}", file.as_ref().map_or("the machine's certificate authorities".to_owned(), |f| f.display().to_string()))]
    Trust {
        /// The file of certificates; none: the machine's own.
        file: Option<std::path::PathBuf>,
        /// What is wrong.
        problem: String,
    },
    /// The TLS handshake failed.
    #[error("no TLS with {address}: {source}; a certificate authority of your own is named with --ca FILE")]
    Tls {
        /// Host and port.
        address: String,
        /// What went wrong, most often an unknown issuer.
        source: std::io::Error,
    },
    /// The server answered the handshake with something else than a WebSocket.
    #[error("the server refused the connection: HTTP {status}{detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said, with a leading separator, or nothing.
        detail: String,
    },
    /// What answers is not a WebSocket server.
    #[error("{address} does not speak WebSocket: {problem}")]
    Handshake {
        /// Host and port.
        address: String,
        /// What is missing.
        problem: &'static str,
    },
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    /// The server broke a framing rule.
    #[error("the server sent a bad frame: {0}")]
    WebSocket(#[from] WebSocketError),
    /// The server closed the connection.
    #[error("the server closed the connection: {code}{}{reason}", if reason.is_empty() { "" } else { " " })]
    Closed {
        /// The close code (protocol section 7); 1006 where none came.
        code: u16,
        /// Its reason.
        reason: String,
    },
    /// The server said no.
    #[error("{code}: {message}")]
    Server {
        /// The error code (protocol section 7).
        code: String,
        /// For people.
        message: String,
    },
    /// A message that is not the protocol's.
    #[error("the server sent a message that is not the protocol's: {0}")]
    Message(#[from] serde_json::Error),
    /// Something that had to come did not.
    #[error("the server sent no {what} within {seconds} s")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// How long.
        seconds: u64,
    },
}
