//! Namespaces, secrets, logs, and what platform answers.

use super::super::bindings::guest::{about, logs, namespaces, secrets};
use super::{
    BadOutput, Checked, Foreign, KEY_MAX_BYTES, at_most, check_name, cursor, is_own, optional_pairs, text, to_pairs,
};
use crate::name::{FunctionName, Namespace};
use crate::query::functions::{LogBatch, LogMessage, LogRequest, NamePage, NamespaceEntry, Platform, Secret};
use crate::query::{ErrorKind, QueryError};

/// A line of a log.
const LINE_MAX_BYTES: usize = 64 << 10;
/// A secret's value.
const SECRET_MAX_BYTES: usize = 1 << 20;

pub(crate) fn namespace_page(page: namespaces::NamespacePage, limit: u32) -> Checked<NamePage> {
    let namespaces::NamespacePage { names, next } = page;
    let names = at_most(names, limit as usize, "names")?;
    for one in &names {
        check_name::<Namespace>(one, "names")?;
    }
    Ok(NamePage { names, next: cursor(next)? })
}

pub(crate) fn secret_page(page: secrets::SecretPage, limit: u32) -> Checked<NamePage> {
    let secrets::SecretPage { names, next } = page;
    let names = at_most(names, limit as usize, "names")?;
    for one in &names {
        // A secret's name follows the grammar of names.
        check_name::<FunctionName>(one, "names")?;
    }
    Ok(NamePage { names, next: cursor(next)? })
}

/// The one namespace that was asked about.
pub(crate) fn namespace_entry(entry: namespaces::NamespaceEntry, asked: &Namespace) -> Checked<NamespaceEntry> {
    let namespaces::NamespaceEntry { name: called, labels, annotations } = entry;
    if !is_own(called == asked.as_str()) {
        return Err(BadOutput("name"));
    }
    Ok(NamespaceEntry {
        name: called,
        annotations: optional_pairs(annotations, "annotations")?,
        labels: optional_pairs(labels, "labels")?,
    })
}

pub(crate) fn namespace_entry_to_guest(entry: &NamespaceEntry) -> namespaces::NamespaceEntry {
    let NamespaceEntry { name, annotations, labels } = entry;
    namespaces::NamespaceEntry {
        name: name.clone(),
        labels: to_pairs(labels.as_ref()),
        annotations: to_pairs(annotations.as_ref()),
    }
}

/// # Errors
/// The value is longer than the contract allows.
pub(crate) fn secret_to_guest(secret: &Secret) -> Result<secrets::Secret, QueryError> {
    let Secret { name, namespace, value } = secret;
    if value.len() > SECRET_MAX_BYTES {
        let message = format!("a secret's value has at most {SECRET_MAX_BYTES} bytes, this one has {}", value.len());
        return Err(QueryError::platform(ErrorKind::Invalid, message));
    }
    Ok(secrets::Secret { name: name.clone(), namespace: namespace.clone(), value: value.clone() })
}

pub(crate) fn log_request_to_guest(request: &LogRequest) -> logs::LogRequest {
    let LogRequest { name, namespace, instance, since_ms, tail, follow } = request;
    logs::LogRequest {
        name: name.clone(),
        namespace: namespace.clone(),
        instance: instance.clone(),
        since_ms: *since_ms,
        tail: *tail,
        follow: *follow,
    }
}

fn log_message(message: logs::LogMessage) -> Checked<LogMessage> {
    let logs::LogMessage { name, namespace, instance, timestamp_ms, text: line } = message;
    Ok(LogMessage {
        name: text(name, KEY_MAX_BYTES, "name")?,
        namespace: text(namespace, KEY_MAX_BYTES, "namespace")?,
        instance: text(instance, KEY_MAX_BYTES, "instance")?,
        timestamp_ms,
        text: text(line, LINE_MAX_BYTES, "text")?,
    })
}

/// Lines of functions of the namespace that was asked about; one that names none is taken for its.
pub(crate) fn log_batch(batch: logs::LogBatch, asked: &str, limit: u32, foreign: &mut Foreign) -> Checked<LogBatch> {
    let logs::LogBatch { messages, next } = batch;
    let mut kept = Vec::new();
    for message in at_most(messages, limit as usize, "messages")? {
        if is_own(message.namespace == asked || message.namespace.is_empty()) {
            kept.push(log_message(message)?);
        } else {
            let _none: Option<()> = foreign.left_out();
        }
    }
    Ok(LogBatch { messages: kept, next: cursor(next)? })
}

pub(crate) fn platform(platform: about::Platform) -> Checked<Platform> {
    let about::Platform { name, orchestration, release, sha } = platform;
    let short = |value: String, field| match text(value, KEY_MAX_BYTES, field) {
        Ok(value) if value.chars().any(char::is_control) => Err(BadOutput(field)),
        checked => checked,
    };
    Ok(Platform {
        name: short(name, "name")?,
        orchestration: short(orchestration, "orchestration")?,
        release: short(release, "release")?,
        sha: short(sha, "sha")?,
    })
}
