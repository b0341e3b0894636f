//! Does an instance that just started accept connections?

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::endpoints::{EndpointRef, EndpointSet};
use super::policy::{Authority, Host};
use crate::query::Target;

/// How many endpoints of a function are tried at once.
const TRIED_AT_ONCE: usize = 16;

/// The answer of one attempt; an error says what it met.
pub(super) type Attempt<'a> = Pin<Box<dyn Future<Output = Result<(), Arc<str>>> + Send + 'a>>;

/// Tries to connect. A trait, so that tests own the network.
pub(super) trait Probe: Send + Sync {
    fn accepts<'a>(&'a self, endpoint: &'a EndpointRef) -> Attempt<'a>;
}

/// Those endpoints that accept a connection when the first does. A grant counts as accepting: its
/// platform forwards to the instances itself.
///
/// # Errors
/// What the last attempt met, when none accepts.
///
/// # Cancel safety
/// Dropping it closes the connections.
pub(super) async fn accepting(probe: &dyn Probe, set: &EndpointSet) -> Result<EndpointSet, Arc<str>> {
    let mut attempts: FuturesUnordered<_> = set
        .endpoints()
        .iter()
        .take(TRIED_AT_ONCE)
        .map(|endpoint| async move {
            match &endpoint.endpoint().target {
                Target::Grant(_) => Ok(endpoint),
                Target::Authority(_) => probe.accepts(endpoint).await.map(|()| endpoint),
            }
        })
        .collect();
    let mut last = Arc::from("it has no endpoints");
    while let Some(attempt) = attempts.next().await {
        match attempt {
            Ok(first) => {
                let mut accepting = vec![first];
                // Whoever is ready at the same moment comes along; nobody is waited for.
                while let Some(Some(more)) = futures_util::FutureExt::now_or_never(attempts.next()) {
                    accepting.extend(more.ok());
                }
                let all = accepting.len() == set.endpoints().len();
                let now = if all { set.renew() } else { Instant::now() };
                return Ok(set.keeping(|endpoint| accepting.iter().any(|a| a.is_same(endpoint)), now));
            }
            Err(reason) => last = reason,
        }
    }
    Err(last)
}

/// A TCP connection, closed when it was open for as long as `linger` says.
pub(super) struct TcpProbe {
    /// The longest attempt.
    pub(super) timeout: Duration,
    /// How long it must stay open, on top of that. Docker's proxy accepts for a container that does not
    /// listen yet, finds that out, and closes.
    pub(super) linger: Duration,
}

impl Probe for TcpProbe {
    fn accepts<'a>(&'a self, endpoint: &'a EndpointRef) -> Attempt<'a> {
        Box::pin(async move {
            match tokio::time::timeout(self.timeout, connect(endpoint)).await {
                Ok(Ok(Some(stream))) => stays_open(&stream, self.linger).await,
                Ok(Ok(None)) => Ok(()),
                Ok(Err(reason)) => Err(reason),
                Err(_elapsed) => Err(format!("no connection within {} ms", self.timeout.as_millis()).into()),
            }
        })
    }
}

/// Fails if the other side closes within `linger`. Whoever speaks first is there.
async fn stays_open(stream: &TcpStream, linger: Duration) -> Result<(), Arc<str>> {
    if linger.is_zero() {
        return Ok(());
    }
    let mut first = [0];
    match tokio::time::timeout(linger, stream.peek(&mut first)).await {
        Err(_) | Ok(Ok(1..)) => Ok(()),
        Ok(Ok(0)) => Err("it accepts connections and closes them at once".into()),
        Ok(Err(error)) => Err(format!("it accepts connections and breaks them: {error}").into()),
    }
}

