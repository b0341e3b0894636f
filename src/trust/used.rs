//! What a provider's plugin really asks its platform for, so that its rules can be as narrow as its use.
//!
//! Each request that a grant let pass leaves its *shape*: method, path and names of the query's parameters, with
//! names of functions as `*` and names of namespaces as `{namespace}`. A shape reads like the rule that it needs.
//! Values are never kept: they may be secret. Shapes are few, each is written once, and their number is bounded.

mod shape;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::host::grant::Rule;
use crate::name::{Namespace, ProviderName};

pub use shape::{merge, shape};

/// The directory of the files, in the state directory.
pub const DIRECTORY: &str = "used";

/// The most shapes of one provider; later ones are not kept.
pub const SHAPES_MAX: usize = 512;

/// The longest shape, in bytes; a longer one is not kept.
pub const SHAPE_MAX_BYTES: usize = 512;

/// The largest file of a provider's shapes, in bytes.
pub const FILE_MAX_BYTES: u64 = 1 << 20;

/// What stands in the place of a grant's name for functions of the host itself, as no grant is named.
pub const HOST: &str = "wicketgate:host";

/// Shapes by grant, and the functions of [`HOST`] that were called, e.g. `state.get`.
pub type Shapes = BTreeMap<String, BTreeSet<String>>;

/// What is recorded of all providers: a file each, in one directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Use {
    directory: Arc<Path>,
    providers: Arc<Mutex<BTreeMap<ProviderName, Arc<Recorder>>>>,
}

impl Use {
    /// Records in this directory, which need not be there.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.into(), providers: Arc::default() }
    }

    /// The recorder of a provider, over all its generations. The first call blocks for reading a small file.
    #[must_use]
    pub fn of(&self, provider: &ProviderName) -> Arc<Recorder> {
        let mut providers = self.providers.lock().unwrap_or_else(PoisonError::into_inner);
        let open = || Arc::new(Recorder::open(file(&self.directory, provider)));
        Arc::clone(providers.entry(provider.clone()).or_insert_with(open))
    }
}

/// Where a provider's shapes are.
#[must_use]
pub fn file(directory: &Path, provider: &ProviderName) -> PathBuf {
    directory.join(format!("{provider}.json"))
}

/// Records one provider's use.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    shapes: Mutex<Shapes>,
    /// Held while the file is written, so that the newest content is the last one.
    writing: Mutex<()>,
}

impl Recorder {
    fn open(path: PathBuf) -> Self {
        let shapes = read(&path).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "what was used before cannot be read; recorded anew");
            Shapes::new()
        });
        Self { path, shapes: Mutex::new(shapes), writing: Mutex::default() }
    }

    /// Notes a request that passed. A shape that is known costs one look-up; a new one is written behind the
    /// request.
    pub fn note(
        self: &Arc<Self>,
        grant: &str,
        method: &http::Method,
        uri: &http::Uri,
        rule: Option<&Rule>,
        namespaces: &[Namespace],
    ) {
        self.keep(grant, &shape(method, uri, rule, namespaces));
    }

    /// Notes that a function of the host was called, e.g. `state.get`.
    pub fn note_host(self: &Arc<Self>, function: &'static str) {
        self.keep(HOST, function);
    }

    fn keep(self: &Arc<Self>, grant: &str, shape: &str) {
        if shape.len() > SHAPE_MAX_BYTES {
            return;
        }
        {
            let mut shapes = self.shapes.lock().unwrap_or_else(PoisonError::into_inner);
            if shapes.get(grant).is_some_and(|known| known.contains(shape)) {
                return;
            }
            if shapes.values().map(BTreeSet::len).sum::<usize>() >= SHAPES_MAX {
                return;
            }
            shapes.entry(grant.to_owned()).or_default().insert(shape.to_owned());
        }
        let recorder = Arc::clone(self);
        let write = move || recorder.write();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(write)),
            Err(_no_runtime) => write(),
        }
    }

    /// What was used.
    #[must_use]
    pub fn shapes(&self) -> Shapes {
        self.shapes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn write(&self) {
        let _last = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let shapes = self.shapes();
        let written = self.path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| {
            let text = serde_json::to_vec_pretty(&shapes)?;
            let draft = self.path.with_extension("json.new");
            std::fs::write(&draft, text)?;
            std::fs::rename(&draft, &self.path)
        });
        if let Err(error) = written {
            tracing::debug!(path = %self.path.display(), %error, "what is used is not kept over a restart");
        }
    }
}

/// Reads a file of shapes; nothing if there is none.
///
/// # Errors
/// It cannot be read, is too large, or is not what a gateway writes.
pub fn read(path: &Path) -> std::io::Result<Shapes> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Shapes::new()),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(FILE_MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_MAX_BYTES {
        return Err(std::io::Error::other(format!("it has more than {FILE_MAX_BYTES} bytes")));
    }
    Ok(serde_json::from_str(&text)?)
}

#[cfg(test)]
mod tests;
