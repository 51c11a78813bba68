//! The rules a configuration must keep, collected fault by fault.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

use super::fault::{ConfigFault, Origin};

/// Collects faults. Knows where each key was set.
pub(super) struct Checker<'a> {
    origins: &'a BTreeMap<String, Origin>,
    faults: &'a mut Vec<ConfigFault>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(origins: &'a BTreeMap<String, Origin>, faults: &'a mut Vec<ConfigFault>) -> Self {
        Self { origins, faults }
    }

    /// Notes a fault.
    pub(super) fn fault(&mut self, key: &str, problem: impl Into<String>, hint: impl Into<String>) {
        let source = self.origins.get(key).cloned().unwrap_or(Origin::Default);
        self.faults.push(ConfigFault { key: key.to_owned(), problem: problem.into(), hint: Some(hint.into()), source });
    }

    /// A number that must lie in a range, whose ends are within what any machine counts.
    pub(super) fn range(&mut self, key: &str, value: u64, allowed: RangeInclusive<u64>) {
        if !allowed.contains(&value) {
            self.fault(
                key,
                format!("{value} is out of range"),
                format!("use {} to {}", allowed.start(), allowed.end()),
            );
        }
    }

    /// A limit that may be left out: 0 would mean "nothing at all" to some and "no limit" to others, so it is refused.
    pub(super) fn optional_limit(&mut self, key: &str, value: Option<u64>) {
        if value == Some(0) {
            self.fault(key, "0 is no limit that can be kept", "leave the key out for no limit");
        }
    }

    /// A file that must be there.
    pub(super) fn file(&mut self, key: &str, path: Option<&Path>) {
        if let Some(path) = path
            && !path.is_file()
        {
            self.fault(key, format!("there is no file {}", path.display()), "correct the path or create the file");
        }
    }
}
