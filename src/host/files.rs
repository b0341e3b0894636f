//! The files that the configuration names: read within a bound, refused when others can read a secret,
//! and looked at again for changes.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::grant::Source;
use super::grant::kubeconfig::InvalidKubeconfig;

/// The longest file of a secret, a key or certificates, in bytes. A bundle of all public authorities
/// has about 220 KiB.
pub const FILE_MAX_BYTES: u64 = 1 << 20;

/// `exposed-secrets`: what is done with the file of a secret that every user of the machine can read or
/// change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExposedSecrets {
    /// `"refuse"`: it is not used.
    #[default]
    Refuse,
    /// `"warn"`: it is used; the configuration has a warning for each such file.
    Warn,
}

/// Why a file cannot be used. Says nothing of what it holds.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    /// It cannot be read.
    #[error("{} was not read", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Every user of the machine can read or change a secret.
    #[error(
        "every user of this machine can read {path}, which holds a secret; run: chmod o-rwx {path}", path = path.display()
    )]
    Exposed {
        /// Which file.
        path: PathBuf,
    },
    /// A kubeconfig file that cannot be used.
    #[error("{}", path.display())]
    Kubeconfig {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: InvalidKubeconfig,
    },
    /// It is longer than any that is meant.
    #[error("{} has more than {FILE_MAX_BYTES} bytes", path.display())]
    TooLong {
        /// Which file.
        path: PathBuf,
    },
    /// A secret is empty, or has bytes that no header field can have.
    #[error("{} holds no usable secret: one line of visible characters is expected", path.display())]
    NotASecret {
        /// Which file.
        path: PathBuf,
    },
}

impl FileFault {
    /// Which file.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Unreadable { path, .. }
            | Self::Exposed { path }
            | Self::Kubeconfig { path, .. }
            | Self::TooLong { path }
            | Self::NotASecret { path } => path,
        }
    }
}

/// What tells one content of a file from the next without reading it. Also the inode: a rename or a
/// symbolic link that moved (that is how Kubernetes renews a token) keeps the times of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    size: u64,
}

/// The stamps of all files; `None` for one that is not there. Blocks.
pub(crate) fn stamps(paths: &[PathBuf]) -> Vec<Option<Stamp>> {
    let stamp = |metadata: Metadata| Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
        size: metadata.len(),
    };
    paths.iter().map(|path| std::fs::metadata(path).ok().map(stamp)).collect()
}

/// Reads a secret without the white space around it (as OpenFaaS does; editors end files with a
/// line break). Blocks.
///
/// # Errors
/// See [`FileFault`].
pub fn read_secret(source: &Source, exposed: ExposedSecrets) -> Result<String, FileFault> {
    let bytes = read_private(source, exposed)?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default().trim();
    if text.is_empty() || !text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        return Err(FileFault::NotASecret { path: source.path().to_owned() });
    }
    Ok(text.to_owned())
}

/// Reads what only the gateway and its group may be able to read. Blocks.
///
/// # Errors
/// See [`FileFault`].
pub fn read_private(source: &Source, exposed: ExposedSecrets) -> Result<Vec<u8>, FileFault> {
    read(source, true, exposed)
}

/// Reads what everybody may know. It may stand in a file that holds secrets too. Blocks.
///
/// # Errors
/// See [`FileFault`].
pub fn read_public(source: &Source, exposed: ExposedSecrets) -> Result<Vec<u8>, FileFault> {
    read(source, false, exposed)
}

/// Whether every user of the machine can read or change a file. `false` if it cannot be opened. Blocks.
#[must_use]
pub fn is_exposed(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| file.metadata().is_ok_and(|metadata| is_open_to_all(&file, &metadata)))
}

fn read(source: &Source, is_secret: bool, exposed: ExposedSecrets) -> Result<Vec<u8>, FileFault> {
    match source {
        Source::File(path) => read_file(path, is_secret, exposed),
        // It holds keys, whatever is asked of it.
        Source::Kubeconfig { path, context, field } => {
            let text = read_file(path, true, exposed)?;
            field.read(&text, context.as_deref()).map_err(|source| FileFault::Kubeconfig { path: path.clone(), source })
        }
    }
}

/// Reads a file of at most [`FILE_MAX_BYTES`].
fn read_file(path: &Path, is_secret: bool, exposed: ExposedSecrets) -> Result<Vec<u8>, FileFault> {
    let unreadable = |source| FileFault::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let may_be_refused = is_secret && exposed == ExposedSecrets::Refuse;
    if may_be_refused && is_open_to_all(&file, &file.metadata().map_err(unreadable)?) {
        return Err(FileFault::Exposed { path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    file.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= FILE_MAX_BYTES) {
        Ok(bytes)
    } else {
        Err(FileFault::TooLong { path: path.to_owned() })
    }
}

/// Linux's number of the file system in memory (statfs(2)).
const TMPFS: i64 = 0x0102_1994;

/// Whether every user of the machine can read or change an open file.
///
/// Container platforms hand secrets over as files of root on a read-only file system in memory, which
/// nobody outside of the container sees: those are 0444 or 0644 and nobody can change that (Docker's
/// `/run/secrets`, Kubernetes' secret and token volumes). Elsewhere such a file system is writable.
fn is_open_to_all(file: &File, metadata: &Metadata) -> bool {
    if metadata.mode() & 0o007 == 0 {
        return false;
    }
    let is_in_memory = rustix::fs::fstatfs(file).is_ok_and(|fs| fs.f_type == TMPFS);
    let is_read_only =
        rustix::fs::fstatvfs(file).is_ok_and(|fs| fs.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    !(metadata.uid() == 0 && metadata.mode() & 0o002 == 0 && is_in_memory && is_read_only)
}
