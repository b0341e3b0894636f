//! Bytes under keys that outlive calls, swaps of the plugin and restarts of the gateway.

use serde::{Serialize, de::DeserializeOwned};

pub use crate::bindings::imports::wicketgate::host::state::{Entry, Expectation, KeyPage, StateError};
use crate::{ProviderError, Result};

#[cfg(target_arch = "wasm32")]
use crate::bindings::imports::wicketgate::host::state as store;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::store;

/// The most keys that [`list`] asks for at once.
const PAGE: u32 = 1000;

/// Reads a key.
///
/// # Errors
/// When the key is not within the host's bounds.
pub fn get(key: &str) -> Result<Option<Entry>, StateError> {
    store::get(key)
}

/// Writes a key if `expected` holds, and answers its new version.
///
/// # Errors
/// `conflict` if it does not hold; `quota`, `invalid` or `unavailable` as the host says.
pub fn put(key: &str, value: &[u8], expected: Expectation) -> Result<u64, StateError> {
    store::put(key, value, expected)
}

/// Deletes a key; one that is absent is no error unless a version was expected.
///
/// # Errors
/// As [`put`].
pub fn delete(key: &str, expected: Expectation) -> Result<(), StateError> {
    store::delete(key, expected)
}

/// All keys that start with `prefix`, in ascending order.
///
/// # Errors
/// As [`get`].
pub fn list(prefix: &str) -> Result<Vec<String>, StateError> {
    let mut page = store::list(prefix, None, PAGE)?;
    let mut keys = page.keys;
    while let Some(cursor) = page.next {
        page = store::list(prefix, Some(&cursor), PAGE)?;
        keys.append(&mut page.keys);
    }
    Ok(keys)
}

/// Reads a key as JSON, with its version.
///
/// # Errors
/// As [`get`], and `internal` when the value is not of this type.
pub fn get_json<T: DeserializeOwned>(key: &str) -> Result<Option<(T, u64)>> {
    let Some(entry) = get(key)? else { return Ok(None) };
    serde_json::from_slice(&entry.value)
        .map(|value| Some((value, entry.version)))
        .map_err(|e| ProviderError::internal(format!("state {key:?} is not what this plugin writes: {e}")))
}

/// Writes a key as JSON and answers its new version.
///
/// # Errors
/// As [`put`], and `internal` when the value has no JSON form.
pub fn put_json<T: Serialize>(key: &str, value: &T, expected: Expectation) -> Result<u64> {
    let bytes = serde_json::to_vec(value)
        .map_err(|e| ProviderError::internal(format!("state {key:?} cannot be written as JSON: {e}")))?;
    Ok(put(key, &bytes, expected)?)
}

impl From<StateError> for ProviderError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Conflict => Self::conflict("another writer changed the provider's state"),
            StateError::Quota(text) => Self::quota(format!("the provider's state is full: {text}")),
            StateError::Invalid(text) => Self::internal(format!("state refused: {text}")),
            StateError::Unavailable(text) => Self::unavailable(format!("state cannot be written: {text}")),
        }
    }
}

#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn a_write_that_expected_another_version_is_a_conflict() {
        let first = put_json("key", &1, Expectation::Absent).unwrap();
        let second = put_json("key", &2, Expectation::Version(first)).unwrap();
        assert_eq!(get_json::<u8>("key").unwrap(), Some((2, second)));
        let late = put_json("key", &3, Expectation::Version(first)).unwrap_err();
        assert_eq!(late.kind, ErrorKind::Conflict);
        assert_eq!(get_json::<String>("key").unwrap_err().kind, ErrorKind::Internal);
    }

    #[test]
    fn a_list_goes_through_all_pages() {
        let count = usize::try_from(PAGE).unwrap() * 2 + 1;
        for index in 0..count {
            put(&format!("many/{index:05}"), b"", Expectation::Anything).unwrap();
        }
        put("other", b"", Expectation::Anything).unwrap();
        let keys = list("many/").unwrap();
        assert_eq!((keys.len(), keys.first().map(String::as_str)), (count, Some("many/00000")));
        delete("other", Expectation::Anything).unwrap();
        assert!(list("other").unwrap().is_empty());
    }
}
