//! Fuzzing: longer than a test, so started by hand. What it finds becomes a seed, and a test with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use crate::command::{Task, cargo_command, has, run, step};
use crate::{debian, plugins, root, target};

/// How long each target is fuzzed unless `--seconds` says something else.
const SECONDS: u32 = 60;

/// An input that takes longer is a find: what reads untrusted bytes must not be slow either. In seconds.
const INPUT_SECONDS: u32 = 10;

/// The version of cargo-fuzz that is installed where there is none.
const CARGO_FUZZ: &str = "0.13.2";

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
struct Order {
    /// All targets where none is named.
    targets: Vec<String>,
    seconds: u32,
    /// Run this input once, and fuzz nothing.
    input: Option<PathBuf>,
}

impl Order {
    fn read(arguments: &[String]) -> Result<Self, String> {
        let mut order = Self { targets: Vec::new(), seconds: SECONDS, input: None };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let (word, value) = word.split_once('=').map_or((word.as_str(), None), |(word, value)| (word, Some(value)));
            let mut value = || {
                value
                    .or_else(|| words.next().map(String::as_str))
                    .ok_or_else(|| format!("{word}: its value is missing"))
            };
            match word {
                "--seconds" => {
                    let value = value()?;
                    order.seconds = value.parse().map_err(|_error| format!("--seconds {value}: write a number"))?;
                }
                "--input" => order.input = Some(PathBuf::from(value()?)),
                _ if word.starts_with('-') => return Err(format!("{word}: there is --seconds N and --input FILE")),
                _ => order.targets.push(word.to_owned()),
            }
        }
        if order.input.is_some() && order.targets.len() != 1 {
            return Err("--input FILE wants one target: cargo xtask fuzz TARGET --input FILE".to_owned());
        }
        Ok(order)
    }
}

/// The manifest of the fuzz targets, with the gateway's versions of everything beside it, and not the newest ones.
pub(crate) fn manifest() -> Result<PathBuf, String> {
    let lock = root().join("fuzz/Cargo.lock");
    fs::copy(root().join("Cargo.lock"), &lock).map_err(|error| format!("{}: {error}", lock.display()))?;
    Ok(root().join("fuzz/Cargo.toml"))
}

/// Fuzzes the named targets, or all in turn. One that finds something does not keep the others from running.
pub(crate) fn run_all(arguments: &[String]) -> Task {
    let order = Order::read(arguments)?;
    let known = targets()?;
    if let Some(unknown) = order.targets.iter().find(|target| !known.contains(target)) {
        return Err(format!("there is no fuzz target {unknown:?}; there is {}", known.join(", ")));
    }
    let targets = if order.targets.is_empty() { known } else { order.targets };
    let programs = build()?;
    let mut found = Vec::new();
    for (place, name) in targets.iter().enumerate() {
        let mut command = Command::new(programs.join(name));
        command.current_dir(root()).arg(format!("-timeout={INPUT_SECONDS}"));
        let outcome = if let Some(input) = &order.input {
            step(&format!("{name} with {}", input.display()));
            let whole = input.canonicalize().map_err(|error| format!("{}: {error}", input.display()))?;
            run(command.arg(whole))
        } else {
            step(&format!("fuzzing {name} for {} s ({} of {})", order.seconds, place + 1, targets.len()));
            fuzz(command, name, order.seconds)
        };
        found.extend(outcome.err().map(|error| format!("{name}: {error}{}", reproduce(name))));
    }
    if found.is_empty() { Ok(()) } else { Err(found.join("\nxtask: ")) }
}

