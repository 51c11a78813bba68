//! `docs/FAILURES.md` names the test of each row: here, that all rows are there and every named test exists.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::Path;

const ROWS: usize = 35;

/// The text of every Rust source below a folder.
fn sources(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_row_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = String::new();
    sources(&root.join("src"), &mut all);
    sources(&root.join("tests"), &mut all);
    let table = fs::read_to_string(root.join("docs/FAILURES.md")).unwrap();
    let rows: Vec<&str> = table
        .lines()
        .filter(|l| l.strip_prefix("| ").is_some_and(|l| l.starts_with(|c: char| c.is_ascii_digit())))
        .collect();
    let rows = &rows[..ROWS];
    for (number, row) in (1..).zip(rows) {
        assert!(row.starts_with(&format!("| {number} |")), "row {number} is missing: {row}");
        let shown_by = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let names: Vec<&str> = shown_by.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "row {number} names no test");
        for name in names {
            let exists =
                if name.contains('/') { root.join(name).exists() } else { all.contains(&format!("fn {name}(")) };
            assert!(exists, "row {number}: there is no test {name}");
        }
    }
}
