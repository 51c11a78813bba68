//! Merging the sources: defaults < file < environment < flags. Every fault of every source is collected, then the whole is checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::check::Checker;
use super::fault::{ConfigError, ConfigFault, Origin};
use super::setting::SetError;
use super::telemetry::STANDARD_VARIABLES;
use super::{Config, SECTIONS};

/// The file that is read when none is named and it is there.
pub const FILE_NAME: &str = "voxgate.toml";

/// Start of every environment variable that is a setting.
pub const ENV_PREFIX: &str = "VOXGATE__";

/// A configuration file is some kilobytes; what is larger is another file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Which file is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigFile {
    /// None.
    None,
    /// [`FILE_NAME`] in the working directory, if it is there.
    IfPresent,
    /// This one, which must be there.
    Required(PathBuf),
}

/// A setting given on the command line.
#[derive(Clone, Debug, PartialEq)]
pub struct Flag {
    /// `section.key`.
    pub key: &'static str,
    /// The flag as it is typed: `--bind`.
    pub flag: &'static str,
    /// Its value.
    pub value: toml::Value,
}

/// A configuration that keeps every rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Where each key that is not at its default was set, by `section.key`.
    pub origins: BTreeMap<String, Origin>,
}

/// Loads, merges and checks. `environment` is all of it: variables without [`ENV_PREFIX`] are passed over but for those
/// of OpenTelemetry that [`super::TelemetryConfig`] has keys for, and empty ones count
/// as unset. Their values are TOML where they parse as such and fit the key, else plain strings.
///
/// # Errors
/// [`ConfigError`] with every fault of every source.
pub fn load(
    file: &ConfigFile,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: impl IntoIterator<Item = Flag>,
) -> Result<Loaded, ConfigError> {
    let mut merge = Merge::default();
    merge.file(file);
    merge.environment(environment);
    for Flag { key, flag, value } in flags {
        let (section, name) = key.split_once('.').unwrap_or((key, ""));
        merge.set(section, name, &[value], Origin::Flag { flag });
    }
    let Merge { mut config, origins, mut faults } = merge;
    config.store.resolve(&config.server.data_dir);
    config.check(&mut Checker::new(&origins, &mut faults));
    if faults.is_empty() { Ok(Loaded { config, origins }) } else { Err(ConfigError { faults }) }
}

#[derive(Default)]
struct Merge {
    config: Config,
    origins: BTreeMap<String, Origin>,
    faults: Vec<ConfigFault>,
}

impl Merge {
    fn fault(&mut self, key: &str, problem: impl Into<String>, hint: Option<String>, source: Origin) {
        self.faults.push(ConfigFault { key: key.to_owned(), problem: problem.into(), hint, source });
    }

    fn file(&mut self, file: &ConfigFile) {
        let path = match file {
            ConfigFile::None => return,
            ConfigFile::IfPresent if !Path::new(FILE_NAME).exists() => return,
            ConfigFile::IfPresent => Path::new(FILE_NAME),
            ConfigFile::Required(path) => path,
        };
        match read_file(path) {
            Ok(text) => self.toml(&text, path),
            Err(problem) => {
                let hint = Some("correct --config or create the file".to_owned());
                self.fault("--config", problem, hint, Origin::File { path: path.to_owned(), line: None });
            }
        }
    }

