//! Where a credential, a key or a certificate is kept.

use std::path::{Path, PathBuf};

use super::kubeconfig::Field;

/// Where the bytes of a credential come from. Never the bytes themselves, so it can be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// All of a file.
    File(PathBuf),
    /// A field of a kubeconfig file that stands in it, and not in a file of its own.
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// The context; `None` is the file's own `current-context`.
        context: Option<String>,
        /// Which of its fields.
        field: Field,
    },
}

impl Source {
    /// The file that is read.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Kubeconfig { path, .. } => path,
        }
    }
}

impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}
