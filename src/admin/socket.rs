//! The admin socket: what only the operator may see and do, on a Unix socket with mode 0600.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{providers, serve};
use crate::control::{Asker, Control};

/// How long a connection may take in all: a canary may be waited for.
const LONGEST: Duration = Duration::from_secs(3600);

/// The longest header section in bytes: two signatures of at most 64 KiB, each as base64, and the rest.
const HEADER_BYTES: usize = 256 << 10;

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

    /// Serves [`/providers`](super::providers) until `stop` resolves.
    pub async fn serve(self, control: Control, stop: impl Future<Output = ()> + Send) {
        let answer = move |request, peer: Option<(u32, Option<i32>)>| {
            let control = control.clone();
            async move {
                // Only its owner can connect, so the kernel always says who that is.
                let (uid, pid) = peer.unwrap_or((u32::MAX, None));
                providers::reply(request, Asker::Admin { uid, pid }, &control).await
            }
        };
        serve::serve(&self.listener, (LONGEST, HEADER_BYTES), answer, stop).await;
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
