//! `/providers` on the admin socket: what is loaded, and everything that changes it.
//!
//! | request | what |
//! | --- | --- |
//! | `GET /providers`, `GET /providers/NAME` | all in a line each; everything about one, with its history |
//! | `PUT /providers/NAME` | another component: its bytes, with its signatures in [`MINISIGN`] and [`SIGSTORE`], or `{"path": "/..."}` as `application/json`; `?dry-run=true` stops before the publish |
//! | `POST /providers/NAME/rollback` | the generation before |
//! | `POST /providers/NAME/accept` | writes what the lock refused last into the lock; `?digest=` only if that was it |
//! | `DELETE /providers/NAME` | removes it until the configuration is read again |

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Deserialize;

use super::route::Query;
use super::{Body, answer};
use crate::control::{Asker, Change, Component, Control, ControlError, Outcome};
use crate::name::{Digest, ProviderName};
use crate::plugin::Upload;
use crate::respond::{CallId, Problem};
use crate::trust::signature::{SIGNATURE_MAX_BYTES, Sent};

/// How long a component may take to arrive. It comes from this machine.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// The header with the `.minisig` of an uploaded component, as base64.
pub const MINISIGN: &str = "x-wicketgate-minisign";

/// The header with the sigstore bundle of an uploaded component, as base64.
pub const SIGSTORE: &str = "x-wicketgate-sigstore";

/// The longest `{"path": ...}`.
const PATH_BYTES: usize = 8 << 10;

/// Why a request is not answered as it wished.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error("no such route; there is /providers, /providers/NAME, /providers/NAME/rollback and /providers/NAME/accept")]
    NoRoute,
    #[error("the route does not have this method")]
    NoMethod,
    #[error("{0}")]
    Input(String),
    #[error("the component has more than {0} bytes; raise `limits.component-bytes` if that is right")]
    TooLarge(u64),
    #[error("the component did not arrive within {UPLOAD_TIMEOUT:?}")]
    TooSlow,
    #[error("the answer could not be written: {0}")]
    Unwritable(String),
}

impl Refusal {
    fn response(&self) -> Response<Body> {
        let (status, code) = match self {
            Self::Control(ControlError::Unknown { .. }) => (StatusCode::NOT_FOUND, "no_provider"),
            Self::Control(ControlError::Busy { .. }) => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::Control(ControlError::NothingBefore { .. }) => (StatusCode::CONFLICT, "nothing_before"),
            Self::Control(ControlError::Taken { .. }) => (StatusCode::CONFLICT, "namespace_taken"),
            Self::Control(ControlError::NothingRefused { .. }) => (StatusCode::CONFLICT, "nothing_refused"),
            Self::Control(ControlError::NoLock) => (StatusCode::CONFLICT, "no_lock"),
            Self::Control(ControlError::Lock(_)) => (StatusCode::INTERNAL_SERVER_ERROR, "lock_unusable"),
            Self::Control(ControlError::Ending) => (StatusCode::SERVICE_UNAVAILABLE, "ending"),
            Self::NoRoute => (StatusCode::NOT_FOUND, "no_route"),
            Self::NoMethod => (StatusCode::METHOD_NOT_ALLOWED, "wrong_method"),
            Self::Input(_) => (StatusCode::BAD_REQUEST, "bad_request"),
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "body_timeout"),
            Self::Unwritable(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        let problem = Problem::new(status, code, self.to_string());
        let mut response = answer::whole(problem.response(&CallId::of(&http::HeaderMap::new())));
        if matches!(self, Self::TooLarge(_) | Self::TooSlow) {
            // The rest of the body is not read, so nothing can follow it.
            response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        }
        response
    }
}

/// Answers a request of somebody on the socket.
pub(super) async fn reply<B>(request: Request<B>, by: Asker, control: &Control) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    try_reply(request, by, control).await.unwrap_or_else(|refusal| refusal.response())
}

