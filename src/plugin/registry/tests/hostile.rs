//! Guests that attack their host, each within its limit and with the limit out of the way: an attack that ends the
//! same without its limit would show that something else stopped it. What is expected of each is the table
//! `tests/fixtures/README.md` and stands nowhere else.

mod answers;
mod calls;
mod sends;
mod table;

use super::*;
use crate::provider::switches::{Check, Off};

/// Whether the limit of a row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Within,
    Without,
}

/// The tests that run the rows of the table which name them.
const GROUPS: [&str; 9] =
    ["calls", "waits", "reuse", "strikes", "counts", "requests", "endpoints", "namespaces", "traps"];

/// Runs the rows of a group, both halves each.
async fn run(group: &str, outcome: impl AsyncFn(&str, Half) -> String) {
    let rows: Vec<_> = table::rows().into_iter().filter(|row| row.test == group).collect();
    assert!(!rows.is_empty(), "no row is of {group:?}");
    let mut wrong = Vec::new();
    for row in &rows {
        for guest in &row.guests {
            for (half, expected) in [(Half::Within, &row.within), (Half::Without, &row.without)] {
                if expected.is_empty() {
                    continue;
                }
                let ended = outcome(guest, half).await;
                if ended != *expected {
                    wrong.push(format!(
                        "{}, {guest}, {half:?}: the host {ended}; the table says: {expected}",
                        row.number
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// What came of a call, in the words of the table.
fn told<T>(answer: &Result<T, QueryError>) -> String {
    let Err(error) = answer else { return "answers".to_owned() };
    match &error.cause {
        Cause::Plugin(PluginFault::Budget(budget)) => format!("ends the call at `{}`", budget.setting()),
        Cause::Plugin(PluginFault::Trap) => "ends the call as a trap".to_owned(),
        Cause::Plugin(PluginFault::BadOutput(field)) => format!("refuses the field `{field}`"),
        Cause::Plugin(PluginFault::Quarantined) => "stops the plugin for a while".to_owned(),
        Cause::Platform(_) => "passes the error on".to_owned(),
        other @ (Cause::Plugin(PluginFault::Busy)
        | Cause::NotExported(_)
        | Cause::NoProvider
        | Cause::NoPlugin
        | Cause::Gateway) => {
            format!("says {other:?}: {}", error.message)
        }
    }
}

/// The same, and whether the plugin still answers afterwards: a call that ended badly took its instance with it.
fn told_with_next<T, U>(answer: &Result<T, QueryError>, next: &Result<U, QueryError>) -> String {
    let told = told(answer);
    if next.is_ok() { told } else { format!("{told}, and the next one too") }
}

fn named(name: &str) -> FunctionRef {
    FunctionRef { name: name.parse().unwrap(), ..figlet() }
}

/// Enough processor time for a debug build that copies megabytes.
fn slow() -> Limits {
    Limits { cpu_time: Duration::from_secs(30), call_timeout: Duration::from_secs(60), ..limits() }
}
