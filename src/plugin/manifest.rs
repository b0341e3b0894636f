//! What a plugin says of itself: the custom section `wicketgate:manifest`, read without running
//! anything.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wasmparser::{Parser, Payload};

/// The section's name. The SDK's macro writes it into the core module, nested in the component.
const SECTION: &str = "wicketgate:manifest";

/// The longest manifest.
pub const MANIFEST_MAX_BYTES: usize = 64 << 10;

/// A plugin's own words. Nothing in it gives a right: what a plugin may do is the operator's to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Manifest {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is for, in a sentence.
    pub description: String,
    /// Its licence as an SPDX expression.
    pub licence: String,
    /// Where its source is.
    pub source: String,
    /// The grants that it asks the operator for, with what each is for.
    pub grants: BTreeMap<String, String>,
    /// The keys that it reads from `config`, with what each is for.
    pub config: BTreeMap<String, String>,
}

/// Why a manifest cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The component is damaged.
    #[error("the component's sections cannot be read")]
    Sections(#[source] wasmparser::BinaryReaderError),
    /// It is too long.
    #[error("the section {SECTION:?} has {0} bytes, the limit is {MANIFEST_MAX_BYTES}")]
    TooLong(usize),
    /// It is not what it should be.
    #[error("the section {SECTION:?} is not the JSON object that it should be")]
    Json(#[source] serde_json::Error),
}

impl Manifest {
    /// Finds a component's manifest; `None` if it has none. Of several the first counts.
    ///
    /// # Errors
    /// See [`ManifestError`].
    pub fn read(component: &[u8]) -> Result<Option<Self>, ManifestError> {
        for payload in Parser::new(0).parse_all(component) {
            if let Payload::CustomSection(section) = payload.map_err(ManifestError::Sections)?
                && section.name() == SECTION
            {
                let data = section.data();
                if data.len() > MANIFEST_MAX_BYTES {
                    return Err(ManifestError::TooLong(data.len()));
                }
                return serde_json::from_slice(data).map(Some).map_err(ManifestError::Json);
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(section: &str) -> Vec<u8> {
        let text =
            format!(r#"(component (core module (@custom "wicketgate:manifest" "{}")))"#, section.escape_default());
        wat::parse_str(text).unwrap()
    }

    #[test]
    fn the_section_is_found_inside_the_core_module() {
        let manifest = Manifest::read(&component(r#"{"name":"acme","grants":{"api":"the API"},"new":1}"#)).unwrap();
        let manifest = manifest.unwrap();
        assert_eq!(manifest.name, "acme");
        assert_eq!(manifest.grants.get("api").map(String::as_str), Some("the API"));
        assert_eq!(Manifest::read(&wat::parse_str("(component)").unwrap()).unwrap(), None);
    }

    #[test]
    fn a_bad_section_says_what_is_wrong() {
        assert!(matches!(Manifest::read(&component("7")), Err(ManifestError::Json(_))));
        let long = format!("\"{}\"", "x".repeat(MANIFEST_MAX_BYTES));
        assert!(matches!(Manifest::read(&component(&long)), Err(ManifestError::TooLong(_))));
        assert!(matches!(Manifest::read(b"\0asm"), Err(ManifestError::Sections(_))));
    }
}
