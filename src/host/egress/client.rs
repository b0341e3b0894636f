//! A grant as the place that functions' requests are forwarded to.

use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderValue;
use http::uri::{Authority, Scheme};

use super::fault::GrantFault;
use super::tls;
use crate::host::grant::path::climbs;
use crate::host::grant::{BasePath, Connect, Grant, HttpVersion};
use crate::upstream::{AddressCheck, Place, Protocol, Target, never_dialled};

/// What the data plane needs to forward a function's requests through a grant
/// ([`query::Target::Grant`](crate::query::Target::Grant)): where it leads, over the operator's TLS.
///
/// It is sent over the *forwarder's* own pool, so that a hot path is not shared between threads.
/// What is different from a request of the plugin itself:
///
/// * No rule, budget or limit of requests in flight applies: those bind the plugin, and this is a
///   client's request to a function.
/// * **No credential is added.** `/function/*` of every faas-provider is unauthenticated, and the
///   caller's own `Authorization` belongs to the function and reaches it untouched. The platform's
///   password would otherwise be shown to every function, and a client's request would carry the
///   authority of the gateway. A client certificate, which no function sees, is shown.
/// * It stays below the path that the operator opened for it ([`admits`](Self::admits)). Without that
///   a plugin could turn its grant, say of the Docker socket, into a door for every client.
#[derive(Clone, Debug)]
pub struct GrantClient {
    target: Target,
    scheme: Scheme,
    authority: Authority,
    host: HeaderValue,
    base: BasePath,
    functions: Option<BasePath>,
}

impl GrantClient {
    /// Reads the files of the grant's TLS. Blocks.
    pub(super) fn new(grant: &Grant) -> Result<Self, GrantFault> {
        let text = grant.connect.authority();
        let not_a_host = || GrantFault::ServerName(text.clone());
        let authority: Authority = text.parse().map_err(|_invalid| not_a_host())?;
        let host = HeaderValue::from_str(&text).map_err(|_invalid| not_a_host())?;
        let tls = tls::load(grant)?;
        let (place, check) = match &grant.connect {
            Connect::Unix { path } => (Place::Unix(path.as_path().into()), None),
            Connect::Tcp { host, port, .. } => {
                if let Ok(address) = host.parse::<std::net::IpAddr>()
                    && let Some(kind) = never_dialled(address.to_canonical())
                {
                    return Err(GrantFault::Address { address, kind });
                }
                let check: Arc<dyn AddressCheck> = Arc::new(refuse_never_dialled);
                (Place::Tcp(grant.connect.dial().unwrap_or_else(|| format!("{host}:{port}")).into()), Some(check))
            }
        };
        let protocol = match grant.version {
            HttpVersion::Http1 => Protocol::Http1,
            HttpVersion::Http2 => Protocol::Http2,
        };
        let scheme = if tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
        Ok(Self {
            target: Target { place, tls, protocol, check },
            scheme,
            authority,
            host,
            base: grant.base.clone(),
            functions: grant.functions.clone(),
        })
    }

    /// Where to send it: the key for an [`upstream::Pool`](crate::upstream::Pool).
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// What stands before the path of every request: empty, or `/...` without a final `/`. It comes
    /// before an endpoint's own `path-prefix`.
    #[must_use]
    pub fn base(&self) -> &str {
        self.base.as_str()
    }

    /// Whether a function's request may be sent to `path`: an endpoint's `path-prefix`, or that and
    /// what follows it, without the [base](Self::base). It has to lie below the grant's
    /// [`functions`](crate::host::grant::Grant::functions) and must not climb out of it.
    #[must_use]
    pub fn admits(&self, path: &str) -> bool {
        self.functions.as_ref().is_some_and(|functions| {
            path.strip_prefix(functions.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }) && !climbs(path)
    }

    /// What the request's `Host` says, unless the endpoint says otherwise.
    #[must_use]
    pub fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// `http` or `https`, for HTTP/2's absolute targets.
    #[must_use]
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// The same as [`host`](Self::host), for HTTP/2's absolute targets.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }
}

/// The operator chose the name; what it *means* is said by whoever answers for it in DNS.
fn refuse_never_dialled(_host: &str, address: SocketAddr) -> Result<(), String> {
    match never_dialled(address.ip().to_canonical()) {
        Some(kind) => Err(format!("it is {kind}")),
        None => Ok(()),
    }
}
