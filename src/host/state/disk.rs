//! The database file behind the tables, and the thread that writes to it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use redb::{Builder, Database, ReadableDatabase, ReadableTable as _, TableDefinition, TableError};

use super::{Entry, FLUSH_EVERY};

/// (scope, key) to the version and the value.
const ENTRIES: TableDefinition<'_, (&str, &str), (u64, &[u8])> = TableDefinition::new("entries");
/// Scope to the version of its last write.
const VERSIONS: TableDefinition<'_, &str, u64> = TableDefinition::new("versions");

/// The database's own cache in bytes. All content is in memory already: it only helps to write.
const CACHE_BYTES: usize = 1 << 20;

/// A write that the disk has yet to see.
pub(super) struct Change {
    pub(super) scope: String,
    pub(super) key: String,
    /// `None` if the key was deleted.
    pub(super) entry: Option<Entry>,
    pub(super) version: u64,
}

/// What is on disk of one scope.
#[derive(Default)]
pub(super) struct Scope {
    pub(super) entries: BTreeMap<String, Entry>,
    /// The version of its last write.
    pub(super) version: u64,
}

/// A database and what is waiting for it. Dropping it writes what is waiting.
pub(super) struct Disk {
    shared: Arc<Shared>,
    /// What was there at the start, until somebody takes it.
    found: Mutex<HashMap<String, Scope>>,
    writer: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// `None` if nothing is kept on disk.
    file: Option<Mutex<File>>,
    pending: Mutex<Pending>,
    wake: Condvar,
}

struct File {
    path: PathBuf,
    /// `None` after a failed write: the database refuses everything until it is opened anew.
    database: Option<Database>,
}

#[derive(Default)]
struct Pending {
    /// Bounded by the quotas: a key waits once, and while there is trouble nothing is added.
    changes: HashMap<(String, String), Change>,
    trouble: Option<String>,
    closing: bool,
}

impl Disk {
    /// Opens or makes the file. Trouble is remembered, not returned: a gateway serves without state. A file
    /// that cannot be written is read all the same.
    pub(super) fn open(path: &Path) -> Self {
        let opened = open(path).and_then(|database| Ok((read(&database)?, database)));
        let (found, database, trouble) = match opened {
            Ok((found, database)) => (found, Some(database), None),
            Err(error) => {
                let trouble = explain(path, &error);
                tracing::error!(%trouble, "the state store cannot be opened for writing: plugins cannot keep anything new");
                let readable = builder().open_read_only(path).ok().and_then(|database| read(&database).ok());
                (readable.unwrap_or_default(), None, Some(trouble))
            }
        };
        let shared = Arc::new(Shared {
            file: Some(Mutex::new(File { path: path.to_owned(), database })),
            pending: Mutex::new(Pending { trouble, ..Pending::default() }),
            wake: Condvar::new(),
        });
        let writing = Arc::clone(&shared);
        let writer =
            std::thread::Builder::new().name("state".to_owned()).spawn(move || writing.write_until_closed()).ok();
        Self { shared, found: Mutex::new(found), writer }
    }

    /// No disk: everything is kept in memory and nothing is refused.
    pub(super) fn none() -> Self {
        Self { shared: Arc::default(), found: Mutex::default(), writer: None }
    }

    pub(super) fn trouble(&self) -> Option<String> {
        self.shared.lock().trouble.clone()
    }

    pub(super) fn changed(&self, change: Change) {
        if self.shared.file.is_some() {
            let key = (change.scope.clone(), change.key.clone());
            self.shared.lock().changes.insert(key, change);
        }
    }

    pub(super) fn flush(&self) {
        self.shared.flush();
    }

    /// What was on disk of a scope at the start; nothing when it was taken already.
    pub(super) fn take(&self, scope: &str) -> Scope {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).remove(scope).unwrap_or_default()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.wake.notify_all();
        if let Some(writer) = self.writer.take() {
            let _panicked = writer.join();
        }
    }
}

fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn open(path: &Path) -> Result<Database, redb::Error> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    Ok(builder().create(path)?)
}

fn read(database: &impl ReadableDatabase) -> Result<HashMap<String, Scope>, redb::Error> {
    let mut scopes: HashMap<String, Scope> = HashMap::new();
    let transaction = database.begin_read()?;
    match transaction.open_table(ENTRIES) {
        Ok(table) => {
            for row in table.iter()? {
                let (key, row) = row?;
                let ((scope, key), (version, value)) = (key.value(), row.value());
                let entry = Entry { value: value.into(), version };
                scopes.entry(scope.to_owned()).or_default().entries.insert(key.to_owned(), entry);
            }
        }
        Err(TableError::TableDoesNotExist(_)) => return Ok(scopes),
        Err(error) => return Err(error.into()),
    }
    for row in transaction.open_table(VERSIONS)?.iter()? {
        let (scope, version) = row?;
        scopes.entry(scope.value().to_owned()).or_default().version = version.value();
    }
    Ok(scopes)
}

fn explain(path: &Path, error: &redb::Error) -> String {
    let path = path.display();
    #[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum that grows; the others speak for themselves")]
    match error {
        redb::Error::DatabaseAlreadyOpen => {
            format!("{path} is in use by another gateway; give each its own state directory")
        }
        redb::Error::Corrupted(what) => format!("{path} is damaged ({what}); move it away and start again"),
        other => format!("{path}: {other}"),
    }
}

impl Shared {
    fn write_until_closed(&self) {
        loop {
            let pending = self.lock();
            let waited = self.wake.wait_timeout_while(pending, FLUSH_EVERY, |pending| !pending.closing);
            let (pending, _timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
            let closing = pending.closing;
            drop(pending);
            self.flush();
            if closing {
                return;
            }
        }
    }

    /// One transaction for all that is waiting. What could not be written waits on, and further
    /// writes are refused until it could.
    fn flush(&self) {
        let Some(file) = &self.file else { return };
        // Held over the taking too, so that two flushes keep the order of changes.
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        let (changes, trouble) = {
            let mut pending = self.lock();
            (std::mem::take(&mut pending.changes), pending.trouble.is_some())
        };
        if changes.is_empty() && !trouble {
            return;
        }
        let outcome = file.write(&changes);
        let mut pending = self.lock();
        match outcome {
            Ok(()) => {
                if pending.trouble.take().is_some() {
                    tracing::info!("the state store can be written again");
                }
            }
            Err(error) => {
                if pending.trouble.replace(error.clone()).is_none() {
                    tracing::error!(error, "state not written; writes are refused until that works again");
                }
                for (key, change) in changes {
                    // A change of the meantime is the newer one.
                    pending.changes.entry(key).or_insert(change);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl File {
    fn write(&mut self, changes: &HashMap<(String, String), Change>) -> Result<(), String> {
        let written = self.try_write(changes);
        if written.is_err() {
            self.database = None;
        }
        written.map_err(|error| explain(&self.path, &error))
    }

    fn try_write(&mut self, changes: &HashMap<(String, String), Change>) -> Result<(), redb::Error> {
        let database = match &mut self.database {
            Some(database) => database,
            closed => closed.insert(open(&self.path)?),
        };
        let transaction = database.begin_write()?;
        {
            let mut entries = transaction.open_table(ENTRIES)?;
            let mut latest: HashMap<&str, u64> = HashMap::new();
            for change in changes.values() {
                let key = (change.scope.as_str(), change.key.as_str());
                match &change.entry {
                    Some(entry) => entries.insert(key, (entry.version, &*entry.value))?,
                    None => entries.remove(key)?,
                };
                let version = latest.entry(&change.scope).or_default();
                *version = change.version.max(*version);
            }
            let mut versions = transaction.open_table(VERSIONS)?;
            for (scope, version) in latest {
                versions.insert(scope, version)?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}
