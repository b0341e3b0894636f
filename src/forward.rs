//! The reverse proxy: one request to one endpoint, and its response back.
//!
//! What follows the function's name reaches the function as it was written, behind the endpoint's
//! prefix; bodies stream both ways, frame by frame, with Content-Length and trailers as they were;
//! fields for the next hop only are dropped (RFC 9110 section 7.6.1); WebSocket and other upgrades of
//! HTTP/1.1 pass. Redirects are the caller's business.
//!
//! **Sending twice.** A request is kept for another attempt ([`Outbound::is_sendable`]) only when no
//! byte of it was written, or when its method is idempotent, it has no body, and no byte of a
//! response came. Whether and where to send it again is the caller's decision ([`invoke`](crate::invoke)).

mod body;
mod error;
mod headers;
mod upgrade;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, TRANSFER_ENCODING};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use prometheus::IntCounter;

pub use body::{RequestBody, RequestBodyError, ResponseBody, ResponseBodyError};
pub use error::Error;

use crate::query::{Endpoint, Target, Via};
use crate::scaler::{AddressPolicy, EndpointRef, Pick};
use crate::shutdown::Drain;
use crate::upstream::{self, AddressCheck, Place, Pool, Protocol, Timeouts, Tls};

/// The default of [`Config::upstream_timeout`], OpenFaaS's `upstream_timeout`.
pub const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(60);

/// The default of [`Config::connect_timeout`].
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The default of [`Config::body_timeout`], OpenFaaS's `read_timeout`.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// The default of [`Config::body_bytes`].
pub const BODY_BYTES: u64 = 256 << 20;

/// How requests are forwarded. The keys are of the `forward` table, in kebab-case.
#[derive(Clone, Debug)]
pub struct Config {
    /// `upstream-timeout`: how long a function may take until the head of its response, and
    /// afterwards between two pieces of the body. A stream that keeps flowing is never cut. Default
    /// [`UPSTREAM_TIMEOUT`], 1 ms to 24 h. Upgraded connections (WebSocket) have none.
    pub upstream_timeout: Duration,
    /// `connect-timeout`: how long connecting to an endpoint may take. Default [`CONNECT_TIMEOUT`],
    /// 1 ms to 5 min.
    pub connect_timeout: Duration,
    /// `body-timeout`: how long a client may send nothing of a body that it announced; then 408.
    /// Default [`BODY_TIMEOUT`], 1 ms to 24 h.
    pub body_timeout: Duration,
    /// `body-bytes`: the longest request body; a longer one gets 413. Bodies are streamed, so this
    /// costs no memory. Default [`BODY_BYTES`]; `u64::MAX` means any.
    pub body_bytes: u64,
    /// Connections to instances, for each worker thread.
    pub pool: upstream::Config,
    /// How TLS is spoken with endpoints that ask for it; `None` refuses them. Not a key.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            upstream_timeout: UPSTREAM_TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
            body_bytes: BODY_BYTES,
            pool: upstream::Config::default(),
            tls: None,
        }
    }
}

/// Who sent a request: made once for each connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// The same for `X-Forwarded-For`: without a port.
    forwarded_for: HeaderValue,
}

impl Peer {
    /// The peer at an address. IPv4 in IPv6's clothes is shown as IPv4.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        let text = address.ip().to_canonical().to_string();
        // An address is always a field's value.
        let forwarded_for = HeaderValue::try_from(text).unwrap_or_else(|_never| HeaderValue::from_static("unknown"));
        Self { address, forwarded_for }
    }
}

/// A request on its way to an endpoint.
pub struct Outbound {
    /// `None` once bytes of it were written.
    request: Option<Request<RequestBody>>,
    /// What the client asked for; what follows the function's name begins at byte `rest_at` of its path.
    uri: Uri,
    rest_at: usize,
    upgrade: Option<(HeaderValue, OnUpgrade)>,
    /// Whether it may be sent again although bytes were written.
    is_repeatable: bool,
}

impl Outbound {
    /// Whether it can be sent, to the same endpoint or another.
    #[must_use]
    pub fn is_sendable(&self) -> bool {
        self.request.is_some()
    }
}

/// Sends requests over the connections of one worker thread.
pub struct Forward {
    config: Arc<Config>,
    pool: Pool<RequestBody>,
    drain: Drain,
}

