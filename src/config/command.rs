//! `[provider.NAME.command.NAME]`: a command that the provider's plugin may run as processes.

use std::time::Duration;

use super::section::Section;
use super::value::as_text;
use crate::host::processes::{CommandSpec, HealthSpec, Mode, ProcessLimits};
use crate::name::FunctionName;
use crate::parse;

/// Variables that the host itself sets for each process, so that nobody else may.
const OWN_VARIABLES: [&str; 1] = ["PORT"];

/// Reads one command; `None` if it names no program.
pub(super) fn read(name: &str, section: &Section<'_>) -> Option<CommandSpec> {
    if let Err(error) = name.parse::<FunctionName>() {
        section.problem(format!("{name:?} cannot be a command's name: {error}"));
    }
    let default = CommandSpec::default();
    let second = Duration::from_secs;
    let tick = Duration::from_millis(1);
    let mode = section.choice("mode", &[("fork", Mode::Fork), ("http", Mode::Http)]).unwrap_or(default.mode);
    let spec = CommandSpec {
        argv: argv(section),
        mode,
        env: section.pairs("env"),
        allowed_env: section.texts("allowed-env"),
        labels: section.pairs("labels"),
        deployed: section.switch("deployed", default.deployed),
        max_replicas: section.nonzero("max-replicas", default.max_replicas, 1000),
        concurrency: section.nonzero("concurrency", default.concurrency, 1024),
        queue: section.count("queue", default.queue, 0..=65_536),
        request_timeout: section.duration("request-timeout", default.request_timeout, tick..=second(3600)),
        start_timeout: section.duration("start-timeout", default.start_timeout, tick..=second(600)),
        stop_grace: section.duration("stop-grace", default.stop_grace, Duration::ZERO..=second(600)),
        content_type: section
            .read("content-type", |value| {
                let text = as_text(value)?;
                http::HeaderValue::from_str(text)
                    .map(|_valid| text.to_owned())
                    .map_err(|_invalid| "must be the value of a header field, e.g. \"application/json\"".to_owned())
            })
            .unwrap_or(default.content_type),
        working_directory: section.file("working-directory"),
        stop_delay: section.duration("stop-delay", default.stop_delay, Duration::ZERO..=second(600)),
        health: health(section, &default.health),
        limits: limits(section),
        log_buffer: section.size("log-buffer", default.log_buffer, 4 << 10..=16 << 20),
    };
    for (key, only) in [
        ("concurrency", Mode::Fork),
        ("queue", Mode::Fork),
        ("request-timeout", Mode::Fork),
        ("content-type", Mode::Fork),
        ("start-timeout", Mode::Http),
        ("health-path", Mode::Http),
        ("health-interval", Mode::Http),
        ("health-timeout", Mode::Http),
        ("health-failures", Mode::Http),
    ] {
        if section.has(key) && mode != only {
            let word = if only == Mode::Fork { "fork" } else { "http" };
            section.problem_at(key, format!("means something only with mode = \"{word}\""));
        }
    }
    if let Some(directory) = spec.working_directory.as_ref().filter(|directory| !directory.is_dir()) {
        section.problem_at("working-directory", format!("there is no directory {}", directory.display()));
    }
    for (key, variable) in
        spec.env.keys().map(|variable| ("env", variable)).chain(spec.allowed_env.iter().map(|v| ("allowed-env", v)))
    {
        if variable.is_empty() || variable.contains(['=', '\0']) {
            section.problem_at(key, format!("{variable:?} cannot be a variable's name"));
        } else if OWN_VARIABLES.contains(&variable.as_str()) {
            section.problem_at(key, format!("{variable} is set by the gateway"));
        }
    }
    (!spec.argv.is_empty()).then_some(spec)
}

fn health(section: &Section<'_>, default: &HealthSpec) -> HealthSpec {
    let second = Duration::from_secs;
    let path = section.read("health-path", |value| {
        let text = as_text(value)?;
        let is_path = text.starts_with('/') && text.parse::<http::uri::PathAndQuery>().is_ok();
        is_path.then(|| text.to_owned()).ok_or_else(|| "must be a path, e.g. \"/healthz\"".to_owned())
    });
    HealthSpec {
        path,
        interval: section.duration("health-interval", default.interval, Duration::from_millis(100)..=second(3600)),
        timeout: section.duration("health-timeout", default.timeout, Duration::from_millis(10)..=second(60)),
        failures: section.nonzero("health-failures", default.failures, 100),
    }
}

fn limits(section: &Section<'_>) -> ProcessLimits {
    let second = Duration::from_secs;
    let cpu_time = || section.duration("cpu-time", second(1), second(1)..=second(86_400));
    ProcessLimits {
        memory: section.size_if("memory", 1 << 20..=1 << 50),
        cpu_seconds: section.value("cpu-time").is_some().then(|| cpu_time().as_secs().max(1)),
        open_files: section.count_if("open-files", 16..=1_000_000),
        processes: section.count_if("processes", 1..=1_000_000),
    }
}

/// `command`: a list of words, or one text that is split as a shell would.
fn argv(section: &Section<'_>) -> Vec<String> {
    if !section.has("command") {
        section.problem("has no command; write command = [\"wc\", \"-w\"]");
    }
    let words = section.read("command", |value| match value.as_array() {
        Some(words) => {
            let words = words.iter().map(|word| as_text(word.get_ref()).map(str::to_owned));
            let words = words.collect::<Result<Vec<_>, _>>()?;
            if words.first().is_none_or(String::is_empty) || words.iter().any(|word| word.contains('\0')) {
                return Err("needs a program, e.g. [\"wc\", \"-w\"]".to_owned());
            }
            Ok(words)
        }
        None => {
            let text = value.as_str().ok_or("must be a list such as [\"wc\", \"-w\"]")?;
            parse::argv(text).map_err(|error| error.to_string())
        }
    });
    words.unwrap_or_default()
}
