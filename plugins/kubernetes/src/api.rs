//! Requests to the API server: paths, bodies, lists, and what a refusal means.

use serde_json::{Value, json};
use wicketgate_sdk::http::{Request, Response, encode_segment};
use wicketgate_sdk::{ErrorKind, ProviderError, Result};

use crate::object::{List, Read, text};

/// The root of the grant under which the operator says where the API server is.
const ROOT: &str = "http://kubernetes/";

/// The most that an answer may hold, in bytes: a page of [`PAGE`] Deployments has about 1.5 MB.
const ANSWER_BYTES: usize = 8 << 20;

/// The most of a refusal that is read, in bytes. A refused patch is quoted in it twice.
const REFUSAL_BYTES: usize = 64 << 10;

/// The most of a refusal's message that is told, in bytes.
const MESSAGE_BYTES: usize = 1024;

/// The most objects of one page. 5 KB an object, most of it `managedFields`.
pub(crate) const PAGE: u32 = 250;

/// The names of objects without what they hold.
pub(crate) const NAMES_ONLY: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// One object without what it holds.
pub(crate) const NAME_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

const MERGE_PATCH: &str = "application/merge-patch+json";

/// Server-side apply. The format's name says YAML, of which JSON is a part.
const APPLY_PATCH: &str = "application/apply-patch+yaml";

/// A kind of object: the beginning of its path, and its plural.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    group: &'static str,
    plural: &'static str,
}

pub(crate) const DEPLOYMENTS: Kind = Kind { group: "apis/apps/v1", plural: "deployments" };
pub(crate) const SERVICES: Kind = Kind { group: "api/v1", plural: "services" };
pub(crate) const PODS: Kind = Kind { group: "api/v1", plural: "pods" };
pub(crate) const SECRETS: Kind = Kind { group: "api/v1", plural: "secrets" };
pub(crate) const ENDPOINT_SLICES: Kind = Kind { group: "apis/discovery.k8s.io/v1", plural: "endpointslices" };

/// A URL below the grant.
pub(crate) fn root(path: &str) -> String {
    format!("{ROOT}{path}")
}

impl Kind {
    /// The URL of all objects of this kind in a namespace.
    pub(crate) fn all(self, namespace: &str) -> String {
        let mut url = root(self.group);
        url.push_str("/namespaces/");
        encode_segment(namespace, &mut url);
        url.push('/');
        url.push_str(self.plural);
        url
    }

    /// The URL of one.
    pub(crate) fn one(self, namespace: &str, name: &str) -> String {
        let mut url = self.all(namespace);
        url.push('/');
        encode_segment(name, &mut url);
        url
    }
}

/// A `GET` for JSON.
pub(crate) fn get(url: String) -> Request {
    Request::get(url).header("accept", "application/json")
}

/// A request with a JSON body.
fn with_body(method: &'static str, url: String, content_type: &str, body: &Value) -> Request {
    let request = Request::new(method, url).header("accept", "application/json");
    request.header("content-type", content_type).body(body.to_string())
}

/// A `POST` of a new object.
pub(crate) fn create(url: String, body: &Value) -> Request {
    with_body("POST", url, "application/json", body)
}

/// A merge patch (RFC 7396).
pub(crate) fn merge(url: String, body: &Value) -> Request {
    with_body("PATCH", url, MERGE_PATCH, body)
}

/// A server-side apply; `force` takes over fields that another writer set.
pub(crate) fn apply(url: String, manager: &str, force: bool, body: &Value) -> Request {
    let mut request = with_body("PATCH", url, APPLY_PATCH, body).query("fieldManager", manager);
    if force {
        request = request.query("force", "true");
    }
    request
}

/// A deletion of exactly the object that was read, with what belongs to it.
pub(crate) fn delete(url: String, uid: &str) -> Request {
    let options = json!({
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "propagationPolicy": "Background",
        "preconditions": { "uid": uid },
    });
    with_body("DELETE", url, "application/json", &options)
}

/// Sends a request and reads what was answered; `what` was asked for, in a few words.
pub(crate) fn fetch<T: Read>(request: Request, what: &str) -> Result<T> {
    read(send(request, what)?, what)
}

/// Reads what was answered.
fn read<T: Read>(answer: Response, what: &str) -> Result<T> {
    let value: Value = answer.json(ANSWER_BYTES)?;
    T::read(&value).ok_or_else(|| ProviderError::internal(format!("{what}: the answer is none of the Kubernetes API")))
}

/// Sends a request whose answer says nothing new.
pub(crate) fn send(request: Request, what: &str) -> Result<Response> {
    success(request.send()?, what)
}

