//! Reads the part of a store's address after `sqlite:`. Touches no file.

use std::path::{Path, PathBuf};

use crate::store::error::StoreError;

/// The file an address names: `PATH`, `//PATH` and `///PATH` alike, as other programs write it.
pub(super) fn path(address: &str) -> Result<PathBuf, StoreError> {
    let path = address.strip_prefix("//").unwrap_or(address);
    let wrong = |what| Err(StoreError::Address { what });
    if path.is_empty() {
        return wrong("a path is missing: \"sqlite:/var/lib/voxgate/voxgate.db\"");
    }
    if path == ":memory:" {
        return wrong("what is in memory does not last: name a file, \"sqlite:/var/lib/voxgate/voxgate.db\"");
    }
    if path.contains('?') {
        return wrong("it has no options after \"?\": only \"sqlite:PATH\"");
    }
    if path.contains('\0') {
        return wrong("a path has no NUL in it");
    }
    // An absolute path also keeps SQLite from taking one that begins with "file:" for an address of its own.
    std::path::absolute(Path::new(path))
        .or_else(|_| wrong("the folder this process runs in is gone: use an absolute path"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_paths_in_every_usual_form() {
        for (address, expected) in [
            ("/var/lib/v.db", "/var/lib/v.db"),
            ("///var/lib/v.db", "/var/lib/v.db"),
            ("/with space/ü%20.db", "/with space/ü%20.db"),
        ] {
            assert_eq!(path(address).unwrap(), Path::new(expected), "{address}");
        }
        let here = std::env::current_dir().unwrap();
        for (address, expected) in [("v.db", "v.db"), ("//data/v.db", "data/v.db"), ("file:v.db", "file:v.db")] {
            assert_eq!(path(address).unwrap(), here.join(expected), "{address}");
        }
    }

    #[test]
    fn says_what_would_be_right() {
        for address in ["", "//", ":memory:", "/v.db?mode=rwc", "/v\0.db"] {
            let error = path(address).unwrap_err();
            assert!(matches!(error, StoreError::Address { .. }), "{address}: {error}");
        }
    }
}
