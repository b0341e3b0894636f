//! Where a grant's requests go, and what is put before their paths.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::path::{InvalidPath, check_path};

/// `connect`: where the requests of a grant go.
///
/// Written as `http://host`, `https://host:port` (IPv6 addresses in brackets) or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connect {
    /// A host that is reached over TCP.
    Tcp {
        /// Whether TLS is spoken (`https://`).
        tls: bool,
        /// A DNS name or an address, an IPv6 one without its brackets.
        host: String,
        /// The port; without one 80, or 443 with TLS.
        port: u16,
    },
    /// A Unix socket.
    Unix {
        /// Its absolute path.
        path: PathBuf,
    },
}

impl Connect {
    /// What a request's `Host` says: the host, its port unless that is the scheme's own, and
    /// `localhost` for a Unix socket.
    #[must_use]
    pub fn authority(&self) -> String {
        match self {
            Self::Tcp { tls, host, port } => {
                let host = bracketed(host);
                if *port == default_port(*tls) { host } else { format!("{host}:{port}") }
            }
            Self::Unix { .. } => "localhost".to_owned(),
        }
    }

    /// `host:port` to be dialled; `None` for a Unix socket.
    #[must_use]
    pub fn dial(&self) -> Option<String> {
        match self {
            Self::Tcp { host, port, .. } => Some(format!("{}:{port}", bracketed(host))),
            Self::Unix { .. } => None,
        }
    }

    /// Whether TLS is spoken.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tcp { tls: true, .. })
    }

    /// Reads the URL of a whole platform: what may stand in `connect`, and a path, which becomes
    /// the [`BasePath`]. `http://provider:8081/v1/` is `http://provider:8081` with base `/v1`.
    ///
    /// # Errors
    /// See [`InvalidConnect`].
    pub fn parse_with_base(text: &str) -> Result<(Self, BasePath), InvalidConnect> {
        let Some((scheme, rest)) = text.split_once("://") else { return Ok((text.parse()?, BasePath::default())) };
        let Some((authority, path)) = rest.split_once('/') else { return Ok((text.parse()?, BasePath::default())) };
        let base =
            format!("/{path}").parse().map_err(|source| InvalidConnect::Base { text: text.to_owned(), source })?;
        Ok((format!("{scheme}://{authority}").parse()?, base))
    }
}

fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

impl fmt::Display for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { tls, .. } => {
                write!(f, "{}://{}", if *tls { "https" } else { "http" }, self.authority())
            }
            Self::Unix { path } => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why a text is not a [`Connect`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConnect {
    /// Neither of the three forms.
    #[error("not a place to connect to: {0:?}; write \"http://host:port\", \"https://host:port\" or \"unix:/path\"")]
    Form(String),
    /// A password would be in the configuration, and in every log line that shows it.
    #[error("credentials do not belong into `connect`; write them into files and name those under `auth`")]
    Credentials,
    /// A URL with a path, a query or a fragment.
    #[error("{0:?} has more than a host and a port; write the path as `base`, e.g. base = \"/v1\"")]
    Path(String),
    /// The host is empty or has characters that no host has.
    #[error("{host:?} in {text:?} is not a host; write a DNS name, an IPv4 address, or an IPv6 address in brackets")]
    Host {
        /// All of it.
        text: String,
        /// The part at fault.
        host: String,
    },
    /// The port is no number from 1 to 65535.
    #[error("{port:?} in {text:?} is not a port; write a number from 1 to 65535")]
    Port {
        /// All of it.
        text: String,
        /// The part at fault.
        port: String,
    },
    /// The path of a Unix socket is relative or empty.
    #[error("{0:?} has no absolute path; write e.g. \"unix:/var/run/docker.sock\"")]
    RelativeSocket(String),
    /// The path of the URL cannot be a base.
    #[error("{text:?} has a path that cannot be a base")]
    Base {
        /// All of it.
        text: String,
        /// What is wrong with the path.
        source: InvalidBasePath,
    },
}

impl FromStr for Connect {
    type Err = InvalidConnect;

    fn from_str(text: &str) -> Result<Self, InvalidConnect> {
        if let Some(path) = text.strip_prefix("unix:") {
            // `unix:///run/x.sock` is how other programs write it.
            let path = path.strip_prefix("//").unwrap_or(path);
            let is_whole = Path::new(path).is_absolute() && !path.ends_with('/') && !path.contains('\0');
            // Without doubled slashes, two of which would be taken for those above when it is shown and read.
            let clean: PathBuf = Path::new(path).components().collect();
            // `/.` is the root.
            if !is_whole || clean.file_name().is_none() {
                return Err(InvalidConnect::RelativeSocket(text.to_owned()));
            }
            return Ok(Self::Unix { path: clean });
        }
        let (tls, rest) = if let Some(rest) = text.strip_prefix("http://") {
            (false, rest)
        } else if let Some(rest) = text.strip_prefix("https://") {
            (true, rest)
        } else {
            return Err(InvalidConnect::Form(text.to_owned()));
        };
        if rest.contains('@') {
            return Err(InvalidConnect::Credentials);
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#', '\\']) {
            return Err(InvalidConnect::Path(text.to_owned()));
        }
        let (host, port) = split_port(authority);
        let port = match port {
            None => default_port(tls),
            Some(port) => {
                parse_port(port).ok_or_else(|| InvalidConnect::Port { text: text.to_owned(), port: port.to_owned() })?
            }
        };
        let host =
            parse_host(host).ok_or_else(|| InvalidConnect::Host { text: text.to_owned(), host: host.to_owned() })?;
        Ok(Self::Tcp { tls, host, port })
    }
}

/// Splits at the colon before the port, which in an IPv6 address stands behind the bracket.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// Digits only: `u16::from_str` would take a sign.
fn parse_port(text: &str) -> Option<u16> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|port| *port != 0)
}

fn parse_host(text: &str) -> Option<String> {
    if let Some(rest) = text.strip_prefix('[') {
        let address: IpAddr = rest.strip_suffix(']')?.parse().ok()?;
        return address.is_ipv6().then(|| address.to_string());
    }
    let is_host = (1..=253).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && !text.starts_with('.');
    is_host.then(|| text.to_ascii_lowercase())
}

/// `base`: what is put before the path of every request. Empty, or `/...` without a final `/`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BasePath(String);

impl BasePath {
    /// The path, empty if there is none.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BasePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a [`BasePath`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a base path: {text:?}; write a path such as \"/v1.41\"")]
pub struct InvalidBasePath {
    /// What was written.
    pub text: String,
    /// What is wrong with it.
    pub source: InvalidPath,
}

impl FromStr for BasePath {
    type Err = InvalidBasePath;

    /// One final `/` is taken away, so that `"/"` is the empty base.
    fn from_str(text: &str) -> Result<Self, InvalidBasePath> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        check_path(text).map_err(|source| InvalidBasePath { text: text.to_owned(), source })?;
        Ok(Self(text.strip_suffix('/').unwrap_or(text).to_owned()))
    }
}