/// A page of a list. With `go_on` an expired cursor goes on from the place that the server offers
/// instead: the rest of such a list is newer than its beginning.
pub(crate) fn page<T: Read>(request: &Request, cursor: Option<&str>, go_on: bool, what: &str) -> Result<List<T>> {
    let ask = |cursor: Option<&str>| match cursor {
        Some(cursor) => request.clone().query("continue", cursor).send(),
        None => request.clone().send(),
    };
    let answer = ask(cursor)?;
    if answer.status() != 410 || !go_on {
        return read(success(answer, what)?, what);
    }
    let refused = refusal(answer, what);
    match refused.go_on {
        Some(next) => read(success(ask(Some(&next))?, what)?, what),
        None => Err(refused.error),
    }
}

/// The answer, or the error that its status stands for.
pub(crate) fn success(answer: Response, what: &str) -> Result<Response> {
    if (200..300).contains(&answer.status()) { Ok(answer) } else { Err(refusal(answer, what).error) }
}

/// An error of the API server.
pub(crate) struct Refusal {
    pub(crate) error: ProviderError,
    /// Where an expired list can go on.
    go_on: Option<String>,
}

/// `Status`, the API server's way to say no.
#[derive(Default)]
pub(crate) struct Status {
    kind: String,
    /// Where an expired list can go on.
    go_on: Option<String>,
    message: String,
    reason: String,
    /// The object that it speaks of.
    name: String,
    retry_after_seconds: u64,
    code: u16,
}

impl Status {
    pub(crate) fn read(value: &Value) -> Self {
        let at = |place: &str| value.pointer(place).and_then(Value::as_str).map(str::to_owned);
        let number = |place: &str| value.pointer(place).and_then(Value::as_u64).unwrap_or(0);
        Self {
            kind: text(value, "kind"),
            go_on: at("/metadata/continue").filter(|token| !token.is_empty()),
            message: text(value, "message"),
            reason: text(value, "reason"),
            name: at("/details/name").unwrap_or_default(),
            retry_after_seconds: number("/details/retryAfterSeconds"),
            code: u16::try_from(number("/code")).unwrap_or(0),
        }
    }

    /// The error that it stands for, with an HTTP status of its own if it came as an event.
    pub(crate) fn into_error(self, status: Option<u16>, what: &str) -> ProviderError {
        let status = status.unwrap_or(self.code);
        let mut message = self.message.trim().to_owned();
        while message.len() > MESSAGE_BYTES {
            message.pop();
        }
        let kind = match (status, self.reason.as_str()) {
            (409, "AlreadyExists") => ErrorKind::AlreadyExists,
            (409 | 412, _) => ErrorKind::Conflict,
            (410, _) | (_, "Expired") => ErrorKind::CursorExpired,
            // Only a Status that names an object says that *it* is not there; anything else that answers
            // 404 is no API server, or one without this API.
            (404, _) if self.kind == "Status" && !self.name.is_empty() => ErrorKind::NotFound,
            (404 | 405 | 406 | 501, _) => ErrorKind::Unsupported,
            (401, _) => ErrorKind::Unauthenticated,
            (403, _) if message.contains("exceeded quota") => ErrorKind::Quota,
            (403, _) => ErrorKind::Denied,
            (400 | 413 | 415 | 422, _) => ErrorKind::Invalid,
            (408 | 504, _) => ErrorKind::Timeout,
            (429, _) => ErrorKind::RateLimited,
            (500..=599, _) => ErrorKind::Unavailable,
            _ => ErrorKind::Internal,
        };
        let hint = match (kind, status) {
            (ErrorKind::Unsupported, 404) => " (is `connect` the root of a Kubernetes API server, 1.21 or newer?)",
            _ => "",
        };
        let mut error = ProviderError::new(kind, format!("{what}: the API server says {status}: {message}{hint}"));
        if (100..600).contains(&status) {
            error = error.with_status(status);
        }
        if self.retry_after_seconds > 0 {
            error = error.with_retry_after(std::time::Duration::from_secs(self.retry_after_seconds));
        }
        error
    }
}

/// Reads a refusal.
pub(crate) fn refusal(answer: Response, what: &str) -> Refusal {
    let code = answer.status();
    let wait = answer.header("retry-after").and_then(|text| text.trim().parse().ok());
    // What cannot be read whole is told by its status alone.
    let text = answer.text(REFUSAL_BYTES).unwrap_or_default();
    let mut status = match serde_json::from_slice(text.as_bytes()) {
        Ok(value) => Status::read(&value),
        Err(_plain) => Status { message: text, ..Status::default() },
    };
    let go_on = status.go_on.take();
    let mut error = status.into_error(Some(code), what);
    if let Some(seconds) = wait {
        error = error.with_retry_after(std::time::Duration::from_secs(seconds));
    }
    Refusal { error, go_on }
}
