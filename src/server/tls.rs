//! The server's certificate: read at the start, read again when its files change, used by every handshake. Knows no socket's later life.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};

use super::socket::{Below, Socket, Tls};

/// How often the files are looked at: who renews a certificate does so days before the old one ends.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// The one protocol spoken here (RFC 7301); the WebSocket upgrade needs it.
const ALPN: &[u8] = b"http/1.1";

/// Why a certificate cannot be used. The operator's to correct.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{key}: cannot read {path}: {source}")]
    Read {
        /// The setting.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file holds nothing of the kind.
    #[error("{key}: {path} holds no {what}: {problem}")]
    Pem {
        /// The setting.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// What was found.
        problem: String,
    },
    /// The two do not belong together, or are of a kind that is not supported.
    #[error("server.tls_cert and server.tls_key: {0}")]
    Unusable(#[from] rustls::Error),
}

/// The certificate that handshakes present.
pub(super) struct ServerTls {
    acceptor: TlsAcceptor,
    presented: Arc<Presented>,
    files: Files,
    /// What was read last, be it good or bad.
    seen: Mutex<Option<Seen>>,
}

type Seen = [u8; 32];

#[derive(Clone)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
}

/// The key that is in use, exchanged as a whole.
struct Presented(RwLock<Arc<CertifiedKey>>);

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Presented")
    }
}

impl ResolvesServerCert for Presented {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl ServerTls {
    /// Reads the certificate chain and its key.
    ///
    /// # Errors
    /// [`TlsError`] where the files cannot be used.
    pub(super) fn open(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let files = Files { cert: cert.to_owned(), key: key.to_owned() };
        let (seen, bytes) = files.read()?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let presented = Arc::new(Presented(RwLock::new(Arc::new(files.parse(&bytes, &provider)?))));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&presented) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self { acceptor: Arc::new(config).into(), presented, files, seen: Mutex::new(Some(seen)) })
    }

    /// Shakes hands on a fresh connection.
    ///
    /// # Errors
    /// What went wrong, most often a client that does not trust the certificate.
    pub(super) async fn accept(&self, tcp: TcpStream) -> io::Result<Socket> {
        let stream = self.acceptor.accept(Below::new(tcp)).await?;
        Ok(Socket::Tls(Box::new(Tls::new(stream))))
    }

    /// Takes up new files for as long as it runs: a good pair is used by the next handshake, a bad one leaves the old in use.
    pub(super) async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let this = Arc::clone(&self);
            // The files may lie on a disk that hangs.
            if tokio::task::spawn_blocking(move || this.look()).await.is_err() {
                tracing::error!("looking at the certificate failed");
            }
        }
    }

    /// Reads the files again. Tells once of what is new, not each time.
    fn look(&self) {
        let read = self.files.read();
        let now = read.as_ref().ok().map(|(seen, _)| *seen);
        if std::mem::replace(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner), now) == now {
            return;
        }
        match read.and_then(|(_, bytes)| self.files.parse(&bytes, self.acceptor.config().crypto_provider())) {
            Ok(key) => {
                *self.presented.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
                tracing::info!(file = %self.files.cert.display(), "new certificate in use");
            }
            Err(e) => tracing::error!(error = %e, "the new certificate cannot be used; the old one stays in use"),
        }
    }
}

impl Files {
    /// Both files' bytes, certificate first.
    fn read(&self) -> Result<(Seen, [Vec<u8>; 2]), TlsError> {
        let read =
            |key, path: &PathBuf| fs::read(path).map_err(|source| TlsError::Read { key, path: path.clone(), source });
        let bytes = [read("server.tls_cert", &self.cert)?, read("server.tls_key", &self.key)?];
        let mut hash = Sha256::new();
        for b in &bytes {
            hash.update((b.len() as u64).to_le_bytes());
            hash.update(b);
        }
        Ok((hash.finalize().into(), bytes))
    }

    fn parse(&self, [cert, key]: &[Vec<u8>; 2], provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let bad = |name, path: &PathBuf, what, problem: String| TlsError::Pem {
            key: name,
            path: path.clone(),
            what,
            problem,
        };
        let chain = CertificateDer::pem_slice_iter(cert)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| bad("server.tls_cert", &self.cert, "PEM certificate", e.to_string()))?;
        if chain.is_empty() {
            return Err(bad("server.tls_cert", &self.cert, "PEM certificate", "nothing found".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|e| bad("server.tls_key", &self.key, "PEM private key", e.to_string()))?;
        Ok(CertifiedKey::from_der(chain, key, provider)?)
    }
}