async fn try_reply<B>(request: Request<B>, by: Asker, control: &Control) -> Result<Response<Body>, Refusal>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let (head, body) = request.into_parts();
    let path = head.uri.path().strip_prefix("/providers").ok_or(Refusal::NoRoute)?;
    if path.is_empty() {
        return if head.method == Method::GET { json(StatusCode::OK, &control.list()) } else { Err(Refusal::NoMethod) };
    }
    let path = path.strip_prefix('/').ok_or(Refusal::NoRoute)?;
    let (name, rest) = path.split_once('/').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let name: ProviderName = name.parse().map_err(|_invalid| Refusal::NoRoute)?;
    match (rest, &head.method) {
        (None, &Method::GET) => json(StatusCode::OK, &control.show(&name)?),
        (None, &Method::PUT) => {
            let dry_run = Query::of(&head.uri).flag("dry-run");
            let component = component(&head.headers, body, control.component_bytes(&name)?).await?;
            changed(&control.swap(&name, component, by, dry_run).await?)
        }
        (None, &Method::DELETE) => changed(&control.remove(&name, by).await?),
        (Some("rollback"), &Method::POST) => changed(&control.roll_back(&name, by).await?),
        (Some("accept"), &Method::POST) => {
            let digest = Query::of(&head.uri).get("digest").map(|text| text.parse::<Digest>()).transpose();
            let digest = digest.map_err(|error| Refusal::Input(format!("digest: {error}")))?;
            json(StatusCode::OK, &control.accept(&name, digest, by).await?)
        }
        (None | Some("rollback" | "accept"), _) => Err(Refusal::NoMethod),
        (Some(_), _) => Err(Refusal::NoRoute),
    }
}

fn json(status: StatusCode, value: &impl serde::Serialize) -> Result<Response<Body>, Refusal> {
    answer::json(status, value).map_err(|error| Refusal::Unwritable(error.to_string()))
}

/// A change is answered as it is written down; one that did not happen is a 422.
fn changed(change: &Change) -> Result<Response<Body>, Refusal> {
    let status = match &change.outcome {
        Some(Outcome::Refused { .. } | Outcome::RolledBack { reason: Some(_) }) => StatusCode::UNPROCESSABLE_ENTITY,
        Some(Outcome::Published | Outcome::Ready | Outcome::RolledBack { reason: None } | Outcome::Removed) | None => {
            StatusCode::OK
        }
    };
    let mut response = json(status, change)?;
    if status != StatusCode::OK {
        let code = header::HeaderValue::from_static("refused");
        response.headers_mut().insert(crate::respond::ERROR_CODE, code);
    }
    Ok(response)
}

/// What a body says: bytes of a component, or where they are.
async fn component<B>(headers: &http::HeaderMap, body: B, limit: u64) -> Result<Component, Refusal>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Place {
        path: PathBuf,
    }

    let signatures = Sent { minisign: signature(headers, MINISIGN)?, sigstore: signature(headers, SIGSTORE)? };
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_place = media.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"));
    let most = if is_place { PATH_BYTES } else { usize::try_from(limit).unwrap_or(usize::MAX) };
    if body.size_hint().lower() > most as u64 {
        return Err(Refusal::TooLarge(most as u64));
    }
    let read = tokio::time::timeout(UPLOAD_TIMEOUT, Limited::new(body, most).collect()).await;
    let bytes = match read {
        Err(_elapsed) => return Err(Refusal::TooSlow),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(Refusal::TooLarge(most as u64)),
        Ok(Err(error)) => return Err(Refusal::Input(format!("the body could not be read: {error}"))),
        Ok(Ok(body)) => body.to_bytes(),
    };
    if !is_place {
        if bytes.is_empty() {
            return Ok(Component::Configured);
        }
        return Ok(Component::Uploaded(Upload { component: bytes.to_vec(), signatures }));
    }
    let place: Place = serde_json::from_slice(&bytes)
        .map_err(|error| Refusal::Input(format!("the body must be {{\"path\": \"/...\"}}: {error}")))?;
    if !place.path.is_absolute() {
        return Err(Refusal::Input(format!("{} is no absolute path", place.path.display())));
    }
    Ok(Component::File(place.path))
}

/// A signature out of a header.
fn signature(headers: &http::HeaderMap, name: &'static str) -> Result<Option<String>, Refusal> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = STANDARD.decode(value.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match text {
        Some(text) if text.len() as u64 <= SIGNATURE_MAX_BYTES => Ok(Some(text)),
        Some(_) => Err(Refusal::Input(format!("{name} holds more than {SIGNATURE_MAX_BYTES} bytes"))),
        None => Err(Refusal::Input(format!("{name} must be the file as base64 in one line, e.g. of `base64 -w0`"))),
    }
}
