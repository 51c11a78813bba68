//! The effective configuration as TOML that could be loaded again, but for the masked secrets.

use std::fmt::Write as _;

use super::load::Loaded;
use super::{Config, SECTIONS};

impl Loaded {
    /// Every key with its value and, where it is not the default, where it was set. Secrets are masked; a key without a value is
    /// a comment.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        for section in SECTIONS {
            let separator = if text.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{separator}[{section}]");
            self.config.write_section(section, &mut text, |key| {
                self.origins.get(key).map_or_else(String::new, |origin| format!("  # {origin}"))
            });
        }
        text
    }
}

impl Config {
    fn write_section(&self, name: &str, text: &mut String, comment: impl Fn(&str) -> String) {
        let Some(section) = self.section(name) else { return };
        for key in section.keys() {
            let note = comment(&format!("{name}.{key}"));
            // Writing to a string cannot fail.
            let _ = match section.get(key) {
                Some(value) => writeln!(text, "{key} = {value}{note}"),
                None => writeln!(text, "# {key} is not set"),
            };
        }
    }
}
