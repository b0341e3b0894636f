//! What the admin API says: answers of each form, and which refusal gets which status.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Full};
use serde::Serialize;

use super::Body;
use super::auth::Refused;
use super::input::InvalidInput;
use crate::query::QueryError;
use crate::respond::{self, CallId, Problem, RETRY_AFTER_DEFAULT};

/// Names the providers and namespaces that a merged list lacks, since they could not be asked.
pub(super) const PARTIAL: &str = "x-wicketgate-partial";

/// Why a request is not answered as it wished.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    Input(#[from] InvalidInput),
    #[error("the body is longer than {0} bytes")]
    BodyTooLarge(usize),
    #[error("the body did not arrive within {0:?}")]
    BodyTooSlow(std::time::Duration),
    #[error("the body could not be read: {0}")]
    BodyBroken(String),
    #[error("the list has more than {0} entries; ask with ?namespace=, or raise admin.list-entries")]
    ListTooLong(usize),
    #[error("{0} log streams are open already; close one, or raise admin.log-streams")]
    TooManyStreams(usize),
    #[error("the answer could not be written: {0}")]
    Unwritable(#[from] serde_json::Error),
    #[error("{0}")]
    Unready(String),
    #[error("the work ended early")]
    Died,
    #[error("invalid credentials")]
    Credentials,
    #[error(
        "only callers on this machine may use /system/* while no credentials are configured; \
         set auth.basic = {{ user-file = \"...\", password-file = \"...\" }}, or auth = \"none\" to let everybody in"
    )]
    NotLocal,
    #[error("no such route")]
    NoRoute,
    #[error("the route does not have this method")]
    NoMethod,
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Credentials => Self::Credentials,
            Refused::NotLocal => Self::NotLocal,
        }
    }
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Result<Response<Body>, Refusal> {
    Ok(with(status, "application/json", serde_json::to_vec(value)?.into()))
}

/// A text.
pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    with(status, "text/plain; charset=utf-8", text.into())
}

/// Only a status.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response
}

/// A whole body.
pub(super) fn with(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The answer of [`respond`], with this module's body.
pub(super) fn whole(response: Response<Full<Bytes>>) -> Response<Body> {
    response.map(|body| body.map_err(|never| match never {}).boxed_unsync())
}

impl Refusal {
    /// The answer; errors that are the platform's or ours are logged here, once.
    pub(super) fn response(&self, call_id: &CallId) -> Response<Body> {
        let problem = self.problem();
        match problem.code {
            "no_route" => return whole(respond::no_route()),
            "wrong_method" => return whole(respond::wrong_method()),
            "unauthorized" => return unauthorized(),
            _ => {}
        }
        if problem.status.is_server_error() {
            tracing::warn!(%call_id, status = problem.status.as_u16(), error = %self, "admin request failed");
        }
        let mut response = whole(problem.response(call_id));
        if matches!(self, Self::BodyTooLarge(_) | Self::BodyTooSlow(_) | Self::BodyBroken(_)) {
            // The rest of the body is not read, so nothing can follow it.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// What the caller is told.
    fn problem(&self) -> Problem {
        let say = |status, code| Problem::new(status, code, self.to_string());
        let later = |code| say(StatusCode::SERVICE_UNAVAILABLE, code).retry(RETRY_AFTER_DEFAULT);
        match self {
            Self::Query(error) => Problem::of_administration(error),
            Self::Input(_) | Self::BodyBroken(_) => say(StatusCode::BAD_REQUEST, "bad_request"),
            Self::BodyTooLarge(_) => say(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Self::BodyTooSlow(_) => say(StatusCode::REQUEST_TIMEOUT, "body_timeout"),
            Self::ListTooLong(_) => say(StatusCode::SERVICE_UNAVAILABLE, "list_too_long"),
            Self::TooManyStreams(_) => later("too_many_streams"),
            Self::Unready(_) => later("not_ready"),
            Self::Unwritable(_) | Self::Died => say(StatusCode::INTERNAL_SERVER_ERROR, "internal"),
            Self::Credentials => say(StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::NotLocal => say(StatusCode::FORBIDDEN, "not_local"),
            Self::NoRoute => say(StatusCode::NOT_FOUND, "no_route"),
            Self::NoMethod => say(StatusCode::METHOD_NOT_ALLOWED, "wrong_method"),
        }
    }
}

/// OpenFaaS's 401, to the byte.
fn unauthorized() -> Response<Body> {
    let mut response = text(StatusCode::UNAUTHORIZED, "invalid credentials");
    let headers = response.headers_mut();
    headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"Restricted\""));
    headers.insert(respond::ERROR_CODE, HeaderValue::from_static("unauthorized"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::respond::tests::{Told, causes, documented, told};

    #[test]
    fn the_readme_has_every_answer_to_callers_of_the_admin_api_and_no_other() {
        let own = [
            Refusal::BodyTooLarge(1),
            Refusal::BodyTooSlow(std::time::Duration::from_secs(1)),
            Refusal::BodyBroken("cut".into()),
            Refusal::ListTooLong(1),
            Refusal::TooManyStreams(1),
            Refusal::Unready("draining".into()),
            Refusal::Died,
            Refusal::Credentials,
            Refusal::NotLocal,
            Refusal::NoRoute,
            Refusal::NoMethod,
        ];
        let asked = causes().into_iter().map(|(cause, ..)| Refusal::Query(QueryError::new(cause, "why")));
        let said: Told = asked.chain(own).map(|refusal| told(&refusal.problem())).collect();
        assert_eq!(said, documented(2));
    }
}
