//! A TCP proxy in front of the server that cuts connections at bytes of its choice, as a network does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Lets so many bytes through to the server and back, and cuts; `usize::MAX` never cuts.
#[derive(Clone, Copy)]
pub struct Cut {
    pub up: usize,
    pub down: usize,
}

impl Cut {
    pub const NEVER: Self = Self { up: usize::MAX, down: usize::MAX };

    pub fn up(bytes: usize) -> Self {
        Self { up: bytes, ..Self::NEVER }
    }

    pub fn down(bytes: usize) -> Self {
        Self { down: bytes, ..Self::NEVER }
    }
}

/// A running proxy; ends with its runtime.
pub struct CuttingProxy {
    pub addr: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl CuttingProxy {
    /// `cut` is asked for each connection, numbered from 0.
    pub async fn start(server: SocketAddr, cut: impl Fn(usize) -> Cut + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let cut = cut(count.fetch_add(1, Ordering::SeqCst));
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(server).await else { return };
                    let (client_in, client_out) = client.into_split();
                    let (server_in, server_out) = server.into_split();
                    // Whichever ends first takes the other along: both sockets are dropped.
                    tokio::select! {
                        () = carry(client_in, server_out, cut.up) => {}
                        () = carry(server_in, client_out, cut.down) => {}
                    }
                });
            }
        });
        Self { addr, accepted }
    }

    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut bytes_left: usize,
) {
    let mut buffer = vec![0; 16 << 10];
    while bytes_left > 0 {
        let room = buffer.len().min(bytes_left);
        let n = match from.read(&mut buffer[..room]).await {
            Ok(n) if n > 0 => n,
            _ => return,
        };
        bytes_left = if bytes_left == usize::MAX { bytes_left } else { bytes_left - n };
        if to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}
