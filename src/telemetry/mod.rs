//! What the server tells of itself to who runs it: structured logs, figures, their history, the error journal. Knows no connection;
//! ids come with each line and each error.

mod figures;
mod histogram;
mod journal;
mod line;
mod series;
mod system;
mod trace;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::ffi::OsStr;
use std::io::{self, IsTerminal};
use std::panic::PanicHookInfo;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::Layered;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::config::{LogConfig, LogFormat};
use line::LineWriter;

pub use figures::{CLOSE_CODES, END_REASONS, LaneFigures, LaneTotals, OTHER_CODE};
pub use histogram::{Durations, Histogram, count};
pub use journal::{ENTRIES_MAX, Fault, Journal, MINUTES_MAX, MinuteOfErrors, Part, Summary};
pub use series::{History, Series, Trend, Window};
pub use system::{SystemMeter, SystemReading};
pub use trace::{Span, SpanKind, TraceError, Traces};

/// Characters of faulty directives that are shown to who sent them.
const DIRECTIVES_SHOWN: usize = 64;
/// Days of logs that are kept: two weeks.
const LOG_FILES_MAX: usize = 14;

/// What the filter stands on.
type Lines = Layered<Vec<Box<dyn Layer<Registry> + Send + Sync>>, Registry>;

/// What decides which lines are written; a process has one.
static FILTER: OnceLock<reload::Handle<EnvFilter, Lines>> = OnceLock::new();

/// Why logs cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level's directives.
    #[error("log.level: {0}")]
    Level(#[from] ParseError),
    /// Not directives at all.
    #[error(
        "'{0}' is not a level: use error, warn, info, debug, trace or off, or by module: info,voxgate::server=debug"
    )]
    Directives(String),
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
    /// There is none, so it has no level.
    #[error("this process logs nothing, or by other means")]
    NotSetUp,
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
        let writer = Mutex::new(LineWriter::new(daily(path)?, false));
        layers.push(fmt::layer().json().flatten_event(true).with_writer(writer).boxed());
    }
    let filter = EnvFilter::try_new(&config.level)?;
    let (filter, handle) = reload::Layer::new(filter);
    tracing_subscriber::registry().with(layers).with(filter).try_init().map_err(|_| LogError::Twice)?;
    let _ = FILTER.set(handle); // a second subscriber was refused just now
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// A file a day, `NAME.2026-01-02.EXT` beside the configured `NAME.EXT`, which leads to the newest; the oldest go.
fn daily(path: &Path) -> Result<RollingFileAppender, LogError> {
    let part = |p: Option<&OsStr>| p.map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut files = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix(part(path.file_stem()))
        .latest_symlink(part(path.file_name()))
        .max_log_files(LOG_FILES_MAX);
    if path.extension().is_some() {
        files = files.filename_suffix(part(path.extension()));
    }
    let fail = |source| LogError::File { path: path.to_owned(), source };
    // The link holds the path as it is given here: a relative one would be looked for in the wrong place.
    std::fs::create_dir_all(folder).map_err(fail)?;
    let folder = folder.canonicalize().map_err(fail)?;
    files.build(folder).map_err(|e| fail(io::Error::other(e)))
}

/// What is logged now, as directives.
///
/// # Errors
/// [`LogError::NotSetUp`].
pub fn level() -> Result<String, LogError> {
    let handle = FILTER.get().ok_or(LogError::NotSetUp)?;
    handle.with_current(ToString::to_string).map_err(|_| LogError::NotSetUp)
}

/// Logs by other directives from now on. Returns those before.
///
/// # Errors
/// [`LogError::Directives`] and [`LogError::Level`] for the directives, [`LogError::NotSetUp`].
pub fn set_level(directives: &str) -> Result<String, LogError> {
    // The filter itself takes any word for the name of a module.
    if !LogConfig::is_level(directives) {
        return Err(LogError::Directives(directives.chars().take(DIRECTIVES_SHOWN).collect()));
    }
    let filter = EnvFilter::try_new(directives)?;
    let before = level()?;
    FILTER.get().ok_or(LogError::NotSetUp)?.reload(filter).map_err(|_| LogError::NotSetUp)?;
    Ok(before)
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
