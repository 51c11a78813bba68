//! `voxgate serve`: the server, until a signal stops it.

use anyhow::Context;

use super::settings::ServerArgs;
use super::{Failure, terminal};
use crate::app::{AppError, Server};
use crate::config::Config;
use crate::telemetry;

/// Run the server.
///
/// Needs nothing: no configuration file, no service. Prints one line, "listening on http://HOST:PORT", when it is ready; logs go
/// to standard error. Ctrl-C or SIGTERM lets open streams end first, a second one stops at once.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  voxgate serve\n  voxgate serve --bind 127.0.0.1:0 --data-dir /var/lib/voxgate --log-format json"
)]
pub(super) struct Args {
    #[command(flatten)]
    server: ServerArgs,
}

#[cfg(test)]
impl Args {
    pub(super) fn settings(&self) -> &ServerArgs {
        &self.server
    }
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = args.server.load()?.config;
    telemetry::init(&config.log).map_err(|e| Failure::Usage(e.into()))?;
    let traces = telemetry::Traces::start(&config.telemetry).map_err(|e| Failure::Usage(e.into()))?;
    let scheme = scheme(&config);
    let server = Server::start(config).map_err(not_started)?;
    stop_on_signal(server.shutdown_handle())?;
    let ready = format!("listening on {scheme}://{}\n", server.local_addr());
    terminal::print(&ready).context("standard output")?;
    let ended = server.join();
    traces.finish();
    Ok(ended.context("the server failed")?)
}

/// Keys, certificates and a responder without its key are the configuration's; everything else is the machine's doing.
pub(super) fn not_started(error: AppError) -> Failure {
    match error {
        AppError::Tls(_) | AppError::Auth(_) | AppError::Responder(_) => Failure::Usage(error.into()),
        AppError::Listen(_)
        | AppError::Store(_)
        | AppError::Revocations(_)
        | AppError::Recorder(_)
        | AppError::Journal(_)
        | AppError::Start(_)
        | AppError::Failed => Failure::Runtime(anyhow::Error::from(error).context("the server could not start")),
    }
}

/// What the address is spoken to with.
pub(super) fn scheme(config: &Config) -> &'static str {
    if config.server.tls_cert.is_some() { "https" } else { "http" }
}

/// Exit code of a process that a second signal ended: 128 + SIGINT, as shells have it.
const INTERRUPTED: i32 = 130;

/// Calls `stop` at the first Ctrl-C or SIGTERM and ends the process at the second.
pub(super) fn stop_on_signal(stop: impl Fn() + Send + 'static) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("signal handling")?;
    let mut signals = runtime.block_on(async { Signals::new() }).context("signal handling")?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(signals.next());
            stop();
            runtime.block_on(signals.next());
            terminal::note("stopped at once; streams that were open have no end");
            std::process::exit(INTERRUPTED);
        })
        .context("signal handling")?;
    Ok(())
}

/// Ctrl-C and, where there is one, SIGTERM.
pub(super) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    pub(super) fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    #[cfg(not(unix))]
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {})
    }

    pub(super) async fn next(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    }
}
