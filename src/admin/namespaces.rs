//! Namespaces: those that the operator gave to a provider, and none else.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Response, StatusCode};

use super::answer::{self, Refusal};
use super::functions::{mark_partial, provider_of, unclaimed_default};
use super::{Body, Shared, input};
use crate::name::Namespace;
use crate::provider::Entry;
use crate::query::functions::NamespaceEntry;
use crate::query::{Cause, ErrorKind, Interface, Provider, QueryError};

/// Names asked for at once.
const PAGE: u32 = 1000;

/// `GET /system/namespaces`: what each provider claims, and of the default provider also what its
/// platform has and nobody else claims.
pub(super) async fn list(shared: &Shared) -> Result<Response<Body>, Refusal> {
    let (mut names, mut missing) = (Vec::new(), Vec::new());
    for entry in shared.parts.directory.listing().entries() {
        names.extend(entry.namespaces.iter().chain(unclaimed_default(shared, entry)).map(Namespace::to_string));
        if !entry.is_default || !entry.provider.has(Interface::Namespaces) {
            continue;
        }
        match of_platform(shared, entry).await {
            Ok(found) => names.extend(found),
            // The platform knows no namespaces, which it may say only now.
            Err(Refusal::Query(error)) if is_unsupported(&error) => {}
            Err(refusal) => {
                tracing::warn!(provider = %entry.provider.name(), error = %refusal, "namespaces not listed");
                missing.push(entry.provider.name().to_string());
            }
        }
    }
    names.sort_unstable();
    names.dedup();
    let mut response = answer::json(StatusCode::OK, &names)?;
    mark_partial(&mut response, &missing);
    Ok(response)
}

fn is_unsupported(error: &QueryError) -> bool {
    matches!(error.cause, Cause::NotExported(_) | Cause::Platform(ErrorKind::Unsupported | ErrorKind::NotFound))
}

/// The platform's namespaces that this provider serves.
async fn of_platform(shared: &Shared, entry: &Entry) -> Result<Vec<String>, Refusal> {
    let limit = shared.config.list_entries;
    let mut names = all_names(&*entry.provider, Names::Namespaces, limit).await?;
    names.retain(|name| {
        let owner = name.parse().ok().and_then(|name: Namespace| shared.parts.directory.of_namespace(&name));
        owner.is_some_and(|owner| owner.provider.name() == entry.provider.name())
    });
    Ok(names)
}

/// A list of names.
#[derive(Clone, Copy)]
pub(super) enum Names<'a> {
    /// The platform's namespaces.
    Namespaces,
    /// The secrets of a namespace.
    Secrets(&'a Namespace),
}

/// All pages of a list of names.
pub(super) async fn all_names(provider: &dyn Provider, what: Names<'_>, limit: usize) -> Result<Vec<String>, Refusal> {
    let mut names = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let cursor_text = cursor.as_deref();
        let page = match what {
            Names::Namespaces => provider.list_namespaces(cursor_text, PAGE),
            Names::Secrets(namespace) => provider.list_secrets(namespace, cursor_text, PAGE),
        };
        let page = page.await?;
        names.extend(page.names);
        if names.len() > limit {
            return Err(Refusal::ListTooLong(limit));
        }
        match page.next {
            None => return Ok(names),
            Some(next) if cursor.as_ref() == Some(&next) => return Ok(names),
            Some(next) => cursor = Some(next),
        }
    }
}

/// `/system/namespace/{name}`: show, make, change, delete.
pub(super) async fn one(
    shared: &Shared,
    method: &Method,
    path: Option<&str>,
    body: &Bytes,
) -> Result<Response<Body>, Refusal> {
    if *method == Method::GET {
        let text = path.ok_or(input::InvalidInput::Missing("name"))?;
        let name = input::namespace(text)?;
        let entry = provider_of(shared, &name)?.provider.get_namespace(&name).await?;
        return answer::json(StatusCode::OK, &entry);
    }
    // A deletion's body says no more than its path does, and may be left out.
    let unneeded = *method == Method::DELETE && body.is_empty();
    let (name, entry) = match path {
        Some(path) if unneeded => (input::namespace(path)?, NamespaceEntry::default()),
        _ => input::namespace_entry(body, path.map(str::to_owned))?,
    };
    let provider = Arc::clone(&provider_of(shared, &name)?.provider);
    if *method == Method::POST {
        provider.create_namespace(&entry).await?;
        return Ok(answer::empty(StatusCode::CREATED));
    }
    if *method == Method::PUT {
        provider.update_namespace(&entry).await?;
    } else {
        provider.delete_namespace(&name).await?;
    }
    Ok(answer::empty(StatusCode::ACCEPTED))
}