    fn toml(&mut self, text: &str, path: &Path) {
        let origin = |start: usize| Origin::File { path: path.to_owned(), line: Some(line_at(text, start)) };
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let start = error.span().map_or(0, |span| span.start);
            self.fault("syntax", one_line(error.message()), None, origin(start));
        }
        // Values are read by the strict parser: a document with syntax errors has none that can be trusted.
        let Ok(values) = text.parse::<toml::Table>() else { return };
        for (section, content) in document.get_ref() {
            let name = section.get_ref().as_ref();
            let source = origin(section.span().start);
            let (Some(keys), Some(table)) =
                (content.get_ref().as_table(), values.get(name).and_then(toml::Value::as_table))
            else {
                let hint = if SECTIONS.contains(&name) {
                    Some(format!("write [{name}] on a line of its own, its keys below"))
                } else {
                    nearest(name, all_keys()).map(|key| {
                        let (section, key) = key.split_once('.').unwrap_or((&key, ""));
                        format!("did you mean {key} in section [{section}]?")
                    })
                };
                self.fault(name, "not a section", hint, source);
                continue;
            };
            if !SECTIONS.contains(&name) {
                self.unknown_section(name, source);
                continue;
            }
            for (key, _) in keys {
                if let Some(value) = table.get(key.get_ref().as_ref()) {
                    self.set(name, key.get_ref(), std::slice::from_ref(value), origin(key.span().start));
                }
            }
        }
    }

    fn environment(&mut self, environment: impl IntoIterator<Item = (String, String)>) {
        let (ours, others): (Vec<_>, Vec<_>) = environment
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .partition(|(name, _)| name.starts_with(ENV_PREFIX));
        for (name, key) in STANDARD_VARIABLES {
            if let Some((variable, value)) = others.iter().find(|(found, _)| found == name) {
                let source = Origin::Environment { variable: variable.clone() };
                self.set("telemetry", key, &[toml::Value::String(value.clone())], source);
            }
        }
        let mut variables = ours;
        variables.sort();
        for (variable, text) in variables {
            let path = variable[ENV_PREFIX.len()..].to_ascii_lowercase();
            let source = Origin::Environment { variable };
            let Some((section, key)) = path.split_once("__") else {
                let hint = Some(format!("write it like {ENV_PREFIX}SERVER__BIND"));
                self.fault(&path, "names no section and key", hint, source);
                continue;
            };
            let as_text = toml::Value::String(text);
            match as_text.as_str().and_then(parse_value) {
                Some(value) => self.set(section, key, &[value, as_text], source),
                None => self.set(section, key, &[as_text], source),
            }
        }
    }

    /// Sets a key to the first of `values` that fits it.
    fn set(&mut self, section: &str, key: &str, values: &[toml::Value], source: Origin) {
        let full = format!("{section}.{key}");
        let Some(target) = self.config.section_mut(section) else { return self.unknown_section(section, source) };
        let mut outcome = Ok(());
        for value in values {
            outcome = target.set(key, value);
            if outcome.is_ok() {
                break;
            }
        }
        match outcome {
            Ok(()) => {
                self.origins.insert(full, source);
            }
            Err(SetError::UnknownKey) => {
                let hint = nearest_key(section, key).map(|near| format!("did you mean {near}?"));
                self.fault(&full, "unknown key", hint, source);
            }
            Err(SetError::Type { expected }) => {
                self.fault(&full, "not a value it takes", Some(format!("write {expected}")), source);
            }
        }
    }

    fn unknown_section(&mut self, section: &str, source: Origin) {
        let hint = nearest(section, SECTIONS.iter().map(|&name| name.to_owned()))
            .map(|near| format!("did you mean [{near}]?"));
        self.fault(section, "unknown section", hint, source);
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let shown = path.display();
    match std::fs::metadata(path) {
        Err(error) => return Err(format!("cannot read {shown}: {error}")),
        Ok(found) if found.len() > FILE_BYTES_MAX => return Err(format!("{shown} is too large to be a configuration")),
        Ok(_) => {}
    }
    std::fs::read_to_string(path).map_err(|error| format!("cannot read {shown}: {error}"))
}

/// A TOML value standing alone.
fn parse_value(text: &str) -> Option<toml::Value> {
    let mut table: toml::Table = format!("value = {text}").parse().ok()?;
    // A line break in the text could smuggle in further keys.
    (table.len() == 1).then(|| table.remove("value")).flatten()
}

fn line_at(text: &str, position: usize) -> usize {
    1 + text.bytes().take(position).filter(|&byte| byte == b'\n').count()
}

fn one_line(message: &str) -> String {
    message.lines().collect::<Vec<_>>().join(", ")
}

fn all_keys() -> impl Iterator<Item = String> {
    let config = Config::default();
    SECTIONS.into_iter().flat_map(move |section| {
        let keys = config.section(section).map_or(&[][..], |found| found.keys());
        keys.iter().map(move |key| format!("{section}.{key}"))
    })
}

/// The same key in another section, else the nearest in its own, else the nearest of all.
fn nearest_key(section: &str, key: &str) -> Option<String> {
    let own = format!("{section}.");
    all_keys()
        .find(|full| full.rsplit_once('.').is_some_and(|(_, name)| name == key))
        .or_else(|| nearest(&format!("{section}.{key}"), all_keys().filter(|full| full.starts_with(&own))))
        .or_else(|| nearest(key, all_keys()))
}

/// The candidate whose name is most like `name`, unless none is.
fn nearest(name: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    // Under this two words have little more than some letters in common.
    const SIMILARITY_MIN: f64 = 0.6;
    let bare = name.rsplit_once('.').map_or(name, |(_, key)| key);
    candidates
        .map(|candidate| {
            let key = candidate.rsplit_once('.').map_or(candidate.as_str(), |(_, key)| key);
            (strsim::normalized_damerau_levenshtein(bare, key), candidate)
        })
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
