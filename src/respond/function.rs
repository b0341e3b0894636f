//! What a caller of `/function/*` is told.

use std::time::Duration;

use http::StatusCode;

use super::{Problem, RETRY_AFTER_DEFAULT, words};
use crate::forward;
use crate::name::FunctionRef;
use crate::query::{Budget, Cause, ErrorKind, PluginFault, QueryError};
use crate::router::PathRefused;
use crate::scaler::ScaleError;
use crate::upstream;

impl Problem {
    /// A question about a function was not answered, and its caller is told.
    #[must_use]
    pub fn of_invocation(error: &QueryError, function: &FunctionRef) -> Self {
        let wait = error.retry_after.unwrap_or(RETRY_AFTER_DEFAULT);
        let provider_error = |what: &str| {
            Self::new(
                StatusCode::BAD_GATEWAY,
                "provider_error",
                format!("the provider of function {function} {what}; its operator finds the cause in the log"),
            )
        };
        let unavailable = |what: &str| {
            Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "provider_unavailable",
                format!("the provider of function {function} {what}; try again later"),
            )
            .retry(wait)
        };
        match &error.cause {
            Cause::Platform(kind) => match kind {
                ErrorKind::NotFound => not_found(function, error),
                ErrorKind::Unavailable => unavailable("cannot be reached or cannot serve now"),
                ErrorKind::RateLimited => unavailable("asks for fewer requests"),
                ErrorKind::Conflict => unavailable("was changed by another writer at the same time"),
                ErrorKind::Quota => unavailable("has used up a quota of its platform"),
                ErrorKind::Timeout => provider_timeout(function, wait),
                ErrorKind::AlreadyExists | ErrorKind::Invalid | ErrorKind::CursorExpired | ErrorKind::Internal => {
                    provider_error("gave an answer that makes no sense here")
                }
                ErrorKind::Unauthenticated | ErrorKind::Denied => provider_error("is refused by its platform"),
                ErrorKind::Unsupported => provider_error("cannot do what the function needs"),
            },
            Cause::Plugin(fault) => match fault {
                // Wall time is spent waiting for the platform, unless the plugin itself waits.
                PluginFault::Budget(Budget::Wall) => provider_timeout(function, wait),
                PluginFault::Trap | PluginFault::Budget(_) | PluginFault::BadOutput(_) => Self::new(
                    StatusCode::BAD_GATEWAY,
                    "plugin_fault",
                    format!(
                        "the plugin of the provider of function {function} failed; its operator finds the cause in the log"
                    ),
                ),
                PluginFault::Quarantined | PluginFault::Busy => unavailable("is stopped or busy for a while"),
            },
            Cause::NotExported(_) => provider_error("cannot do what the function needs"),
            Cause::NoProvider => no_provider(function),
            Cause::NoPlugin => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "plugin_missing",
                format!(
                    "the provider of function {function} has no plugin that serves; its operator finds the cause in the log"
                ),
            )
            .retry(wait),
            Cause::Gateway => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "gateway_busy",
                "the gateway is at one of its limits; try again later",
            )
            .retry(wait),
        }
    }

    /// A function is not ready.
    #[must_use]
    pub fn of_scaling(error: &ScaleError, function: &FunctionRef) -> Self {
        let mut problem = match error {
            ScaleError::NoProvider { .. } => no_provider(function),
            ScaleError::NotFound { source, .. } => not_found(function, source),
            ScaleError::Timeout { limit, .. } => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "scale_timeout",
                format!("function {function} had no ready instance within {} s; try again later", limit.as_secs_f64()),
            ),
            ScaleError::TooManyWaiting { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too_many_waiting",
                format!("too many requests wait for function {function} to start; try again later"),
            ),
            ScaleError::TooManyLookups { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too_many_lookups",
                "too many functions are being looked up for the first time; try again later",
            ),
            ScaleError::ProviderFailed { source, .. } => Self::of_invocation(source, function),
            ScaleError::BackingOff { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "scale_backoff",
                format!("function {function} could not be started a moment ago; try again later"),
            ),
            ScaleError::Disabled { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "no_instance",
                format!("function {function} has no instance, and scaling from zero is switched off"),
            ),
            ScaleError::NoAddress { .. } => Self::new(
                StatusCode::BAD_GATEWAY,
                "no_address",
                format!(
                    "the address of function {function} is not known to the gateway; its operator finds the cause in the log"
                ),
            ),
            ScaleError::EndpointRefused { .. } => Self::new(
                StatusCode::BAD_GATEWAY,
                "endpoint_refused",
                format!(
                    "the gateway may not connect to the address of function {function}; its operator finds the cause in the log"
                ),
            ),
            ScaleError::NotAccepting { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "not_accepting",
                format!("no instance of function {function} accepts connections; try again later"),
            ),
            ScaleError::ShuttingDown => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", "the gateway is shutting down; try again")
            }
        };
        // A caller who named a function that does not exist is not asked to come back.
        if problem.status != StatusCode::NOT_FOUND {
            problem.retry_after = error.retry_after().or(problem.retry_after);
        }
        problem
    }

    /// A request got no response from its function.
    #[must_use]
    pub fn of_forwarding(error: &forward::Error, function: &FunctionRef) -> Self {
        use forward::Error;
        match error {
            Error::Upstream(error) => of_upstream(error, function),
            Error::UnknownGrant(_) | Error::NotOpened { .. } | Error::BadEndpoint(_) => bad_endpoint(function),
            Error::BodyTooLarge { limit } => body_too_large(*limit),
            Error::BodyTooSlow { after } => Self::new(
                StatusCode::REQUEST_TIMEOUT,
                "body_timeout",
                format!("no byte of the request body came within {} s", after.as_secs_f64()),
            ),
            Error::BodyBroken => {
                Self::new(StatusCode::BAD_REQUEST, "body_incomplete", "the request body ended too early")
            }
        }
    }

    /// A path can mean nothing good.
    #[must_use]
    pub fn of_path(refused: &PathRefused) -> Self {
        let code = match refused {
            PathRefused::Name { .. } => "invalid_name",
            PathRefused::HiddenDots => "invalid_path",
        };
        Self::new(StatusCode::BAD_REQUEST, code, refused.to_string())
    }

    /// The header section of a request is beyond a bound: `8192 bytes`.
    #[must_use]
    pub fn header_too_large(bound: &str) -> Self {
        Self::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "header_too_large",
            format!("the request line and header fields are more than {bound}"),
        )
    }
}

