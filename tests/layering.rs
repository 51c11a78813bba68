//! The rule of `docs/ARCHITECTURE.md`: which module may import which, read from the sources. Also what every source file owes its reader:
//! a few opening lines, and an end within reach.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of `src/`, each with those it may import: what stands before it in its own list, and all of the lists before. A new
/// module is one line here.
const CORE: [&str; 8] = ["audio", "websocket", "decode", "resample", "analysis", "protocol", "dialect", "session"];
/// The sinks stand before the pipeline that feeds them, and the hub before the services its connections ask.
const RUNTIME: [&str; 11] =
    ["clock", "config", "telemetry", "resilience", "auth", "store", "journal", "sink", "pipeline", "hub", "upstream"];
const SERVER: [&str; 1] = ["server"];
const TOP: [&str; 4] = ["client", "app", "cli", "main"];

/// What core must not touch: sockets, files, clocks, the runtime. (`std::io::Write` into a vector is none of them.)
const OUTSIDE_OF_CORE: [&str; 11] = [
    "tokio",
    "std::fs",
    "std::net",
    "std::thread",
    "std::env",
    "std::process",
    "std::time::Instant",
    "std::time::SystemTime",
    "hyper",
    "axum",
    "tracing",
];

/// The seams inside core: a dialect knows no codec, a decoder no message, the protocol and the session no decoder.
const FORBIDDEN_IN_CORE: [(&str, &[&str]); 8] = [
    ("audio", &["websocket", "decode", "resample", "analysis", "protocol", "dialect", "session"]),
    ("websocket", &["audio", "decode", "resample", "analysis", "protocol", "dialect", "session"]),
    ("decode", &["websocket", "resample", "analysis", "protocol", "dialect", "session"]),
    ("resample", &["websocket", "decode", "analysis", "protocol", "dialect", "session"]),
    ("analysis", &["websocket", "decode", "resample", "protocol", "dialect", "session"]),
    ("protocol", &["websocket", "decode", "resample", "analysis", "dialect", "session"]),
    ("dialect", &["websocket", "decode", "resample", "analysis", "session"]),
    ("session", &["websocket", "decode", "resample", "analysis"]),
];

/// Lines of a source file without its tests.
const FILE_LINES_MAX: usize = 420;

/// A source file without its tests and comments.
struct Source {
    path: PathBuf,
    /// The top-level module it belongs to.
    module: String,
    opens_with_docs: bool,
    code_lines: usize,
    code: String,
}

fn sources() -> Vec<Source> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 50, "only {} sources were found", found.len());
    let tests = test_modules(&found);
    let mut sources: Vec<_> = found.iter().filter(|path| !is_test(path, &tests)).map(|path| read(&src, path)).collect();
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

/// Files and folders that are modules under `#[cfg(test)]`.
fn test_modules(files: &[PathBuf]) -> Vec<PathBuf> {
    let mut tests = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).expect("a source");
        let folder = match file.file_name().and_then(|n| n.to_str()) {
            Some("mod.rs" | "lib.rs" | "main.rs") => file.with_file_name(""),
            _ => file.with_extension(""),
        };
        let mut lines = text.lines().map(str::trim);
        while let Some(line) = lines.next() {
            if line != "#[cfg(test)]" {
                continue;
            }
            let declared = lines.next().unwrap_or_default();
            let name =
                declared.trim_start_matches("pub(crate) ").strip_prefix("mod ").and_then(|d| d.strip_suffix(';'));
            if let Some(name) = name {
                tests.push(folder.join(name));
            }
        }
    }
    tests
}

fn is_test(path: &Path, tests: &[PathBuf]) -> bool {
    tests.iter().any(|test| path.with_extension("").starts_with(test))
}

fn read(src: &Path, path: &Path) -> Source {
    let text = fs::read_to_string(path).expect("a source");
    let first = path.strip_prefix(src).expect("below src").components().next().expect("a name").as_os_str();
    let module = first.to_str().expect("an ASCII name").trim_end_matches(".rs").to_owned();
    let opens_with_docs = text.starts_with("//! ");
    // Test modules inside a file stand at its end.
    let lines: Vec<_> = text.lines().collect();
    let tests_at = lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].ends_with('{'));
    let kept = &lines[..tests_at.unwrap_or(lines.len())];
    let code: String = kept.iter().map(|l| l.split("//").next().unwrap_or_default().to_owned() + "\n").collect();
    Source { path: path.to_owned(), module, opens_with_docs, code_lines: kept.len(), code }
}

/// The top-level modules that a file's paths begin with: `crate::x`, `crate::{x, y::z}`; in the binary, which is a crate of its own,
/// `voxgate::x`.
fn imports(module: &str, code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let root = if module == "main" { "voxgate::" } else { "crate::" };
    for (at, _) in code.match_indices(root) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + root.len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(first_names(group)),
            None => found.push(name(rest)),
        }
    }
    found.retain(|n| !n.is_empty());
    found
}

fn name(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first name of each item of a braced import, up to its closing brace.
fn first_names(group: &str) -> Vec<String> {
    let (mut depth, mut item, mut items) = (0, String::new(), Vec::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => items.push(std::mem::take(&mut item)),
            c => item.push(c),
        }
    }
    items.push(item);
    items.iter().map(|item| name(item)).collect()
}

