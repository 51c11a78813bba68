//! What the server tells of itself to who runs it: structured logs. Knows no connection; fields come with each line.

mod line;
mod system;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::panic::PanicHookInfo;
use std::path::PathBuf;
use std::sync::Mutex;

use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::config::{LogConfig, LogFormat};
use line::LineWriter;

pub use system::{SystemMeter, SystemReading};

/// Why logs cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level's directives.
    #[error("log.level: {0}")]
    Level(#[from] ParseError),
    /// The file.
    #[error("log.file {}: {source}", path.display())]
    File {
        /// The configured file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A subscriber is there already.
    #[error("logs are set up already")]
    Twice,
}

/// Sends log lines to standard error, and to the configured file as JSON; panics among them. Control characters in fields are escaped,
/// so a line is a line (failures.md row 34). Once a process.
///
/// # Errors
/// [`LogError`] where the level or the file is not usable.
pub fn init(config: &LogConfig) -> Result<(), LogError> {
    let json = match config.format {
        LogFormat::Json => true,
        LogFormat::Human => false,
        LogFormat::Auto => !io::stderr().is_terminal(),
    };
    let stderr: Box<dyn Layer<Registry> + Send + Sync> = if json {
        let writer = || LineWriter::new(io::stderr(), false);
        fmt::layer().json().flatten_event(true).with_writer(writer).boxed()
    } else {
        let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        let writer = move || LineWriter::new(io::stderr(), colours);
        fmt::layer().with_ansi(colours).with_writer(writer).boxed()
    };
    let mut layers = vec![stderr];
    if let Some(path) = &config.file {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(|source| LogError::File { path: path.clone(), source })?;
        let writer = Mutex::new(LineWriter::new(file, false));
        layers.push(fmt::layer().json().flatten_event(true).with_writer(writer).boxed());
    }
    let filter = EnvFilter::try_new(&config.level)?;
    tracing_subscriber::registry().with(layers).with(filter).try_init().map_err(|_| LogError::Twice)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// A panic is a log line like others: what the standard library would print is several, and no JSON.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let message =
        payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
    let location = panic.location().map(ToString::to_string);
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(thread, location, panic = message, backtrace, "a thread panicked");
}
