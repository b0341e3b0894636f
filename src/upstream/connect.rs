//! Where to connect and how, and the connecting.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};

use super::Error;
use super::stream::Stream;

/// Decides about addresses right before they are dialled, so that a name cannot mean something else
/// by then. Implemented by functions of the same shape too.
pub trait AddressCheck: Send + Sync {
    /// Whether `address` may be dialled, one of those that `host` stands for. Must not block.
    ///
    /// # Errors
    /// Why it may not, in a few words for the log.
    fn check(&self, host: &str, address: SocketAddr) -> Result<(), String>;
}

impl<F: Fn(&str, SocketAddr) -> Result<(), String> + Send + Sync> AddressCheck for F {
    fn check(&self, host: &str, address: SocketAddr) -> Result<(), String> {
        self(host, address)
    }
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// `host:port`; the host is a name, an IPv4 address or an IPv6 address in brackets.
    Tcp(Arc<str>),
    /// The path of a Unix socket.
    Unix(Arc<Path>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(authority) => f.write_str(authority),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Which HTTP is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1: one request at a time on a connection. Request targets are in origin form.
    #[default]
    Http1,
    /// HTTP/2 with prior knowledge (over TLS, the client configuration must offer `h2` by ALPN): one
    /// connection for all requests. Request targets are in absolute form.
    Http2,
}

/// How TLS is spoken.
#[derive(Clone)]
pub struct Tls {
    /// Roots, client certificate, ALPN. Connections are shared only between users of the same `Arc`.
    pub config: Arc<rustls::ClientConfig>,
    /// The name that the server's certificate must have; `None` takes the host of the place.
    pub server_name: Option<ServerName<'static>>,
}

/// A server: where it is, how it is spoken to, and which of its addresses may be dialled.
///
/// The key of the pool: targets are equal if a connection to one serves the other.
#[derive(Clone)]
pub struct Target {
    /// Where it listens.
    pub place: Place,
    /// TLS, if it is spoken.
    pub tls: Option<Tls>,
    /// Which HTTP is spoken.
    pub protocol: Protocol,
    /// Which addresses may be dialled; `None` allows all. Not asked for Unix sockets.
    pub check: Option<Arc<dyn AddressCheck>>,
}

impl Target {
    /// HTTP/1.1 without TLS to any address.
    #[must_use]
    pub fn plain(place: Place) -> Self {
        Self { place, tls: None, protocol: Protocol::Http1, check: None }
    }

    /// What two equal targets agree in, beside the place and the protocol.
    fn identity(&self) -> (usize, Option<&ServerName<'static>>, usize) {
        let config = self.tls.as_ref().map_or(0, |tls| Arc::as_ptr(&tls.config).addr());
        let name = self.tls.as_ref().and_then(|tls| tls.server_name.as_ref());
        let check = self.check.as_ref().map_or(0, |check| Arc::as_ptr(check).cast::<()>().addr());
        (config, name, check)
    }
}

impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place && self.protocol == other.protocol && self.identity() == other.identity()
    }
}

impl Eq for Target {}

impl Hash for Target {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The place alone tells nearly all targets apart.
        self.place.hash(state);
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{} ({:?})", self.place, self.protocol)
    }
}

/// Opens a stream to `target`, TLS included, within `timeout`.
pub(super) async fn open(target: &Target, timeout: Duration) -> Result<Stream, Error> {
    match tokio::time::timeout(timeout, dial(target)).await {
        Ok(opened) => opened,
        Err(_elapsed) => Err(Error::ConnectTimeout { place: target.place.clone(), after: timeout }),
    }
}

async fn dial(target: &Target) -> Result<Stream, Error> {
    let stream = match &target.place {
        Place::Tcp(authority) => Stream::Tcp(dial_tcp(authority, target).await?),
        Place::Unix(path) => Stream::Unix(
            UnixStream::connect(path).await.map_err(|source| Error::Connect { place: target.place.clone(), source })?,
        ),
    };
    let Some(tls) = &target.tls else { return Ok(stream) };
    let name = match (&tls.server_name, &target.place) {
        (Some(name), _) => name.clone(),
        (None, Place::Tcp(authority)) => {
            let (host, _port) = split(authority)?;
            ServerName::try_from(host.to_owned())
                .map_err(|_not_a_name| Error::InvalidAuthority((**authority).into()))?
        }
        (None, Place::Unix(_)) => ServerName::IpAddress(IpAddr::from([127, 0, 0, 1]).into()),
    };
    let stream = tokio_rustls::TlsConnector::from(Arc::clone(&tls.config))
        .connect(name, stream)
        .await
        .map_err(|source| Error::Tls { place: target.place.clone(), source })?;
    Ok(Stream::Tls(Box::new(stream)))
}

/// Tries the addresses in the resolver's order; the last error is the one reported.
async fn dial_tcp(authority: &Arc<str>, target: &Target) -> Result<TcpStream, Error> {
    let place = || target.place.clone();
    let (host, port) = split(authority)?;
    let addresses: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_name) => tokio::net::lookup_host((host, port))
            .await
            .map_err(|source| Error::Resolve { place: place(), source })?
            .collect(),
    };
    let mut last = Error::NoAddress(place());
    for address in addresses {
        // An IPv4 address in IPv6's clothes is judged as what it is.
        let judged = SocketAddr::new(address.ip().to_canonical(), port);
        if let Some(Err(reason)) = target.check.as_ref().map(|check| check.check(host, judged)) {
            last = Error::AddressDenied { place: place(), address: judged, reason };
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // A request is written in one piece: waiting for more would only delay it.
                stream.set_nodelay(true).map_err(|source| Error::Connect { place: place(), source })?;
                return Ok(stream);
            }
            Err(source) => last = Error::Connect { place: place(), source },
        }
    }
    Err(last)
}

fn split(authority: &str) -> Result<(&str, u16), Error> {
    let invalid = || Error::InvalidAuthority(authority.into());
    let (host, port) = authority.rsplit_once(':').ok_or_else(invalid)?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or_else(invalid)?,
        None if host.contains(':') => return Err(invalid()),
        None => host,
    };
    if host.is_empty() {
        return Err(invalid());
    }
    Ok((host, port.parse().map_err(|_not_a_port| invalid())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_split_at_its_port() {
        assert_eq!(split("a.example:80").unwrap(), ("a.example", 80));
        assert_eq!(split("[::1]:8080").unwrap(), ("::1", 8080));
        for bad in ["", "a", "a:", ":80", "a:99999", "::1:80", "[::1:80", "a:80:90"] {
            assert!(split(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn targets_differ_by_place_protocol_and_check() {
        let one = Target::plain(Place::Tcp("127.0.0.1:80".into()));
        assert_eq!(one, one.clone());
        assert_ne!(one, Target { protocol: Protocol::Http2, ..one.clone() });
        let check: Arc<dyn AddressCheck> = Arc::new(|_host: &str, _address: SocketAddr| Ok(()));
        let checked = Target { check: Some(check), ..one.clone() };
        assert_eq!(checked, checked.clone());
        assert_ne!(one, checked);
    }
}
