//! What a component could ask for, read from its bytes: whether it can send requests at all, and the names
//! that stand behind `http://` in its data.
//!
//! A hint for people and nothing more: a name that is put together while the plugin runs is not found, and one
//! that is found need not be asked for. Only the rules of a grant decide.

use std::collections::BTreeSet;

use wasmparser::{BinaryReaderError, Parser, Payload};

/// The import that requests are sent by.
const HTTP: &str = "wasi:http/outgoing-handler";

/// What the imports of the gateway's own interfaces begin with.
const HOST: &str = "wicketgate:host/";

/// What stands between a scheme and a name.
const MARK: &[u8] = b"://";

/// The most names that are kept.
const NAMES_MAX: usize = 64;

/// The longest name: that of a grant.
const NAME_MAX_BYTES: usize = 63;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Whether it imports what requests are sent by.
    pub sends: bool,
    /// Names of one label behind `http://` and `https://`, as grants are named. At most [`NAMES_MAX`].
    pub names: BTreeSet<String>,
    /// The interfaces of `wicketgate:host` that it imports: `state`, `log`, ...
    pub host: BTreeSet<String>,
}

impl Reach {
    /// Reads a component. Time is in proportion to its size.
    ///
    /// # Errors
    /// It is damaged.
    pub fn of(component: &[u8]) -> Result<Self, BinaryReaderError> {
        let mut reach = Self::default();
        for payload in Parser::new(0).parse_all(component) {
            // Ifs, since a match would have to name the thirty kinds that say nothing here.
            let payload = payload?;
            if let Payload::ComponentImportSection(section) = &payload {
                for import in section.clone() {
                    let name = import?.name.name;
                    reach.sends |= name.starts_with(HTTP);
                    if let Some(interface) = name.strip_prefix(HOST).filter(|_| reach.host.len() < NAMES_MAX) {
                        reach.host.insert(interface.split('@').next().unwrap_or_default().to_owned());
                    }
                }
            } else if let Payload::DataSection(section) = &payload {
                for data in section.clone() {
                    reach.scan(data?.data);
                }
            }
        }
        Ok(reach)
    }

    /// What that says of a grant.
    #[must_use]
    pub fn detected(&self, grant: &str) -> Detected {
        if !self.sends {
            Detected::NoRequests
        } else if self.names.contains(grant) {
            Detected::Named
        } else {
            Detected::Possible
        }
    }

    fn scan(&mut self, data: &[u8]) {
        let marks = data.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK).map(|(at, _)| at);
        for at in marks {
            let (before, after) = data.split_at(at);
            let after = after.get(MARK.len()..).unwrap_or_default();
            let is_name = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
            let length = after.iter().take(NAME_MAX_BYTES + 1).take_while(|byte| is_name(byte)).count();
            // Behind a dot it would be a host of the world, which no grant is named like.
            let is_whole = after.get(length).is_none_or(|byte| !matches!(byte, b'.' | b'_' | b'A'..=b'Z'));
            let is_http = before.ends_with(b"http") || before.ends_with(b"https");
            if is_http && is_whole && (1..=NAME_MAX_BYTES).contains(&length) && self.names.len() < NAMES_MAX {
                self.names.insert(String::from_utf8_lossy(after.get(..length).unwrap_or_default()).into_owned());
            }
        }
    }
}

/// What the bytes say of one grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Detected {
    /// Its name stands behind `http://` in the plugin's data.
    Named,
    /// It does not, but the plugin sends requests, and may put the name together while it runs.
    Possible,
    /// The plugin cannot send requests.
    NoRequests,
}

impl Detected {
    /// A sentence for people.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Named => "its bytes name it",
            Self::Possible => "its bytes do not name it, but it sends requests",
            Self::NoRequests => "it can send no requests",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(data: &str) -> Reach {
        let text = format!(
            r#"(component
                (import "wasi:http/outgoing-handler@0.2.0" (instance))
                (core module (memory 1) (data (i32.const 0) "{data}")))"#
        );
        Reach::of(&wat::parse_str(text).unwrap()).unwrap()
    }

    #[test]
    fn names_behind_a_scheme_are_found() {
        let found =
            reach("xhttp://docker/services\\00https://api-2\\00http://www.w3.org/ns ftp://no http:// http://Upper");
        assert!(found.sends);
        assert_eq!(found.names.iter().map(String::as_str).collect::<Vec<_>>(), ["api-2", "docker"]);
        assert_eq!(found.detected("docker"), Detected::Named);
        assert_eq!(found.detected("nomad"), Detected::Possible);
        let long = reach(&format!("http://{}/", "x".repeat(64)));
        assert_eq!(long.names.len(), 0);
        let many: String = (0..200).map(|number| format!("http://n{number}/")).collect();
        assert_eq!(reach(&many).names.len(), NAMES_MAX);
    }

    #[test]
    fn without_the_import_nothing_is_sent() {
        let component = wat::parse_str(r#"(component (core module (memory 1) (data (i32.const 0) "http://a/")))"#);
        let found = Reach::of(&component.unwrap()).unwrap();
        assert_eq!(found.detected("a"), Detected::NoRequests);
        assert!(Reach::of(b"\0asm").is_err());
    }

    #[test]
    fn bundled_plugins_name_the_grants_that_they_declare() {
        for name in crate::plugin::builtin::names() {
            let bytes = crate::plugin::builtin::find(name).unwrap();
            let (found, manifest) = (Reach::of(bytes).unwrap(), crate::plugin::Manifest::read(bytes).unwrap().unwrap());
            assert_eq!(found.sends, !manifest.grants.is_empty(), "{name}");
            for grant in manifest.grants.keys() {
                assert_eq!(
                    found.detected(grant),
                    Detected::Named,
                    "{name} asks for {grant}, and its data has {found:?}"
                );
            }
        }
    }
}
