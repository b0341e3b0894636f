//! Every conversion between generated types and ours, both ways.
//!
//! What a guest returned is checked here, against the limits that `wit/` documents: lengths, the
//! grammar of names, counts, ranges, the shapes of endpoints. A violation names the field
//! ([`BadOutput`]). Nothing else in the gateway has to distrust a plugin's answer again.

pub(super) mod endpoints;
pub(super) mod functions;
pub(super) mod host;
pub(super) mod lists;
pub mod records;
#[cfg(test)]
mod tests;

use std::str::FromStr;
use std::time::Duration;

use super::bindings::{guest, types};
use crate::name::{FunctionRef, Namespace};
#[cfg(test)]
use crate::provider::switches::{Check, is_off};
use crate::query::{ChangeSet, ErrorKind, Pairs, QueryError, ServiceStatus};

/// A key of a label, an annotation or another pair has at most so many bytes.
const KEY_MAX_BYTES: usize = 253;
/// Its value, and any other text without a limit of its own.
const TEXT_MAX_BYTES: usize = 8192;
/// A list of pairs, or of names inside an object, has at most so many entries.
const PAIRS_MAX: usize = 256;
/// A longer message of an error is cut.
const MESSAGE_MAX_BYTES: usize = 4096;
/// The longest cursor.
const CURSOR_MAX_BYTES: usize = 4096;
/// The longest version.
const VERSION_MAX_BYTES: usize = 512;
/// Entries of one answer of a watch, each kind.
const CHANGES_MAX: usize = 1000;
/// A platform's wish to be left alone is followed for at most an hour.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// A guest's answer that the contract forbids; the field that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field `{0}` is not what the contract allows")]
pub(super) struct BadOutput(pub(super) &'static str);

pub(super) type Checked<T> = Result<T, BadOutput>;

/// Takes a value only if what the contract says of it holds.
fn allowed<T>(value: T, is_allowed: bool, field: &'static str) -> Checked<T> {
    #[cfg(test)]
    let is_allowed = is_allowed || is_off(Check::Contract);
    if is_allowed { Ok(value) } else { Err(BadOutput(field)) }
}

/// Whether an entry of an answer is of what was asked about.
fn is_own(is_own: bool) -> bool {
    #[cfg(test)]
    let is_own = is_own || is_off(Check::Confined);
    is_own
}

fn text(text: String, max_bytes: usize, field: &'static str) -> Checked<String> {
    let is_allowed = text.len() <= max_bytes;
    allowed(text, is_allowed, field)
}

fn optional_text(value: Option<String>, max_bytes: usize, field: &'static str) -> Checked<Option<String>> {
    value.map(|value| text(value, max_bytes, field)).transpose()
}

pub(super) fn cursor(value: Option<String>) -> Checked<Option<String>> {
    optional_text(value, CURSOR_MAX_BYTES, "next")
}

fn name<T: FromStr>(value: &str, field: &'static str) -> Checked<T> {
    value.parse().map_err(|_invalid| BadOutput(field))
}

/// Checks that a text is a name of this kind.
fn check_name<T: FromStr>(value: &str, field: &'static str) -> Checked<()> {
    name::<T>(value, field).map(drop)
}

pub(super) fn at_most<T>(list: Vec<T>, max: usize, field: &'static str) -> Checked<Vec<T>> {
    let is_allowed = list.len() <= max;
    allowed(list, is_allowed, field)
}

/// A list of pairs; of two with one key the later counts.
fn pairs(list: Vec<(String, String)>, field: &'static str) -> Checked<Pairs> {
    if list.is_empty() {
        return Ok(Pairs::new());
    }
    at_most(list, PAIRS_MAX, field)?
        .into_iter()
        .map(|(key, value)| Ok((text(key, KEY_MAX_BYTES, field)?, text(value, TEXT_MAX_BYTES, field)?)))
        .collect()
}

/// The same, where the faas-provider API tells an absent list from an empty one.
fn optional_pairs(list: Vec<(String, String)>, field: &'static str) -> Checked<Option<Pairs>> {
    Ok(Some(pairs(list, field)?).filter(|pairs| !pairs.is_empty()))
}

fn to_pairs(pairs: Option<&Pairs>) -> Vec<(String, String)> {
    pairs.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect()
}

pub(super) fn error_kind(kind: types::ErrorKind) -> ErrorKind {
    match kind {
        types::ErrorKind::NotFound => ErrorKind::NotFound,
        types::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
        types::ErrorKind::Invalid => ErrorKind::Invalid,
        types::ErrorKind::Unauthenticated => ErrorKind::Unauthenticated,
        types::ErrorKind::Denied => ErrorKind::Denied,
        types::ErrorKind::Conflict => ErrorKind::Conflict,
        types::ErrorKind::RateLimited => ErrorKind::RateLimited,
        types::ErrorKind::Unavailable => ErrorKind::Unavailable,
        types::ErrorKind::Timeout => ErrorKind::Timeout,
        types::ErrorKind::CursorExpired => ErrorKind::CursorExpired,
        types::ErrorKind::Quota => ErrorKind::Quota,
        types::ErrorKind::Unsupported => ErrorKind::Unsupported,
        types::ErrorKind::Internal => ErrorKind::Internal,
    }
}

/// What the guest says went wrong. Its further facts are dropped: the message is for people, and
/// `extra` is checked all the same.
pub(super) fn provider_error(error: types::ProviderError) -> Checked<QueryError> {
    let types::ProviderError { kind, mut message, retry_after_ms, platform_status, extra } = error;
    pairs(extra, "extra")?;
    allowed((), platform_status.is_none_or(|status| (100..=599).contains(&status)), "platform-status")?;
    message.truncate(message.floor_char_boundary(MESSAGE_MAX_BYTES));
    let mut converted = QueryError::platform(error_kind(kind), message);
    converted.retry_after = retry_after_ms.map(|ms| Duration::from_millis(ms).min(RETRY_AFTER_MAX));
    converted.platform_status = platform_status;
    Ok(converted)
}

/// A status. Its generation is the caller's to stamp.
pub(super) fn service_status(status: types::ServiceStatus) -> Checked<ServiceStatus> {
    let types::ServiceStatus {
        replicas,
        available_replicas,
        min_replicas,
        max_replicas,
        scaling_factor,
        labels,
        annotations,
        version,
        extra,
    } = status;
    pairs(extra, "extra")?;
    allowed((), scaling_factor.is_none_or(|percent| percent <= 100), "scaling-factor")?;
    Ok(ServiceStatus {
        replicas,
        available_replicas,
        min_replicas,
        max_replicas,
        scaling_factor,
        labels: pairs(labels, "labels")?,
        annotations: pairs(annotations, "annotations")?,
        version: optional_text(version, VERSION_MAX_BYTES, "version")?,
        generation: crate::name::Generation::default(),
    })
}

/// What of an answer was left out because it is about a namespace that is not the provider's.
#[derive(Debug, Default)]
pub(super) struct Foreign(pub(super) usize);

impl Foreign {
    /// Counts one entry.
    fn left_out<T>(&mut self) -> Option<T> {
        self.0 += 1;
        None
    }
}

/// A function of one of `namespaces`; one of another is left out.
fn function_ref(
    function: &types::FunctionRef,
    namespaces: &[Namespace],
    foreign: &mut Foreign,
) -> Checked<Option<FunctionRef>> {
    let namespace: Namespace = name(&function.namespace, "namespace")?;
    if !is_own(namespaces.contains(&namespace)) {
        return Ok(foreign.left_out());
    }
    Ok(Some(FunctionRef { name: name(&function.name, "name")?, namespace }))
}

/// What a watch saw of `namespaces`: it speaks of no others.
pub(super) fn change_set(
    set: guest::watch::ChangeSet,
    namespaces: &[Namespace],
    foreign: &mut Foreign,
) -> Checked<ChangeSet> {
    let guest::watch::ChangeSet { changed, removed, cursor, complete } = set;
    let mut kept = ChangeSet { cursor: text(cursor, CURSOR_MAX_BYTES, "cursor")?, complete, ..ChangeSet::default() };
    for state in at_most(changed, CHANGES_MAX, "changed")? {
        if let Some(function) = function_ref(&state.function, namespaces, foreign)? {
            kept.changed.push((function, service_status(state.status)?));
        }
    }
    for function in at_most(removed, CHANGES_MAX, "removed")? {
        kept.removed.extend(function_ref(&function, namespaces, foreign)?);
    }
    Ok(kept)
}
