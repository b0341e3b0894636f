//! The tests, and what some of them need of the machine.

use std::process::Stdio;

use crate::command::{Task, cargo, cargo_command, in_ci, shown, step};
use crate::{debian, moto, plugins};

/// A part of the black-box suite that needs more than the gateway.
struct Suite {
    /// What the names of its tests begin with.
    prefix: &'static str,
    prepare: fn() -> Task,
}

static SUITES: [Suite; 4] = [
    Suite { prefix: "docker::", prepare: docker },
    Suite { prefix: "podman::", prepare: podman },
    Suite { prefix: "ecs::", prepare: moto::environment },
    // Any of the others may scale on the tests' independent provider.
    Suite { prefix: "", prepare: python },
];

fn docker() -> Task {
    engine(&["dockerd", "iptables"], "docker.io iptables", "the tests run a Docker Engine of their own")
}

fn podman() -> Task {
    let programs = ["podman", "runc", "catatonit", "iptables"];
    engine(&programs, "podman runc catatonit iptables", "the tests run a Podman of their own")
}

/// What runs containers, and what brings up the network that it gets.
fn engine(programs: &[&str], packages: &str, why: &str) -> Task {
    if !debian::is_root() {
        return Err(format!("{why}, which only root can"));
    }
    programs.iter().try_for_each(|program| debian::need(program, packages, why))?;
    debian::need("busybox", "busybox-static", "it brings up the network of that engine")
}

fn python() -> Task {
    debian::need("python3", "python3", "it runs the tests' independent provider")
}

/// Builds what the tests run on, prepares the machine as far as the named tests need it, and runs them.
/// Suites that cannot run here are left out and counted; in CI they are an error.
pub(crate) fn run(arguments: &[String]) -> Task {
    let mut missing = plugins::build(true)?;
    step("building the tests (the first time takes about ten minutes: wasmtime is compiled)");
    let mut left_out = Vec::new();
    let names = black_box(arguments)?;
    for (suite, tests) in needed(&names) {
        let Err(reason) = (suite.prepare)() else { continue };
        if in_ci() {
            return Err(reason);
        }
        missing.push(format!("{} tests of the suite {}: {reason}", tests.len(), suite.prefix.trim_end_matches(':')));
        left_out.extend(tests);
    }
    step("running the tests");
    let mut words = vec!["test", "--workspace"];
    if !arguments.is_empty() || !left_out.is_empty() {
        words.extend(["--", "--color=auto"]);
        words.extend(arguments.iter().map(String::as_str));
        words.extend(left_out.into_iter().flat_map(|name| ["--skip", name]));
    }
    let outcome = cargo(&words);
    for reason in &missing {
        step(&format!("MISSING: {reason}"));
    }
    outcome
}

/// Builds all tests and answers the names of those of the black-box suite that `arguments` leave.
fn black_box(arguments: &[String]) -> Result<Vec<String>, String> {
    cargo(&["test", "--workspace", "--no-run"])?;
    let mut list = cargo_command();
    list.args(["test", "--quiet", "--workspace", "--test", "it", "--"]).args(arguments).arg("--list");
    let output = list.stderr(Stdio::inherit()).output().map_err(|error| format!("{}: {error}", shown(&list)))?;
    if !output.status.success() {
        return Err(format!("{} ended with {}", shown(&list), output.status));
    }
    Ok(names(&String::from_utf8_lossy(&output.stdout)))
}

/// The tests in the list that a test program prints.
fn names(list: &str) -> Vec<String> {
    list.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

/// The suites that have one of these tests, each with its tests.
fn needed(names: &[String]) -> Vec<(&'static Suite, Vec<&str>)> {
    let of = |name: &str| SUITES.iter().position(|suite| name.starts_with(suite.prefix));
    let tests = |place| names.iter().map(String::as_str).filter(|name| of(name) == Some(place)).collect::<Vec<_>>();
    SUITES
        .iter()
        .enumerate()
        .map(|(place, suite)| (suite, tests(place)))
        .filter(|(_, tests)| !tests.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_suites_of_the_named_tests_are_prepared() {
        let prefixes = |list: &str| {
            let names = names(list);
            needed(&names).into_iter().map(|(suite, tests)| (suite.prefix, tests.len())).collect::<Vec<_>>()
        };
        assert_eq!(prefixes(""), []);
        assert_eq!(prefixes("swap::one: test\n\n1 test, 0 benchmarks\n"), [("", 1)]);
        assert_eq!(
            prefixes(
                "docker::swarm::a: test\ndocker::b: test\necs::c: test\nlocal::docker::d: test\npodman::e: test\n"
            ),
            [("docker::", 2), ("podman::", 1), ("ecs::", 1), ("", 1)]
        );
    }
}
