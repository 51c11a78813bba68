//! Whom a client command believes to be its server.

use std::path::PathBuf;

use super::Failure;
use crate::client::{Trust, WsUrl};

/// The authority of a certificate that the machine does not know.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct TrustArg {
    /// Certificate authority of a wss:// server, PEM [default: those this machine trusts].
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl TrustArg {
    /// The address with those who vouch for it; found once, not for each connection.
    pub(super) fn applied(&self, url: WsUrl) -> Result<WsUrl, Failure> {
        let usage = |e| Failure::Usage(anyhow::Error::from(e));
        match (&self.ca, url.is_secure()) {
            (Some(path), true) => Ok(url.trusting(Trust::of_file(path).map_err(usage)?)),
            (None, true) => Ok(url.trusting(Trust::of_system().map_err(usage)?)),
            (None, false) => Ok(url),
            (Some(_), false) => Err(Failure::Usage(anyhow::anyhow!(
                "--ca is for a server with TLS: write its address as wss://HOST/ws"
            ))),
        }
    }
}
