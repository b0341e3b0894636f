//! Requests to the platform, over `wasi:http/outgoing-handler`.
//!
//! A URL is `http://<grant>/<path>`: the authority names a grant of the operator's configuration,
//! and the host decides where that is, what may be asked and which credentials are added. The
//! scheme says nothing about TLS; the grant does.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use crate::{ErrorKind, ProviderError, Result};

mod encode;
#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests;
#[cfg(target_arch = "wasm32")]
mod wasi;

pub use encode::{encode_query, encode_segment};

#[cfg(not(target_arch = "wasm32"))]
use crate::testing as transport;
#[cfg(target_arch = "wasm32")]
use wasi as transport;

/// How much of a refused request's answer is quoted in the error, in bytes.
const QUOTED_BYTES: usize = 512;

/// A request on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: &'static str,
    /// Where to: `http://<grant>/<path>?<query>`.
    pub url: String,
    /// Fields, in order.
    pub headers: Vec<(String, String)>,
    /// The body; none is sent when it is empty.
    pub body: Vec<u8>,
    /// How long to wait for the first byte of the answer and between two reads of its body;
    /// `None` leaves it to the grant.
    pub timeout: Option<Duration>,
}

impl Request {
    /// A request of any method.
    pub fn new(method: &'static str, url: impl Into<String>) -> Self {
        Self { method, url: url.into(), headers: Vec::new(), body: Vec::new(), timeout: None }
    }

    /// A `GET`.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// A `POST`.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new("POST", url)
    }

    /// A `PUT`.
    pub fn put(url: impl Into<String>) -> Self {
        Self::new("PUT", url)
    }

    /// A `DELETE`.
    pub fn delete(url: impl Into<String>) -> Self {
        Self::new("DELETE", url)
    }

    /// Appends one escaped segment to the path: the URL so far ends with `/` and has no query.
    pub fn segment(mut self, text: &str) -> Self {
        encode_segment(text, &mut self.url);
        self
    }

    /// Appends one escaped parameter to the query.
    pub fn query(mut self, key: &str, value: &str) -> Self {
        self.url.push(if self.url.contains('?') { '&' } else { '?' });
        encode_query(key, &mut self.url);
        self.url.push('=');
        encode_query(value, &mut self.url);
        self
    }

    /// Adds a field. The host passes on only those that it knows to be harmless.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sets the body to the JSON form of `value`, with its `Content-Type`.
    ///
    /// # Errors
    /// `internal` when the value has no JSON form.
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Result<Self> {
        self.body = serde_json::to_vec(value)
            .map_err(|e| ProviderError::internal(format!("cannot write a request body as JSON: {e}")))?;
        Ok(self.header("content-type", "application/json"))
    }

    /// Sets the body.
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = bytes.into();
        self
    }

    /// Sets how long to wait for the first byte of the answer and between two reads.
    pub fn timeout(mut self, span: Duration) -> Self {
        self.timeout = Some(span);
        self
    }

    /// Sends the request and waits for the head of the answer, whatever its status.
    ///
    /// # Errors
    /// `denied` when no grant allows it, `timeout`, or `unavailable` when the platform cannot be
    /// reached.
    pub fn send(self) -> Result<Response> {
        let target = format!("{} {}", self.method, self.url);
        let (status, headers, body) = transport::exchange(self).map_err(|e| e.about(&target))?;
        Ok(Response { target, status, headers, body })
    }
}

/// The head of an answer, with the body still to be read.
#[derive(Debug)]
pub struct Response {
    /// The request's method and URL, for errors.
    target: String,
    status: u16,
    headers: Vec<(String, String)>,
    body: transport::Body,
}

impl Response {
    /// The status, 100 to 599.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The first field of this name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The answer itself for a 2xx status, else the error that its status stands for; `what` is
    /// what was asked for, in two or three words ("function figlet.dev").
    ///
    /// | status | kind |
    /// | --- | --- |
    /// | 404, 410 | `not-found` |
    /// | 401 | `unauthenticated` |
    /// | 403 | `denied` |
    /// | 409, 412 | `conflict` |
    /// | 400, 413, 422 | `invalid` |
    /// | 405, 501 | `unsupported` |
    /// | 408, 504 | `timeout` |
    /// | 429 | `rate-limited`, with `Retry-After` |
    /// | other 5xx | `unavailable`, with `Retry-After` |
    /// | anything else | `internal` |
    ///
    /// # Errors
    /// As the table says, with the status and the beginning of the body as text.
    pub fn success(self, what: &str) -> Result<Self> {
        if (200..300).contains(&self.status) { Ok(self) } else { Err(self.into_error(what)) }
    }