/// A connection; `None` for a grant, which is not connected to here.
async fn connect(endpoint: &EndpointRef) -> Result<Option<TcpStream>, Arc<str>> {
    let Target::Authority(text) = &endpoint.endpoint().target else { return Ok(None) };
    let Authority { host, port } = Authority::parse(text).map_err(|refused| Arc::from(refused.to_string()))?;
    let (name, addresses): (String, Vec<SocketAddr>) = match host {
        Host::Address(ip) => (String::new(), vec![SocketAddr::new(ip, port)]),
        Host::Name(name) => {
            let found = tokio::net::lookup_host((name.as_str(), port)).await.map(Iterator::collect);
            let found = found.map_err(|error| Arc::from(format!("{name} is not resolved: {error}")))?;
            (name, found)
        }
    };
    let mut last: Arc<str> = format!("{text} has no address").into();
    for address in addresses {
        if let Err(refused) = endpoint.policy().check_connect(&name, address) {
            last = refused.to_string().into();
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(Some(stream)),
            Err(error) => last = format!("{address}: {error}").into(),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{AllowedHost, EndpointPolicy};
    use crate::query::Endpoint;
    use crate::scaler::policy::{AddressPolicy, OwnListeners};

    fn set(authorities: &[String]) -> EndpointSet {
        let allow = vec![
            AllowedHost::Network("127.0.0.0/8".parse().unwrap()),
            AllowedHost::Network("::1/128".parse().unwrap()),
        ];
        let policy = EndpointPolicy { allow, template: None };
        let policy = AddressPolicy::new(&"edge".parse().unwrap(), &policy, Arc::new(OwnListeners::default()));
        let found = authorities.iter().map(|authority| Endpoint {
            target: Target::Authority(authority.as_str().into()),
            path_prefix: "".into(),
            host_header: None,
            tls: false,
            ttl: Duration::from_secs(60),
            instance: authority.as_str().into(),
            via: None,
        });
        EndpointSet::new(found.collect(), &Arc::new(policy), None, Instant::now(), 16).unwrap()
    }

    async fn listener() -> (tokio::net::TcpListener, u16) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    const PROBE: TcpProbe = TcpProbe { timeout: Duration::from_secs(10), linger: Duration::ZERO };

    #[tokio::test]
    async fn the_endpoint_that_accepts_is_kept_and_the_one_that_refuses_is_not() {
        let (_open, port) = listener().await;
        let (closed, closed_port) = listener().await;
        drop(closed);
        let set = set(&[format!("127.0.0.1:{closed_port}"), format!("127.0.0.1:{port}")]);
        let kept = accepting(&PROBE, &set).await.unwrap();
        let [kept] = kept.endpoints() else { panic!("{kept:?}") };
        assert_eq!(kept.endpoint().target, Target::Authority(format!("127.0.0.1:{port}").into()));
    }

    #[tokio::test]
    async fn nobody_accepting_says_what_was_met() {
        let (closed, port) = listener().await;
        drop(closed);
        let reason = accepting(&PROBE, &set(&[format!("127.0.0.1:{port}")])).await.unwrap_err();
        assert!(reason.contains(&format!("127.0.0.1:{port}")) && reason.contains("refused"), "{reason}");
    }

    #[tokio::test]
    async fn a_name_is_resolved_and_its_addresses_are_checked() {
        let (_open, port) = listener().await;
        accepting(&PROBE, &set(&[format!("localhost:{port}")])).await.unwrap();

        let elsewhere =
            EndpointPolicy { allow: vec![AllowedHost::Network("10.0.0.0/8".parse().unwrap())], template: None };
        let policy = AddressPolicy::new(&"edge".parse().unwrap(), &elsewhere, Arc::new(OwnListeners::default()));
        let endpoint = set(&[format!("localhost:{port}")]).endpoints()[0].endpoint().clone();
        let set = EndpointSet::new(vec![endpoint], &Arc::new(policy), None, Instant::now(), 16).unwrap();
        let reason = accepting(&PROBE, &set).await.unwrap_err();
        assert!(reason.contains("not allowed"), "{reason}");
    }

    #[tokio::test]
    async fn who_accepts_and_closes_at_once_is_not_ready() {
        let probe = TcpProbe { timeout: Duration::from_secs(10), linger: Duration::from_millis(200) };
        let (closing, port) = listener().await;
        let closer = tokio::spawn(async move {
            while let Ok((stream, _peer)) = closing.accept().await {
                drop(stream);
            }
        });
        let places = set(&[format!("127.0.0.1:{port}")]);
        let error = accepting(&probe, &places).await.unwrap_err();
        assert!(error.contains("closes them at once"), "{error}");
        assert!(accepting(&PROBE, &places).await.is_ok(), "without a linger a connection is enough");
        closer.abort();
        let (_open, port) = listener().await;
        assert!(accepting(&probe, &set(&[format!("127.0.0.1:{port}")])).await.is_ok());
    }
}