/// Whether `from` may import `to`: it stands before it, in the order of all lists.
fn allowed(from: &str, to: &str) -> bool {
    let order: Vec<&str> = CORE.iter().chain(&RUNTIME).chain(&SERVER).chain(&TOP).copied().collect();
    let place = |m: &str| order.iter().position(|o| *o == m);
    let (Some(from_at), Some(to_at)) = (place(from), place(to)) else { return false };
    let seam = FORBIDDEN_IN_CORE.iter().find(|(m, _)| *m == from).is_some_and(|(_, not)| not.contains(&to));
    to_at <= from_at && !seam
}

#[test]
fn modules_import_only_from_those_before_them() {
    let mut faults = Vec::new();
    for source in sources() {
        if source.module == "lib" {
            continue; // it only lists the modules
        }
        for to in imports(&source.module, &source.code) {
            let item_of_root = to.starts_with(|c: char| c.is_uppercase());
            if !item_of_root && !allowed(&source.module, &to) {
                faults.push(format!("{}: {} must not import {to}", source.path.display(), source.module));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn modules_form_no_cycle() {
    let mut graph: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources() {
        let to = imports(&source.module, &source.code).into_iter().filter(|t| *t != source.module);
        graph.entry(source.module.clone()).or_default().extend(to);
    }
    // What imports nothing that is left can be taken away; what cannot be taken away is a cycle.
    loop {
        let before = graph.len();
        let names: Vec<_> = graph.keys().cloned().collect();
        graph.retain(|_, to| to.iter().any(|t| names.contains(t)));
        if graph.len() == before {
            break;
        }
    }
    assert!(graph.is_empty(), "a cycle among {:?}", graph.keys());
}

#[test]
fn core_touches_nothing_outside() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|s| CORE.contains(&s.module.as_str())) {
        for outside in OUTSIDE_OF_CORE {
            let path = format!("{outside}::");
            let used = source.code.match_indices(outside).any(|(at, _)| {
                let before = source.code[..at].chars().next_back();
                let after = source.code[at + outside.len()..].chars().next();
                let whole = !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
                    && !after.is_some_and(|c| c.is_alphanumeric() || c == '_');
                whole && (outside.contains("::") || source.code[at..].starts_with(&path))
            });
            if used {
                faults.push(format!("{}: core must not use {outside}", source.path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Failures.md row 30: a wall clock that jumps moves timestamps and nothing else, because timers cannot reach it. Every caller of
/// `unix_ms` writes what it gets into something a person reads.
#[test]
fn only_timestamps_follow_the_wall_clock() {
    let readers: Vec<_> = sources()
        .iter()
        .filter(|s| s.code.contains("SystemTime") && s.module != "clock")
        .map(|s| s.path.display().to_string())
        .collect();
    assert!(readers.is_empty(), "ask crate::clock instead: {readers:?}");
    let stamps = [
        "app/history.rs",
        "hub/conversations.rs",
        "recorder/config.rs",
        "recorder/mod.rs",
        "resilience/breaker.rs",
        "server/api/health.rs",
        "server/api/revocations.rs",
        "server/api/sessions.rs",
        "server/ws/durable.rs",
        "server/ws/identity.rs",
        "monitor/sampler.rs",
        "telemetry/journal.rs",
        "api/monitoring.rs",
        "server/ws/mod.rs",
        "server/ws/opening.rs",
        "server/ws/output.rs",
        "server/ws/people.rs",
        "server/ws/resume.rs",
        "server/ws/task.rs",
        "src/app.rs",
        "upstream/openai/ask.rs",
    ];
    for s in sources().iter().filter(|s| s.code.contains("unix_ms()") && s.module != "clock") {
        let path = s.path.display().to_string();
        assert!(
            stamps.iter().any(|known| path.ends_with(known)),
            "{path}: is this a timestamp and no timer? Then list it here"
        );
    }
}

#[test]
fn every_module_has_its_place() {
    for source in sources() {
        let known = CORE.iter().chain(&RUNTIME).chain(&SERVER).chain(&TOP).any(|m| *m == source.module);
        assert!(known || source.module == "lib", "{} stands in no layer: give it a place here", source.module);
    }
}

#[test]
fn files_open_with_what_they_are_for_and_stay_small() {
    let mut faults = Vec::new();
    for source in sources() {
        if !source.opens_with_docs {
            faults.push(format!("{}: opens without //!", source.path.display()));
        }
        if source.code_lines > FILE_LINES_MAX {
            faults.push(format!("{}: {} lines without tests", source.path.display(), source.code_lines));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The rule above is only as good as what it reads.
mod reading {
    use super::*;

    #[test]
    fn finds_imports_in_every_form() {
        let code = "use crate::audio::Encoding;\nuse crate::{\n decode::{self, Step},\n hub,\n};\nfn f() { crate::sink::g(); mycrate::x(); }";
        assert_eq!(imports("hub", code), ["audio", "decode", "hub", "sink"]);
        assert_eq!(imports("main", "use voxgate::cli;"), ["cli"]);
    }

    #[test]
    fn knows_what_is_forbidden() {
        for (from, to) in [
            ("decode", "protocol"),
            ("session", "hub"),
            ("audio", "server"),
            ("hub", "server"),
            ("sink", "pipeline"),
            ("server", "cli"),
            ("app", "cli"),
        ] {
            assert!(!allowed(from, to), "{from} may import {to}");
        }
        for (from, to) in
            [("decode", "audio"), ("session", "dialect"), ("pipeline", "sink"), ("server", "hub"), ("cli", "client")]
        {
            assert!(allowed(from, to), "{from} may not import {to}");
        }
    }
}
