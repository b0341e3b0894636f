//! Keeps the vendored WASI packages what wasmtime has them to be.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use sha2::{Digest as _, Sha256};

use crate::command::{Task, cargo_command, step};
use crate::root;

/// The packages that the contract needs, each a folder `wasi-NAME` of `wit/deps`: one directory is one package.
const PACKAGES: [&str; 7] = ["cli", "clocks", "filesystem", "http", "io", "random", "sockets"];

/// The digests of the vendored files, one `SHA256  PATH` a line.
const DIGESTS: &str = "wit/deps/wasi.sha256";

/// Checks that the contract parses and that the vendored packages are the bytes of the wasmtime-wasi-http that
/// the lock file names; with `write`, copies them from there first.
pub(crate) fn run(write: bool) -> Task {
    let sources = sources()?;
    if write {
        copy(&sources)?;
    } else {
        compare(&sources)?;
    }
    let digests = digests()?;
    let file = root().join(DIGESTS);
    if write {
        fs::write(&file, &digests).map_err(|error| format!("{}: {error}", file.display()))?;
    } else if fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))? != digests {
        return Err(format!("wit/deps differs from {DIGESTS}: these files are never edited; cargo xtask wit --write"));
    }
    let mut resolve = wit_parser::Resolve::default();
    let (package, _sources) = resolve.push_dir(root().join("wit")).map_err(|error| format!("wit/: {error:#}"))?;
    let name = resolve.packages.get(package).map(|package| package.name.to_string()).unwrap_or_default();
    step(&format!("{name} parses, {} vendored packages are wasmtime's", PACKAGES.len()));
    Ok(())
}

fn vendored(package: &str) -> PathBuf {
    root().join(format!("wit/deps/wasi-{package}/{package}.wit"))
}

fn digests() -> Result<String, String> {
    let mut text = String::new();
    for package in PACKAGES {
        let path = vendored(package);
        let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        for byte in Sha256::digest(&bytes) {
            let _written = write!(text, "{byte:02x}");
        }
        let _written = writeln!(text, "  wasi-{package}/{package}.wit");
    }
    Ok(text)
}

/// The folder with the packages in the sources of the wasmtime-wasi-http that the lock file names.
fn sources() -> Result<PathBuf, String> {
    let output = cargo_command()
        .args(["metadata", "--format-version", "1", "--locked"])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))?;
    let manifest = metadata
        .pointer("/packages")
        .and_then(serde_json::Value::as_array)
        .into_iter()
        .flatten()
        .find(|package| package.get("name").is_some_and(|name| name == "wasmtime-wasi-http"))
        .and_then(|package| package.get("manifest_path")?.as_str())
        .ok_or("cargo metadata names no wasmtime-wasi-http")?;
    Ok(Path::new(manifest).with_file_name("wit").join("deps"))
}

fn compare(sources: &Path) -> Task {
    for package in PACKAGES {
        let (ours, theirs) = (vendored(package), sources.join(format!("{package}.wit")));
        let read = |path: &Path| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
        if read(&ours)? != read(&theirs)? {
            let (ours, theirs) = (ours.display(), theirs.display());
            return Err(format!("{ours} differs from wasmtime's {theirs}; run `cargo xtask wit --write`"));
        }
    }
    Ok(())
}

fn copy(sources: &Path) -> Task {
    for package in PACKAGES {
        let (from, to) = (sources.join(format!("{package}.wit")), vendored(package));
        fs::create_dir_all(to.parent().unwrap_or(&to))
            .and_then(|()| fs::copy(&from, &to))
            .map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))?;
    }
    Ok(())
}
