//! What the gateway tells a watchdog, and what the watchdog answers.
//!
//! The gateway starts `wicketgate watchdog` and writes a [`Launch`] as a line of JSON to its standard input
//! (not as an argument, which other users of the machine could read), then keeps that open. The line `stop` asks
//! for an end with the full grace; the end of the file, which the kernel makes when the gateway is gone, asks
//! for an end at once.
//!
//! The watchdog writes lines: `ready PORT` once requests are accepted, `out TEXT` and `err TEXT` for what
//! the command printed, `sick TEXT` when it no longer answers and will be ended, `exit TEXT` with the reason
//! before the watchdog ends by itself.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{CommandSpec, GroupSpec, HealthSpec, Mode, ProcessLimits};

/// Variables of the gateway that a command gets too.
const INHERITED: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];

/// What a watchdog runs, and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Launch {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// How it serves requests.
    pub mode: Mode,
    /// All variables that it gets; [`Mode::Http`] adds `PORT`, [`Mode::Fork`] those of the request.
    pub env: BTreeMap<String, String>,
    /// Where it runs.
    pub working_directory: Option<PathBuf>,
    /// Requests at once.
    pub concurrency: u32,
    /// Requests that may wait.
    pub queue: u32,
    /// The time of one request, in milliseconds.
    pub request_timeout_ms: u64,
    /// The time until the first accepted connection, in milliseconds.
    pub start_timeout_ms: u64,
    /// The time from TERM to KILL, in milliseconds.
    pub stop_grace_ms: u64,
    /// The type of an answer.
    pub content_type: String,
    /// What each process may use.
    pub limits: ProcessLimits,
    /// How it is looked after.
    pub health: HealthSpec,
}

impl Launch {
    /// What a replica of a group runs.
    #[must_use]
    pub fn new(command: &CommandSpec, group: &GroupSpec) -> Self {
        let inherited = INHERITED.into_iter().filter_map(|key| Some((key.to_owned(), std::env::var(key).ok()?)));
        let mut env: BTreeMap<String, String> = inherited.collect();
        env.extend(command.env.clone());
        env.extend(group.env.clone());
        let milliseconds = |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self {
            argv: command.argv.clone(),
            mode: command.mode,
            env,
            working_directory: command.working_directory.clone(),
            concurrency: command.concurrency.get(),
            queue: command.queue,
            request_timeout_ms: milliseconds(command.request_timeout),
            start_timeout_ms: milliseconds(command.start_timeout),
            stop_grace_ms: milliseconds(command.stop_grace),
            content_type: command.content_type.clone(),
            limits: command.limits.lower(group.limits),
            health: command.health.clone(),
        }
    }
}

/// A line from a watchdog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// Requests are accepted on this port of 127.0.0.1.
    Ready(u16),
    /// The command printed this.
    Printed(String),
    /// Why the command no longer counts as ready; it is being ended.
    Sick(String),
    /// Why the command ended by itself.
    Ended(String),
}

impl Report {
    /// Reads a line; `None` for one that is no report.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ')?;
        match word {
            "ready" => rest.parse().ok().map(Self::Ready),
            "out" | "err" => Some(Self::Printed(rest.to_owned())),
            "sick" => Some(Self::Sick(rest.to_owned())),
            "exit" => Some(Self::Ended(rest.to_owned())),
            _other => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read_and_anything_else_is_passed_over() {
        assert_eq!(Report::parse("ready 8080"), Some(Report::Ready(8080)));
        assert_eq!(Report::parse("out a line "), Some(Report::Printed("a line ".to_owned())));
        assert_eq!(Report::parse("sick no answer"), Some(Report::Sick("no answer".to_owned())));
        assert_eq!(Report::parse("exit code 3"), Some(Report::Ended("code 3".to_owned())));
        for bad in ["", "ready", "ready x", "ready 70000", "hello there"] {
            assert_eq!(Report::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_group_overrides_the_variables_of_its_command() {
        let command = CommandSpec { env: [("A".to_owned(), "1".to_owned())].into(), ..CommandSpec::default() };
        let group = GroupSpec { env: [("A".to_owned(), "2".to_owned())].into(), ..GroupSpec::default() };
        let launch = Launch::new(&command, &group);
        assert_eq!(launch.env.get("A").map(String::as_str), Some("2"));
        assert!(launch.limits == ProcessLimits::default());
        assert!(!launch.env.keys().any(|key| key.starts_with("CARGO")), "{:?}", launch.env);
    }

    #[test]
    fn a_group_can_lower_a_limit_and_not_raise_one() {
        let limits = |memory, open_files| ProcessLimits { memory, open_files, ..ProcessLimits::default() };
        let command = CommandSpec { limits: limits(Some(100), Some(50)), ..CommandSpec::default() };
        let group = GroupSpec { limits: limits(Some(200), Some(20)), ..GroupSpec::default() };
        assert_eq!(Launch::new(&command, &group).limits, limits(Some(100), Some(20)));
        let unlimited = CommandSpec::default();
        assert_eq!(Launch::new(&unlimited, &group).limits, limits(Some(200), Some(20)));
    }
}
