//! What the operator wrote into the provider's `config` table.

use serde::de::DeserializeOwned;

use crate::{ProviderError, Result};

/// The whole table as the author's type. Keys that the type does not know are ignored unless it
/// says `#[serde(deny_unknown_fields)]`, which a plugin should.
///
/// # Errors
/// `internal`, naming the key, when the table does not fit the type.
pub fn typed<T: DeserializeOwned>() -> Result<T> {
    serde_json::from_str(&document())
        .map_err(|e| ProviderError::internal(format!("the provider's config table does not fit: {e}")))
}

/// The whole table as a JSON object.
#[must_use]
pub fn document() -> String {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::imports::wicketgate::host::config::document();
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::config_document()
}

/// One key: a text as it is, anything else as JSON; `None` if it is absent.
#[must_use]
pub fn get(key: &str) -> Option<String> {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::imports::wicketgate::host::config::get(key);
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::config_key(key)
}
