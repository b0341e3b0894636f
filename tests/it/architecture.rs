//! Keeps the layers of `src/lib.rs`: a file uses its own row and rows below, never above.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

/// Every module's row, from the table in the crate's documentation.
fn rows() -> BTreeMap<String, u32> {
    let text = std::fs::read_to_string(Path::new(SOURCE).join("lib.rs")).unwrap();
    let mut rows = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("//! | ")) {
        let Some((row, modules)) = line.split_once(" | ") else { continue };
        let Ok(row) = row.parse() else { continue };
        for module in modules.split('`').skip(1).step_by(2) {
            assert_eq!(rows.insert(module.to_owned(), row), None, "{module} is in two rows");
        }
    }
    rows
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The code of every file, without comments and tests, by its path below `src`.
fn code() -> Vec<(String, String)> {
    let mut paths = Vec::new();
    files(Path::new(SOURCE), &mut paths);
    paths.sort();
    let shown = |path: &Path| path.strip_prefix(SOURCE).unwrap().to_str().unwrap().to_owned();
    let is_test =
        |path: &PathBuf| path.file_name().is_some_and(|name| name == "tests.rs") || shown(path).contains("/tests/");
    paths
        .iter()
        .filter(|path| !is_test(path))
        .map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            let text = text.split("#[cfg(test)]\nmod ").next().unwrap();
            let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            (shown(path), lines.collect::<Vec<_>>().join("\n"))
        })
        .collect()
}

/// The modules that a text names after `crate::`, alone or in braces.
fn used(code: &str) -> Vec<String> {
    let mut modules = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let names = match rest.strip_prefix('{') {
            None => vec![rest],
            Some(group) => {
                // Items of the outermost braces.
                let (mut depth, mut start, mut items) = (0, 0, Vec::new());
                for (at, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => {
                            items.push(&group[start..at]);
                            break;
                        }
                        '}' => depth -= 1,
                        ',' if depth == 0 => {
                            items.push(&group[start..at]);
                            start = at + 1;
                        }
                        _ => {}
                    }
                }
                items
            }
        };
        for name in names {
            let name: String = name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            modules.push(name);
        }
    }
    modules
}

#[test]
fn no_file_uses_a_row_above_its_own() {
    let rows = rows();
    assert!(rows.len() > 15, "the table in src/lib.rs was not read: {rows:?}");
    let mut wrong = Vec::new();
    for (file, code) in code().iter().filter(|(file, _)| file != "lib.rs") {
        let module = file.split(['/', '.']).next().unwrap();
        let Some(row) = rows.get(module) else {
            wrong.push(format!("src/{file}: `{module}` has no row in src/lib.rs"));
            continue;
        };
        for other in used(code) {
            if rows.get(&other).is_some_and(|other| other > row) {
                wrong.push(format!("src/{file}: may not use crate::{other}"));
            }
        }
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_module_has_a_row() {
    let text = std::fs::read_to_string(Path::new(SOURCE).join("lib.rs")).unwrap();
    let rows = rows();
    for module in text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')) {
        assert!(rows.contains_key(module), "`{module}` has no row in the table of src/lib.rs");
    }
}

#[test]
fn wasmtime_is_named_only_by_the_plugin_host() {
    for (file, code) in code() {
        let is_host = file == "plugin.rs" || file.starts_with("plugin/");
        assert!(is_host || !code.contains("wasmtime"), "src/{file}: only src/plugin may name wasmtime");
    }
}

#[test]
fn generated_types_stay_where_they_are_converted() {
    /// The files that see what `bindgen!` makes.
    const MAY: [&str; 7] = ["bindings", "convert", "imports", "interfaces", "lease", "load", "trial"];
    let mut wrong = Vec::new();
    for (file, code) in code() {
        let stem = file.strip_prefix("plugin/").and_then(|rest| rest.split(['/', '.']).next());
        let names = code.contains("bindings::") || code.contains("generated::");
        if names && !stem.is_some_and(|stem| MAY.contains(&stem)) {
            wrong.push(file);
        }
    }
    assert!(wrong.is_empty(), "may not see generated types: {wrong:?}");
}

#[test]
fn a_group_of_uses_is_taken_apart() {
    let code = "use crate::{admin, plugin::{self, load}, scaler};\nuse crate::name::A;\nlet x = crate::query::f();";
    assert_eq!(used(code), ["admin", "plugin", "scaler", "name", "query"]);
}

#[test]
fn files_are_short_enough_to_be_read() {
    /// Tests beside the code may be longer; tables and state machines argue for more in review.
    const LINES: usize = 480;
    for (file, code) in code() {
        let lines = code.lines().count();
        assert!(lines <= LINES, "src/{file} has {lines} lines of code");
    }
}

/// The most bytes of a bundled plugin: an edge node carries all of them in one binary.
const PLUGIN_BYTES_MAX: u64 = 400_000;

#[test]
fn a_bundled_plugin_is_small() {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    let mut count = 0;
    for entry in std::fs::read_dir(target.join("plugins")).unwrap().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "wasm") {
            let bytes = entry.metadata().unwrap().len();
            assert!(bytes <= PLUGIN_BYTES_MAX, "{}: {bytes} bytes", entry.path().display());
            count += 1;
        }
    }
    assert!(count >= 6, "{count} plugins in target/plugins");
}
