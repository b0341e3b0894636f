//! The configuration: a TOML file, or OpenFaaS's environment, or the example that is part of the
//! binary, checked as a whole before anything starts.
//!
//! Every part owns the type of its own settings, with defaults, units and ranges; this only reads
//! them. All mistakes are reported at once, each with its place and the right form. After the start
//! only [`app`](crate::app) reads it again, as a whole, when it changed or SIGHUP came. Secrets stay in files of their own: the
//! configuration holds their paths, so it can be shown.

mod command;
mod data;
pub mod environment;
mod files;
mod flat;
mod gateway;
mod grant;
pub mod log;
pub mod places;
mod problem;
mod profile;
mod provider;
pub mod rewrite;
mod scaling;
mod section;
mod signature;
mod swap;
mod value;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

pub use flat::KeyChange;
pub use gateway::{AdminSocket, Listen, Reload};
pub use problem::{ConfigError, Problem, chain};

use crate::provider::ProviderConfig;
use crate::trust::lock;
use crate::{admin, forward, listener, plugin, scaler};
use section::{Document, Section};

/// The configuration that is used when there is neither a file nor OpenFaaS's environment.
pub const EXAMPLE: &str = include_str!("../docs/examples/local.toml");

/// The largest configuration file, in bytes: far beyond what anybody writes, and a bound if a
/// device is named by mistake.
pub const FILE_BYTES: u64 = 4 << 20;

/// Everything that the operator said, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it came from, for people: a path or a phrase.
    pub origin: String,
    /// Where the gateway listens.
    pub listen: Listen,
    /// What a connection may use.
    pub listener: listener::Config,
    /// How requests are forwarded.
    pub forward: forward::Config,
    /// `/system/*`.
    pub admin: admin::Config,
    /// When the platform is asked, and how long callers wait.
    pub scaling: scaler::Config,
    /// The engine that plugins run in.
    pub engine: plugin::EngineConfig,
    /// What is logged, and in which form.
    pub log: log::Config,
    /// `state.directory`: where plugins' state is kept. `None`: [`places::state_directory`].
    pub state_directory: Option<PathBuf>,
    /// `lock`: what a plugin that wants more than `wicketgate.lock` holds meets. Default [`lock::Mode::Enforce`].
    pub lock: lock::Mode,
    /// Where the lock is: beside the configuration's file. `None` without a file.
    pub lock_file: Option<PathBuf>,
    /// `cache.directory`: where machine code is kept. `None`: `cache` in the state directory.
    pub cache_directory: Option<PathBuf>,
    /// The providers, in the order of the file. At least one.
    pub providers: Vec<ProviderConfig>,
    /// How changes of files are noticed.
    pub reload: Reload,
    /// Every key that the text says, with its value as JSON; see [`changes_to`](Self::changes_to).
    pub keys: std::collections::BTreeMap<String, String>,
    /// What works and is still worth a warning at each start.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads and checks a file. `builtins` are the names of the bundled plugins.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn from_file(path: &Path, builtins: &[&str]) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
        let size = std::fs::metadata(path).map_err(unreadable)?.len();
        if size > FILE_BYTES {
            let limit = std::io::Error::other(format!("it has more than {FILE_BYTES} bytes"));
            return Err(unreadable(limit));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let base = std::path::absolute(path).map_err(unreadable)?;
        let base = base.parent().unwrap_or(Path::new("/"));
        let mut config = Self::from_toml(&text, &path.display().to_string(), base, builtins)?;
        config.lock_file = Some(base.join(lock::FILE_NAME));
        Ok(config)
    }

    /// Keeps the lock of this configuration; `None` if there is none.
    #[must_use]
    pub fn lock_keeper(&self) -> Option<Arc<lock::Keeper>> {
        let path = self.lock_file.clone().filter(|_| self.lock != lock::Mode::Off)?;
        Some(Arc::new(lock::Keeper::new(path, self.lock)))
    }

    /// Checks a text. Relative paths in it are relative to `base`.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with every mistake.
    pub fn from_toml(text: &str, origin: &str, base: &Path, builtins: &[&str]) -> Result<Self, ConfigError> {
        let (config, problems, _keys) = read(text, origin, base, builtins);
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            Some(_) | None => Err(ConfigError::Invalid { origin: origin.into(), problems }),
        }
    }
}

/// The configuration as far as there is one, every mistake, and the pattern of every key that was
/// looked for.
fn read(text: &str, origin: &str, base: &Path, builtins: &[&str]) -> (Option<Config>, Vec<Problem>, BTreeSet<String>) {
    let document = Document::new(text, base);
    let (table, errors) = DeTable::parse_recoverable(text);
    let is_toml = errors.is_empty();
    for error in errors {
        document.report(error.span(), Problem::new("", error.message()));
    }
    let config = {
        let root = Section::root(&document, table.get_ref());
        gateway::read(&root, origin, builtins)
            .map(|config| Config { keys: flat::flat(&value::table_to_json(table.get_ref())), ..config })
    };
    let (problems, keys) = document.into_findings();
    // What follows a mistake of syntax may be read wrongly: only those are told then.
    let problems = if is_toml { problems } else { problems.into_iter().filter(|p| p.key.is_empty()).collect() };
    (config, problems, keys)
}

#[cfg(test)]
mod tests;
