//! The database file behind the tables, and the thread that writes to it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use redb::{Database, ReadableDatabase as _, TableDefinition};

use super::{Entry, FLUSH_EVERY};

/// (scope, key) to the version (8 bytes, little endian) and the value.
const ENTRIES: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("entries");
/// Scope to the version of its last write.
const VERSIONS: TableDefinition<'_, &str, u64> = TableDefinition::new("versions");

/// A write that the disk has yet to see.
pub(super) struct Change {
    pub(super) scope: String,
    pub(super) key: String,
    /// `None` if the key was deleted.
    pub(super) entry: Option<Entry>,
    pub(super) version: u64,
}

/// A database and what is waiting for it. Dropping it writes what is waiting.
pub(super) struct Disk {
    shared: Arc<Shared>,
    writer: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    database: Option<Database>,
    pending: Mutex<Pending>,
    wake: Condvar,
}

#[derive(Default)]
struct Pending {
    changes: HashMap<(String, String), Change>,
    trouble: Option<String>,
    closing: bool,
}

impl Disk {
    /// Opens or makes the file. Trouble is remembered, not returned: a gateway serves without state.
    pub(super) fn open(path: &Path) -> Self {
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(|error| error.to_string());
        let opened = made.and_then(|()| Database::create(path).map_err(|error| error.to_string()));
        let shared = match opened {
            Ok(database) => Shared { database: Some(database), ..Shared::default() },
            Err(error) => {
                let trouble = format!("{}: {error}", path.display());
                tracing::error!(%trouble, "the state store cannot be opened; plugins cannot keep anything until a restart");
                let pending = Pending { trouble: Some(trouble), ..Pending::default() };
                Shared { pending: Mutex::new(pending), ..Shared::default() }
            }
        };
        let shared = Arc::new(shared);
        let writer = shared.database.is_some().then(|| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name("state".to_owned()).spawn(move || shared.write_until_closed())
        });
        Self { shared, writer: writer.and_then(Result::ok) }
    }

    /// No disk: everything is kept in memory and nothing is refused.
    pub(super) fn none() -> Self {
        Self { shared: Arc::default(), writer: None }
    }

    pub(super) fn trouble(&self) -> Option<String> {
        self.shared.lock().trouble.clone()
    }

    pub(super) fn changed(&self, change: Change) {
        if self.shared.database.is_some() {
            let key = (change.scope.clone(), change.key.clone());
            self.shared.lock().changes.insert(key, change);
        }
    }

    pub(super) fn flush(&self) {
        self.shared.flush();
    }

    /// All entries of a scope. What cannot be read is reported and left out.
    pub(super) fn load(&self, scope: &str) -> BTreeMap<String, Entry> {
        self.shared.database.as_ref().map_or_else(BTreeMap::new, |database| {
            load(database, scope).unwrap_or_else(|error| {
                tracing::error!(scope, %error, "state not read");
                BTreeMap::new()
            })
        })
    }

    /// The version of the last write of a scope.
    pub(super) fn version(&self, scope: &str) -> u64 {
        let read = |database: &Database| -> Result<u64, redb::Error> {
            let transaction = database.begin_read()?;
            match transaction.open_table(VERSIONS) {
                Ok(table) => Ok(table.get(scope)?.map_or(0, |version| version.value())),
                Err(redb::TableError::TableDoesNotExist(_)) => Ok(0),
                Err(error) => Err(error.into()),
            }
        };
        self.shared.database.as_ref().and_then(|database| read(database).ok()).unwrap_or(0)
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

fn load(database: &Database, scope: &str) -> Result<BTreeMap<String, Entry>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(ENTRIES) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.into()),
    };
    let mut entries = BTreeMap::new();
    for row in table.range((scope, "")..)? {
        let (key, value) = row?;
        let (of, key) = key.value();
        if of != scope {
            break;
        }
        if let Some((version, value)) = value.value().split_first_chunk() {
            entries.insert(key.to_owned(), Entry { value: value.into(), version: u64::from_le_bytes(*version) });
        }
    }
    Ok(entries)
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
        let Some(database) = &self.database else { return };
        let changes = std::mem::take(&mut self.lock().changes);
        if changes.is_empty() {
            return;
        }
        let outcome = write(database, &changes);
        let mut pending = self.lock();
        match outcome {
            Ok(()) => {
                if pending.trouble.take().is_some() {
                    tracing::info!("the state store can be written again");
                }
            }
            Err(error) => {
                tracing::error!(%error, "state not written; writes are refused until that works again");
                pending.trouble = Some(error.to_string());
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

fn write(database: &Database, changes: &HashMap<(String, String), Change>) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut entries = transaction.open_table(ENTRIES)?;
        let mut versions = transaction.open_table(VERSIONS)?;
        let mut latest: HashMap<&str, u64> = HashMap::new();
        for change in changes.values() {
            let key = (change.scope.as_str(), change.key.as_str());
            match &change.entry {
                Some(entry) => {
                    let mut bytes = entry.version.to_le_bytes().to_vec();
                    bytes.extend_from_slice(&entry.value);
                    entries.insert(key, bytes.as_slice())?;
                }
                None => {
                    entries.remove(key)?;
                }
            }
            let version = latest.entry(&change.scope).or_default();
            *version = change.version.max(*version);
        }
        for (scope, version) in latest {
            versions.insert(scope, version)?;
        }
    }
    transaction.commit()?;
    Ok(())
}
