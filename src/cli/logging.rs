//! Where log lines go: to the standard error, as text for people or as JSON for machines.
//!
//! Lines of one request carry its `call_id`, those of a provider its `provider` and `generation`;
//! the parts that log say so as fields.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

use crate::config::log::{Config, Format, LEVEL};

/// Begins to log. A second call changes nothing.
pub fn start(config: &Config, environment: impl Fn(&str) -> Option<String>) {
    let terminal = io::stderr().is_terminal();
    let filter = EnvFilter::try_new(&config.level).unwrap_or_else(|_checked_before| EnvFilter::new(LEVEL));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_timer(SystemTime);
    let is_text = match config.format {
        Format::Text => true,
        Format::Json => false,
        Format::Auto => terminal,
    };
    let started = if is_text {
        let colour = terminal && environment("NO_COLOR").is_none_or(|value| value.is_empty());
        lines.with_ansi(colour).with_target(false).try_init()
    } else {
        lines.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
    };
    if let Err(error) = started {
        tracing::debug!(%error, "logging had begun already");
    }
}
