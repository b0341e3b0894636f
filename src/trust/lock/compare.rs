//! What a plugin wants beyond what is written down, in plain words.

use std::collections::BTreeSet;

use super::entry::{Entry, LockedGrant};
use crate::parse;

impl Entry {
    /// What this wants and `locked` does not hold, a sentence each; empty if it wants nothing more.
    #[must_use]
    pub fn beyond(&self, locked: &Self) -> Vec<String> {
        let mut more = Vec::new();
        if !self.is_bundled {
            self.code_beyond(locked, &mut more);
        }
        for (name, grant) in &self.grant {
            match locked.grant.get(name) {
                None => more.push(format!("it has a new grant, {name} to {}", grant.connect)),
                Some(locked) => grant.beyond(name, locked, &mut more),
            }
        }
        for (name, limit) in &self.limits {
            if let Some(before) = locked.limits.get(name)
                && amount(limit).zip(amount(before)).is_none_or(|(limit, before)| limit > before)
                && limit != before
            {
                more.push(format!("limits.{name} is {limit}, and was {before}"));
            }
        }
        more
    }

    /// The same of what only the component says. A bundled plugin changes with the gateway.
    fn code_beyond(&self, locked: &Self, more: &mut Vec<String>) {
        if let (None, Some(key)) = (&self.signer, &locked.signer) {
            more.push(format!("it is not signed, and the locked one was signed with key {key}"));
        }
        if let (Some(version), Some(before)) = (&self.version, &locked.version)
            && self.signer.is_some()
            && is_older(version, before)
        {
            more.push(format!("it is version {version}, older than the locked {before}"));
        }
        // In the manifest's words, which may be any.
        for name in self.asks_for.difference(&locked.asks_for) {
            more.push(format!("it asks for a new grant, {name:?}"));
        }
        for key in self.reads.difference(&locked.reads) {
            more.push(format!("it reads a new key of config, {key:?}"));
        }
        let known: BTreeSet<&str> = locked.imports.iter().map(|import| track(import)).collect();
        for import in self.imports.iter().filter(|import| !known.contains(track(import))) {
            more.push(format!("it imports {import}"));
        }
    }
}

impl LockedGrant {
    fn beyond(&self, name: &str, locked: &Self, more: &mut Vec<String>) {
        if (&self.connect, &self.base) != (&locked.connect, &locked.base) {
            more.push(format!(
                "the grant {name} leads to {}{}, and led to {}{}",
                self.connect, self.base, locked.connect, locked.base
            ));
        }
        for rule in self.rules.difference(&locked.rules) {
            more.push(format!("the grant {name} has a new rule, {rule}"));
        }
        if self.dry_run && !locked.dry_run {
            more.push(format!("the grant {name} is tried out (dry-run), so what no rule allows passes too"));
        }
        if let Some(path) = &self.functions
            && locked.functions.as_ref() != Some(path)
        {
            more.push(format!("the grant {name} forwards functions' requests to {path}"));
        }
    }
}

/// A name without the last part of its version: within `0.2.` and within `1.` interfaces are the same to the
/// linker, so an update of a toolchain is no new import. One that is not final is only itself.
fn track(name: &str) -> &str {
    let Some((_, version)) = name.split_once('@') else { return name };
    if version.contains(['-', '+']) {
        return name;
    }
    let mut parts = version.split('.');
    let kept = match (parts.next(), parts.next()) {
        (Some("0"), Some("0")) | (None | Some(_), None) => version.len(),
        (Some(major), Some(minor)) if major == "0" => major.len() + 1 + minor.len(),
        (Some(major), Some(_)) => major.len(),
        (None, Some(_)) => version.len(),
    };
    name.get(..name.len() - version.len() + kept).unwrap_or(name)
}

/// A limit as a number that compares: a count, bytes, or nanoseconds.
fn amount(text: &str) -> Option<u128> {
    if let Ok(count) = text.parse() {
        return Some(count);
    }
    parse::size(text).map(u128::from).ok().or_else(|| parse::duration(text).map(|span| span.as_nanos()).ok())
}

/// Whether a version is older than another, by the rules of semver as far as they concern releases. What is not
/// three numbers is older than nothing.
fn is_older(version: &str, before: &str) -> bool {
    match (numbers(version), numbers(before)) {
        (Some(version), Some(before)) => version < before,
        (None, _) | (_, None) => false,
    }
}

/// The numbers, and whether it is a release: a version before a release is older than it.
fn numbers(version: &str) -> Option<([u64; 3], bool)> {
    let version = version.strip_prefix('v').unwrap_or(version);
    let version = version.split('+').next()?;
    let (numbers, is_release) = match version.split_once('-') {
        Some((numbers, _)) => (numbers, false),
        None => (version, true),
    };
    let mut parts = numbers.split('.').map(|part| part.parse().ok());
    let three = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some((three, is_release))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_one_track_are_one_import() {
        for (name, expected) in [
            ("wasi:io/poll@0.2.12", "wasi:io/poll@0.2"),
            ("acme:a/b@1.2.3", "acme:a/b@1"),
            ("acme:a/b@0.0.7", "acme:a/b@0.0.7"),
            ("acme:a/b@0.2.0-rc.1", "acme:a/b@0.2.0-rc.1"),
            ("acme:a/b@", "acme:a/b@"),
            ("help", "help"),
        ] {
            assert_eq!(track(name), expected);
        }
    }

    #[test]
    fn an_older_version_has_lower_numbers() {
        for (version, before, expected) in [
            ("1.9.0", "1.10.0", true),
            ("1.10.0", "1.9.0", false),
            ("1.0.0", "1.0.0", false),
            ("1.0.0-rc.1", "1.0.0", true),
            ("v1.0.0", "1.0.1+build", true),
            ("yesterday", "1.0.0", false),
            ("1.0", "2.0.0", false),
        ] {
            assert_eq!(is_older(version, before), expected, "{version} {before}");
        }
    }
}
