//! The provider's state, in memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Bound;

use crate::state::{Entry, Expectation, KeyPage, StateError};

thread_local!(static STORE: RefCell<Store> = RefCell::default());

#[derive(Default)]
struct Store {
    entries: BTreeMap<String, Entry>,
    version: u64,
}

impl Store {
    fn check(&self, key: &str, expected: Expectation) -> Result<(), StateError> {
        let version = self.entries.get(key).map(|entry| entry.version);
        let holds = match expected {
            Expectation::Anything => true,
            Expectation::Absent => version.is_none(),
            Expectation::Version(wanted) => version == Some(wanted),
        };
        if holds { Ok(()) } else { Err(StateError::Conflict) }
    }
}

pub(crate) fn get(key: &str) -> Result<Option<Entry>, StateError> {
    check_key(key)?;
    Ok(STORE.with_borrow(|store| store.entries.get(key).cloned()))
}

pub(crate) fn put(key: &str, value: &[u8], expected: Expectation) -> Result<u64, StateError> {
    check_key(key)?;
    if value.len() > 65_536 {
        return Err(StateError::Invalid(format!("a value of {} bytes; at most 65536", value.len())));
    }
    STORE.with_borrow_mut(|store| {
        store.check(key, expected)?;
        store.version += 1;
        let entry = Entry { value: value.to_vec(), version: store.version };
        store.entries.insert(key.to_owned(), entry);
        Ok(store.version)
    })
}

pub(crate) fn delete(key: &str, expected: Expectation) -> Result<(), StateError> {
    check_key(key)?;
    STORE.with_borrow_mut(|store| {
        store.check(key, expected)?;
        store.entries.remove(key);
        Ok(())
    })
}

pub(crate) fn list(prefix: &str, cursor: Option<&str>, limit: u32) -> Result<KeyPage, StateError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let after = cursor.map_or(Bound::Included(prefix), Bound::Excluded);
    STORE.with_borrow(|store| {
        let mut keys = store.entries.range::<str, _>((after, Bound::Unbounded)).map(|(key, _)| key);
        let keys: Vec<String> = keys.by_ref().take_while(|key| key.starts_with(prefix)).take(limit).cloned().collect();
        let next = if keys.len() == limit { keys.last().cloned() } else { None };
        Ok(KeyPage { keys, next })
    })
}

fn check_key(key: &str) -> Result<(), StateError> {
    if (1..=512).contains(&key.len()) {
        Ok(())
    } else {
        Err(StateError::Invalid(format!("a key of {} bytes; 1 to 512", key.len())))
    }
}
