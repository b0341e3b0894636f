//! What a file says, key by key, so that two of them can be compared.

use std::collections::BTreeMap;
use std::fmt;

use super::Config;

/// The longest value that is shown, in characters.
const SHOWN: usize = 120;

/// Tables whose values may be secret: the plugin's own settings, and variables of commands.
const NOT_SHOWN: [&str; 2] = ["config", "env"];

/// One key that two configurations say differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    /// Its path, e.g. `provider.edge.limits.memory`.
    pub key: String,
    /// What the old one says; `None` if it has no such key.
    pub old: Option<String>,
    /// What the new one says.
    pub new: Option<String>,
}

impl fmt::Display for KeyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mark, value) = match (&self.old, &self.new) {
            (None, Some(new)) => ("+", new.clone()),
            (Some(old), None) => ("-", old.clone()),
            (old, new) => {
                let word = |side: &Option<String>| side.clone().unwrap_or_default();
                ("~", format!("{} -> {}", word(old), word(new)))
            }
        };
        write!(f, "{mark} {} = {value}", self.key)
    }
}

impl KeyChange {
    /// The provider that it is about, and the first key within its table.
    #[must_use]
    pub fn provider(&self) -> Option<(&str, &str)> {
        let rest = self.key.strip_prefix("provider.")?;
        let (name, rest) = rest.split_once('.')?;
        Some((name, rest.split('.').next().unwrap_or(rest)))
    }

    fn is_secret(&self) -> bool {
        self.key.starts_with("provider.") && self.key.split('.').skip(2).any(|part| NOT_SHOWN.contains(&part))
    }

    /// The same, fit to be shown.
    fn shown(mut self) -> Self {
        let is_secret = self.is_secret();
        for value in [&mut self.old, &mut self.new].into_iter().flatten() {
            if is_secret {
                "(not shown)".clone_into(value);
            } else if value.chars().count() > SHOWN {
                *value = format!("{}...", value.chars().take(SHOWN).collect::<String>());
            }
        }
        self
    }
}

impl Config {
    /// Every key that `new` says differently, in the order of their paths.
    #[must_use]
    pub fn changes_to(&self, new: &Self) -> Vec<KeyChange> {
        let mut keys: Vec<&String> = self.keys.keys().chain(new.keys.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        let change = |key: &String| {
            let (old, new) = (self.keys.get(key), new.keys.get(key));
            (old != new).then(|| KeyChange { key: key.clone(), old: old.cloned(), new: new.cloned() }.shown())
        };
        keys.into_iter().filter_map(change).collect()
    }
}

/// All keys of a table with their values as JSON.
pub(super) fn flat(table: &serde_json::Value) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    add(&mut keys, String::new(), table);
    keys
}

fn add(keys: &mut BTreeMap<String, String>, path: String, value: &serde_json::Value) {
    match value.as_object() {
        Some(table) if path.is_empty() || !table.is_empty() => {
            for (key, value) in table {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                add(keys, path, value);
            }
        }
        Some(_) | None => {
            keys.insert(path, value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(tables: &str) -> Config {
        let text = format!("{tables}\n[provider.a]\ncomponent = \"builtin:local\"\ndefault = true\n");
        Config::from_toml(&text, "a test", Path::new("/"), &["local"]).unwrap()
    }

    #[test]
    fn a_difference_names_each_key_and_hides_what_may_be_secret() {
        let old = config("[listen]\nhttp = \"127.0.0.1:80\"\n");
        let new = config("[provider.a.config]\ntoken = \"hush\"\n[provider.a.limits]\nhandles = 7");
        let changes: Vec<String> = old.changes_to(&new).iter().map(ToString::to_string).collect();
        assert_eq!(
            changes,
            [
                "- listen.http = \"127.0.0.1:80\"",
                "+ provider.a.config.token = (not shown)",
                "+ provider.a.limits.handles = 7"
            ]
        );
        assert_eq!(old.changes_to(&old.clone()), []);
        let changed = config("[listen]\nhttp = \"127.0.0.1:81\"\n");
        let changes = old.changes_to(&changed);
        assert_eq!(changes[0].to_string(), "~ listen.http = \"127.0.0.1:80\" -> \"127.0.0.1:81\"");
        assert_eq!(changes[0].provider(), None);
        let grant = KeyChange { key: "provider.a.grant.x.connect".into(), old: None, new: None };
        assert_eq!(grant.provider(), Some(("a", "grant")));
    }
}
