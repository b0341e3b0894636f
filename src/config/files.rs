//! The files that a configuration names, tried as a start tries them: one that cannot be used is a mistake
//! of the key that names it.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Config;
use super::problem::{ConfigError, Problem, chain};
use super::section::{Document, join};
use crate::admin;
use crate::host::egress;

impl Config {
    /// Reads the credentials, keys and certificates of the gateway and of every grant. `text` is what this
    /// configuration was read from, and relative paths in it are relative to `base`. Blocks for these few
    /// reads; connects to nothing.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with every file that cannot be used.
    pub fn try_files(&self, text: &str, base: &Path) -> Result<(), ConfigError> {
        let document = Document::new(text, base);
        let (table, _told_already) = DeTable::parse_recoverable(text);
        let report = |at: &[&str], path: Option<&Path>, fault: &dyn std::error::Error| {
            let found = value_at(table.get_ref(), at);
            let named = path.zip(found).and_then(|(path, value)| key_of(value, at.join("."), path, base));
            let (key, span) = match named {
                Some((key, span)) => (key, Some(span)),
                None => (at.join("."), found.map(Spanned::span)),
            };
            document.report(span, Problem::new(key, chain(fault)));
        };
        for fault in admin::credential_faults(&self.admin) {
            report(&["auth", "basic"], Some(fault.path()), &fault);
        }
        for provider in &self.providers {
            for (name, grant) in &provider.grants {
                for fault in egress::faults(grant) {
                    report(&["provider", provider.name.as_str(), "grant", name], fault.path(), &fault);
                }
            }
        }
        let (problems, _keys) = document.into_findings();
        if problems.is_empty() { Ok(()) } else { Err(ConfigError::Invalid { origin: self.origin.clone(), problems }) }
    }
}

fn value_at<'t>(table: &'t DeTable<'t>, at: &[&str]) -> Option<&'t Spanned<DeValue<'t>>> {
    let (first, rest) = at.split_first()?;
    let value = table.get(*first)?;
    if rest.is_empty() { Some(value) } else { value_at(value.get_ref().as_table()?, rest) }
}

/// The key below `value` whose text names the file at `path`, and where its value is.
fn key_of(value: &Spanned<DeValue<'_>>, key: String, path: &Path, base: &Path) -> Option<(String, Range<usize>)> {
    if let Some(text) = value.get_ref().as_str() {
        let file = text.strip_prefix("kubeconfig:").and_then(|rest| rest.split('#').next()).unwrap_or(text);
        return (base.join(file) == path).then(|| (key, value.span()));
    }
    let table = value.get_ref().as_table()?;
    table.iter().find_map(|(name, value)| key_of(value, join(&key, name.get_ref()), path, base))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn every_file_that_cannot_be_used_is_a_mistake_at_its_key() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text, mode) in [("user", "admin", 0o644), ("empty", "\n", 0o600), ("ca", "no PEM", 0o644)] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let text = "auth.basic = { user-file = \"user\", password-file = \"empty\" }\n\
                    [provider.a]\ncomponent = \"builtin:local\"\ndefault = true\n\
                    [provider.a.grant.x]\nconnect = \"https://h\"\n\
                    ca = \"ca\"\n\
                    auth.bearer-file = \"empty\"\n\
                    [provider.a.grant.y]\n\
                    connect = \"http://169.254.169.254\"\n";
        let config = Config::from_toml(text, "test", folder.path(), &["local"]).unwrap();
        let Err(ConfigError::Invalid { problems, .. }) = config.try_files(text, folder.path()) else {
            panic!("no mistakes")
        };
        let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 5, "{said:#?}");
        for (said, (line, key, part)) in said.iter().zip([
            (1, "auth.basic.user-file", "run: chmod o-rwx"),
            (1, "auth.basic.password-file", "no usable secret"),
            (7, "provider.a.grant.x.ca", "no usable certificate"),
            (8, "provider.a.grant.x.auth.bearer-file", "no usable secret"),
            (9, "provider.a.grant.y", "never dialled"),
        ]) {
            let place = said.contains(&format!("line {line}")) && said.contains(key);
            assert!(place && said.contains(part), "line {line}, {key}, {part}: {said}");
        }
    }
}
