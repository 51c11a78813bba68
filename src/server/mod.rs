//! Sockets: the accept loop, the worker threads, every route, the WebSocket.

mod accept;
mod addresses;
mod admin;
mod api;
mod documents;
mod guard;
mod index;
mod lanes;
mod pace;
mod pages;
mod peer;
mod problem;
mod router;
mod socket;
mod state;
mod tls;
mod ws;

pub use accept::{AcceptError, Listener};
pub use index::RecordingIndex;
pub use lanes::Lanes;
pub use state::{App, HealthStatus, Parts};
pub use tls::TlsError;
