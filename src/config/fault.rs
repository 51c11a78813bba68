//! What is wrong with a configuration, a fault a key, all of them at once. Never shows a value that may be a secret.

use std::fmt;
use std::path::PathBuf;

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File {
        /// The file as it was named.
        path: PathBuf,
        /// Line of the key, from 1; absent where the fault is the whole file's.
        line: Option<usize>,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        variable: String,
    },
    /// A command-line flag.
    Flag {
        /// The flag as it is typed: `--bind`.
        flag: &'static str,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: Some(line) } => write!(f, "{} line {line}", path.display()),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::Environment { variable } => write!(f, "environment {variable}"),
            Self::Flag { flag } => write!(f, "flag {flag}"),
        }
    }
}

/// One fault: the operator's to correct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    /// `section.key`, or the section or file at fault.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What to write instead.
    pub hint: Option<String>,
    /// Where it was set.
    pub source: Origin,
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.problem)?;
        if self.source != Origin::Default {
            write!(f, " ({})", self.source)?;
        }
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// A configuration that cannot be used. The operator's fault; the same configuration fails again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} in the configuration{}", count(faults), list(faults))]
pub struct ConfigError {
    /// Every fault found, at least one.
    pub faults: Vec<ConfigFault>,
}

fn count(faults: &[ConfigFault]) -> String {
    match faults.len() {
        1 => "one fault".to_owned(),
        n => format!("{n} faults"),
    }
}

fn list(faults: &[ConfigFault]) -> String {
    faults.iter().map(|fault| format!("\n  {fault}")).collect()
}
