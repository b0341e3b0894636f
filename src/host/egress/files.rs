//! The files that a grant names: read within a bound, refused when others can read a secret, and
//! looked at again for changes.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::fault::GrantFault;
use crate::host::grant::Source;

/// The longest file of a secret, a key or certificates, in bytes. A bundle of all public authorities
/// has about 220 KiB.
pub const FILE_MAX_BYTES: u64 = 1 << 20;

/// What tells one content of a file from the next without reading it. Also the inode: a rename or a
/// symbolic link that moved (that is how Kubernetes renews a token) keeps the times of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    size: u64,
}

/// The stamps of all files; `None` for one that is not there. Blocks.
pub(super) fn stamps(paths: &[PathBuf]) -> Vec<Option<Stamp>> {
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
/// line break).
pub(super) fn read_secret(source: &Source) -> Result<String, GrantFault> {
    let bytes = read_private(source)?;
    let text = std::str::from_utf8(&bytes).unwrap_or_default().trim();
    if text.is_empty() || !text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        return Err(GrantFault::NotASecret { path: source.path().to_owned() });
    }
    Ok(text.to_owned())
}

/// Reads what only the gateway and its group may be able to read.
pub(super) fn read_private(source: &Source) -> Result<Vec<u8>, GrantFault> {
    read(source, true)
}

/// Reads what everybody may know.
pub(super) fn read_public(source: &Source) -> Result<Vec<u8>, GrantFault> {
    read(source, false)
}

fn read(source: &Source, is_secret: bool) -> Result<Vec<u8>, GrantFault> {
    match source {
        Source::File(path) => read_file(path, is_secret),
        // It holds keys, whatever is asked of it.
        Source::Kubeconfig { path, context, field } => {
            let text = read_file(path, true)?;
            field
                .read(&text, context.as_deref())
                .map_err(|source| GrantFault::Kubeconfig { path: path.clone(), source })
        }
    }
}

/// Reads a file of at most [`FILE_MAX_BYTES`].
pub(super) fn read_file(path: &Path, is_secret: bool) -> Result<Vec<u8>, GrantFault> {
    let unreadable = |source| GrantFault::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    if is_secret && is_exposed(&file, &file.metadata().map_err(unreadable)?) {
        return Err(GrantFault::Exposed { path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    file.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= FILE_MAX_BYTES) {
        Ok(bytes)
    } else {
        Err(GrantFault::TooLong { path: path.to_owned(), limit: FILE_MAX_BYTES })
    }
}

/// Linux's number of the file system in memory (statfs(2)).
const TMPFS: i64 = 0x0102_1994;

/// Whether every user of the machine can read or change a file.
///
/// Container platforms hand secrets over as files of root on a read-only file system in memory, which
/// nobody outside of the container sees: those are 0444 or 0644 and nobody can change that (Docker's
/// `/run/secrets`, Kubernetes' secret and token volumes). Elsewhere such a file system is writable.
fn is_exposed(file: &File, metadata: &Metadata) -> bool {
    if metadata.mode() & 0o007 == 0 {
        return false;
    }
    let is_in_memory = rustix::fs::fstatfs(file).is_ok_and(|fs| fs.f_type == TMPFS);
    let is_read_only =
        rustix::fs::fstatvfs(file).is_ok_and(|fs| fs.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    !(metadata.uid() == 0 && metadata.mode() & 0o002 == 0 && is_in_memory && is_read_only)
}
