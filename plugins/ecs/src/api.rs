//! One operation of the API: a `POST` of JSON, and what its errors mean.

use serde::de::DeserializeOwned;
use wicketgate_sdk::http::{Request, Response};
use wicketgate_sdk::{ErrorKind, ProviderError, Result};

/// The grant under which the operator says where the API is.
const GRANT_URL: &str = "http://ecs/";

/// The version of the API, which is part of every operation's name.
pub(crate) const VERSION: &str = "2014-11-13";

/// What an operation's name begins with.
const TARGET: &str = "AmazonEC2ContainerServiceV20141113";

/// The most that an answer may hold, in bytes: ten services with a hundred events each have about 300 KB.
const ANSWER_BYTES: usize = 8 << 20;

/// How much of an error is read, in bytes.
const ERROR_BYTES: usize = 16 << 10;

/// Calls an operation and reads its answer; `what` is what was asked for, in a few words.
pub(crate) fn call<T: DeserializeOwned>(operation: &str, body: &serde_json::Value, what: &str) -> Result<T> {
    send(operation, body, what)?.json(ANSWER_BYTES)
}

/// Calls an operation whose answer says nothing new.
pub(crate) fn run(operation: &str, body: &serde_json::Value, what: &str) -> Result<()> {
    send(operation, body, what).map(drop)
}

fn send(operation: &str, body: &serde_json::Value, what: &str) -> Result<Response> {
    let bytes = serde_json::to_vec(body).map_err(|error| ProviderError::internal(format!("{what}: {error}")))?;
    let answer = Request::post(GRANT_URL)
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", format!("{TARGET}.{operation}"))
        .body(bytes)
        .send()?;
    let status = answer.status();
    if (200..300).contains(&status) {
        return Ok(answer);
    }
    let wait =
        answer.header("retry-after").and_then(|text| text.trim().parse().ok()).map(std::time::Duration::from_secs);
    let text = answer.text(ERROR_BYTES)?;
    let (name, message) = read_error(&text);
    let kind = kind_of(status, &name, &message);
    let mut error =
        ProviderError::new(kind, format!("{what}: ECS answered {status} {name}: {message}")).with_status(status);
    if let Some(wait) = wait {
        error = error.with_retry_after(wait);
    }
    Err(error)
}

#[derive(serde::Deserialize)]
struct Fault {
    #[serde(rename = "__type", default)]
    name: String,
    #[serde(default)]
    message: String,
    /// Some parts of the service write it so; some write both.
    #[serde(rename = "Message", default)]
    text: String,
}

/// The error's name, without the space that some are in, and its text. What stands before the service (a proxy, a
/// check of the signature) may answer in other forms, of which the beginning is shown.
fn read_error(text: &str) -> (String, String) {
    match serde_json::from_str::<Fault>(text) {
        Ok(fault) if !fault.name.is_empty() => {
            let name = fault.name.rsplit('#').next().unwrap_or_default().to_owned();
            (name, if fault.message.is_empty() { fault.text } else { fault.message })
        }
        _other => {
            let code = between(text, "<Code>", "</Code>").unwrap_or_default().to_owned();
            let message = between(text, "<Message>", "</Message>").unwrap_or_else(|| text.trim());
            (code, message.chars().take(512).collect())
        }
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found)
}

/// What an error means to the caller. The service says almost everything with status 400.
fn kind_of(status: u16, name: &str, message: &str) -> ErrorKind {
    match name {
        "ServiceNotFoundException" | "ServiceNotActiveException" => ErrorKind::NotFound,
        // The cluster is the operator's word, so that it is missing says nothing of a function.
        "ClusterNotFoundException" => ErrorKind::Unavailable,
        "AccessDeniedException" | "AccessDenied" | "UnauthorizedOperation" => ErrorKind::Denied,
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "ExpiredTokenException"
        | "ExpiredToken"
        | "MissingAuthenticationTokenException"
        | "MissingAuthenticationToken"
        | "IncompleteSignature"
        | "AuthFailure" => ErrorKind::Unauthenticated,
        "ThrottlingException" | "Throttling" | "TooManyRequestsException" | "RequestLimitExceeded" => {
            ErrorKind::RateLimited
        }
        "LimitExceededException" => ErrorKind::Quota,
        "UpdateInProgressException" | "ConflictException" => ErrorKind::Conflict,
        "ServerException" | "ServiceUnavailable" | "ServiceUnavailableException" | "InternalFailure" => {
            ErrorKind::Unavailable
        }
        "InvalidParameterException" if message.contains("not idempotent") => ErrorKind::AlreadyExists,
        "InvalidParameterException"
        | "ClientException"
        | "ValidationException"
        | "SerializationException"
        | "PlatformUnknownException"
        | "PlatformTaskDefinitionIncompatibilityException" => ErrorKind::Invalid,
        "UnsupportedFeatureException" | "UnknownOperationException" => ErrorKind::Unsupported,
        _unknown => match status {
            400 | 413 => ErrorKind::Invalid,
            401 => ErrorKind::Unauthenticated,
            403 => ErrorKind::Denied,
            404 | 405 | 501 => ErrorKind::Unsupported,
            408 | 504 => ErrorKind::Timeout,
            429 => ErrorKind::RateLimited,
            500..=599 => ErrorKind::Unavailable,
            _other => ErrorKind::Internal,
        },
    }
}
