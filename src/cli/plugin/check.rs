//! `wicketgate plugin check`: the conformance suite for a plugin and its platform.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::{Outcome, PluginError, choose};
use crate::cli::Source;
use crate::conformance::{self, ConformanceError, Subject, Suite};
use crate::name::FunctionRef;
use crate::parse;
use crate::provider::{ComponentSource, ProviderConfig};

pub(super) const CHECK: &str = "\
Run the conformance suite: does a plugin do what the contract says?

The plugin is loaded with a provider's settings and asked, through the same host as in a gateway, first with \
reused instances and then with one for each call. Its platform has to run. Where a case wants a platform that \
is down, slow, or answers nonsense, the plugin's requests are led to a server of ours.

With --function that function is SCALED: to none, to one, to --most, and to none again.";

pub(super) const CHECK_AFTER: &str = "\
Examples:
  wicketgate plugin check acme.wasm --config edge.toml
  wicketgate plugin check acme.wasm --config edge.toml --function scratch.dev --most 5
  wicketgate plugin check builtin:docker --config edge.toml --provider swarm --function scratch --json

--answers FILE: what this platform says where its API differs from what is usual, as JSON:
  {\"conflict\": {\"to\": \"writes\", \"status\": 500, \"body\": \"{\\\"message\\\":\\\"update out of sequence\\\"}\"}}
The names are unauthenticated, denied, rate-limited, conflict, unavailable, down, silent, garbage, half; the \
keys `then` (answer, half, silent, refuse), `to` (all, writes), `status`, `headers`, `body`.

Exit status:
  0   everything that could be tried passed
  1   something failed, nothing could be tried, or the plugin was refused
  64  the command line or the configuration has a mistake";

/// `wicketgate plugin check`
#[derive(Args, Clone, Debug)]
pub struct Check {
    /// The component: a path, or `builtin:NAME`
    #[arg(value_name = "FILE")]
    pub file: String,
    /// The configuration with the provider whose settings are used
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// The provider of the configuration; by default the one whose component is FILE, or the only one
    #[arg(short, long, value_name = "NAME")]
    pub provider: Option<String>,
    /// A function that exists and may be scaled; without one, what needs it is not tried
    #[arg(short, long, value_name = "NAME[.NAMESPACE]")]
    pub function: Option<String>,
    /// To how many instances it is scaled, 2 to 100
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u64).range(2..=100))]
    pub most: u64,
    /// How many functions the platform has at least, e.g. to try pages
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub functions: usize,
    /// How long a scaled function may take until it is available
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = parse::duration)]
    pub patience: Duration,
    /// What this platform answers when it fails, where that is not what is usual
    #[arg(long, value_name = "FILE")]
    pub answers: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl Check {
    pub(super) fn run(
        &self,
        environment: impl Fn(&str) -> Option<String>,
        out: &mut impl Write,
    ) -> Result<Outcome, PluginError> {
        let config = Source::choose(Some(&self.config), environment).read()?;
        let source = super::source_of(&self.file);
        let provider = match choose(&self.file, self.provider.as_deref(), &config.providers, &source)?.as_slice() {
            [only] => (*only).clone(),
            _several => {
                let message = "several providers load it; say with --provider whose settings are used";
                return Err(PluginError::Provider(message.into()));
            }
        };
        let subject = self.subject(provider, source, &config.admin.default_namespace)?;
        let suite = match &self.answers {
            Some(path) => Suite::new()?.with_answers(&path.display().to_string(), &read(path)?)?,
            None => Suite::new()?,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(ConformanceError::Platform)?;
        let report = runtime.block_on(conformance::run(&suite, &subject))?;
        if self.json {
            serde_json::to_writer_pretty(&mut *out, &report).map_err(io::Error::from)?;
            writeln!(out)?;
        } else {
            out.write_all(report.page().as_bytes())?;
        }
        Ok(match report.outcome() {
            conformance::Outcome::Passed => Outcome::Fine,
            conformance::Outcome::Failed => Outcome::Failed,
        })
    }

    fn subject(
        &self,
        mut config: ProviderConfig,
        source: ComponentSource,
        default: &crate::name::Namespace,
    ) -> Result<Subject, PluginError> {
        let namespace = config.namespaces.first().unwrap_or(default).clone();
        let function = match &self.function {
            Some(text) => Some(
                FunctionRef::parse(text, &namespace)
                    .map_err(|error| PluginError::Provider(format!("--function {text}: {error}")))?,
            ),
            None => None,
        };
        // A digest is of the component that the configuration names.
        if config.component != source {
            config.digest = None;
        }
        config.component = source;
        let namespace = function.as_ref().map_or(namespace, |function| function.namespace.clone());
        Ok(Subject { config, function, namespace, most: self.most, functions: self.functions, patience: self.patience })
    }
}

fn read(path: &Path) -> Result<String, PluginError> {
    std::fs::read_to_string(path)
        .map_err(|error| PluginError::Provider(format!("--answers {}: {error}", path.display())))
}
