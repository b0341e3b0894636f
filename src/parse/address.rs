//! Where to listen: a socket address or a Unix socket.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// The longest path of a Unix socket on Linux, in bytes: `sun_path` less its final zero (unix(7)).
pub const UNIX_PATH_MAX_BYTES: usize = 107;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `IP:PORT`; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// `unix:/path`, absolute or relative to the configuration file.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why a text is no address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// It has no port.
    #[error("{0:?} has no port; write \"{0}:8080\"")]
    NoPort(String),
    /// It has no address before the port.
    #[error("{0:?} has no address; write \"0.0.0.0{0}\" for every interface or \"127.0.0.1{0}\" for this machine only")]
    NoHost(String),
    /// It has a name where an address must be: what it resolves to may change.
    #[error("{0:?} is not an IP address and port; write e.g. \"0.0.0.0:8080\", \"127.0.0.1:8080\" or \"[::]:8080\"")]
    NotAnAddress(String),
    /// A Unix socket without a path.
    #[error("{0:?} has no path; write e.g. \"unix:/run/wicketgate/admin.sock\"")]
    NoPath(String),
    /// A Unix socket whose path does not fit.
    #[error("the path of {0:?} has more than {UNIX_PATH_MAX_BYTES} bytes, which no Unix socket can have")]
    PathTooLong(String),
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("unix:") {
            // `unix:///run/x.sock` is what URL-minded people write.
            let path = path.strip_prefix("//").filter(|rest| rest.starts_with('/')).unwrap_or(path);
            return if path.is_empty() || path.contains('\0') {
                Err(InvalidAddress::NoPath(text.into()))
            } else if path.len() > UNIX_PATH_MAX_BYTES {
                Err(InvalidAddress::PathTooLong(text.into()))
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Tcp(address));
        }
        Err(if text.parse::<std::net::Ipv4Addr>().is_ok() {
            InvalidAddress::NoPort(text.into())
        } else if text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok()) {
            InvalidAddress::NoHost(text.into())
        } else {
            InvalidAddress::NotAnAddress(text.into())
        })
    }
}
