//! The admin socket: what only the operator may see and do, on a Unix socket with mode 0600.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use serde::Serialize;

use super::{Body, answer, serve};
use crate::name::{Digest, Generation, Namespace, ProviderName};
use crate::provider::Directory;
use crate::query::Interface;
use crate::respond;

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
#[error("admin socket {path} cannot be opened; name another one as listen.admin")]
pub struct BindError {
    /// Which one.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// The bound socket. Dropping it removes its file.
#[derive(Debug)]
pub struct Socket {
    listener: tokio::net::UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Opens the socket, makes its directory with mode 0700 if there is none, and replaces the file
    /// that a killed gateway left. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// The directory cannot be made, the path is taken by something that is no socket, or a gateway
    /// that lives listens there.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        bind(path)
            .map(|listener| Self { listener, path: path.to_owned() })
            .map_err(|source| BindError { path: path.to_owned(), source })
    }

    /// Serves `GET /providers` until `stop` resolves.
    pub async fn serve(self, directory: Arc<Directory>, reports: Reports, stop: impl Future<Output = ()> + Send) {
        serve::serve(&self.listener, move |request| reply(request, &directory, &reports), stop).await;
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A file that is gone already is as good.
        let _gone = std::fs::remove_file(&self.path);
    }
}

fn bind(path: &Path) -> io::Result<tokio::net::UnixListener> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something that is no socket has this path"));
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another gateway listens here"));
        }
        Ok(_) => std::fs::remove_file(path)?,
    }
    // The socket gets its mode in a folder that only its owner can enter, and then its name: nobody
    // can connect in between.
    let folder = path.with_added_extension("new");
    let unnamed = folder.join("s");
    for left_over in [std::fs::remove_file(&unnamed), std::fs::remove_dir(&folder)] {
        left_over.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
    }
    std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
    let listener = tokio::net::UnixListener::bind(&unnamed)?;
    std::fs::set_permissions(&unnamed, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&unnamed, path)?;
    std::fs::remove_dir(&folder)?;
    Ok(listener)
}

/// A provider as the operator sees it.
#[derive(Serialize)]
struct ProviderReport<'a> {
    name: &'a ProviderName,
    component: String,
    digest: Option<String>,
    generation: Generation,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    interfaces: Vec<&'static str>,
    namespaces: &'a [Namespace],
    default: bool,
}

fn reply<B>(request: &Request<B>, directory: &Directory, reports: &Reports) -> Response<Body> {
    if request.uri().path() != "/providers" {
        return answer::whole(respond::no_route());
    }
    if request.method() != Method::GET {
        return answer::whole(respond::wrong_method());
    }
    let listing = directory.listing();
    let providers: Vec<_> = listing
        .entries()
        .iter()
        .map(|entry| {
            let report = reports(entry.provider.name());
            ProviderReport {
                name: entry.provider.name(),
                component: report.component,
                digest: report.digest.map(|digest| digest.to_string()),
                generation: entry.provider.generation(),
                state: report.state,
                reason: report.reason,
                interfaces: Interface::ALL
                    .into_iter()
                    .filter(|&interface| entry.provider.has(interface))
                    .map(Interface::as_str)
                    .collect(),
                namespaces: &entry.namespaces,
                default: entry.is_default,
            }
        })
        .collect();
    answer::json(StatusCode::OK, &providers)
        .unwrap_or_else(|refusal| answer::text(StatusCode::INTERNAL_SERVER_ERROR, refusal.to_string()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[tokio::test]
    async fn the_socket_is_the_owners_and_leaves_with_the_gateway() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/admin.sock");
        let socket = Socket::bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        tokio::net::UnixStream::connect(&path).await.unwrap();
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        // Dropping a listener of std leaves its file, as a killed gateway does.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let socket = Socket::bind(&path).unwrap();
        let error = Socket::bind(&path).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
        assert!(path.exists());
        drop(socket);
    }

    #[tokio::test]
    async fn a_file_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        std::fs::write(&path, "precious").unwrap();
        Socket::bind(&path).unwrap_err();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }
}
