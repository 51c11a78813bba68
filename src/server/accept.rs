//! The accept loop: bounded, patient where the system runs out of descriptors, deaf once the server drains.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::addresses::{Addresses, Counted};
use super::lanes::{Accepted, Lanes};
use super::peer::is_trusted;
use super::state::App;

/// Connections the kernel may hold that were not accepted yet.
const BACKLOG: u32 = 1_024;
/// Handshakes under way at once: past it the loop waits, and a storm of clients queues in the kernel instead of in memory.
const HANDSHAKES_MAX: usize = 1_024;
/// Sockets beyond `max_connections`, so that who comes too many is told so (1013) rather than cut off.
const REFUSAL_ROOM: usize = 256;
/// How long accepting pauses where the system has no more descriptors (failures.md row 31).
const PAUSE: Duration = Duration::from_millis(100);

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct AcceptError {
    /// Where it should have.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// A socket's place: among all, among its address's, among the handshakes under way.
pub(super) struct Slot {
    _place: OwnedSemaphorePermit,
    /// None where a trusted proxy is at the other end: the client behind it is counted once it is known.
    pub(super) address: Option<Counted>,
    pub(super) addresses: Arc<Addresses>,
    /// Given back once the handshake is done.
    pub(super) handshake: Option<OwnedSemaphorePermit>,
}

/// A bound listener.
pub struct Listener {
    listener: TcpListener,
    app: Arc<App>,
    places: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    addresses: Arc<Addresses>,
}

impl Listener {
    /// Binds the configured address. Needs a runtime.
    ///
    /// # Errors
    /// [`AcceptError`] where the system refuses.
    pub fn bind(app: Arc<App>) -> Result<Self, AcceptError> {
        let address = app.config.server.bind;
        let fail = |source| AcceptError { address, source };
        let socket = if address.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() }
            .map_err(fail)?;
        socket.set_reuseaddr(true).map_err(fail)?;
        socket.bind(address).map_err(fail)?;
        let listener = socket.listen(BACKLOG).map_err(fail)?;
        let places = Arc::new(Semaphore::new(app.config.server.max_connections + REFUSAL_ROOM));
        let addresses = Addresses::new(app.config.server.max_connections_per_ip);
        Ok(Self { listener, app, places, handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)), addresses })
    }

    /// Where it listens: the port that was found for port 0.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts until the server drains.
    pub async fn run(self, lanes: &Lanes) {
        let draining = self.app.draining.clone();
        tokio::select! {
            () = draining.cancelled() => {}
            () = self.accept_all(lanes) => {}
        }
    }

    async fn accept_all(&self, lanes: &Lanes) {
        let mut short = false;
        loop {
            // Neither semaphore is ever closed.
            let Ok(handshake) = Arc::clone(&self.handshakes).acquire_owned().await else { return };
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((socket, peer)) => {
                    short = false;
                    let address = if is_trusted(peer.ip(), &self.app.config.server.trusted_proxies) {
                        None
                    } else {
                        let Some(counted) = self.addresses.count(peer.ip()) else {
                            tracing::debug!(%peer, "too many connections of one address");
                            continue;
                        };
                        Some(counted)
                    };
                    let addresses = Arc::clone(&self.addresses);
                    let slot = Slot { _place: place, address, addresses, handshake: Some(handshake) };
                    let Ok(socket) = socket.into_std() else { continue };
                    lanes.hand(Accepted { socket, peer, slot }).await;
                }
                Err(e) if is_the_peers(&e) => {}
                Err(e) => {
                    if !std::mem::replace(&mut short, true) {
                        tracing::warn!(error = %e, "cannot accept; trying again until it works");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Errors of one connection that came and went; the next accept may work at once.
fn is_the_peers(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
