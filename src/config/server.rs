//! `[server]`: where the server listens, what it lets in and how it stops.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::auth::{AuthConfig, AuthMode};
use super::check::Checker;
use super::ip_range::IpRange;
use super::origin::OriginRule;
use super::setting::section;

section! {
    /// Where the server listens, what it lets in and how it stops.
    ServerConfig {
        /// Address and port; port 0 picks a free one.
        bind: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8080)),
        /// Folder of everything that lasts; made if it is not there.
        data_dir: PathBuf = PathBuf::from("./voxgate-data"),
        /// Sockets and HTTP connections open at once.
        max_connections: usize = 10_000,
        /// The same from one address.
        max_connections_per_ip: usize = 256,
        /// Origins of pages that may connect, scheme, host and port exactly; empty: the server's own pages alone.
        allowed_origins: Vec<String> = Vec::new(),
        /// Proxies whose `X-Forwarded-For` is believed.
        trusted_proxies: Vec<IpRange> = Vec::new(),
        /// Time from the accepted connection to its whole request, TLS included.
        handshake_timeout_ms: u64 = 5_000,
        /// How long open streams may go on after the server was asked to stop.
        drain_ms: u64 = 30_000,
        /// Certificate chain, PEM.
        tls_cert: Option<PathBuf> = None,
        /// Its private key, PEM.
        tls_key: Option<PathBuf> = None,
        /// Serve beyond loopback with authentication off.
        insecure_no_auth: bool = false,
        /// Add `GET /ws/echo` for conformance suites.
        echo: bool = false,
    }
}

/// Above what one process holds: file descriptors end earlier.
const CONNECTIONS_MAX: u64 = 1_000_000;
/// Longer, and a slow handshake holds its place for nothing.
const HANDSHAKE_TIMEOUT_MS_MAX: u64 = 120_000;
/// A stop that takes more than a day is none.
const DRAIN_MS_MAX: u64 = 86_400_000;

impl ServerConfig {
    pub(super) fn check(&self, auth: &AuthConfig, checker: &mut Checker<'_>) {
        checker.range("server.max_connections", self.max_connections as u64, 1..=CONNECTIONS_MAX);
        checker.range("server.max_connections_per_ip", self.max_connections_per_ip as u64, 1..=CONNECTIONS_MAX);
        checker.range("server.handshake_timeout_ms", self.handshake_timeout_ms, 1..=HANDSHAKE_TIMEOUT_MS_MAX);
        checker.range("server.drain_ms", self.drain_ms, 1..=DRAIN_MS_MAX);
        for origin in &self.allowed_origins {
            if let Err(e) = OriginRule::parse(origin) {
                checker.fault("server.allowed_origins", format!("'{origin}' is not an origin"), e.to_string());
            }
        }
        self.check_tls(checker);
        if auth.mode == AuthMode::None && !self.bind.ip().to_canonical().is_loopback() && !self.insecure_no_auth {
            checker.fault(
                "server.bind",
                format!("{} is reachable from other machines and authentication is off", self.bind),
                "bind to 127.0.0.1 behind a proxy that authenticates, or start with --insecure-no-auth",
            );
        }
    }

    fn check_tls(&self, checker: &mut Checker<'_>) {
        match (&self.tls_cert, &self.tls_key) {
            (Some(_), None) => checker.fault("server.tls_cert", "its key is missing", "set server.tls_key too"),
            (None, Some(_)) => checker.fault("server.tls_key", "its certificate is missing", "set server.tls_cert too"),
            (Some(_), Some(_)) | (None, None) => {}
        }
        checker.file("server.tls_cert", self.tls_cert.as_deref());
        checker.file("server.tls_key", self.tls_key.as_deref());
    }
}
