//! The bytes below a client's WebSocket, with TLS or without, in the style of a non-blocking socket. Knows no frame and no address.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls_platform_verifier::BuilderVerifierExt;
use tokio::io::{Interest, Ready};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::error::ClientError;

/// Whom a client believes to be the server it asked for.
#[derive(Clone, Debug)]
pub struct Trust(Arc<ClientConfig>);

impl Trust {
    /// The authorities this machine trusts.
    ///
    /// # Errors
    /// [`ClientError::Trust`] where they cannot be had.
    pub fn of_system() -> Result<Self, ClientError> {
        let fail = |problem: String| ClientError::Trust { file: None, problem };
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_platform_verifier())
            .map_err(|e| fail(e.to_string()))?;
        Ok(Self(Arc::new(builder.with_no_client_auth())))
    }

    /// Those of a file, PEM, and no others.
    ///
    /// # Errors
    /// [`ClientError::Trust`] where it holds none.
    pub fn of_file(path: &Path) -> Result<Self, ClientError> {
        let fail = |problem: String| ClientError::Trust { file: Some(path.to_owned()), problem };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(path).map_err(|e| fail(e.to_string()))? {
            let certificate = certificate.map_err(|e| fail(e.to_string()))?;
            roots.add(certificate).map_err(|e| fail(e.to_string()))?;
        }
        if roots.is_empty() {
            return Err(fail("it holds no PEM certificate".to_owned()));
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| fail(e.to_string()))?;
        Ok(Self(Arc::new(builder.with_root_certificates(roots).with_no_client_auth())))
    }
}

/// A connection to a server.
#[derive(Debug)]
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<Secure>),
}

#[derive(Debug)]
pub(super) struct Secure {
    tcp: TcpStream,
    session: Mutex<ClientConnection>,
}

impl Transport {
    /// Shakes hands where `trust` says with whom.
    ///
    /// # Errors
    /// Most often, that the server's certificate is not trusted.
    pub(super) async fn open(tcp: TcpStream, host: &str, trust: Option<&Trust>) -> io::Result<Self> {
        let Some(Trust(config)) = trust else { return Ok(Self::Plain(tcp)) };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, tcp).await?;
        let (tcp, session) = stream.into_inner();
        Ok(Self::Tls(Box::new(Secure { tcp, session: Mutex::new(session) })))
    }

    /// Waits until something can be done; what TLS holds back is sent meanwhile.
    ///
    /// # Errors
    /// What the system says.
    pub(super) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        let secure = match self {
            Self::Plain(tcp) => return tcp.ready(interest).await,
            Self::Tls(secure) => secure,
        };
        loop {
            let (has_text, has_unsent) = secure.state()?;
            if has_text && interest.is_readable() {
                return Ok(Ready::READABLE);
            }
            let all = if has_unsent { interest | Interest::WRITABLE } else { interest };
            let ready = secure.tcp.ready(all).await?;
            if has_unsent && ready.is_writable() {
                secure.send(&mut secure.lock())?;
            }
            if !has_unsent || interest.is_writable() || ready.is_readable() || ready.is_read_closed() {
                return Ok(ready);
            }
        }
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// `WouldBlock` where nothing is, or what the system or TLS says.
    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_read(buffer),
            Self::Tls(secure) => secure.try_read(buffer),
        }
    }

    /// Writes what is taken.
    ///
    /// # Errors
    /// `WouldBlock` where nothing is, or what the system or TLS says.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_write(bytes),
            Self::Tls(secure) => secure.try_write(bytes),
        }
    }

    /// Reads at least a byte, unless the server closed.
    ///
    /// # Errors
    /// What the system or TLS says.
    pub(super) async fn read(&self, into: &mut Vec<u8>) -> io::Result<usize> {
        const STEP_BYTES: usize = 4 << 10;
        let from = into.len();
        into.resize(from + STEP_BYTES, 0);
        let got = loop {
            match self.try_read(&mut into[from..]) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.ready(Interest::READABLE).await?,
                done => break done,
            };
        };
        into.truncate(from + got.as_ref().map_or(0, |n| *n));
        got
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// What the system or TLS says.
    pub(super) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.try_write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.ready(Interest::WRITABLE).await?;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

impl Secure {
    fn lock(&self) -> MutexGuard<'_, ClientConnection> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is text to read, and whether there is something to send.
    fn state(&self) -> io::Result<(bool, bool)> {
        let mut session = self.lock();
        let state = session.process_new_packets().map_err(io::Error::other)?;
        Ok((state.plaintext_bytes_to_read() > 0 || state.peer_has_closed(), session.wants_write()))
    }

    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut session = self.lock();
        loop {
            match session.reader().read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // A server that is gone without a goodbye is gone: the WebSocket has its own.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                done => return done,
            }
            session.read_tls(&mut Now(&self.tcp))?;
            session.process_new_packets().map_err(io::Error::other)?;
        }
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut session = self.lock();
        self.send(&mut session)?;
        if session.wants_write() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = session.writer().write(bytes)?;
        self.send(&mut session)?;
        Ok(taken)
    }

    /// Sends what is encrypted, as far as the socket takes it.
    fn send(&self, session: &mut ClientConnection) -> io::Result<()> {
        while session.wants_write() {
            match session.write_tls(&mut Now(&self.tcp)) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// A socket that does what it can at once.
struct Now<'a>(&'a TcpStream);

impl Read for Now<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Now<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
