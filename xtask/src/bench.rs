//! Measurements and fuzzing: longer than a test, so started by hand.

use crate::command::{Task, cargo, cargo_command, has, run, step};
use crate::{debian, plugins, root};

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

/// Runs one fuzz target, or each in turn.
pub(crate) fn fuzz(arguments: &[String]) -> Task {
    if !has("cargo-fuzz") {
        return Err("cargo-fuzz is missing: cargo install cargo-fuzz (it needs a nightly toolchain)".to_owned());
    }
    let folder = root().join("fuzz/fuzz_targets");
    let mut targets: Vec<String> = arguments.to_vec();
    if targets.is_empty() {
        let entries = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        targets = entries.flatten().filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned())).collect();
        targets.sort();
    }
    for target in targets {
        step(&format!("fuzzing {target}"));
        run(cargo_command().args(["+nightly", "fuzz", "run", &target, "--", FUZZ_SECONDS]))?;
    }
    Ok(())
}
