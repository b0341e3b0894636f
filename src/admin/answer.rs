//! What the admin API says: answers of each form, and which refusal gets which status.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Full};
use serde::Serialize;

use super::Body;
use super::auth::Refused;
use super::input::InvalidInput;
use crate::query::{Cause, ErrorKind, QueryError};

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
         set [admin] auth = {{ user-file = \"...\", password-file = \"...\" }}, or auth = \"none\" to let everybody in"
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

/// OpenFaaS's page for a path that names nothing.
pub(super) fn no_route() -> Response<Body> {
    let mut response = text(StatusCode::NOT_FOUND, "404 page not found\n");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The status of a refusal.
pub(super) fn status(refusal: &Refusal) -> StatusCode {
    classify(refusal).0
}

fn classify(refusal: &Refusal) -> (StatusCode, &'static str) {
    match refusal {
        Refusal::Query(error) => match &error.cause {
            Cause::NoProvider => (StatusCode::NOT_FOUND, "no_provider"),
            Cause::NotExported(_) => (StatusCode::NOT_IMPLEMENTED, "not_exported"),
            Cause::Gateway => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Cause::Plugin(_) => (StatusCode::BAD_GATEWAY, "plugin"),
            Cause::Platform(kind) => match kind {
                ErrorKind::NotFound => (StatusCode::NOT_FOUND, "not_found"),
                ErrorKind::AlreadyExists => (StatusCode::CONFLICT, "already_exists"),
                ErrorKind::Conflict => (StatusCode::CONFLICT, "conflict"),
                ErrorKind::Invalid => (StatusCode::BAD_REQUEST, "invalid"),
                ErrorKind::RateLimited | ErrorKind::Quota => (StatusCode::SERVICE_UNAVAILABLE, "platform_limit"),
                ErrorKind::Unavailable | ErrorKind::CursorExpired => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
                ErrorKind::Timeout => (StatusCode::GATEWAY_TIMEOUT, "timeout"),
                ErrorKind::Unsupported => (StatusCode::NOT_IMPLEMENTED, "unsupported"),
                ErrorKind::Unauthenticated | ErrorKind::Denied | ErrorKind::Internal => {
                    (StatusCode::BAD_GATEWAY, "platform")
                }
            },
        },
        Refusal::Input(_) | Refusal::BodyBroken(_) => (StatusCode::BAD_REQUEST, "bad_request"),
        Refusal::BodyTooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
        Refusal::BodyTooSlow(_) => (StatusCode::REQUEST_TIMEOUT, "body_timeout"),
        Refusal::ListTooLong(_) => (StatusCode::SERVICE_UNAVAILABLE, "list_too_long"),
        Refusal::TooManyStreams(_) => (StatusCode::SERVICE_UNAVAILABLE, "too_many_streams"),
        Refusal::Unready(_) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
        Refusal::Unwritable(_) | Refusal::Died => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        Refusal::Credentials => (StatusCode::UNAUTHORIZED, "unauthorized"),
        Refusal::NotLocal => (StatusCode::FORBIDDEN, "not_local"),
        Refusal::NoRoute => (StatusCode::NOT_FOUND, "no_route"),
        Refusal::NoMethod => (StatusCode::METHOD_NOT_ALLOWED, "no_method"),
    }
}

/// The answer of a refusal.
pub(super) fn refuse(refusal: &Refusal, _head: &http::request::Parts) -> Response<Body> {
    let (status, code) = classify(refusal);
    match code {
        "no_route" => no_route(),
        "no_method" => empty(status),
        "unauthorized" => {
            let mut response = text(StatusCode::UNAUTHORIZED, "invalid credentials");
            let challenge = HeaderValue::from_static("Basic realm=\"Restricted\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            response
        }
        code => {
            let error = serde_json::json!({ "error": { "code": code, "message": refusal.to_string() } });
            with(status, "application/json", error.to_string().into())
        }
    }
}
