//! Machine code, kept between starts.
//!
//! Loading machine code is trusting it, so nothing is loaded that this host did not write itself:
//! every file carries a MAC (HMAC-SHA256) under a key that only this host has, over the component's
//! digest, everything else that the code depends on, and the code. What does not verify is compiled
//! again. A cache that cannot be read or written costs time and nothing else.

pub mod envelope;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use wasmtime::component::Component;

use super::engine::Engine;
use crate::name::Digest;
use envelope::{KEY_BYTES, Seal};

/// Files that are kept; the oldest go first.
const FILES_MAX: usize = 64;
/// The largest file that is read: code is several times its component.
const FILE_MAX_BYTES: u64 = 1 << 30;
/// The key's file.
const KEY_FILE: &str = "key";

/// The directory of one host's machine code.
pub(super) struct Cache {
    directory: PathBuf,
    key: [u8; KEY_BYTES],
}

impl Cache {
    /// Opens the directory, with mode 0700, and reads its key or makes one, with mode 0600.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let path = directory.join(KEY_FILE);
        let key = match read_key(&path)? {
            Some(key) => key,
            None => {
                make_key(directory, &path)?;
                read_key(&path)?.ok_or_else(|| io::Error::other("the key that was just written is not there"))?
            }
        };
        Ok(Self { directory: directory.to_owned(), key })
    }

    /// The machine code of a component, if it is here and this host wrote it.
    pub(super) fn load(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
        let path = self.path(engine, digest);
        let bytes = match read_bounded(&path, FILE_MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "machine code not read; compiling");
                return None;
            }
        };
        let code = match self.seal(engine, digest).open(&bytes) {
            Ok(code) => code,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "machine code not used; compiling");
                return None;
            }
        };
        match deserialize(engine, code) {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(path = %path.display(), error = format!("{error:#}"), "machine code not usable; compiling");
                None
            }
        }
    }

    /// Keeps machine code: written beside its place, flushed, and renamed into it.
    pub(super) fn store(&self, engine: &Engine, digest: &Digest, code: &[u8]) -> io::Result<()> {
        let mac = self.seal(engine, digest).of(code);
        let path = self.path(engine, digest);
        let temporary = unique(&path)?;
        let written = write_flushed(&temporary, &[&mac, code]).and_then(|()| fs::rename(&temporary, &path));
        if written.is_err() {
            // What is left of it is of no use; that it cannot be removed either changes nothing.
            drop(fs::remove_file(&temporary));
        }
        written?;
        self.prune()
    }

    fn path(&self, engine: &Engine, digest: &Digest) -> PathBuf {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        self.directory.join(format!("{}-{}.code", hex(&digest.0), hex(&engine.compatibility())))
    }

    fn seal<'a>(&'a self, engine: &Engine, digest: &'a Digest) -> Seal<'a> {
        Seal { key: &self.key, digest, compatibility: engine.compatibility() }
    }

    fn prune(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|extension| extension == "code") {
                files.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        files.sort();
        let surplus = files.len().saturating_sub(FILES_MAX);
        files.into_iter().take(surplus).try_for_each(|(_, path)| fs::remove_file(path))
    }
}

/// Makes a component of what our own compiler's process just answered.
///
/// # Errors
/// It is not the machine code of a component for this engine.
pub(super) fn adopt(engine: &Engine, code: &FromChild) -> wasmtime::Result<Component> {
    deserialize(engine, &code.0)
}

/// Machine code that came through a pipe from a process that this one started from its own program. Only
/// [`compile`](super::compile) makes it.
pub(super) struct FromChild(pub(super) Vec<u8>);

/// The only place where bytes become code without having been compiled in this process.
#[expect(unsafe_code, reason = "wasmtime cannot tell whether machine code was tampered with; the MAC above can")]
fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes must be what `Component::serialize` made, unmodified. `Cache::load` verified
    // a MAC over exactly these bytes, in memory, under a key that only this host's user can read; and
    // `adopt` takes them only from the pipe of a child that runs this very program and wrote nothing else.
    // Another version or other settings of the engine are detected by wasmtime and are an error.
    unsafe { Component::deserialize(engine.wasmtime(), code) }
}

/// The key; `None` if there is none yet.
fn read_key(path: &Path) -> io::Result<Option<[u8; KEY_BYTES]>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        let message = format!("others can read {}; remove it, or set its mode to 0600", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    let mut key = [0; KEY_BYTES];
    file.read_exact(&mut key)?;
    Ok(Some(key))
}

/// Writes a new key. Of two gateways that start at once, the later one's link fails and it reads
/// the other's.
fn make_key(directory: &Path, path: &Path) -> io::Result<()> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
    let temporary = unique(&directory.join(KEY_FILE))?;
    write_flushed(&temporary, &[&key])?;
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn unique(path: &Path) -> io::Result<PathBuf> {
    let mut number = [0; 8];
    getrandom::fill(&mut number).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(path.with_extension(format!("{:016x}.tmp", u64::from_le_bytes(number))))
}

fn write_flushed(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    parts.iter().try_for_each(|part| file.write_all(part))?;
    file.sync_all()
}

