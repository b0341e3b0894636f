//! What must hold of every change beside its tests.

use std::process::Command;
use std::time::Duration;

use crate::command::{Task, attempt, cargo, cargo_command, has, run, step};
use crate::{debian, plugins, root, wit};

/// The other processor that edge nodes have.
const AARCH64: &str = "aarch64-unknown-linux-gnu";

/// How long rustup may take to fetch a target.
const RUSTUP_LIMIT: Duration = Duration::from_secs(180);

/// Runs all of it, the quick parts first.
pub(crate) fn run_all() -> Task {
    step("formatting");
    cargo(&["fmt", "--all", "--check"])?;
    step("contract");
    wit::run(false)?;
    plugins::build(false)?;
    step("lints");
    cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    guest_lints()?;
    step("documentation");
    run(cargo_command()
        .args([
            "doc",
            "--quiet",
            "--no-deps",
            "--document-private-items",
            "--package",
            "wicketgate",
            "--package",
            "wicketgate-sdk",
        ])
        .env("RUSTDOCFLAGS", "-D warnings"))?;
    licences()?;
    aarch64()
}

/// What exists only on wasm32 and is therefore not part of the lints above.
fn guest_lints() -> Task {
    if !plugins::has_library(plugins::TARGET) {
        step("lints of the plugins: NOT CHECKED: Debian's compiler has no clippy for its library");
        return Ok(());
    }
    step("lints of the plugins");
    let packages =
        ["wicketgate-sdk", "wicketgate-plugin-ecs", "wicketgate-plugin-faas-provider", "wicketgate-plugin-local"];
    let mut clippy = cargo_command();
    clippy.args(["clippy", "--target", plugins::TARGET, "--target-dir"]).arg(plugins::guests());
    run(clippy.args(packages.iter().flat_map(|package| ["--package", package])).args(["--", "-D", "warnings"]))
}

fn licences() -> Task {
    if !has("cargo-deny") {
        step("licences: cargo-deny is not installed, so deny.toml was not checked");
        return Ok(());
    }
    step("licences and sources");
    cargo(&["deny", "--offline", "check", "bans", "licenses", "sources"])
}

/// Checks the gateway for aarch64. Where the target or a C compiler for it cannot be had, that is said
/// and is no failure: the code is the same, and the next machine checks it.
fn aarch64() -> Task {
    let target = attempt(Command::new("rustup").args(["target", "add", AARCH64]).current_dir(root()), RUSTUP_LIMIT);
    let compiler =
        debian::need("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu libc6-dev-arm64-cross", "it compiles ring");
    if let Err(missing) = target.and(compiler) {
        step(&format!("aarch64: NOT CHECKED: {missing}"));
        return Ok(());
    }
    step("aarch64");
    run(cargo_command()
        .args(["check", "--package", "wicketgate", "--target", AARCH64])
        .env("CC_aarch64_unknown_linux_gnu", "aarch64-linux-gnu-gcc"))
}
