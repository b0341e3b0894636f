//! What a caller of `/system/*` is told: an operator, or a tool of one, who asked for something that
//! can be wrong. The platform's words are passed on, cut short.

use http::StatusCode;

use super::{Problem, RETRY_AFTER_DEFAULT, words};
use crate::query::{Budget, Cause, ErrorKind, PluginFault, QueryError};

impl Problem {
    /// A request to the admin API failed at the platform, the plugin, or the gateway.
    #[must_use]
    pub fn of_administration(error: &QueryError) -> Self {
        let wait = error.retry_after.unwrap_or(RETRY_AFTER_DEFAULT);
        let say = |status, code| Self::new(status, code, words(&error.message));
        match &error.cause {
            Cause::Platform(kind) => match kind {
                ErrorKind::NotFound => say(StatusCode::NOT_FOUND, "not_found"),
                ErrorKind::AlreadyExists => say(StatusCode::CONFLICT, "already_exists"),
                ErrorKind::Invalid => say(StatusCode::BAD_REQUEST, "invalid"),
                ErrorKind::Unauthenticated => say(StatusCode::BAD_GATEWAY, "platform_unauthenticated"),
                ErrorKind::Denied => say(StatusCode::BAD_GATEWAY, "platform_denied"),
                ErrorKind::Conflict => say(StatusCode::CONFLICT, "conflict"),
                ErrorKind::RateLimited => say(StatusCode::SERVICE_UNAVAILABLE, "rate_limited").retry(wait),
                ErrorKind::Unavailable => say(StatusCode::SERVICE_UNAVAILABLE, "provider_unavailable").retry(wait),
                ErrorKind::Timeout => say(StatusCode::GATEWAY_TIMEOUT, "provider_timeout"),
                // The list changed while it was read: begin again.
                ErrorKind::CursorExpired => say(StatusCode::SERVICE_UNAVAILABLE, "cursor_expired").retry(wait),
                // Nothing that waiting cures: something must be deleted, or the quota raised.
                ErrorKind::Quota => say(StatusCode::CONFLICT, "quota"),
                ErrorKind::Unsupported => say(StatusCode::NOT_IMPLEMENTED, "unsupported"),
                ErrorKind::Internal => say(StatusCode::BAD_GATEWAY, "provider_error"),
            },
            Cause::Plugin(fault) => match fault {
                PluginFault::Budget(Budget::Wall) => say(StatusCode::GATEWAY_TIMEOUT, "provider_timeout"),
                PluginFault::Trap | PluginFault::Budget(_) | PluginFault::BadOutput(_) => {
                    say(StatusCode::BAD_GATEWAY, "plugin_fault")
                }
                PluginFault::Quarantined => say(StatusCode::SERVICE_UNAVAILABLE, "plugin_quarantined").retry(wait),
                PluginFault::Busy => say(StatusCode::SERVICE_UNAVAILABLE, "plugin_busy").retry(wait),
            },
            Cause::NotExported(_) => say(StatusCode::NOT_IMPLEMENTED, "not_exported"),
            Cause::NoProvider => say(StatusCode::NOT_FOUND, "no_provider"),
            Cause::NoPlugin => say(StatusCode::SERVICE_UNAVAILABLE, "plugin_missing").retry(wait),
            Cause::Gateway => say(StatusCode::SERVICE_UNAVAILABLE, "gateway_busy").retry(wait),
        }
    }
}
