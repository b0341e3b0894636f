//! Why a function is not ready, and the three questions each answer must settle: whose fault is it,
//! may it be tried again, and when.

use std::sync::Arc;
use std::time::Duration;

use super::policy::AddressRefused;
use crate::name::{FunctionRef, ProviderName};
use crate::query::{Fault, QueryError};

/// What callers are told to wait where nothing better is known.
pub const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);

/// Why there is no endpoint for a request. Cheap to clone: many callers share one.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ScaleError {
    /// No provider serves the function's namespace.
    #[error("no provider serves namespace {:?}; claim it in the `namespaces` of a provider, or give one `default = true`", function.namespace.as_str())]
    NoProvider {
        /// Which function was asked for.
        function: FunctionRef,
    },
    /// The platform says that the function does not exist.
    #[error("function {function} does not exist")]
    NotFound {
        /// Which function was asked for.
        function: FunctionRef,
        /// The platform's words.
        source: Arc<QueryError>,
    },
    /// The cold start took longer than `scale-timeout`.
    #[error("function {function} had no ready instance within {} s (`scale-timeout`)", limit.as_secs_f64())]
    Timeout {
        /// Which function was asked for.
        function: FunctionRef,
        /// The bound.
        limit: Duration,
        /// When it is worth another attempt.
        retry_after: Duration,
        /// What went wrong last, if anything did.
        source: Option<Arc<ScaleError>>,
    },
    /// Too many requests wait for this function's cold start, or for all.
    #[error("too many requests wait for function {function}: at most {limit} may (`{setting}`)")]
    TooManyWaiting {
        /// Which function was asked for.
        function: FunctionRef,
        /// The bound.
        limit: usize,
        /// The key that raises it.
        setting: &'static str,
    },
    /// Too many names that were never seen are being looked up.
    #[error("too many unknown functions are being looked up: at most {limit} may (`lookups`)")]
    TooManyLookups {
        /// The bound.
        limit: usize,
    },
    /// The provider failed and kept failing, or in a way that does not pass.
    #[error("the provider of function {function} failed")]
    ProviderFailed {
        /// Which function was asked for.
        function: FunctionRef,
        /// What the provider, or the host around its plugin, said.
        source: Arc<QueryError>,
    },
    /// A cold start failed a moment ago; another begins after `scale-backoff`.
    #[error("the last cold start of function {function} failed; the next begins in {} ms", retry_after.as_millis())]
    BackingOff {
        /// Which function was asked for.
        function: FunctionRef,
        /// How long until the next attempt.
        retry_after: Duration,
        /// Why it failed.
        source: Arc<ScaleError>,
    },
    /// The function has no instance, and scaling from zero is switched off.
    #[error("function {function} has no instance and `scale-from-zero` is off; scale it by hand")]
    Disabled {
        /// Which function was asked for.
        function: FunctionRef,
    },
    /// The provider's plugin names no endpoints and the operator gave no template.
    #[error(
        "the address of function {function} is not known: the plugin of provider {provider} does not export \
         `endpoints`; write `template = \"http://{{name}}.{{namespace}}:8080\"` under `[provider.{provider}.endpoints]`"
    )]
    NoAddress {
        /// Which function was asked for.
        function: FunctionRef,
        /// Its provider.
        provider: ProviderName,
    },
    /// Every endpoint is outside what the operator allows, or never allowed.
    #[error("no endpoint of function {function} may be dialled")]
    EndpointRefused {
        /// Which function was asked for.
        function: FunctionRef,
        /// Why the first of them is refused.
        source: Arc<AddressRefused>,
    },
    /// The instance that the platform calls ready does not accept connections.
    #[error("no instance of function {function} accepts connections: {reason}")]
    NotAccepting {
        /// Which function was asked for.
        function: FunctionRef,
        /// What the last attempt met.
        reason: Arc<str>,
    },
    /// The scaler ended while the request waited.
    #[error("the gateway is shutting down")]
    ShuttingDown,
}

impl ScaleError {
    /// Who has to act.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::NoProvider { .. } | Self::NotFound { .. } => Fault::Caller,
            Self::ProviderFailed { source, .. } => match source.fault() {
                // The caller only named a function; what was asked about it is ours.
                Fault::Caller | Fault::Platform => Fault::Platform,
                Fault::Plugin => Fault::Plugin,
                Fault::Gateway => Fault::Gateway,
            },
            Self::BackingOff { source, .. } => source.fault(),
            Self::Timeout { .. }
            | Self::NoAddress { .. }
            | Self::EndpointRefused { .. }
            | Self::NotAccepting { .. } => Fault::Platform,
            Self::TooManyWaiting { .. } | Self::TooManyLookups { .. } | Self::Disabled { .. } | Self::ShuttingDown => {
                Fault::Gateway
            }
        }
    }

    /// Whether the same request may succeed a moment later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Timeout { .. }
            | Self::TooManyWaiting { .. }
            | Self::TooManyLookups { .. }
            | Self::BackingOff { .. }
            | Self::NotAccepting { .. }
            | Self::ShuttingDown => true,
            Self::ProviderFailed { source, .. } => source.is_retryable(),
            Self::NoProvider { .. }
            | Self::NotFound { .. }
            | Self::Disabled { .. }
            | Self::NoAddress { .. }
            | Self::EndpointRefused { .. } => false,
        }
    }

    /// How long to wait before another attempt; `None` where another attempt helps nobody.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        if let Self::Timeout { retry_after, .. } | Self::BackingOff { retry_after, .. } = self {
            return Some(*retry_after);
        }
        if let Self::ProviderFailed { source, .. } = self
            && source.retry_after.is_some()
        {
            return source.retry_after;
        }
        self.is_retryable().then_some(RETRY_AFTER_DEFAULT)
    }

    /// What the provider said, where it said something.
    #[must_use]
    pub fn query_error(&self) -> Option<&QueryError> {
        match self {
            Self::NotFound { source, .. } | Self::ProviderFailed { source, .. } => Some(source),
            Self::BackingOff { source, .. } => source.query_error(),
            Self::Timeout { source, .. } => source.as_deref().and_then(Self::query_error),
            Self::NoProvider { .. }
            | Self::TooManyWaiting { .. }
            | Self::TooManyLookups { .. }
            | Self::Disabled { .. }
            | Self::NoAddress { .. }
            | Self::EndpointRefused { .. }
            | Self::NotAccepting { .. }
            | Self::ShuttingDown => None,
        }
    }

    /// A stable word for metrics and logs.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::NoProvider { .. } => "no-provider",
            Self::NotFound { .. } => "not-found",
            Self::Timeout { .. } => "timeout",
            Self::TooManyWaiting { .. } => "too-many-waiting",
            Self::TooManyLookups { .. } => "too-many-lookups",
            Self::ProviderFailed { .. } => "provider-failed",
            Self::BackingOff { .. } => "backing-off",
            Self::Disabled { .. } => "disabled",
            Self::NoAddress { .. } => "no-address",
            Self::EndpointRefused { .. } => "endpoint-refused",
            Self::NotAccepting { .. } => "not-accepting",
            Self::ShuttingDown => "shutting-down",
        }
    }
}
