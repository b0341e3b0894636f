//! `wicketgate:host/state`: bytes that outlive calls, swaps and restarts.
//!
//! What a provider keeps is small (its quota is 1 MiB by default), so all of it is held in memory:
//! reads and writes never touch a disk. What changed is written in one transaction a second, since edge
//! boxes run on flash. A disk that is full or read-only refuses further *writes*; reading and serving go on.

mod disk;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::name::ProviderName;
use disk::Disk;
use table::Table;

/// How often changes are written to disk. So much can be lost with the machine, nothing with the process
/// as long as it is asked to stop.
pub const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// The longest key, in bytes.
pub const KEY_MAX_BYTES: usize = 512;

/// The longest value, in bytes.
pub const VALUE_MAX_BYTES: usize = 64 << 10;

/// The most keys of one page.
pub const PAGE_MAX: usize = 1000;

/// A value and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The bytes.
    pub value: Arc<[u8]>,
    /// Grows with every write of any key of the provider; never 0.
    pub version: u64,
}

/// What must be true of a key for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// Nothing.
    Anything,
    /// There is no such key.
    Absent,
    /// The key has this version.
    Version(u64),
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The expectation does not hold.
    #[error("the key changed in the meantime; read it again")]
    Conflict,
    /// The write would exceed the quota.
    #[error("{needed} bytes would exceed the quota of {quota}; raise limits.state-quota")]
    Quota {
        /// Bytes of all keys and values after the write.
        needed: u64,
        /// The quota in bytes.
        quota: u64,
    },
    /// A key or value is not within the bounds.
    #[error("{0}")]
    Invalid(String),
    /// The store cannot be written.
    #[error("the state store cannot be written: {0}")]
    Unavailable(String),
}

/// Some keys in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPage {
    /// The keys of this page.
    pub keys: Vec<String>,
    /// The cursor of the next page; `None` after the last.
    pub next: Option<String>,
}

/// The state of all providers.
#[derive(Clone)]
pub struct Store(Arc<Shared>);

struct Shared {
    disk: Arc<Disk>,
    tables: Mutex<HashMap<String, Arc<Table>>>,
}

impl Store {
    /// Opens the database at `path`, or makes it. If that cannot be done the store holds nothing and
    /// refuses writes; [`trouble`](Self::trouble) says why.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        Self::over(Disk::open(path))
    }

    /// A store that ends with the process.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::over(Disk::none())
    }

    fn over(disk: Disk) -> Self {
        Self(Arc::new(Shared { disk: Arc::new(disk), tables: Mutex::default() }))
    }

    /// Why writes are refused now, if they are.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.0.disk.trouble()
    }

    /// What a provider's plugin keeps, at most `quota` bytes of keys and values.
    #[must_use]
    pub fn provider(&self, provider: &ProviderName, quota: u64) -> ProviderState {
        self.scope(provider.as_str(), quota)
    }

    /// What the host itself keeps for a provider, apart from what its plugin does.
    #[must_use]
    pub fn host(&self, purpose: &str, provider: &ProviderName, quota: u64) -> ProviderState {
        // A provider's name has no slash, so the two cannot meet.
        self.scope(&format!("{purpose}/{provider}"), quota)
    }

    fn scope(&self, scope: &str, quota: u64) -> ProviderState {
        let mut tables = self.0.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let table = tables.entry(scope.to_owned()).or_insert_with(|| Arc::new(Table::load(scope, quota, &self.0.disk)));
        table.set_quota(quota);
        ProviderState { table: Arc::clone(table) }
    }

    /// Writes what changed since the last time, now. Blocks for as long as the disk takes.
    pub fn flush(&self) {
        self.0.disk.flush();
    }
}

/// What one provider keeps. Clones share it.
#[derive(Clone)]
pub struct ProviderState {
    table: Arc<Table>,
}

impl ProviderState {
    /// Reads a key.
    ///
    /// # Errors
    /// [`StateError::Invalid`] for something that is no key.
    pub fn get(&self, key: &str) -> Result<Option<Entry>, StateError> {
        check_key(key)?;
        Ok(self.table.get(key))
    }

    /// Writes a key; its new version.
    ///
    /// # Errors
    /// All of [`StateError`]; nothing was written then.
    pub fn put(&self, key: &str, value: &[u8], expected: Expectation) -> Result<u64, StateError> {
        check_key(key)?;
        if value.len() > VALUE_MAX_BYTES {
            let length = value.len();
            return Err(StateError::Invalid(format!(
                "a value has at most {VALUE_MAX_BYTES} bytes, this one has {length}"
            )));
        }
        self.table.put(key, value, expected)
    }

    /// Deletes a key. One that is absent is no error unless a version was expected.
    ///
    /// # Errors
    /// [`StateError::Conflict`], [`StateError::Invalid`] or [`StateError::Unavailable`].
    pub fn delete(&self, key: &str, expected: Expectation) -> Result<(), StateError> {
        check_key(key)?;
        self.table.delete(key, expected)
    }

    /// The keys that start with `prefix`, at most `limit` (1 to [`PAGE_MAX`]; others are brought within it).
    #[must_use]
    pub fn list(&self, prefix: &str, cursor: Option<&str>, limit: usize) -> KeyPage {
        self.table.list(prefix, cursor, limit.clamp(1, PAGE_MAX))
    }

    /// A copy whose writes nobody else sees and that is gone with the last clone of it: what a
    /// generation works on until it is published.
    #[must_use]
    pub fn overlay(&self) -> Self {
        Self { table: Arc::new(self.table.detached()) }
    }
}

fn check_key(key: &str) -> Result<(), StateError> {
    if key.is_empty() || key.len() > KEY_MAX_BYTES {
        let length = key.len();
        return Err(StateError::Invalid(format!("a key has 1 to {KEY_MAX_BYTES} bytes, this one has {length}")));
    }
    Ok(())
}
