//! `wicketgate plugin ...`: what can be said of a plugin, without running it and by trying it.

mod check;
mod text;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{EXIT_START, EXIT_USAGE, Source};
use crate::config::ConfigError;
use crate::conformance::{ConformanceError, SuiteError};
use crate::name::ProviderName;
use crate::plugin::Refusal;
use crate::plugin::inspect::{Finding, Inspection, Weight};
use crate::provider::{ComponentSource, Limits, ProviderConfig};
pub use check::Check;

const INSPECT: &str = "\
Show what a plugin is and what it wants, without running it.

Shown are its size, digest and manifest, the tools that made it, what it offers (exports) and what it \
wants of the gateway (imports), each with a sentence. With --config it is compared with a provider's \
settings: what would be refused, and what would be missing.

Names decide here; that every function has the contract's type shows when the plugin is loaded.";

const INSPECT_AFTER: &str = "\
Examples:
  wicketgate plugin inspect acme.wasm
  wicketgate plugin inspect acme.wasm --config edge.toml
  wicketgate plugin inspect acme.wasm --config edge.toml --provider acme
  wicketgate plugin inspect builtin:local --json

Without --provider the providers whose component is FILE are compared, else the only one that there is. At \
most limits.component-bytes (64 MiB) of the file are read.

Exit status:
  0   it would be loaded, as far as can be told without running it
  1   it cannot be read, or would be refused
  64  the command line or the configuration has a mistake";

/// What there is to do with plugins.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what a plugin is and what it wants, without running it
    #[command(long_about = INSPECT, after_long_help = INSPECT_AFTER)]
    Inspect(Inspect),
    /// Run the conformance suite for a plugin and its platform
    #[command(long_about = check::CHECK, after_long_help = check::CHECK_AFTER)]
    Check(Check),
}

/// `wicketgate plugin inspect`
#[derive(Args, Clone, Debug)]
pub struct Inspect {
    /// The component: a path, or `builtin:NAME`
    #[arg(value_name = "FILE")]
    pub file: String,
    /// Compare it with this configuration
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Compare it with this provider of the configuration
    #[arg(short, long, value_name = "NAME", requires = "config")]
    pub provider: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing speaks against it.
    Fine,
    /// It would not be loaded.
    Refused,
    /// It does not do what the contract says.
    Failed,
}

impl Outcome {
    /// The exit status.
    #[must_use]
    pub fn status(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Refused | Self::Failed => EXIT_START,
        }
    }
}

/// Why nothing could be said.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// The configuration has mistakes.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration does not say with which provider to compare.
    #[error("{0}")]
    Provider(String),
    /// The component cannot be read.
    #[error("{file}")]
    Component {
        /// Which one.
        file: String,
        /// Why.
        source: Refusal,
    },
    /// The suite cannot be run.
    #[error(transparent)]
    Conformance(#[from] ConformanceError),
    /// The suite, or the answers beside it, cannot be read.
    #[error(transparent)]
    Suite(#[from] SuiteError),
    /// The answer cannot be written.
    #[error("the answer cannot be written")]
    Output(#[from] io::Error),
}

impl PluginError {
    /// The exit status.
    #[must_use]
    pub fn status(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Provider(_) | Self::Suite(_) => EXIT_USAGE,
            Self::Component { .. } | Self::Conformance(_) | Self::Output(_) => EXIT_START,
        }
    }
}

/// Everything that is shown.
#[derive(Serialize)]
struct Report<'r> {
    /// The path, or `builtin:NAME`.
    component: &'r str,
    #[serde(flatten)]
    inspection: &'r Inspection,
    /// What speaks against it: in any gateway of this version, or for each provider that it was compared with.
    verdicts: Vec<Verdict>,
}

#[derive(Serialize)]
struct Verdict {
    /// `None`: it was compared with no configuration.
    provider: Option<ProviderName>,
    /// The operator's name for the key or identity that signed it; `None` if it is not signed or no signature is
    /// asked for.
    signer: Option<String>,
    /// What the signer says, or whom the certificate names.
    signed_as: Option<String>,
    is_refused: bool,
    findings: Vec<Finding>,
}

