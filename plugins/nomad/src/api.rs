//! Requests to the agent, and what its refusals mean: their bodies are plain text.

use std::time::Duration;

use serde_json::Value;
use wicketgate_sdk::http::{Request, Response, encode_segment};
use wicketgate_sdk::{ErrorKind, ProviderError, Result};

/// The root of the grant under which the operator says where the agent is.
const ROOT: &str = "http://nomad/";

/// The most that an answer may hold, in bytes. A list of a thousand jobs has about 600 KB.
const ANSWER_BYTES: usize = 8 << 20;

/// The most of a refusal that is told, in bytes.
const REFUSAL_BYTES: usize = 1024;

/// How long to wait for a deployment that is under way before asking again.
const DEPLOYMENT_PAUSE: Duration = Duration::from_secs(1);

/// A path of segments, each escaped: `["v1", "job", "echo"]`.
pub(crate) fn url(segments: &[&str]) -> String {
    let mut path = String::new();
    for segment in segments {
        if !path.is_empty() {
            path.push('/');
        }
        encode_segment(segment, &mut path);
    }
    format!("{ROOT}{path}")
}

/// A request with its namespace, if it has one. The default one is named too: rules that confine a provider to
/// its namespaces cannot tell a request without from one that means another.
pub(crate) fn request(method: &'static str, segments: &[&str], namespace: &str) -> Request {
    let request = Request::new(method, url(segments)).header("accept", "application/json");
    if namespace.is_empty() { request } else { request.query("namespace", namespace) }
}

pub(crate) fn get(segments: &[&str], namespace: &str) -> Request {
    request("GET", segments, namespace)
}

/// A `POST` of JSON.
pub(crate) fn post(segments: &[&str], namespace: &str, body: &Value) -> Request {
    request("POST", segments, namespace).header("content-type", "application/json").body(body.to_string())
}

/// Sends a request; `what` was asked for, in a few words.
pub(crate) fn send(request: Request, what: &str) -> Result<Response> {
    let answer = request.send()?;
    if (200..300).contains(&answer.status()) { Ok(answer) } else { Err(refusal(answer, what)) }
}

/// Sends a request and reads the JSON that it is answered with.
pub(crate) fn fetch(request: Request, what: &str) -> Result<Value> {
    send(request, what)?.json(ANSWER_BYTES)
}

fn refusal(answer: Response, what: &str) -> ProviderError {
    let status = answer.status();
    let wait = answer.header("retry-after").and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    let text = answer.text(64 << 10).unwrap_or_default();
    let said = text.trim();
    let mut end = said.len().min(REFUSAL_BYTES);
    while !said.is_char_boundary(end) {
        end -= 1;
    }
    let said = said.get(..end).unwrap_or_default();
    let has = |part: &str| said.contains(part);
    let kind = match status {
        // Some versions still act on such a request once the deployment ends; it is read before, and
        // this is the rest of the risk.
        400 if has("active deployment") => ErrorKind::Conflict,
        400 | 413 | 422 => ErrorKind::Invalid,
        401 => ErrorKind::Unauthenticated,
        403 if has("token not found") => ErrorKind::Unauthenticated,
        403 => ErrorKind::Denied,
        404 if has("not found") || has("Unknown allocation") => ErrorKind::NotFound,
        404 | 405 | 501 => ErrorKind::Unsupported,
        409 | 412 => ErrorKind::Conflict,
        408 | 504 => ErrorKind::Timeout,
        429 => ErrorKind::RateLimited,
        // Nomad answers 500 to much that is the caller's.
        500 if has("token lookup failed") => ErrorKind::Unauthenticated,
        500 if has("Enforcing job modify index") => ErrorKind::Conflict,
        500 if has("nonexistent namespace") => ErrorKind::NotFound,
        500 if has("validation failed") || has("non-terminal jobs") || has("can not delete default") => {
            ErrorKind::Invalid
        }
        500..=599 => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    };
    let hint = if kind == ErrorKind::Unsupported { " (is `connect` the root of a Nomad agent?)" } else { "" };
    let mut error = ProviderError::new(kind, format!("{what}: Nomad says {status}: {said}{hint}")).with_status(status);
    if let Some(wait) = wait.or((kind == ErrorKind::Conflict && status == 400).then_some(DEPLOYMENT_PAUSE)) {
        error = error.with_retry_after(wait);
    }
    error
}

/// The error for a job whose deployment is under way.
pub(crate) fn is_deploying(what: &str, status: &str) -> ProviderError {
    ProviderError::conflict(format!("{what}: the deployment before is still {status}; Nomad takes one at a time"))
        .with_retry_after(DEPLOYMENT_PAUSE)
}
