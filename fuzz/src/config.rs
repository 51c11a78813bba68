//! Configuration from the environment: any value is taken or refused, and what is taken can be shown as TOML that reads.

use voxgate::config::{ConfigFile, ENV_PREFIX, load};

/// One variable a line: `SECTION__KEY=value`.
pub fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let variables = text.lines().filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        Some((format!("{ENV_PREFIX}{name}"), value.to_owned()))
    });
    match load(&ConfigFile::None, variables, []) {
        Ok(loaded) => {
            let shown = loaded.to_toml();
            assert!(shown.parse::<toml::Table>().is_ok(), "what is shown is no TOML:\n{shown}");
        }
        Err(e) => assert!(!e.faults.is_empty(), "refused without a fault"),
    }
}