impl Forward {
    /// A forwarder that counts the connections it opens in `opened`.
    #[must_use]
    pub fn new(config: Arc<Config>, opened: IntCounter, drain: Drain) -> Self {
        let pool = Pool::new(config.pool.clone(), opened);
        Self { config, pool, drain }
    }

    /// Makes a client's request ready to be sent. What follows the function's name begins at byte
    /// `rest_at` of the path.
    ///
    /// # Errors
    /// [`Error::BodyTooLarge`], when the body's length is known beforehand.
    pub fn prepare(&self, mut request: Request<Incoming>, rest_at: usize, peer: &Peer) -> Result<Outbound, Error> {
        let limit = self.config.body_bytes;
        if request.body().size_hint().lower() > limit {
            return Err(Error::BodyTooLarge { limit });
        }
        let upgrade = if request.version() == Version::HTTP_11 { headers::upgrade(request.headers()) } else { None };
        let upgrade = upgrade.map(|protocol| (protocol, hyper::upgrade::on(&mut request)));
        headers::edit_request(&mut request, &peer.forwarded_for);
        let is_repeatable = upgrade.is_none() && request.body().is_end_stream() && is_idempotent(request.method());
        let uri = request.uri().clone();
        let mut request = request.map(|incoming| RequestBody::new(incoming, limit, self.config.body_timeout));
        request.extensions_mut().clear();
        Ok(Outbound { request: Some(request), uri, rest_at, upgrade, is_repeatable })
    }

    /// Sends the request to the endpoint of `pick` and answers with the head of the response.
    ///
    /// # Errors
    /// Why there is none; [`Outbound::is_sendable`] says whether another attempt may be made.
    ///
    /// # Cancel safety
    /// Dropping it closes the connection; the function may have seen the request.
    pub async fn send(&self, outbound: &mut Outbound, pick: Pick) -> Result<Response<ResponseBody>, Error> {
        let aim = self.aim(&pick)?;
        let Outbound { request, uri, rest_at, upgrade, is_repeatable } = outbound;
        let mut spare = None;
        if let Some(request) = request {
            let path = path(&aim.prefix, uri, *rest_at)?;
            aim.point(request, path, upgrade.as_ref().map(|(protocol, _client)| protocol))?;
            spare = is_repeatable.then(|| Box::new(head_of(request)));
        }
        let timeouts = Timeouts { connect: self.config.connect_timeout, response: self.config.upstream_timeout };
        match self.pool.send(&aim.target, request, timeouts).await {
            Ok(response) => Ok(self.back(response, outbound, pick)),
            Err(error) => {
                if request.is_none() {
                    if let Some(body) = RequestBodyError::behind(&error) {
                        return Err(body.into());
                    }
                    if error.is_without_response() {
                        // Once is enough: an instance that closes twice without a word will do so again.
                        *is_repeatable = false;
                        *request = spare.map(|spare| *spare);
                    }
                }
                Err(Error::Upstream(error))
            }
        }
    }

    fn aim(&self, endpoint: &EndpointRef) -> Result<Aim, Error> {
        let Endpoint { target, path_prefix, host_header, tls, via, .. } = endpoint.endpoint();
        let host = host_header.as_ref().map(|host| field(host)).transpose()?;
        match target {
            Target::Authority(authority) => {
                let tls = match (tls, &self.config.tls) {
                    (false, _) => None,
                    (true, Some(config)) => Some(Tls { config: Arc::clone(config), server_name: None }),
                    (true, None) => return Err(Error::BadEndpoint("it wants TLS, which is not set up".into())),
                };
                let check: Arc<dyn AddressCheck> = Arc::<AddressPolicy>::clone(endpoint.policy());
                let place = Place::Tcp(Arc::clone(authority));
                let target = upstream::Target { place, tls, protocol: Protocol::Http1, check: Some(check) };
                let host = host.map_or_else(|| field(authority), Ok)?;
                Ok(Aim { target, prefix: Arc::clone(path_prefix), host, absolute: None })
            }
            Target::Grant(name) => {
                let Via { client, .. } = via.as_ref().ok_or_else(|| Error::UnknownGrant((**name).into()))?;
                // What follows the prefix cannot climb out of it: the router refuses dot segments.
                if !client.admits(path_prefix) {
                    return Err(Error::NotOpened { grant: (**name).into(), path: (**path_prefix).into() });
                }
                let prefix = match client.base() {
                    "" => Arc::clone(path_prefix),
                    base => format!("{base}{path_prefix}").into(),
                };
                let absolute = match client.target().protocol {
                    Protocol::Http1 => None,
                    Protocol::Http2 => Some((client.scheme().clone(), client.authority().clone())),
                };
                let host = host.unwrap_or_else(|| client.host().clone());
                Ok(Aim { target: client.target().clone(), prefix, host, absolute })
            }
        }
    }