fn read_bounded(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(max + 1).read_to_end(&mut bytes)?;
    if read as u64 > max { Err(io::Error::other("it is too large")) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::super::engine::EngineConfig;
    use super::envelope::MAC_BYTES;
    use super::*;

    fn engine() -> Engine {
        Engine::new(&EngineConfig { instances: Some(1), ..EngineConfig::default() }).unwrap()
    }

    fn code(engine: &Engine, bytes: &[u8]) -> Vec<u8> {
        engine.wasmtime().precompile_component(bytes).unwrap()
    }

    #[test]
    fn a_truncated_or_empty_file_is_not_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let (engine, cache) = (engine(), Cache::open(directory.path()).unwrap());
        let bytes = wat::parse_str("(component (core module))").unwrap();
        let digest = Digest::of(&bytes);
        cache.store(&engine, &digest, &code(&engine, &bytes)).unwrap();
        let path = cache.path(&engine, &digest);
        let whole = fs::read(&path).unwrap();
        for length in [0, 1, MAC_BYTES, MAC_BYTES + 1, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(cache.load(&engine, &digest).is_none(), "{length} of {} bytes", whole.len());
        }
        fs::write(&path, &whole).unwrap();
        assert!(cache.load(&engine, &digest).is_some());
    }

    #[test]
    fn code_of_another_version_or_of_other_settings_is_not_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let (engine, cache) = (engine(), Cache::open(directory.path()).unwrap());
        let bytes = wat::parse_str("(component (core module))").unwrap();
        let digest = Digest::of(&bytes);
        let path = cache.path(&engine, &digest);
        // This host's key, but the MAC of an engine that is compatible with another version's code.
        let good = code(&engine, &bytes);
        let mac = Seal { compatibility: [0; 8], ..cache.seal(&engine, &digest) }.of(&good);
        fs::write(&path, [mac.as_slice(), &good].concat()).unwrap();
        assert!(cache.load(&engine, &digest).is_none(), "a MAC for other settings");
        // Even under the right MAC the engine itself refuses what it cannot run.
        let mut settings = wasmtime::Config::new();
        settings.epoch_interruption(false);
        let foreign = wasmtime::Engine::new(&settings).unwrap().precompile_component(&bytes).unwrap();
        cache.store(&engine, &digest, &foreign).unwrap();
        assert!(cache.load(&engine, &digest).is_none(), "code without interruption");
        cache.store(&engine, &digest, b"no code at all").unwrap();
        assert!(cache.load(&engine, &digest).is_none(), "no code");
    }

    #[test]
    fn code_of_the_compilers_own_engine_runs_in_the_pool() {
        let engine = engine();
        let bytes = wat::parse_str("(component (core module (memory 1) (func (loop (br 0)))))").unwrap();
        let compiled = super::super::engine::for_compiling().unwrap().precompile_component(&bytes).unwrap();
        adopt(&engine, &FromChild(compiled)).unwrap();
    }

    #[test]
    fn what_was_stored_is_loaded_and_what_was_changed_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let engine = engine();
        let cache = Cache::open(directory.path()).unwrap();
        let bytes = wat::parse_str("(component (core module))").unwrap();
        let digest = Digest::of(&bytes);
        assert!(cache.load(&engine, &digest).is_none());
        cache.store(&engine, &digest, &code(&engine, &bytes)).unwrap();
        assert!(cache.load(&engine, &digest).is_some());

        let path = cache.path(&engine, &digest);
        let other = Digest::of(b"another component");
        fs::copy(&path, cache.path(&engine, &other)).unwrap();
        assert!(cache.load(&engine, &other).is_none(), "code of another component");
        let mut code = fs::read(&path).unwrap();
        let last = code.len() - 1;
        code[last] ^= 1;
        fs::write(&path, &code).unwrap();
        assert!(cache.load(&engine, &digest).is_none(), "code with one bit changed");
        fs::write(&path, b"short").unwrap();
        assert!(cache.load(&engine, &digest).is_none(), "code without a whole MAC");
    }

    #[test]
    fn code_of_another_host_is_not_loaded() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let engine = engine();
        let bytes = wat::parse_str("(component)").unwrap();
        let digest = Digest::of(&bytes);
        let (here, there) = (Cache::open(one.path()).unwrap(), Cache::open(two.path()).unwrap());
        there.store(&engine, &digest, &code(&engine, &bytes)).unwrap();
        fs::copy(there.path(&engine, &digest), here.path(&engine, &digest)).unwrap();
        assert!(here.load(&engine, &digest).is_none());
    }

    #[test]
    fn the_key_is_kept_and_belongs_to_one_user() {
        let directory = tempfile::tempdir().unwrap();
        let key = Cache::open(directory.path()).unwrap().key;
        assert_eq!(Cache::open(directory.path()).unwrap().key, key);
        let path = directory.path().join(KEY_FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let Err(error) = Cache::open(directory.path()) else { panic!("a key that others can read was used") };
        assert!(error.to_string().contains("0600"), "{error}");
    }
}
