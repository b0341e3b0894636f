//! `wicketgate provider accept`: writes what a provider's plugin wants now into `wicketgate.lock`.
//!
//! This works on the files alone, so that it works before the gateway starts too; a running gateway, which is asked
//! first, knows what it refused.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Subcommand;

use super::Source;
use crate::config::rewrite::RewriteError;
use crate::config::{Config, ConfigError};
use crate::name::ProviderName;
use crate::plugin::inspect::{Inspection, Weight};
use crate::plugin::{Refusal, lock_entry};
use crate::provider::{ComponentSource, ProviderConfig};
use crate::trust::lock::LockError;

const ACCEPT: &str = "\
Write what a provider's plugin wants now into wicketgate.lock.

A plugin that wants more than the lock holds (an import, a grant or a rule, a higher limit), that is unsigned where a \
signed one was, or older, is refused until this is run. Nothing of it runs for that.

A running gateway is asked first: it accepts what it refused last, an upload too; with FILE only if that was it. If it \
refused no such thing, or none runs, the configured component (or FILE) is accepted as it would be loaded now.";

const TIGHTEN: &str = "\
Show what a plugin declares, wants, may and used, and the smallest rules for its use.

What it used is recorded while the gateway runs. The rules are printed; with --write they take the place of \
`profile` and `allow` in the configuration file, and the old file is kept beside it, with .bak behind its name.";

/// What is done with files alone.
#[derive(Clone, Debug, Subcommand)]
pub enum Offline {
    /// Write what its plugin wants now into wicketgate.lock
    #[command(long_about = ACCEPT)]
    Accept {
        /// Whose plugin
        name: ProviderName,
        /// The component, instead of what was refused last, or of the configured one
        file: Option<PathBuf>,
    },
    /// Show what its plugin declares, wants, may and used, and the smallest rules for that
    #[command(long_about = TIGHTEN)]
    Tighten {
        /// Whose plugin
        name: ProviderName,
        /// Put the rules into the configuration file
        #[arg(long)]
        write: bool,
    },
}

impl Offline {
    /// Does it, and writes the answer to `out`.
    ///
    /// # Errors
    /// See [`AcceptError`].
    pub fn run(
        &self,
        config: Option<&Path>,
        environment: impl Fn(&str) -> Option<String>,
        out: &mut impl Write,
    ) -> Result<(), AcceptError> {
        match self {
            Self::Accept { name, file } => run(config, name, file.as_deref(), environment, out),
            Self::Tighten { name, write } => super::tighten::run(config, name, *write, environment, out),
        }
    }
}

/// Why nothing was accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The configuration has mistakes.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no such provider.
    #[error("there is no provider {name}; the configuration has {known}")]
    Provider {
        /// What was asked for.
        name: ProviderName,
        /// What there is.
        known: String,
    },
    /// There is no lock to write to.
    #[error("there is no lock: it is kept beside a configuration file, unless that says lock = \"off\"")]
    NoLock,
    /// The component cannot be read, or is not the one that the configuration asks for.
    #[error("{component}")]
    Component {
        /// Which one.
        component: String,
        /// Why not.
        source: Refusal,
    },
    /// It would be refused for another reason, which accepting does not change.
    #[error("{component} would be refused all the same: {reason}")]
    Refused {
        /// Which one.
        component: String,
        /// Why.
        reason: String,
    },
    /// The lock cannot be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// What was recorded of the plugin's use cannot be read.
    #[error("{} cannot be read", path.display())]
    Use {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no file to write to.
    #[error("the configuration is {origin}, not a file; name one with --config, or put the printed rules there")]
    NoFile {
        /// What it is.
        origin: String,
    },
    /// The rules cannot be put into the file.
    #[error("{} is left as it is", path.display())]
    Rewrite {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: RewriteError,
    },
    /// The file with the new rules would not be what is meant, which is a mistake of the gateway's.
    #[error("{} is left as it is: with the new rules it would not say what they say", path.display())]
    Meaning {
        /// Which file.
        path: PathBuf,
    },
    /// The file cannot be written.
    #[error("{} cannot be written", path.display())]
    Unwritable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The answer cannot be written.
    #[error("the answer cannot be written")]
    Output(#[from] io::Error),
}

impl AcceptError {
    /// Whether the command line or the configuration has a mistake.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Config(_) | Self::Provider { .. } | Self::NoLock | Self::NoFile { .. })
    }
}

/// Accepts what `name`'s component, or `file` in its place, wants under the configuration, and says what is new.
///
/// # Errors
/// See [`AcceptError`].
pub fn run(
    config: Option<&Path>,
    name: &ProviderName,
    file: Option<&Path>,
    environment: impl Fn(&str) -> Option<String>,
    out: &mut impl Write,
) -> Result<(), AcceptError> {
    let config = Source::choose(config, environment).read()?;
    let provider = find(&config, name)?;
    let keeper = config.lock_keeper().ok_or(AcceptError::NoLock)?;
    let mut provider = provider.clone();
    if let Some(file) = file {
        provider.component = ComponentSource::File(super::absolute(file));
    }
    let component = provider.component.to_string();
    let refused = |source| AcceptError::Component { component: component.clone(), source };
    let (inspection, bytes) = Inspection::of(&provider.component, provider.limits.component_bytes).map_err(refused)?;
    let signer = provider
        .signature
        .verify(&provider.component, &bytes, SystemTime::now())
        .map_err(|error| refused(Refusal::Signature(error)))?;
    let refusal = inspection.findings(Some(&provider)).into_iter().find(|finding| finding.weight == Weight::Refused);
    if let Some(finding) = refusal {
        return Err(AcceptError::Refused { component, reason: finding.text });
    }
    let entry = lock_entry(&provider, &inspection, signer.as_ref());
    let differences = keeper.accept_entry(name, entry)?;
    for difference in &differences {
        writeln!(out, "accepted: {difference}")?;
    }
    let what = if differences.is_empty() { "nothing is new" } else { "written" };
    writeln!(out, "{}: {what} for provider {name}, {}", keeper.path().display(), inspection.digest)?;
    Ok(())
}

/// The provider of this name.
pub(super) fn find<'c>(config: &'c Config, name: &ProviderName) -> Result<&'c ProviderConfig, AcceptError> {
    config.providers.iter().find(|provider| provider.name == *name).ok_or_else(|| {
        let known: Vec<&str> = config.providers.iter().map(|provider| provider.name.as_str()).collect();
        AcceptError::Provider { name: name.clone(), known: known.join(", ") }
    })
}
