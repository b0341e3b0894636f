//! Functions: list, show, deploy, update, delete, scale.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderValue, Response, StatusCode};

use super::answer::{self, Refusal};
use super::input::{self, Place};
use super::route::Query;
use super::wire::Status;
use super::{Body, Shared};
use crate::name::{FunctionRef, Namespace};
use crate::provider::Entry;
use crate::query::functions::{FunctionDeployment, FunctionStatus};
use crate::query::{Cause, Interface, QueryError};

/// Functions asked for at once; the contract's `list` allows 1000. Smaller pages keep a plugin's
/// memory small.
const PAGE: u32 = 250;

/// Namespaces that are listed at once.
const LISTS_AT_ONCE: usize = 8;

/// The metric that invocations are read from.
const INVOCATIONS: &str = "gateway_function_invocation_total";

/// What to do to a function that a body describes.
#[derive(Clone, Copy)]
pub(super) enum Change {
    Deploy,
    Update,
}

/// `GET /system/functions`: of one namespace, or of every namespace that a provider claims.
///
/// A provider that fails does not hide the others: its namespaces are named in the header
/// [`PARTIAL`](answer::PARTIAL). Only if all fail is the first failure the answer.
pub(super) async fn list(shared: &Shared, query: &Query<'_>) -> Result<Response<Body>, Refusal> {
    let places = match query.get("namespace") {
        Some(text) => {
            let namespace = input::namespace(&text)?;
            vec![(provider_of(shared, &namespace)?, namespace)]
        }
        None => places(shared),
    };
    let limit = shared.config.list_entries;
    let lists = places.into_iter().map(|(entry, namespace)| listed(entry, namespace, limit));
    let mut lists = std::pin::pin!(futures_util::stream::iter(lists).buffered(LISTS_AT_ONCE));

    let (mut functions, mut missing, mut first_failure) = (Vec::new(), Vec::new(), None);
    let mut answered = false;
    while let Some((entry, namespace, listed)) = lists.next().await {
        match listed {
            Ok(listed) => {
                answered = true;
                functions.extend(listed);
            }
            Err(refusal) => {
                tracing::warn!(provider = %entry.provider.name(), %namespace, error = %refusal, "not listed");
                missing.push(format!("{}/{namespace}", entry.provider.name()));
                first_failure.get_or_insert(refusal);
            }
        }
    }
    if functions.len() > limit {
        return Err(Refusal::ListTooLong(limit));
    }
    match first_failure {
        Some(refusal) if !answered => return Err(refusal),
        _ => {}
    }
    let counts = shared.parts.registry.sums(INVOCATIONS, "function_name");
    let statuses: Vec<_> = functions.iter().map(|status| shown(status, &counts)).collect();
    let mut response = answer::json(StatusCode::OK, &statuses)?;
    mark_partial(&mut response, &missing);
    Ok(response)
}

/// Names what a merged list lacks.
pub(super) fn mark_partial(response: &mut Response<Body>, missing: &[String]) {
    if let (false, Ok(value)) = (missing.is_empty(), HeaderValue::try_from(missing.join(", "))) {
        response.headers_mut().insert(answer::PARTIAL, value);
    }
}

/// Every namespace that a provider claims, and the default one with whoever serves it.
fn places(shared: &Shared) -> Vec<(Arc<Entry>, Namespace)> {
    let mut places = Vec::new();
    for entry in shared.parts.directory.listing().entries() {
        let extra = unclaimed_default(shared, entry);
        places.extend(entry.namespaces.iter().chain(extra).map(|namespace| (Arc::clone(entry), namespace.clone())));
    }
    places
}

/// The default namespace, if this provider serves it without claiming it by name.
pub(super) fn unclaimed_default<'a>(shared: &'a Shared, entry: &Arc<Entry>) -> Option<&'a Namespace> {
    let default = &shared.config.default_namespace;
    let owner = shared.parts.directory.of_namespace(default)?;
    (Arc::ptr_eq(&owner, entry) && !entry.namespaces.contains(default)).then_some(default)
}

/// The functions of one place, with the place.
async fn listed(
    entry: Arc<Entry>,
    namespace: Namespace,
    limit: usize,
) -> (Arc<Entry>, Namespace, Result<Vec<FunctionStatus>, Refusal>) {
    let functions = all_pages(&entry, &namespace, limit).await;
    (entry, namespace, functions)
}

