//! Measurements: longer than a test, so started by hand.

use crate::command::{Task, cargo, step};
use crate::{debian, plugins};

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
