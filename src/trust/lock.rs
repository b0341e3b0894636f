//! `wicketgate.lock`: what each provider's plugin was when the operator last said yes.
//!
//! The first plugin of a provider is written down as it is. One that wants more than what is written (an import,
//! a grant or a rule, a higher limit), that is unsigned where a signed one was, or whose signed version is older,
//! is refused until the operator accepts it. One that wants less is fine, and is written.
//!
//! The file is beside the configuration, so that it can be kept with it under version control. It is read anew
//! for every check, so accepting in the file is enough; it is replaced in one step, never written in place.

mod compare;
mod entry;
mod file;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

pub use entry::{Declared, Entry, LockedGrant};
pub use file::{FILE_MAX_BYTES, Lock, LockFileError, replace};

use crate::name::ProviderName;

/// The file's name, beside the configuration.
pub const FILE_NAME: &str = "wicketgate.lock";

/// What the lock is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// `"off"`: it is neither read nor written.
    Off,
    /// `"warn"`: a plugin that wants more is logged and loaded, and the lock stays as it is.
    Warn,
    /// `"enforce"`: it is refused.
    #[default]
    Enforce,
}

/// Why the lock keeps a plugin from being loaded.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It wants more than it did.
    #[error(
        "it wants more than {FILE_NAME} holds: {}; if that is right, run `wicketgate provider accept {provider}`",
        differences.join("; ")
    )]
    Wider {
        /// Whose plugin.
        provider: ProviderName,
        /// What is more, a sentence each.
        differences: Vec<String>,
    },
    /// The file is there and cannot be used.
    #[error("{} cannot be used; mend it, or remove it to write down what is loaded now", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: LockFileError,
    },
}

/// What was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The digest of the component.
    pub digest: String,
    /// What is more in it than the lock held, a sentence each.
    pub differences: Vec<String>,
}

/// Keeps the lock of one gateway.
#[derive(Debug)]
pub struct Keeper {
    path: PathBuf,
    mode: Mode,
    /// What was refused last, by provider. Held while the file is changed, so that two providers that are loaded
    /// at once do not write over each other.
    refused: Mutex<BTreeMap<ProviderName, Entry>>,
}

impl Keeper {
    /// The keeper of a file that need not be there.
    #[must_use]
    pub fn new(path: PathBuf, mode: Mode) -> Self {
        Self { path, mode, refused: Mutex::default() }
    }

    /// Where the lock is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Compares what is to be loaded with what the lock holds. Changes no file. Blocks for reading a small file.
    ///
    /// # Errors
    /// See [`LockError`].
    pub fn check(&self, provider: &ProviderName, entry: &Entry) -> Result<(), LockError> {
        if self.mode == Mode::Off {
            return Ok(());
        }
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let lock = self.read()?;
        let Some(locked) = lock.get(provider) else { return Ok(()) };
        let differences = entry.beyond(locked);
        if differences.is_empty() {
            // It was accepted in the file.
            if refused.get(provider) == Some(entry) {
                refused.remove(provider);
            }
            return Ok(());
        }
        refused.insert(provider.clone(), entry.clone());
        if self.mode == Mode::Warn {
            for difference in &differences {
                tracing::warn!(%provider, "beyond {FILE_NAME}: {difference}");
            }
            return Ok(());
        }
        Err(LockError::Wider { provider: provider.clone(), differences })
    }

    /// Writes down what is published now, unless it wants more than the lock holds. A folder that cannot be
    /// written to is logged: the plugin serves all the same, and is compared with what the file says the next
    /// time. Blocks.
    pub fn record(&self, provider: &ProviderName, entry: &Entry) {
        if self.mode == Mode::Off {
            return;
        }
        let path = self.path.display();
        let _one_at_a_time = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lock = match self.read() {
            Ok(lock) => lock,
            Err(error) => {
                tracing::warn!(%provider, %error, "the lock is not updated");
                return;
            }
        };
        let first = match lock.get(provider) {
            Some(locked) if locked == entry || !entry.beyond(locked).is_empty() => return,
            Some(_) => false,
            None => true,
        };
        lock.set(provider, entry.clone());
        match lock.write(&self.path) {
            Ok(()) if first => {
                tracing::info!(%provider, %path, "trusted on first use: what the plugin is and wants is written down");
            }
            Ok(()) => tracing::info!(%provider, %path, "the lock is updated: the plugin wants nothing new"),
            Err(error) => {
                tracing::warn!(%provider, %path, %error, "the lock cannot be written: later plugins are compared with what it says, or with nothing");
            }
        }
    }

    /// Accepts what was refused last, the bytes and what the configuration gave them, if it has this digest.
    /// `None` if nothing was refused, or something else. Blocks.
    ///
    /// # Errors
    /// The file cannot be read or written; what was refused can still be accepted.
    pub fn accept(&self, provider: &ProviderName, digest: Option<&str>) -> Result<Option<Accepted>, LockError> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner).get(provider).cloned();
        let is_it = |entry: &Entry| digest.is_none_or(|digest| digest == entry.digest);
        let Some(entry) = refused.filter(is_it) else { return Ok(None) };
        let differences = self.accept_entry(provider, entry.clone())?;
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.get(provider) == Some(&entry) {
            refused.remove(provider);
        }
        drop(refused);
        Ok(Some(Accepted { digest: entry.digest, differences }))
    }

    /// Writes an entry whatever the lock holds, and says what is more in it. Blocks.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn accept_entry(&self, provider: &ProviderName, entry: Entry) -> Result<Vec<String>, LockError> {
        let _one_at_a_time = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lock = self.read()?;
        let differences = lock.get(provider).map(|locked| entry.beyond(locked)).unwrap_or_default();
        lock.set(provider, entry);
        lock.write(&self.path).map_err(|source| self.unusable(LockFileError::Io(source)))?;
        Ok(differences)
    }

    fn read(&self) -> Result<Lock, LockError> {
        Lock::read(&self.path).map_err(|source| self.unusable(source))
    }

    fn unusable(&self, source: LockFileError) -> LockError {
        LockError::File { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests;
