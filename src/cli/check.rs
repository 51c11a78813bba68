//! `voxgate check`: is the configuration good, and what is it?

use anyhow::Context;

use super::settings::FileArg;
use super::{Failure, terminal};
use crate::auth::Authenticator;
use crate::config::AuthMode;

/// Show the effective configuration, or everything that is wrong with it.
///
/// Defaults, then the file, then VOXGATE__SECTION__KEY variables. Secrets are masked. The keys of [auth] are
/// read; an address is not asked. Exit code 1 if there is a fault; every fault is listed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  voxgate check\n  VOXGATE__SERVER__BIND=127.0.0.1:9000 voxgate check --config voxgate.toml"
)]
pub(super) struct Args {
    #[command(flatten)]
    file: FileArg,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    match args.file.load() {
        Ok(loaded) => {
            let auth = &loaded.config.auth;
            if auth.mode == AuthMode::Jwt {
                Authenticator::open(auth, crate::clock::unix_s)
                    .map_err(|error| anyhow::Error::from(error).context(args.file.shown()))?;
            }
            Ok(terminal::print(&loaded.to_toml()).context("standard output")?)
        }
        // The one command whose purpose is to find faults: they are its result, not bad usage.
        Err(error) => Err(Failure::Runtime(anyhow::Error::from(error).context(args.file.shown()))),
    }
}
