//! `[store]`, `[responder]`, `[log]` and `[monitoring]`: what stands beside the audio.

use std::path::{Path, PathBuf};

use super::check::Checker;
use super::secret::ServiceUrl;
use super::setting::{choice, section};

section! {
    /// Where lasting things are kept.
    StoreConfig {
        /// `sqlite:PATH`; `DATA_DIR` stands for `server.data_dir`.
        url: ServiceUrl = ServiceUrl::new("sqlite:DATA_DIR/voxgate.db"),
    }
}

choice! {
    /// Who answers `text`.
    ResponderKind, "\"echo\", \"openai\" or \"none\"" {
        /// The text comes back.
        Echo,
        /// An OpenAI-compatible chat endpoint.
        Openai,
        /// Nobody.
        None,
    }
}

section! {
    /// Who answers `text`.
    ResponderConfig {
        /// Which responder.
        kind: ResponderKind = ResponderKind::Echo,
        /// Address of the endpoint, such as `https://host/v1`.
        base_url: Option<ServiceUrl> = None,
        /// Name of the environment variable that holds its key.
        api_key_env: Option<String> = None,
        /// The model asked for.
        model: Option<String> = None,
        /// Time for a whole answer: what a person waits at most.
        timeout_ms: u64 = 30_000,
    }
}

choice! {
    /// How log lines look.
    LogFormat, "\"auto\", \"human\" or \"json\"" {
        /// For people on a terminal, JSON otherwise.
        Auto,
        /// For people.
        Human,
        /// One JSON object a line.
        Json,
    }
}

section! {
    /// What is logged, how and where.
    LogConfig {
        /// How a line looks.
        format: LogFormat = LogFormat::Auto,
        /// `error`, `warn`, `info`, `debug`, `trace`, `off`, or by module: `info,voxgate::server=debug`.
        level: String = "info".to_owned(),
        /// A file that gets the log too: a new one each day, two weeks of them kept; this name leads to the newest.
        file: Option<PathBuf> = None,
    }
}

section! {
    /// The history of measurements kept in memory.
    MonitoringConfig {
        /// How far back it reaches.
        retention_s: u64 = 86_400,
        /// Time between two points.
        sample_interval_s: u64 = 30,
    }
}

/// A day of points a second; more is a job for a metrics server.
const MONITORING_POINTS_MAX: u64 = 86_400;
const TIMEOUT_MS_MAX: u64 = 3_600_000;

impl StoreConfig {
    /// Puts the data folder in the place of `DATA_DIR`; once is enough.
    pub fn resolve(&mut self, data_dir: &Path) {
        self.url = ServiceUrl::new(self.url.expose().replace("DATA_DIR", &data_dir.to_string_lossy()));
    }

    pub(super) fn check(&self, checker: &mut Checker<'_>) {
        if self.url.expose().strip_prefix("sqlite:").is_none_or(str::is_empty) {
            checker.fault("store.url", "not a store this build has", "use \"sqlite:PATH\"");
        }
    }
}

impl ResponderConfig {
    pub(super) fn check(&self, checker: &mut Checker<'_>) {
        if self.kind == ResponderKind::Openai {
            if self.base_url.is_none() {
                checker.fault(
                    "responder.base_url",
                    "\"openai\" needs it",
                    "set it, such as \"https://api.openai.com/v1\"",
                );
            }
            if self.model.is_none() {
                checker.fault("responder.model", "\"openai\" needs it", "name the model");
            }
        }
        if let Some(url) = &self.base_url {
            check_http_url("responder.base_url", url, checker);
        }
        checker.range("responder.timeout_ms", self.timeout_ms, 1..=TIMEOUT_MS_MAX);
    }
}

impl LogConfig {
    /// Whether a text is what `level` may be.
    pub fn is_level(text: &str) -> bool {
        text.split(',').all(is_log_directive)
    }

    pub(super) fn check(&self, checker: &mut Checker<'_>) {
        if !Self::is_level(&self.level) {
            checker.fault(
                "log.level",
                format!("'{}' is not a level", self.level),
                "use error, warn, info, debug, trace or off, or by module: info,voxgate::server=debug",
            );
        }
    }
}

fn is_log_directive(text: &str) -> bool {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let (module, level) = text.rsplit_once('=').unwrap_or(("voxgate", text));
    let module_ok = !module.is_empty() && module.chars().all(|c| c.is_ascii_alphanumeric() || "_:-".contains(c));
    module_ok && LEVELS.contains(&level)
}

impl MonitoringConfig {
    pub(super) fn check(&self, checker: &mut Checker<'_>) {
        checker.range("monitoring.sample_interval_s", self.sample_interval_s, 1..=86_400);
        checker.range("monitoring.retention_s", self.retention_s, 1..=u64::from(u32::MAX));
        if self.retention_s < self.sample_interval_s {
            checker.fault(
                "monitoring.retention_s",
                format!("{} is shorter than sample_interval_s, {}", self.retention_s, self.sample_interval_s),
                "keep at least one point",
            );
        }
        if self.retention_s / self.sample_interval_s.max(1) > MONITORING_POINTS_MAX {
            checker.fault(
                "monitoring.retention_s",
                format!("{} points would be kept in memory", self.retention_s / self.sample_interval_s.max(1)),
                format!("keep at most {MONITORING_POINTS_MAX}: a longer interval or a shorter retention"),
            );
        }
    }
}

/// An address HTTP can be spoken to. The fault does not repeat it: it may hold a password.
pub(super) fn check_http_url(key: &str, url: &ServiceUrl, checker: &mut Checker<'_>) {
    let host = url.expose().strip_prefix("https://").or_else(|| url.expose().strip_prefix("http://"));
    if host.is_none_or(|host| host.is_empty() || host.starts_with('/') || host.contains(char::is_whitespace)) {
        checker.fault(key, "not an http or https address", "write it like \"https://host/path\"");
    }
}
