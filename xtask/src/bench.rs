//! Measurements and fuzzing: longer than a test, so started by hand.

use std::path::PathBuf;

use crate::command::{Task, cargo, cargo_command, has, run, step};
use crate::{debian, plugins, root, target};

/// How long each fuzz target runs.
const FUZZ_SECONDS: &str = "-max_total_time=60";

/// Makes sure that the baselines and the load generator are there.
fn programs() -> Task {
    debian::need("nginx", "nginx-light", "a baseline of the warm path")?;
    debian::need("haproxy", "haproxy", "a baseline of the warm path")?;
    debian::need("wrk", "wrk", "the load of the warm path")
}

/// Builds the guests of the bench and runs it.
pub(crate) fn bench(arguments: &[String]) -> Task {
    programs()?;
    plugins::build(true)?;
    step("building the bench");
    let mut words = vec!["run", "--release", "--package", "wicketgate-bench", "--"];
    words.extend(arguments.iter().map(String::as_str));
    cargo(&words)
}

/// The version of cargo-fuzz that is installed where there is none.
const CARGO_FUZZ: &str = "0.13.2";

/// Where tools of the tasks' own are installed.
fn tools() -> PathBuf {
    target().join("tools")
}

/// Makes sure that cargo-fuzz and what it needs are there. Everything runs on the stable toolchain: without a
/// sanitizer, which would need another one and finds only what safe Rust rules out.
fn fuzzer() -> Task {
    debian::need("c++", "g++", "libFuzzer is compiled")?;
    if has("cargo-fuzz") || tools().join("bin/cargo-fuzz").is_file() {
        return Ok(());
    }
    step("installing cargo-fuzz");
    run(cargo_command().args(["install", "cargo-fuzz", "--locked", "--version", CARGO_FUZZ, "--root"]).arg(tools()))
}

/// The manifest of the fuzz targets, with the gateway's versions of everything beside it, and not the newest ones.
pub(crate) fn fuzz_manifest() -> Result<PathBuf, String> {
    let lock = root().join("fuzz/Cargo.lock");
    std::fs::copy(root().join("Cargo.lock"), &lock).map_err(|error| format!("{}: {error}", lock.display()))?;
    Ok(root().join("fuzz/Cargo.toml"))
}

/// Runs one fuzz target, or each in turn.
pub(crate) fn fuzz(arguments: &[String]) -> Task {
    fuzzer()?;
    plugins::build(false)?;
    let fuzz = root().join("fuzz");
    let folder = fuzz.join("fuzz_targets");
    let mut targets: Vec<String> = arguments.to_vec();
    if targets.is_empty() {
        let entries = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        targets = entries.flatten().filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned())).collect();
        targets.sort();
    }
    fuzz_manifest()?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::env::split_paths(&path).chain([tools().join("bin")]))
        .map_err(|error| format!("PATH: {error}"))?;
    for name in targets {
        let corpus = fuzz.join("corpus").join(&name);
        std::fs::create_dir_all(&corpus).map_err(|error| format!("{}: {error}", corpus.display()))?;
        step(&format!("fuzzing {name}"));
        let mut command = cargo_command();
        command.args(["fuzz", "run", "--sanitizer", "none", &name]).arg(corpus).arg(fuzz.join("seeds").join(&name));
        run(command.args(["--", FUZZ_SECONDS]).env("PATH", &path))?;
    }
    Ok(())
}
