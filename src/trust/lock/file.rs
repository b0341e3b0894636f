//! The file: TOML, in a stable order, replaced as a whole.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{Read as _, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::entry::Entry;
use crate::name::ProviderName;

/// The largest lock file, in bytes: some hundred providers with all their rules.
pub const FILE_MAX_BYTES: u64 = 4 << 20;

/// The version of the format.
const VERSION: u32 = 1;

const HEAD: &str = "\
# What each provider's plugin is and may do, as it was last accepted. Written by wicketgate; keep it with the
# configuration. A plugin that wants more is refused until `wicketgate provider accept NAME`.
";

/// All that is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    version: u32,
    #[serde(default)]
    provider: BTreeMap<String, Entry>,
}

impl Default for Lock {
    fn default() -> Self {
        Self { version: VERSION, provider: BTreeMap::new() }
    }
}

/// Why a lock file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockFileError {
    /// It cannot be read or written.
    #[error(transparent)]
    Io(std::io::Error),
    /// It is too large.
    #[error("it has more than {FILE_MAX_BYTES} bytes")]
    TooLarge,
    /// It is not what a gateway writes.
    #[error("{}", .0.trim())]
    Form(String),
    /// Another gateway wrote it.
    #[error("it has version {0} of the format, and this gateway writes {VERSION}")]
    Version(u32),
}

impl Lock {
    /// Reads a file; an empty lock if there is none.
    ///
    /// # Errors
    /// See [`LockFileError`].
    pub fn read(path: &Path) -> Result<Self, LockFileError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(LockFileError::Io(error)),
        };
        let mut text = String::new();
        file.take(FILE_MAX_BYTES + 1).read_to_string(&mut text).map_err(LockFileError::Io)?;
        if text.len() as u64 > FILE_MAX_BYTES { Err(LockFileError::TooLarge) } else { Self::parse(&text) }
    }

    /// Reads a text.
    ///
    /// # Errors
    /// See [`LockFileError`].
    pub fn parse(text: &str) -> Result<Self, LockFileError> {
        let lock: Self = toml::from_str(text).map_err(|error| LockFileError::Form(error.to_string()))?;
        if lock.version == VERSION { Ok(lock) } else { Err(LockFileError::Version(lock.version)) }
    }

    /// What is written of a provider.
    #[must_use]
    pub fn get(&self, provider: &ProviderName) -> Option<&Entry> {
        self.provider.get(provider.as_str())
    }

    /// Writes something of a provider.
    pub fn set(&mut self, provider: &ProviderName, entry: Entry) {
        self.provider.insert(provider.as_str().to_owned(), entry);
    }

    /// It as text: the same for the same content.
    ///
    /// # Errors
    /// [`LockFileError::Form`], which a lock that was read or made by [`set`](Self::set) never meets.
    pub fn text(&self) -> Result<String, LockFileError> {
        let body = toml::to_string_pretty(self).map_err(|error| LockFileError::Form(error.to_string()))?;
        Ok(format!("{HEAD}{body}"))
    }

    /// Puts it in the place of `path` in one step: whoever reads sees the old one or the new one, also after the
    /// machine lost its power.
    ///
    /// # Errors
    /// The folder or the file cannot be written to.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        replace(path, &self.text().map_err(std::io::Error::other)?, None)
    }
}

/// Puts a text in the place of a file in one step: whoever reads sees the old one or the new one, also after the
/// machine lost its power. With `permissions`, if they are not those of any new file.
///
/// # Errors
/// The folder or the file cannot be written to; the old file is still there.
pub fn replace(path: &Path, text: &str, permissions: Option<Permissions>) -> std::io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    // Another process that writes at the same time has a file of its own.
    name.push(format!(".{}", std::process::id()));
    let draft = Path::new(&name);
    let write = || {
        let mut file = File::create(draft)?;
        if let Some(permissions) = permissions {
            file.set_permissions(permissions)?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(draft, path)
    };
    let written = write();
    if written.is_err() {
        let _left_over = std::fs::remove_file(draft);
    }
    written
}
