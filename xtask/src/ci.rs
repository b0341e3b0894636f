//! What must hold of every change beside its tests.

use std::process::Command;
use std::time::Duration;

use crate::command::{Task, attempt, cargo, cargo_command, has, run, step};
use crate::{debian, fuzz, plugins, root, target, wit};

/// The other processor that edge nodes have.
const AARCH64: &str = "aarch64-unknown-linux-gnu";

/// The target of guests that are built as third parties build them.
const WASIP2: &str = "wasm32-wasip2";

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
    fuzz_targets()?;
    step("documentation");
    run(cargo_command()
        .args([
            "doc",
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
    let mut clippy = cargo_command();
    clippy.args(["clippy", "--target", plugins::TARGET, "--target-dir"]).arg(plugins::guests());
    clippy.args(["--package", "wicketgate-sdk"]);
    for package in plugins::packages() {
        clippy.arg("--package").arg(package);
    }
    run(clippy.args(["--", "-D", "warnings"]))?;
    if !plugins::has_library(WASIP2) {
        step(&format!("lints of {WASIP2}: NOT CHECKED: the target is not installed"));
        return Ok(());
    }
    let mut clippy = cargo_command();
    clippy.args(["clippy", "--target", WASIP2, "--target-dir"]).arg(plugins::guests());
    run(clippy.args(["--package", "wicketgate-guest-wasip2-sockets", "--", "-D", "warnings"]))
}

/// Checks the fuzz targets, which are apart from the workspace. With the workspace's target folder and profile,
/// what they depend on is there already.
fn fuzz_targets() -> Task {
    step("fuzz targets");
    debian::need("c++", "g++", "libFuzzer is compiled")?;
    let manifest = fuzz::manifest()?;
    run(cargo_command().args(["check", "--manifest-path"]).arg(manifest).arg("--target-dir").arg(target()))
}

fn licences() -> Task {
    if !has("cargo-deny") {
        step("licences: NOT CHECKED: run `cargo install cargo-deny --locked`, and deny.toml is checked here");
        return Ok(());
    }
    step("licences and sources");
    // Not offline: it wants to see the packages of all platforms, which no build has fetched.
    cargo(&["deny", "--workspace", "check", "bans", "licenses", "sources"])
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
