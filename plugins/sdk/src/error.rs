//! Making errors.

use std::time::Duration;

use crate::{ErrorKind, ProviderError};

/// What every function of a provider answers.
pub type Result<T, E = ProviderError> = std::result::Result<T, E>;

/// Declares one constructor for each kind.
macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident),+ $(,)?) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $name(message: impl Into<String>) -> Self {
            Self::new(ErrorKind::$kind, message)
        })+
    };
}

impl ProviderError {
    /// An error of `kind`; `message` is one sentence for people, without secrets.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after_ms: None, platform_status: None, extra: Vec::new() }
    }

    constructors! {
        /// The platform says that the object does not exist.
        not_found => NotFound,
        /// The platform says that an object of this name exists already.
        already_exists => AlreadyExists,
        /// The caller's input cannot be accepted, and never will be.
        invalid => Invalid,
        /// The platform does not know the credentials that the host attached.
        unauthenticated => Unauthenticated,
        /// The platform, or the operator, refuses the operation.
        denied => Denied,
        /// Another writer was faster.
        conflict => Conflict,
        /// The platform asks for fewer requests.
        rate_limited => RateLimited,
        /// The platform cannot be reached or says that it cannot serve now.
        unavailable => Unavailable,
        /// The platform did not answer in time.
        timeout => Timeout,
        /// The cursor is too old or not known.
        cursor_expired => CursorExpired,
        /// A quota of the platform is used up.
        quota => Quota,
        /// The platform has no such operation.
        unsupported => Unsupported,
        /// Anything else: a fault of the plugin, or an answer that it could not read.
        internal => Internal,
    }

    /// The same error with the HTTP status of the platform's answer, 100 to 599.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.platform_status = Some(status);
        self
    }

    /// The same error with the time to wait before the next attempt.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after_ms = u64::try_from(wait.as_millis()).ok();
        self
    }

    /// The same error with a further fact for the log.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.extra.push((key.to_owned(), value.into()));
        self
    }
}
