//! The plugins that are part of the binary.

use super::refuse::Refusal;

include!(concat!(env!("OUT_DIR"), "/builtin.rs"));

/// The bytes of `builtin:NAME`.
pub(super) fn find(name: &str) -> Result<&'static [u8], Refusal> {
    BUILTIN
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, bytes)| *bytes)
        .ok_or_else(|| Refusal::UnknownBuiltin { name: name.into(), known: names().collect::<Vec<_>>().join(", ") })
}

/// The names of the bundled plugins. None if the gateway was built without them.
pub fn names() -> impl Iterator<Item = &'static str> {
    BUILTIN.iter().map(|(name, _)| *name)
}
