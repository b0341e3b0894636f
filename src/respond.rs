//! The one place where errors become answers: status, code, sentence, `Retry-After`.
//!
//! A [`Problem`] is what the outside is told; what happened inside is for the log, under the call
//! id. Every answer that the gateway makes by itself carries `X-Wicketgate-Error` with its code, so
//! that it is told from a function's own, and a JSON body
//! `{"error":{"code","message","call_id"}}`. The matches are exhaustive on purpose: a new error does
//! not compile until somebody decided what its caller is told.
//!
//! Two tables, because the same error means different things: whoever calls `/system/*` asked for
//! something that can be wrong, whoever calls `/function/*` did nothing wrong but perhaps name a
//! function that does not exist.

mod call_id;
mod function;
mod system;
#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::Full;

pub use call_id::{CALL_ID, CALL_ID_MAX_BYTES, CallId};

/// The header that carries [`Problem::code`].
pub const ERROR_CODE: HeaderName = HeaderName::from_static("x-wicketgate-error");

/// What callers are told to wait where nobody said anything better.
pub const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);

/// How much of a platform's own words a caller is shown, in characters.
const WORDS_MAX_CHARS: usize = 300;

/// What the outside is told of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The status.
    pub status: StatusCode,
    /// A stable word for programs, in `snake_case`.
    pub code: &'static str,
    /// One sentence for people. Names no address and nothing that only the operator may know.
    pub message: String,
    /// When another attempt is worth it; rounded up to whole seconds.
    pub retry_after: Option<Duration>,
}

impl Problem {
    /// A problem without a time to wait.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }

    /// The same, worth another attempt after `wait`.
    #[must_use]
    pub fn retry(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The answer, as JSON.
    #[must_use]
    pub fn response(&self, call_id: &CallId) -> Response<Full<Bytes>> {
        let body = serde_json::json!({
            "error": { "code": self.code, "message": self.message, "call_id": call_id.as_str() }
        });
        let mut response = Response::new(Full::from(body.to_string() + "\n"));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ERROR_CODE, HeaderValue::from_static(self.code));
        headers.insert(CALL_ID, call_id.value().clone());
        if let Some(wait) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        response
    }
}

/// RFC 9110 section 10.2.3 knows whole seconds only; 0 would ask for an attempt at once.
fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

/// What somebody else wrote, fit to be shown: no control characters, not endless.
fn words(text: &str) -> String {
    let mut shown: String = text.chars().filter(|c| !c.is_control()).take(WORDS_MAX_CHARS).collect();
    if text.chars().count() > WORDS_MAX_CHARS {
        shown.push_str("...");
    }
    shown
}

/// The answer to a path that is not clean. Empty body, as in OpenFaaS.
#[must_use]
pub fn moved(path: &str, query: Option<&str>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    let location = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    match HeaderValue::try_from(location) {
        Ok(location) => {
            *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
            response.headers_mut().insert(LOCATION, location);
        }
        // A request's path has only bytes that a field may have, so this is not seen.
        Err(_invalid) => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    response
}

/// The answer to a path that nothing serves: OpenFaaS's page, to the byte.
#[must_use]
pub fn no_route() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from("404 page not found\n"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert(ERROR_CODE, HeaderValue::from_static("no_route"));
    response
}

/// The answer to a method that a route does not have: empty and without `Allow`, as in OpenFaaS.
#[must_use]
pub fn wrong_method() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response.headers_mut().insert(ERROR_CODE, HeaderValue::from_static("wrong_method"));
    response
}