/// 404, and the platform's word for it.
fn not_found(function: &FunctionRef, error: &QueryError) -> Problem {
    let said = words(&error.message);
    let message = format!("function {function} does not exist; its provider says: {said}");
    Problem::new(StatusCode::NOT_FOUND, "function_not_found", message)
}

fn no_provider(function: &FunctionRef) -> Problem {
    let message = format!("no provider serves namespace {:?} of function {function}", function.namespace.as_str());
    Problem::new(StatusCode::NOT_FOUND, "no_provider", message)
}

fn provider_timeout(function: &FunctionRef, wait: Duration) -> Problem {
    let message = format!("the provider of function {function} did not answer in time; try again later");
    Problem::new(StatusCode::GATEWAY_TIMEOUT, "provider_timeout", message).retry(wait)
}

fn body_too_large(limit: u64) -> Problem {
    let message = format!("the request body has more than {limit} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
}

fn of_upstream(error: &upstream::Error, function: &FunctionRef) -> Problem {
    use upstream::Error;
    match error {
        Error::InvalidAuthority(_) | Error::AddressDenied { .. } => bad_endpoint(function),
        Error::Resolve { .. }
        | Error::NoAddress(_)
        | Error::Connect { .. }
        | Error::ConnectTimeout { .. }
        | Error::NothingToSend
        | Error::Unsent(_) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "upstream_unreachable",
            format!("no instance of function {function} could be reached; try again later"),
        )
        .retry(RETRY_AFTER_DEFAULT),
        Error::Tls { .. } => Problem::new(
            StatusCode::BAD_GATEWAY,
            "upstream_tls",
            format!("no TLS with the instance of function {function}; its operator finds the cause in the log"),
        ),
        Error::Broken(_) => upstream_broken(function),
        Error::ResponseTimeout(_) => upstream_timeout(function),
    }
}

fn bad_endpoint(function: &FunctionRef) -> Problem {
    Problem::new(
        StatusCode::BAD_GATEWAY,
        "endpoint_refused",
        format!("the gateway cannot use the address of function {function}; its operator finds the cause in the log"),
    )
}

pub(super) fn upstream_broken(function: &FunctionRef) -> Problem {
    Problem::new(
        StatusCode::BAD_GATEWAY,
        "upstream_broken",
        format!("the instance of function {function} broke the connection before it answered"),
    )
}

fn upstream_timeout(function: &FunctionRef) -> Problem {
    Problem::new(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", format!("function {function} did not answer in time"))
}
