//! The project's own tasks: `cargo xtask --help`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a task tells what it does")]

mod bench;
mod ci;
mod clang;
mod command;
mod debian;
mod fuzz;
mod moto;
mod plugins;
mod readme;
mod test;
mod wit;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use command::{Task, step};

const HELP: &str = "\
cargo xtask TASK [-- ARGUMENTS]

Run it
  run      build everything in release mode and start the gateway on http://127.0.0.1:8080 with the
           embedded configuration, or with your own: cargo xtask run -- --config FILE
  test     build the plugins and the tests' guests, then run all tests: cargo xtask test -- name_of_a_test

Build it
  build    the plugins and the gateway in release mode: target/release/wicketgate
  plugins  only the plugins: target/plugins/NAME.wasm; with --tests also the tests' guests
  wit      check the vendored WASI packages in wit/deps against wasmtime's; with --write copy them again

Check it
  ci       formatting, lints, documentation, and a check for aarch64
  bench    figures beside their baselines: cargo xtask bench -- --help
  fuzz     fuzz what reads untrusted bytes, a minute a target: cargo xtask fuzz [TARGET...] [--seconds N];
           --input FILE does what TARGET does with one file

What is missing is installed: the Rust target with rustup, else Debian's packages with apt-get (as root
or with sudo). Where neither works the task says what to install.

Environment
  WICKETGATE_TOOLCHAIN  rustup or debian: build the plugins with that toolchain and no other
  CI                    set: a guest that cannot be built, or a suite of tests that cannot run, is a failure";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let task = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.filter(|argument| argument != "--").collect();
    let outcome = match task.as_str() {
        "run" => run(&rest),
        "test" => test::run(&rest),
        "build" => build(),
        "plugins" => plugins::build(rest.iter().any(|argument| argument == "--tests")).map(drop),
        "wit" => wit::run(rest.iter().any(|argument| argument == "--write")),
        "ci" => ci::run_all(),
        "bench" => build().and_then(|()| bench::bench(&rest)),
        "fuzz" => fuzz::run_all(&rest),
        "" | "help" | "--help" | "-h" => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        other => Err(format!("there is no task {other:?}; `cargo xtask --help` lists them")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The top of the checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// Where cargo builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

fn build() -> Task {
    plugins::build(false)?;
    step("building the gateway (the first time takes about ten minutes: wasmtime is compiled)");
    command::cargo(&["build", "--release", "--package", "wicketgate"])
}

fn run(arguments: &[String]) -> Task {
    build()?;
    let binary = target().join("release/wicketgate");
    let state = target().join("run");
    step(&format!("starting {}", binary.display()));
    let mut gateway = std::process::Command::new(&binary);
    gateway.arg("serve").args(arguments);
    if !arguments.iter().any(|argument| argument.starts_with("--state")) {
        gateway.arg("--state-directory").arg(&state);
    }
    command::replace_by(gateway)
}
