//! The command line: what there is to do, and with which settings. The environment is read here and
//! in `main` only, and handed on as a closure.

pub mod accept;
mod help;
pub mod logging;
pub mod plugin;
pub mod provider;
mod source;
mod tighten;

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::config::{Config, ConfigError, log};
pub use source::Source;

/// The exit status of a configuration or command line that cannot be used (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;

/// The exit status of a start that failed.
pub const EXIT_START: u8 = 1;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "wicketgate",
    version,
    about = "The gateway an edge node runs in front of its functions",
    long_about = help::ABOUT,
    after_long_help = help::AFTER,
    arg_required_else_help = true,
    propagate_version = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What there is to do. `wicketgate watchdog` is not among it: the gateway starts that itself, for
/// each process of a function, so it is neither shown nor parsed here; see [`watchdog_arguments`].
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway until SIGTERM or SIGINT
    #[command(long_about = help::SERVE, after_long_help = help::SERVE_AFTER)]
    Serve(Serve),
    /// Check the configuration, list every mistake in it, and end
    #[command(long_about = help::CHECK, after_long_help = help::CHECK_AFTER)]
    Check(Check),
    /// Look at plugins, and try them
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// See and replace the plugins of a running gateway
    #[command(long_about = help::PROVIDER, after_long_help = help::PROVIDER_AFTER, arg_required_else_help = true)]
    Provider(provider::Provider),
    /// Print a completion script for a shell
    #[command(after_long_help = help::COMPLETIONS_AFTER)]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// `wicketgate serve`
#[derive(Args, Clone, Debug, Default)]
pub struct Serve {
    /// The TOML file; without one OpenFaaS's environment or the bundled example
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where to listen, instead of `listen.http`; port 0 lets the system choose
    #[arg(short, long, value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,
    /// Where the metrics listen, instead of `listen.metrics`
    #[arg(long, value_name = "IP:PORT")]
    pub metrics: Option<SocketAddr>,
    /// Where state, cache and admin socket are, instead of `state.directory`
    #[arg(long, value_name = "DIRECTORY")]
    pub state_directory: Option<PathBuf>,
    /// What is logged, instead of `log.level`: a level, or e.g. `info,wicketgate::scaler=debug`
    #[arg(long, value_name = "LEVEL", value_parser = log::check_level)]
    pub log: Option<String>,
}

/// `wicketgate check`
#[derive(Args, Clone, Debug, Default)]
pub struct Check {
    /// The TOML file; without one OpenFaaS's environment or the bundled example
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the configuration as TOML, e.g. to make a file of OpenFaaS's environment
    #[arg(long)]
    pub print: bool,
}

/// What follows `wicketgate watchdog`, if that is what was called.
pub fn watchdog_arguments(mut arguments: impl Iterator<Item = OsString>) -> Option<Vec<OsString>> {
    let is_watchdog = arguments.nth(1).is_some_and(|word| word == "watchdog");
    is_watchdog.then(|| arguments.collect())
}

impl Serve {
    /// The configuration, with what the command line says in place of it.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn configuration(&self, environment: impl Fn(&str) -> Option<String>) -> Result<Config, ConfigError> {
        let source = Source::choose(self.config.as_deref(), &environment);
        let mut config = source.read_with_files()?;
        if let Some(address) = self.listen {
            config.listen.http = address;
        }
        if let Some(address) = self.metrics {
            config.listen.metrics = Some(address);
        }
        if let Some(directory) = &self.state_directory {
            config.state_directory = Some(absolute(directory));
        }
        let level = environment("WICKETGATE_LOG").and_then(|level| log::check_level(&level).ok());
        if let Some(level) = self.log.clone().or(level) {
            config.log.level = level;
        }
        Ok(config)
    }
}

fn absolute(path: &std::path::Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_no_working_directory| path.to_owned())
}

impl Check {
    /// Checks, and writes to `out` what was checked.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn run(
        &self,
        environment: impl Fn(&str) -> Option<String>,
        out: &mut impl Write,
    ) -> Result<io::Result<()>, ConfigError> {
        let source = Source::choose(self.config.as_deref(), environment);
        if self.print {
            // Printed even with mistakes in it: they are told by line.
            let printed = write!(out, "{}", source.text()?);
            source.read_with_files()?;
            return Ok(printed);
        }
        let config = source.read_with_files()?;
        Ok(report(&config, out))
    }
}

/// What a gateway with this configuration would do, in a few lines.
fn report(config: &Config, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}: no mistakes", config.origin)?;
    for provider in &config.providers {
        let mut namespaces: Vec<_> = provider.namespaces.iter().map(|name| name.as_str()).collect();
        if provider.is_default {
            namespaces.push("every other namespace");
        }
        writeln!(out, "  provider {}: {} serves {}", provider.name, provider.component, namespaces.join(", "))?;
    }
    for warning in &config.warnings {
        writeln!(out, "  warning: {warning}")?;
    }
    Ok(())
}

/// Writes a completion script.
///
/// # Errors
/// `out` cannot be written to.
pub fn completions(shell: clap_complete::Shell, out: &mut impl Write) -> io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "wicketgate", &mut script);
    out.write_all(&script)
}

#[cfg(test)]
mod tests;
