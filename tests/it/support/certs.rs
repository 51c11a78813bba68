//! Certificates made for one test, and clients that trust their authority alone.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::{Connector, connect_async_tls_with_config, tungstenite};
use voxgate::config::Config;

use super::Client;

/// An authority with a certificate for 127.0.0.1, in a folder of its own.
pub struct Certs {
    dir: tempfile::TempDir,
}

impl Certs {
    pub fn new() -> Self {
        let certs = Self { dir: tempfile::tempdir().unwrap() };
        certs.renew();
        certs
    }

    /// Another authority and another certificate take the place of these.
    pub fn renew(&self) {
        let (ca, chain, key) = issue();
        std::fs::write(self.ca(), ca).unwrap();
        std::fs::write(self.cert(), chain).unwrap();
        std::fs::write(self.key(), key).unwrap();
    }

    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    pub fn cert(&self) -> PathBuf {
        self.dir.path().join("cert.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.dir.path().join("key.pem")
    }

    pub fn configure(&self, config: &mut Config) {
        config.server.tls_cert = Some(self.cert());
        config.server.tls_key = Some(self.key());
    }

    /// Trusts this authority as it is now.
    pub fn client(&self) -> TlsClient {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.ca()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsClient(Arc::new(config))
    }
}

/// A chain of authority, intermediate and leaf; the authority, the chain a server sends, the leaf's key.
fn issue() -> (String, String, String) {
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let (root_key, middle_key, leaf_key) =
        (KeyPair::generate().unwrap(), KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let root_params = authority("test root");
    let root = root_params.self_signed(&root_key).unwrap();
    let root_issuer = Issuer::new(root_params, root_key);
    let middle_params = authority("test intermediate");
    let middle = middle_params.signed_by(&middle_key, &root_issuer).unwrap();
    let middle_issuer = Issuer::new(middle_params, middle_key);
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&leaf_key, &middle_issuer).unwrap();
    (root.pem(), format!("{}{}", leaf.pem(), middle.pem()), leaf_key.serialize_pem())
}

#[derive(Clone)]
pub struct TlsClient(Arc<ClientConfig>);

impl TlsClient {
    pub async fn connect(&self, addr: SocketAddr) -> Client {
        self.try_connect(addr).await.unwrap()
    }

    pub async fn try_connect(&self, addr: SocketAddr) -> Result<Client, tungstenite::Error> {
        let connector = Some(Connector::Rustls(Arc::clone(&self.0)));
        let (ws, _) = connect_async_tls_with_config(format!("wss://{addr}/ws"), None, false, connector).await?;
        Ok(Client::of(ws).await)
    }

    /// Only the TLS handshake.
    pub async fn shake(&self, addr: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(addr).await?;
        TlsConnector::from(Arc::clone(&self.0)).connect(ServerName::try_from("127.0.0.1").unwrap(), tcp).await
    }
}
