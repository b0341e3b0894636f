//! `secrets`: Secrets with the operator's label. Their values are written and never read: lists and
//! reads ask the API server for the objects' metadata only.

use serde_json::{Value, json};
use wicketgate_sdk::{ProviderError, Result, Secret, SecretPage, Secrets};

use crate::Kubernetes;
use crate::api::{self, NAME_ONLY, NAMES_ONLY, PAGE, SECRETS};
use crate::object::{List, Metadata};

impl Secrets for Kubernetes {
    fn list_secrets(&self, namespace: &str, cursor: Option<&str>, limit: u32) -> Result<SecretPage> {
        let request = wicketgate_sdk::http::Request::get(SECRETS.all(namespace)).header("accept", NAMES_ONLY);
        let request = request.query("labelSelector", &self.settings.secret_label);
        let request = request.query("limit", &limit.clamp(1, PAGE).to_string());
        let page: List<Metadata> = api::page(&request, cursor, true, &format!("secrets of {namespace}"))?;
        let found = page.items.into_iter().filter(|found| !found.is_going());
        Ok(SecretPage { names: found.map(|found| found.name).collect(), next: page.next })
    }

    fn create_secret(&self, secret: Secret) -> Result<()> {
        let (key, value) = self.settings.secret_label();
        let mut body = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": secret.name, "labels": { key: value } },
            "type": "Opaque",
        });
        merge(&mut body, content(&secret));
        let what = format!("create secret {}.{}", secret.name, secret.namespace);
        write(api::create(SECRETS.all(&secret.namespace), &body), &what)
    }

    fn update_secret(&self, secret: Secret) -> Result<()> {
        let what = format!("update secret {}.{}", secret.name, secret.namespace);
        let there = self.secret(&secret.name, &secret.namespace, &what)?;
        let mut body = json!({ "metadata": { "resourceVersion": there.resource_version } });
        merge(&mut body, content(&secret));
        write(api::merge(SECRETS.one(&secret.namespace, &secret.name), &body), &what)
    }

    fn delete_secret(&self, name: &str, namespace: &str) -> Result<()> {
        let what = format!("delete secret {name}.{namespace}");
        let there = self.secret(name, namespace, &what)?;
        api::send(api::delete(SECRETS.one(namespace, name), &there.uid), &what).map(drop)
    }
}

impl Kubernetes {
    /// The metadata of a secret that functions may use; others are as good as absent.
    fn secret(&self, name: &str, namespace: &str, what: &str) -> Result<Metadata> {
        let request = wicketgate_sdk::http::Request::get(SECRETS.one(namespace, name)).header("accept", NAME_ONLY);
        let there: Metadata = api::fetch(request, what)?;
        let (key, value) = self.settings.secret_label();
        if there.label(key) == Some(value) {
            return Ok(there);
        }
        Err(ProviderError::not_found(format!("{what}: the Secret of this name has no label {key}={value}")))
    }
}

/// The value under the secret's own name, which is the name of the file that a function reads.
fn content(secret: &Secret) -> Value {
    match std::str::from_utf8(&secret.value) {
        Ok(text) => json!({ "stringData": { &secret.name: text } }),
        Err(_bytes) => json!({ "data": { &secret.name: base64(&secret.value) } }),
    }
}

fn merge(body: &mut Value, more: Value) {
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
}

/// Sends a request that carries a value. The API server quotes what it refuses, so nothing of its
/// answer's text is told.
fn write(request: wicketgate_sdk::http::Request, what: &str) -> Result<()> {
    let answer = request.send()?;
    let status = answer.status();
    match api::success(answer, what) {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(ProviderError { message: format!("{what}: the API server answered with status {status}"), ..error })
        }
    }
}

/// Base64 with padding (RFC 4648 section 4).
fn base64(bytes: &[u8]) -> String {
    let digit = |bits: u32| match u8::try_from(bits & 63).unwrap_or(0) {
        n @ 0..26 => char::from(b'A' + n),
        n @ 26..52 => char::from(b'a' + n - 26),
        n @ 52..62 => char::from(b'0' + n - 52),
        62 => '+',
        _ => '/',
    };
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, i| bits << 8 | u32::from(group.get(i).copied().unwrap_or(0)));
        for i in 0..4 {
            text.push(if i <= group.len() { digit(bits >> (18 - 6 * i)) } else { '=' });
        }
    }
    text
}