impl Command {
    /// Does it, and writes the answer to `out`.
    ///
    /// # Errors
    /// See [`PluginError`].
    pub fn run(
        &self,
        environment: impl Fn(&str) -> Option<String>,
        out: &mut impl Write,
    ) -> Result<Outcome, PluginError> {
        match self {
            Self::Inspect(inspect) => inspect.run(environment, out),
            Self::Check(check) => check.run(environment, out),
        }
    }
}

impl Inspect {
    fn run(&self, environment: impl Fn(&str) -> Option<String>, out: &mut impl Write) -> Result<Outcome, PluginError> {
        let source = source_of(&self.file);
        let config = match &self.config {
            Some(path) => Some(Source::choose(Some(path), environment).read()?),
            None => None,
        };
        let providers = match &config {
            Some(config) => choose(&self.file, self.provider.as_deref(), &config.providers, &source)?,
            None => Vec::new(),
        };
        let max_bytes = providers.iter().map(|provider| provider.limits.component_bytes).max();
        let max_bytes = max_bytes.unwrap_or(Limits::default().component_bytes);
        let (inspection, bytes) = Inspection::of(&source, max_bytes)
            .map_err(|source| PluginError::Component { file: self.file.clone(), source })?;

        let verdict = |provider: Option<&ProviderConfig>| {
            let mut findings = inspection.findings(provider);
            let signed = provider.map(|provider| provider.signature.verify(&source, &bytes, SystemTime::now()));
            let signer = match signed {
                Some(Ok(signer)) => signer,
                Some(Err(error)) => {
                    findings.insert(0, Finding::refused(&Refusal::Signature(error)));
                    None
                }
                None => None,
            };
            let is_refused = findings.iter().any(|finding| finding.weight == Weight::Refused);
            Verdict {
                provider: provider.map(|provider| provider.name.clone()),
                signer: signer.as_ref().map(|signer| signer.key.clone()),
                signed_as: signer.map(|signer| signer.comment),
                is_refused,
                findings,
            }
        };
        let verdicts: Vec<Verdict> = if providers.is_empty() {
            vec![verdict(None)]
        } else {
            providers.into_iter().map(|provider| verdict(Some(provider))).collect()
        };
        let is_refused = verdicts.iter().any(|verdict| verdict.is_refused);
        let report = Report { component: &self.file, inspection: &inspection, verdicts };
        if self.json {
            serde_json::to_writer_pretty(&mut *out, &report).map_err(io::Error::from)?;
            writeln!(out)?;
        } else {
            text::write(&report, out)?;
        }
        Ok(if is_refused { Outcome::Refused } else { Outcome::Fine })
    }
}

/// Where the component is that the command line names.
fn source_of(file: &str) -> ComponentSource {
    match file.strip_prefix("builtin:") {
        Some(name) => ComponentSource::Builtin(name.into()),
        None => ComponentSource::File(super::absolute(Path::new(file))),
    }
}

/// The providers that are meant: the named one, those that load this component, or the only one.
fn choose<'c>(
    file: &str,
    name: Option<&str>,
    providers: &'c [ProviderConfig],
    source: &ComponentSource,
) -> Result<Vec<&'c ProviderConfig>, PluginError> {
    let names = || providers.iter().map(|provider| provider.name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(name) = name {
        let found = providers.iter().find(|provider| provider.name.as_str() == name);
        let found = found.ok_or_else(|| {
            PluginError::Provider(format!("there is no provider {name:?}; the configuration has {}", names()))
        });
        return Ok(vec![found?]);
    }
    let its: Vec<&ProviderConfig> = providers.iter().filter(|provider| is_same(&provider.component, source)).collect();
    match (its.is_empty(), providers) {
        (false, _) => Ok(its),
        (true, [only]) => Ok(vec![only]),
        (true, _) => Err(PluginError::Provider(format!(
            "no provider's component is {}; say with --provider which one to compare with: {}",
            file,
            names()
        ))),
    }
}

/// Whether two sources are the same bundled plugin, or paths of one file.
fn is_same(one: &ComponentSource, other: &ComponentSource) -> bool {
    match (one, other) {
        (ComponentSource::File(one), ComponentSource::File(other)) => {
            one == other || one.canonicalize().ok().zip(other.canonicalize().ok()).is_some_and(|(a, b)| a == b)
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests;