    /// The error that the status stands for, as [`success`](Self::success) says.
    #[must_use]
    pub fn into_error(mut self, what: &str) -> ProviderError {
        let wait = self.header("retry-after").and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let quoted = self.body.read(QUOTED_BYTES).unwrap_or_default().unwrap_or_default();
        let text = String::from_utf8_lossy(&quoted);
        let mut error = ProviderError::new(
            kind_of(self.status),
            format!("{what}: {} answered {}: {}", self.target, self.status, text.trim()),
        )
        .with_status(self.status);
        if let Some(wait) = wait {
            error = error.with_retry_after(wait);
        }
        error
    }

    /// The next piece of the body, at most `limit` bytes; `None` at its end.
    ///
    /// # Errors
    /// `timeout`, or `unavailable` when the connection broke.
    pub fn read(&mut self, limit: usize) -> Result<Option<Vec<u8>>> {
        self.body.read(limit).map_err(|e| e.about(&self.target))
    }

    /// The whole body, at most `limit` bytes.
    ///
    /// # Errors
    /// As [`read`](Self::read); `internal` when it is longer.
    pub fn bytes(mut self, limit: usize) -> Result<Vec<u8>> {
        let mut whole = Vec::new();
        // One byte more than allowed, so that a body of exactly `limit` bytes is told from a longer one.
        while let Some(mut piece) = self.read(limit - whole.len() + 1)? {
            whole.append(&mut piece);
            if whole.len() > limit {
                return Err(ProviderError::internal(format!("{}: the answer is over {limit} bytes", self.target)));
            }
        }
        Ok(whole)
    }

    /// The whole body as JSON, at most `limit` bytes.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes); `internal` when it is not JSON of this type.
    pub fn json<T: DeserializeOwned>(self, limit: usize) -> Result<T> {
        let target = self.target.clone();
        let status = self.status;
        serde_json::from_slice(&self.bytes(limit)?)
            .map_err(|e| ProviderError::internal(format!("{target}: cannot read the answer: {e}")).with_status(status))
    }

    /// The whole body as text, at most `limit` bytes; what is not UTF-8 is replaced.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub fn text(self, limit: usize) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.bytes(limit)?).into_owned())
    }
}

/// Waits for up to `span` until one of several answers has more to [`read`](Response::read), or came
/// to its end: its place in `answers`. `None` if none has in that time. For streams that are followed
/// side by side; the time counts against the call's budget of wall time.
#[must_use]
pub fn wait_for_any(answers: &[&Response], span: Duration) -> Option<usize> {
    let bodies: Vec<&transport::Body> = answers.iter().map(|answer| &answer.body).collect();
    transport::ready(&bodies, span)
}

/// Status, fields and body of an answer, as a transport hands them over.
pub(crate) type Head<B> = (u16, Vec<(String, String)>, B);

/// A request that got no answer, or half of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of error that is to the caller.
    pub kind: ErrorKind,
    /// What happened, in a few words.
    pub text: String,
}

impl Failure {
    fn about(self, target: &str) -> ProviderError {
        ProviderError::new(self.kind, format!("{target}: {}", self.text))
    }
}

/// What a status means to a caller.
fn kind_of(status: u16) -> ErrorKind {
    match status {
        404 | 410 => ErrorKind::NotFound,
        401 => ErrorKind::Unauthenticated,
        403 => ErrorKind::Denied,
        409 | 412 => ErrorKind::Conflict,
        400 | 413 | 422 => ErrorKind::Invalid,
        405 | 501 => ErrorKind::Unsupported,
        408 | 504 => ErrorKind::Timeout,
        429 => ErrorKind::RateLimited,
        500..=599 => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    }
}
