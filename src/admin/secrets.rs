//! Secrets: their names come out, their values only go in.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Response, StatusCode};

use super::answer::{self, Refusal};
use super::functions::{place, provider_of};
use super::namespaces::{Names, all_names};
use super::route::Query;
use super::wire::SecretName;
use super::{Body, Shared, input};

/// `GET /system/secrets`.
pub(super) async fn list(shared: &Shared, query: &Query<'_>) -> Result<Response<Body>, Refusal> {
    let namespace = place(shared, query).namespace(None)?;
    let provider = Arc::clone(&provider_of(shared, &namespace)?.provider);
    let limit = shared.config.list_entries;
    let names = all_names(&*provider, Names::Secrets(&namespace), limit).await?;
    let secrets: Vec<_> = names.into_iter().map(|name| SecretName { name, namespace: namespace.to_string() }).collect();
    answer::json(StatusCode::OK, &secrets)
}

/// `POST`, `PUT` and `DELETE /system/secrets`.
pub(super) async fn change(
    shared: &Shared,
    method: &Method,
    body: &Bytes,
    query: &Query<'_>,
) -> Result<Response<Body>, Refusal> {
    let (namespace, secret) = input::secret(body, place(shared, query))?;
    let provider = Arc::clone(&provider_of(shared, &namespace)?.provider);
    if *method == Method::POST {
        provider.create_secret(&secret).await?;
    } else if *method == Method::PUT {
        provider.update_secret(&secret).await?;
    } else {
        provider.delete_secret(&secret.name, &namespace).await?;
    }
    Ok(answer::empty(StatusCode::ACCEPTED))
}
