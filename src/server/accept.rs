//! The accept loop: bounded, patient where the system runs out of descriptors, deaf once the server drains.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::lanes::{Accepted, Lanes};
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
    _address: AddressCount,
    /// Given back once the handshake is done.
    pub(super) handshake: Option<OwnedSemaphorePermit>,
}

/// One socket of an address.
struct AddressCount {
    all: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl Drop for AddressCount {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = all.get_mut(&self.address) {
            *n -= 1;
            if *n == 0 {
                all.remove(&self.address);
            }
        }
    }
}

/// A bound listener.
pub struct Listener {
    listener: TcpListener,
    app: Arc<App>,
    places: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    addresses: Arc<Mutex<HashMap<IpAddr, usize>>>,
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
        Ok(Self {
            listener,
            app,
            places,
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
            addresses: Arc::default(),
        })
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
                    let Some(address) = self.count(peer.ip()) else { continue };
                    let slot = Slot { _place: place, _address: address, handshake: Some(handshake) };
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

    /// Counts a socket of an address; `None` where it has too many. Loopback has no bound of its own: whoever is there is local,
    /// or a proxy for many.
    fn count(&self, address: IpAddr) -> Option<AddressCount> {
        let mut all = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let n = all.entry(address).or_default();
        if *n >= self.app.config.server.max_connections_per_ip && !address.is_loopback() {
            tracing::debug!(%address, "too many connections of one address");
            return None;
        }
        *n += 1;
        Some(AddressCount { all: Arc::clone(&self.addresses), address })
    }
}

/// Errors of one connection that came and went; the next accept may work at once.
fn is_the_peers(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
