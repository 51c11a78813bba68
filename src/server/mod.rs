//! Sockets: the accept loop, the worker threads, every route, the WebSocket.

mod accept;
mod addresses;
mod admin;
mod api;
mod body;
mod dashboard;
mod documents;
mod guard;
mod index;
mod lanes;
mod monitor;
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
pub use monitor::{HealthStatus, run as monitor};
pub use state::{App, Parts};
pub use tls::TlsError;
