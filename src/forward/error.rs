//! Why a request was not forwarded.

use std::time::Duration;

use crate::upstream;

/// Why a request got no response from its function.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The instance did not answer.
    #[error("no answer from the instance")]
    Upstream(#[source] upstream::Error),
    /// An endpoint names a grant that its provider does not have.
    #[error("the endpoint names grant {0:?}, which its provider does not have")]
    UnknownGrant(Box<str>),
    /// An endpoint names a path of a grant that the operator did not open for functions' requests.
    #[error(
        "the endpoint's path {path:?} is not open for functions' requests; if it shall be, write \
         functions = {path:?}, or what is above it, into the provider's grant {grant:?}"
    )]
    NotOpened {
        /// The grant.
        grant: Box<str>,
        /// The endpoint's prefix.
        path: Box<str>,
    },
    /// The endpoint's address, prefix or host field cannot be written in a request.
    #[error("the endpoint cannot be written in a request: {0}")]
    BadEndpoint(Box<str>),
    /// The request's body is longer than `body-bytes`.
    #[error("the request body has more than {limit} bytes (`body-bytes`)")]
    BodyTooLarge {
        /// The bound.
        limit: u64,
    },
    /// The client sent nothing of the request's body for longer than `body-timeout`.
    #[error("no byte of the request body came within {} s (`body-timeout`)", after.as_secs_f64())]
    BodyTooSlow {
        /// The bound.
        after: Duration,
    },
    /// The client broke off in the middle of the request's body.
    #[error("the request body ended too early")]
    BodyBroken,
}

impl Error {
    /// Whether nobody accepted the connection: the instance is gone, or not yet there.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Upstream(error) if error.is_refused())
    }
}