    fn back(
        &self,
        mut response: Response<upstream::Body<RequestBody>>,
        outbound: &mut Outbound,
        pick: Pick,
    ) -> Response<ResponseBody> {
        let timeout = self.config.upstream_timeout;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS
            && let Some((_asked, client)) = outbound.upgrade.take()
            && let Some(protocol) = headers::upgrade(response.headers())
        {
            let instance = hyper::upgrade::on(&mut response);
            upgrade::join(client, instance, pick, &self.drain);
            headers::edit_response(response.headers_mut());
            headers::set_upgrade(response.headers_mut(), protocol);
            return response.map(|_empty| ResponseBody::empty());
        }
        headers::edit_response(response.headers_mut());
        *response.version_mut() = Version::HTTP_11;
        response.map(|body| ResponseBody::new(body, timeout, pick))
    }
}

/// Everything that a request must say and do to reach one endpoint.
struct Aim {
    target: upstream::Target,
    prefix: Arc<str>,
    host: HeaderValue,
    /// For HTTP/2, whose targets are absolute.
    absolute: Option<(Scheme, http::uri::Authority)>,
}

impl Aim {
    /// Makes a request one for this endpoint; it may have been one for another before.
    fn point(
        &self,
        request: &mut Request<RequestBody>,
        path: PathAndQuery,
        upgrade: Option<&HeaderValue>,
    ) -> Result<(), Error> {
        *request.uri_mut() = match &self.absolute {
            None => Uri::from(path),
            Some((scheme, authority)) => {
                let mut parts = http::uri::Parts::default();
                parts.scheme = Some(scheme.clone());
                parts.authority = Some(authority.clone());
                parts.path_and_query = Some(path);
                Uri::from_parts(parts).map_err(|invalid| Error::BadEndpoint(invalid.to_string().into()))?
            }
        };
        let is_http1 = self.absolute.is_none();
        *request.version_mut() = if is_http1 { Version::HTTP_11 } else { Version::HTTP_2 };
        let has_unknown_length = !request.body().is_end_stream() && request.body().size_hint().exact().is_none();
        let headers = request.headers_mut();
        if is_http1 {
            headers.insert(HOST, self.host.clone());
            if has_unknown_length {
                // hyper would leave out the body of a GET that does not say so.
                headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            if let Some(protocol) = upgrade {
                headers::set_upgrade(headers, protocol.clone());
            }
        } else {
            headers.remove(HOST);
        }
        Ok(())
    }
}

/// The path and query for an endpoint: its prefix, what follows the function's name, and the query,
/// byte for byte.
fn path(prefix: &str, uri: &Uri, rest_at: usize) -> Result<PathAndQuery, Error> {
    let rest = uri.path().get(rest_at..).unwrap_or_default();
    let rest = if prefix.is_empty() && rest.is_empty() { "/" } else { rest };
    let query = uri.query();
    let mut path = String::with_capacity(prefix.len() + rest.len() + query.map_or(0, |query| query.len() + 1));
    path.push_str(prefix);
    path.push_str(rest);
    if let Some(query) = query {
        path.push('?');
        path.push_str(query);
    }
    PathAndQuery::from_maybe_shared(Bytes::from(path)).map_err(|invalid| Error::BadEndpoint(invalid.to_string().into()))
}

fn field(text: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(text).map_err(|_invalid| Error::BadEndpoint(text.escape_debug().to_string().into()))
}

/// RFC 9110 section 9.2.2.
fn is_idempotent(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PUT, Method::DELETE].contains(method)
}

/// A copy of a request without a body.
fn head_of(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}

impl AddressCheck for AddressPolicy {
    fn check(&self, host: &str, address: SocketAddr) -> Result<(), String> {
        self.check_connect(host, address).map_err(|refused| refused.to_string())
    }
}
