//! Command-line flags that are settings: the top layer of the configuration.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::config::{self, ConfigError, ConfigFile, FILE_NAME, Flag, Loaded};

/// Where the configuration file is.
#[derive(Debug, Default, Args)]
pub(super) struct FileArg {
    /// Configuration file [default: voxgate.toml, if it is there].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Flags of `serve` that are settings.
#[derive(Debug, Default, Args)]
pub(super) struct ServerArgs {
    /// Address and port to listen on; port 0 picks a free one [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDRESS:PORT")]
    bind: Option<String>,
    /// Folder of recordings and the store [default: ./voxgate-data].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    file: FileArg,
    /// How log lines look [default: auto].
    #[arg(long, value_enum)]
    log_format: Option<Format>,
    /// What is logged: error, warn, info, debug, trace, off, or by module: info,voxgate::server=debug [default: info].
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Add GET /ws/echo, which sends every message back, for conformance suites.
    #[arg(long)]
    echo: bool,
    /// Serve beyond loopback though authentication is off.
    #[arg(long)]
    insecure_no_auth: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Auto,
    Human,
    Json,
}

impl FileArg {
    fn file(&self) -> ConfigFile {
        match &self.config {
            None => ConfigFile::IfPresent,
            Some(path) => ConfigFile::Required(path.clone()),
        }
    }

    /// The file's name for messages.
    pub(super) fn shown(&self) -> String {
        match &self.config {
            Some(path) => path.display().to_string(),
            None if std::path::Path::new(FILE_NAME).exists() => FILE_NAME.to_owned(),
            None => "no configuration file".to_owned(),
        }
    }

    /// Loads file and environment.
    pub(super) fn load(&self) -> Result<Loaded, ConfigError> {
        config::load(&self.file(), environment(), [])
    }
}

impl ServerArgs {
    /// Loads everything.
    pub(super) fn load(&self) -> Result<Loaded, ConfigError> {
        config::load(&self.file.file(), environment(), self.flags())
    }

    pub(super) fn flags(&self) -> Vec<Flag> {
        let mut flags = Vec::new();
        let mut add = |key, flag, value: Option<toml::Value>| {
            if let Some(value) = value {
                flags.push(Flag { key, flag, value });
            }
        };
        let format = self.log_format.map(|format| match format {
            Format::Auto => "auto",
            Format::Human => "human",
            Format::Json => "json",
        });
        add("server.bind", "--bind", self.bind.clone().map(toml::Value::String));
        let data_dir = self.data_dir.as_ref().map(|path| path.to_string_lossy().into_owned());
        add("server.data_dir", "--data-dir", data_dir.map(toml::Value::String));
        add("log.format", "--log-format", format.map(toml::Value::from));
        add("log.level", "--log-level", self.log_level.clone().map(toml::Value::String));
        add("server.echo", "--echo", self.echo.then_some(toml::Value::Boolean(true)));
        add(
            "server.insecure_no_auth",
            "--insecure-no-auth",
            self.insecure_no_auth.then_some(toml::Value::Boolean(true)),
        );
        flags
    }
}

/// The environment; what is not Unicode is no setting of ours, or shows as one with a strange value.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
}
