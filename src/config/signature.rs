//! `[signature]` and `signature = { ... }` of a provider: whose signatures count.

use std::time::{Duration, SystemTime};

use toml::de::DeValue;

use super::section::Section;
use super::value::as_text;
use crate::host::grant::pattern::Pattern;
use crate::trust::signature::{Days, MinisignKey, SignaturePolicy, TrustedIdentity, TrustedKey};

/// Reads `[signature]`: what holds for every provider that says nothing else.
pub(super) fn read(section: &Section<'_>) -> SignaturePolicy {
    let keys: Vec<TrustedKey> = section.named("key").iter().filter_map(|(name, section)| key(name, section)).collect();
    let mut identities = Vec::new();
    for (name, section) in section.named("sigstore") {
        if keys.iter().any(|key| key.name == name) {
            section.problem(format!("has the name of a key too; take another one than [signature.key.{name}]"));
        }
        identities.extend(identity(name, &section));
    }
    let require = section.switch("require", false);
    if require && !section.has("key") && !section.has("sigstore") {
        section.problem_at(
            "require",
            "no key is named, so nothing could be loaded; write [signature.key.NAME] or [signature.sigstore.NAME]",
        );
    }
    SignaturePolicy { require, keys, identities, file: None, bundle: None }
}

/// Reads what a provider says in place of it.
pub(super) fn of_provider(section: &Section<'_>, default: &SignaturePolicy) -> SignaturePolicy {
    let require = section.switch("require", default.require);
    let (mut keys, mut identities) = (default.keys.clone(), default.identities.clone());
    let names = section.list("keys", |value| {
        let name = as_text(value)?;
        let is_known = keys.iter().any(|key| key.name == name) || identities.iter().any(|one| one.name == name);
        let unknown = || format!("there is no such key; write [signature.key.{name}] or [signature.sigstore.{name}]");
        if is_known { Ok(name) } else { Err(unknown()) }
    });
    if let Some(names) = names {
        keys.retain(|key| names.contains(&key.name.as_str()));
        identities.retain(|identity| names.contains(&identity.name.as_str()));
    }
    if require && keys.is_empty() && identities.is_empty() && section.is_present() {
        section.problem("requires a signature, and no key is named; write [signature.key.NAME]");
    }
    SignaturePolicy { require, keys, identities, file: section.file("file"), bundle: section.file("bundle") }
}

fn key(name: &str, section: &Section<'_>) -> Option<TrustedKey> {
    if !section.has("minisign") {
        section.problem("has no key; write minisign = \"RW...\", the second line of minisign.pub");
    }
    let (key, days) = (section.parsed::<MinisignKey>("minisign"), days_of(section));
    Some(TrustedKey { name: name.to_owned(), key: key?, days })
}

fn identity(name: &str, section: &Section<'_>) -> Option<TrustedIdentity> {
    for (key, what) in [
        ("trusted-root", "the trusted_root.json that vouches for it"),
        (
            "identity",
            "whom the certificate names, e.g. \"https://github.com/acme/plugin/.github/workflows/*@refs/tags/*\"",
        ),
        ("issuer", "who says so, e.g. \"https://token.actions.githubusercontent.com\""),
    ] {
        if !section.has(key) {
            section.problem(format!("has no {key}: {what}"));
        }
    }
    let root = section.existing_file("trusted-root");
    let identity = section.read("identity", |value| {
        let pattern = Pattern::path(as_text(value)?).map_err(|error| error.to_string())?;
        let is_anybody = pattern.as_str().chars().all(|c| c == '*');
        if is_anybody { Err("means everybody; write who".to_owned()) } else { Ok(pattern) }
    });
    let issuer = section.text("issuer");
    let days = days_of(section);
    Some(TrustedIdentity { name: name.to_owned(), root: root?, identity: identity?, issuer: issuer?.to_owned(), days })
}

fn days_of(section: &Section<'_>) -> Days {
    let not_before = section.read("not-before", |value| day(value, false));
    let not_after = section.read("not-after", |value| day(value, true));
    if not_before.zip(not_after).is_some_and(|(first, last)| last < first) {
        section.problem_at("not-after", "is before not-before, so the key never counts");
    }
    Days { not_before, not_after }
}

/// A day in UTC, from its first second or up to its last one.
fn day(value: &DeValue<'_>, to_its_end: bool) -> Result<SystemTime, String> {
    const SECONDS: u64 = 86_400;
    let wrong = || "must be a day from 1970 on, e.g. 2027-12-31".to_owned();
    let text = match value {
        DeValue::Datetime(time) => time.to_string(),
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Array(_) | DeValue::Table(_) => {
            return Err(wrong());
        }
    };
    let parsed: toml::value::Datetime = text.parse().map_err(|_reason| wrong())?;
    let date = parsed.date.filter(|_| parsed.time.is_none()).ok_or_else(wrong)?;
    let days = days(u64::from(date.year), u64::from(date.month), u64::from(date.day)).ok_or_else(wrong)?;
    let seconds = if to_its_end { days * SECONDS + (SECONDS - 1) } else { days * SECONDS };
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Days since 1970-01-01 in the Gregorian calendar. The year begins in March here, so that the day that comes
/// and goes is its last one.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let before = year * 365 + year / 4 - year / 100 + year / 400;
    let within = (month * 153 + 2) / 5 + day - 1;
    // 0000-03-01 is 719468 days before 1970-01-01.
    (before + within).checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_from_1970() {
        for ((year, month, day), expected) in [
            ((1970, 1, 1), Some(0)),
            ((1969, 12, 31), None),
            ((2000, 2, 29), Some(11_016)),
            ((2000, 3, 1), Some(11_017)),
            ((2026, 11, 24), Some(20_781)),
            ((2100, 3, 1), Some(47_541)),
        ] {
            assert_eq!(days(year, month, day), expected, "{year}-{month}-{day}");
        }
    }
}