/// Builds all targets at once, so that what they share is compiled once; answers where they are. They are started
/// from there, since `cargo fuzz run` would build again whatever is edited meanwhile.
fn build() -> Result<PathBuf, String> {
    let tools = cargo_fuzz()?;
    plugins::build(false)?;
    manifest()?;
    step("building the fuzz targets (the first time takes ten minutes or more)");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::env::split_paths(&path).chain([tools.join("bin")]))
        .map_err(|error| format!("PATH: {error}"))?;
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    // Without a sanitizer, which would need another toolchain than the stable one and finds only what safe Rust
    // rules out.
    let mut cargo = cargo_command();
    cargo.args(["fuzz", "build", "--sanitizer", "none", "--target", &triple]).env("PATH", path);
    run(cargo.env_remove("CARGO_TARGET_DIR"))?;
    Ok(root().join("fuzz/target").join(triple).join("release"))
}

/// Fuzzes one target, from its seeds and from what earlier runs found worth keeping.
fn fuzz(mut command: Command, name: &str, seconds: u32) -> Task {
    let fuzz = Path::new("fuzz");
    let (corpus, artifacts) = (fuzz.join("corpus").join(name), fuzz.join("artifacts").join(name));
    for folder in [&corpus, &artifacts] {
        fs::create_dir_all(root().join(folder)).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.arg(format!("-max_total_time={seconds}")).arg("-print_final_stats=1");
    run(command.arg(corpus).arg(fuzz.join("seeds").join(name)))
}

/// The names of all targets.
fn targets() -> Result<Vec<String>, String> {
    let folder = root().join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut names: Vec<String> =
        entries.flatten().filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    Ok(names)
}

/// How to see the last find of a target again, if there is one.
fn reproduce(name: &str) -> String {
    let Ok(entries) = fs::read_dir(root().join("fuzz/artifacts").join(name)) else { return String::new() };
    let age = |path: &PathBuf| fs::metadata(path).and_then(|about| about.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let last = entries.flatten().map(|entry| entry.path()).max_by_key(age);
    last.map_or_else(String::new, |file| {
        let (from, file) = (root(), file);
        let file = file.strip_prefix(&from).unwrap_or(&file).display();
        format!(
            "\n  see it again: cargo xtask fuzz {name} --input {file}\n  \
             keep it from coming back: copy that file into fuzz/seeds/{name}, which `cargo test --test fuzz` runs"
        )
    })
}

/// Makes sure that cargo-fuzz and what it needs are there; answers where it is if it is not on the path.
fn cargo_fuzz() -> Result<PathBuf, String> {
    debian::need("c++", "g++", "libFuzzer is compiled")?;
    let tools = target().join("tools");
    if !has("cargo-fuzz") && !tools.join("bin/cargo-fuzz").is_file() {
        step("installing cargo-fuzz");
        let mut install = cargo_command();
        install.args(["install", "cargo-fuzz", "--locked", "--version", CARGO_FUZZ, "--root"]).arg(&tools);
        run(&mut install)?;
    }
    Ok(tools)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Order, String> {
        Order::read(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn words_are_targets_but_for_the_two_options() {
        let order = |targets: &[&str], seconds, input: Option<&str>| {
            let targets = targets.iter().map(|target| (*target).to_owned()).collect();
            Ok(Order { targets, seconds, input: input.map(PathBuf::from) })
        };
        assert_eq!(read(&[]), order(&[], SECONDS, None));
        assert_eq!(read(&["route", "--seconds", "5", "grant"]), order(&["route", "grant"], 5, None));
        assert_eq!(read(&["--seconds=7"]), order(&[], 7, None));
        assert_eq!(read(&["route", "--input", "a/b"]), order(&["route"], SECONDS, Some("a/b")));
        for (wrong, says) in [
            (&["--seconds"][..], "its value is missing"),
            (&["--seconds", "long"], "write a number"),
            (&["--secnods", "5"], "--seconds N"),
            (&["--input", "a"], "one target"),
        ] {
            let error = read(wrong).unwrap_err();
            assert!(error.contains(says), "{wrong:?}: {error}");
        }
    }

    #[test]
    fn the_targets_are_those_of_the_folder() {
        let targets = targets().unwrap();
        assert!(targets.len() > 10 && targets.contains(&"records".to_owned()), "{targets:?}");
    }
}