async fn all_pages(entry: &Entry, namespace: &Namespace, limit: usize) -> Result<Vec<FunctionStatus>, Refusal> {
    let mut functions = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = entry.provider.list(namespace, cursor.as_deref(), PAGE).await?;
        functions.extend(page.functions);
        if functions.len() > limit {
            return Err(Refusal::ListTooLong(limit));
        }
        match page.next {
            None => return Ok(functions),
            // A plugin that hands out the same cursor for ever would be asked for ever.
            Some(next) if cursor.as_ref() == Some(&next) => return Ok(functions),
            Some(next) => cursor = Some(next),
        }
    }
}

fn shown<'a>(status: &'a FunctionStatus, counts: &BTreeMap<String, f64>) -> Status<'a> {
    let key = format!("{}.{}", status.deployment.service, status.deployment.namespace);
    Status::new(status, counts.get(&key).copied().unwrap_or(0.0))
}

/// `GET /system/function/{name}`. A provider without `functions` still knows counts, labels and
/// annotations; that is what `faas-cli ready` polls for.
pub(super) async fn show(shared: &Shared, name: &str, query: &Query<'_>) -> Result<Response<Body>, Refusal> {
    let function = function(shared, name, query)?;
    let provider = Arc::clone(&provider_of(shared, &function.namespace)?.provider);
    let status = if provider.has(Interface::Functions) {
        provider.get(&function, query.flag("usage")).await?
    } else {
        let service = provider.get_replicas(&function).await?;
        let deployment = FunctionDeployment {
            service: function.name.to_string(),
            namespace: function.namespace.to_string(),
            labels: Some(service.labels),
            annotations: Some(service.annotations),
            ..FunctionDeployment::default()
        };
        FunctionStatus {
            deployment,
            replicas: service.replicas,
            available_replicas: service.available_replicas,
            ..FunctionStatus::default()
        }
    };
    let counts = shared.parts.registry.sums(INVOCATIONS, "function_name");
    answer::json(StatusCode::OK, &shown(&status, &counts))
}

/// `POST` and `PUT /system/functions`.
pub(super) async fn change(
    shared: &Shared,
    change: Change,
    body: &Bytes,
    query: &Query<'_>,
) -> Result<Response<Body>, Refusal> {
    let (function, deployment) = input::deployment(body, place(shared, query))?;
    let provider = Arc::clone(&provider_of(shared, &function.namespace)?.provider);
    let done = match change {
        Change::Deploy => provider.deploy(&deployment).await,
        Change::Update => provider.update(&deployment).await,
    };
    written(shared, &function, done)
}

/// `DELETE /system/functions`.
pub(super) async fn delete(shared: &Shared, body: &Bytes, query: &Query<'_>) -> Result<Response<Body>, Refusal> {
    let function = input::deletion(body, place(shared, query))?;
    let done = provider_of(shared, &function.namespace)?.provider.delete(&function).await;
    written(shared, &function, done)
}

/// `POST /system/scale-function/{name}`. The number is asked for as it is, 0 included: labels bound
/// what the gateway does by itself, not what a person says.
pub(super) async fn scale(
    shared: &Shared,
    name: &str,
    body: &Bytes,
    query: &Query<'_>,
) -> Result<Response<Body>, Refusal> {
    let (function, count) = input::scaling(body, input::name("name", name)?, place(shared, query))?;
    let done = provider_of(shared, &function.namespace)?.provider.set_replicas(&function, count).await;
    written(shared, &function, done)
}

/// After a write, also one that failed and may have half happened, nothing remembered of the
/// function is true any more.
fn written(shared: &Shared, function: &FunctionRef, done: Result<(), QueryError>) -> Result<Response<Body>, Refusal> {
    (shared.parts.invalidate)(function);
    done?;
    Ok(answer::empty(StatusCode::ACCEPTED))
}

/// Where a request's namespace comes from.
pub(super) fn place<'a>(shared: &'a Shared, query: &Query<'_>) -> Place<'a> {
    Place { query: query.get("namespace"), default: &shared.config.default_namespace }
}

/// The function of a path and a query.
pub(super) fn function(shared: &Shared, name: &str, query: &Query<'_>) -> Result<FunctionRef, Refusal> {
    Ok(FunctionRef { name: input::name("name", name)?, namespace: place(shared, query).namespace(None)? })
}

/// Who serves a namespace.
pub(super) fn provider_of(shared: &Shared, namespace: &Namespace) -> Result<Arc<Entry>, QueryError> {
    shared.parts.directory.of_namespace(namespace).ok_or_else(|| {
        QueryError::new(
            Cause::NoProvider,
            format!("no provider serves namespace {namespace}; claim it in [provider.NAME] namespaces"),
        )
    })
}
