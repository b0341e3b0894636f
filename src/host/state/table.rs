//! One provider's keys in memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Change, Disk, Scope};
use super::{Entry, Expectation, KeyPage, StateError};

pub(super) struct Table {
    scope: String,
    /// `None` for a detached copy: what is written to it stays in it.
    disk: Option<Arc<Disk>>,
    content: Mutex<Content>,
}

#[derive(Clone)]
struct Content {
    entries: BTreeMap<String, Entry>,
    /// Bytes of all keys and values.
    bytes: u64,
    quota: u64,
    /// The version of the last write.
    version: u64,
}

impl Table {
    /// What is on disk of `scope`.
    pub(super) fn load(scope: &str, quota: u64, disk: &Arc<Disk>) -> Self {
        let Scope { entries, version } = disk.take(scope);
        let bytes = entries.iter().map(|(key, entry)| weight(key, &entry.value)).sum();
        let content = Content { entries, bytes, quota, version };
        Self { scope: scope.to_owned(), disk: Some(Arc::clone(disk)), content: Mutex::new(content) }
    }

    pub(super) fn detached(&self) -> Self {
        Self { scope: self.scope.clone(), disk: None, content: Mutex::new(self.lock().clone()) }
    }

    pub(super) fn set_quota(&self, quota: u64) {
        self.lock().quota = quota;
    }

    pub(super) fn get(&self, key: &str) -> Option<Entry> {
        self.lock().entries.get(key).cloned()
    }

    pub(super) fn put(&self, key: &str, value: &[u8], expected: Expectation) -> Result<u64, StateError> {
        self.writable()?;
        let mut content = self.lock();
        expect(content.entries.get(key), expected)?;
        let replaced = content.entries.get(key).map_or(0, |entry| weight(key, &entry.value));
        let needed = content.bytes - replaced + weight(key, value);
        if needed > content.quota {
            return Err(StateError::Quota { needed, quota: content.quota });
        }
        content.bytes = needed;
        content.version += 1;
        let entry = Entry { value: value.into(), version: content.version };
        content.entries.insert(key.to_owned(), entry.clone());
        self.changed(key, Some(entry), content.version);
        Ok(content.version)
    }

    pub(super) fn delete(&self, key: &str, expected: Expectation) -> Result<(), StateError> {
        self.writable()?;
        let mut content = self.lock();
        expect(content.entries.get(key), expected)?;
        if let Some(entry) = content.entries.remove(key) {
            content.bytes -= weight(key, &entry.value);
            content.version += 1;
            self.changed(key, None, content.version);
        }
        Ok(())
    }

    pub(super) fn list(&self, prefix: &str, cursor: Option<&str>, limit: usize) -> KeyPage {
        let content = self.lock();
        let from = match cursor {
            Some(cursor) if cursor >= prefix => Bound::Excluded(cursor),
            _before => Bound::Included(prefix),
        };
        let mut keys = content
            .entries
            .range::<str, _>((from, Bound::Unbounded))
            .map(|(key, _entry)| key)
            .take_while(|key| key.starts_with(prefix));
        let page: Vec<String> = keys.by_ref().take(limit).cloned().collect();
        let next = keys.next().and_then(|_more| page.last().cloned());
        KeyPage { keys: page, next }
    }

    /// Tells the disk while the table is locked, so that changes reach it in their order.
    fn changed(&self, key: &str, entry: Option<Entry>, version: u64) {
        if let Some(disk) = &self.disk {
            disk.changed(Change { scope: self.scope.clone(), key: key.to_owned(), entry, version });
        }
    }

    fn writable(&self) -> Result<(), StateError> {
        match self.disk.as_ref().and_then(|disk| disk.trouble()) {
            Some(trouble) => Err(StateError::Unavailable(trouble)),
            None => Ok(()),
        }
    }

    /// No critical section can panic half way through a change, so poison means nothing here.
    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn expect(there: Option<&Entry>, expected: Expectation) -> Result<(), StateError> {
    let holds = match expected {
        Expectation::Anything => true,
        Expectation::Absent => there.is_none(),
        Expectation::Version(version) => there.is_some_and(|entry| entry.version == version),
    };
    if holds { Ok(()) } else { Err(StateError::Conflict) }
}

fn weight(key: &str, value: &[u8]) -> u64 {
    u64::try_from(key.len() + value.len()).unwrap_or(u64::MAX)
}
