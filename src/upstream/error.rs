//! Why a request was not answered, and whether a byte of it was written.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::Place;

/// Why a request was not answered.
///
/// Messages name places, so they are for logs: an outsider must not read them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is no `host:port`.
    #[error("not a host and port: {0:?}; write host:port, or [address]:port for IPv6")]
    InvalidAuthority(Box<str>),
    /// The name was not resolved.
    #[error("{place} was not resolved")]
    Resolve {
        /// Where to connect.
        place: Place,
        /// What the resolver said.
        source: io::Error,
    },
    /// The name has no addresses.
    #[error("{0} has no addresses")]
    NoAddress(Place),
    /// The [`AddressCheck`](super::AddressCheck) refused every address; this is the last of them.
    #[error("{place} is at {address}, which may not be dialled: {reason}")]
    AddressDenied {
        /// Where to connect.
        place: Place,
        /// The address that was refused.
        address: SocketAddr,
        /// Why not.
        reason: String,
    },
    /// No connection came about.
    #[error("no connection to {place}")]
    Connect {
        /// Where to connect.
        place: Place,
        /// What the system said.
        source: io::Error,
    },
    /// No connection came about in time.
    #[error("no connection to {place} within {after:?}")]
    ConnectTimeout {
        /// Where to connect.
        place: Place,
        /// How long it was tried.
        after: Duration,
    },
    /// TLS was not agreed upon, or the server's certificate is not trusted.
    #[error("no TLS with {place}")]
    Tls {
        /// Where to connect.
        place: Place,
        /// What TLS said.
        source: io::Error,
    },
    /// There was no request to send.
    #[error("there is no request to send")]
    NothingToSend,
    /// The connection was lost before a byte of the request was written.
    #[error("the connection was closed before the request was sent")]
    Unsent(#[source] hyper::Error),
    /// The connection broke, or the answer was no HTTP, after the request was begun.
    #[error("the connection broke before the response")]
    Broken(#[source] hyper::Error),
    /// No response began in time.
    #[error("no response within {0:?}")]
    ResponseTimeout(Duration),
}

impl Error {
    /// Whether no byte of the request was written: then it may be sent again, whatever its method.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        !matches!(self, Self::Broken(_) | Self::ResponseTimeout(_))
    }

    /// Whether nobody listens at the place, or it cannot be reached: an instance that is gone or not yet there.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::ConnectTimeout { .. } | Self::NoAddress(_) | Self::Resolve { .. })
    }

    /// Whether time ran out.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::ConnectTimeout { .. } | Self::ResponseTimeout(_))
    }

    /// Whether the server closed the connection without a byte of a response.
    #[must_use]
    pub fn is_without_response(&self) -> bool {
        match self {
            Self::Broken(error) => {
                error.is_incomplete_message() || error.is_canceled() || error.is_closed() || is_reset(error)
            }
            Self::ResponseTimeout(_) => false,
            Self::InvalidAuthority(_)
            | Self::Resolve { .. }
            | Self::NoAddress(_)
            | Self::AddressDenied { .. }
            | Self::Connect { .. }
            | Self::ConnectTimeout { .. }
            | Self::Tls { .. }
            | Self::NothingToSend
            | Self::Unsent(_) => true,
        }
    }
}

/// Whether the system said that the other side is gone.
fn is_reset(error: &hyper::Error) -> bool {
    let io = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    io.is_some_and(|io| {
        matches!(
            io.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe
        )
    })
}
