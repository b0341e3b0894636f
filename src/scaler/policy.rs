//! Which addresses may be dialled for a provider's functions.
//!
//! An endpoint comes from a plugin, hence from outside: it is checked when it is resolved, and each
//! address that a DNS name turns out to mean is checked again with [`AddressPolicy::check_connect`]
//! by whoever connects, since names can be rebound in between.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnet::IpNet;

use crate::name::ProviderName;
#[cfg(test)]
use crate::provider::switches::{Check, is_off};
use crate::provider::{AllowedHost, EndpointPolicy};
use crate::upstream::never_dialled;

/// Why an address may not be dialled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressRefused {
    /// The operator did not allow it.
    #[error(
        "{address:?} is not allowed; add it, its network or its name to `allow` under `[provider.{provider}.endpoints]`"
    )]
    NotAllowed {
        /// What was to be dialled.
        address: String,
        /// Whose policy it is.
        provider: ProviderName,
    },
    /// It is one of those that are never dialled, whatever the operator allows.
    #[error("{address} is {kind}, which is never dialled")]
    Never {
        /// What was to be dialled.
        address: SocketAddr,
        /// What it is.
        kind: &'static str,
    },
    /// It is this gateway.
    #[error("{address} is one of the gateway's own listeners, which is never dialled")]
    OwnListener {
        /// What was to be dialled.
        address: SocketAddr,
    },
    /// It is not `host:port`.
    #[error(
        "{0:?} is not an endpoint; expected host:port, as in 10.0.0.7:8080, [fd00::7]:8080 or figlet.internal:8080"
    )]
    Malformed(String),
}

/// The addresses that the gateway itself listens on; shared by all policies of a scaler.
#[derive(Debug, Default)]
pub struct OwnListeners(ArcSwap<Vec<SocketAddr>>);

impl OwnListeners {
    /// Replaces the addresses.
    pub fn set(&self, addresses: Vec<SocketAddr>) {
        self.0.store(Arc::new(addresses));
    }

    fn contain(&self, address: SocketAddr) -> bool {
        #[cfg(test)]
        if is_off(Check::OwnListeners) {
            return false;
        }
        self.0.load().iter().any(|own| {
            own.port() == address.port()
                && (own.ip().to_canonical() == address.ip() || own.ip().is_unspecified() && is_local(address.ip()))
        })
    }
}

/// Whether `ip` is one of this machine's. Asked only when the port is a listener's: a datagram
/// socket can be bound only to a local address, and binding one sends nothing.
fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

/// A provider's [`EndpointPolicy`] in a form that is quick to ask, with what is never dialled.
#[derive(Debug)]
pub struct AddressPolicy {
    provider: ProviderName,
    networks: Vec<IpNet>,
    names: Vec<String>,
    suffixes: Vec<String>,
    own: Arc<OwnListeners>,
}

impl AddressPolicy {
    /// The policy of `provider`.
    #[must_use]
    pub fn new(provider: &ProviderName, policy: &EndpointPolicy, own: Arc<OwnListeners>) -> Self {
        let mut made =
            Self { provider: provider.clone(), networks: Vec::new(), names: Vec::new(), suffixes: Vec::new(), own };
        for allowed in &policy.allow {
            match allowed {
                AllowedHost::Network(network) => made.networks.push(*network),
                AllowedHost::Name(name) => made.names.push(normal(name)),
                AllowedHost::Suffix(suffix) => {
                    let suffix = normal(suffix);
                    let suffix = suffix.trim_start_matches('*').trim_start_matches('.');
                    made.suffixes.push(format!(".{suffix}"));
                }
            }
        }
        made
    }

    /// Checks an endpoint's `host:port` as far as that goes without DNS: an IP address completely; a
    /// name passes when it is allowed by name or when some network is allowed that it might mean.
    ///
    /// # Errors
    /// Why it may not be dialled.
    pub fn check_authority(&self, authority: &str) -> Result<Authority, AddressRefused> {
        let parsed = Authority::parse(authority)?;
        match &parsed.host {
            Host::Address(ip) => self.check_connect("", SocketAddr::new(*ip, parsed.port))?,
            Host::Name(name) if self.allows_name(name) || !self.networks.is_empty() => {}
            Host::Name(_) => return Err(self.not_allowed(authority.to_owned())),
        }
        Ok(parsed)
    }

    /// Checks an address right before a connection is made to it. `host` is the name that it was
    /// resolved from, or the address itself. To be asked for *each* address of a name.
    ///
    /// # Errors
    /// Why it may not be dialled.
    pub fn check_connect(&self, host: &str, address: SocketAddr) -> Result<(), AddressRefused> {
        let ip = address.ip().to_canonical();
        let address = SocketAddr::new(ip, address.port());
        if let Some(kind) = never_dialled(ip) {
            return Err(AddressRefused::Never { address, kind });
        }
        if self.own.contain(address) {
            return Err(AddressRefused::OwnListener { address });
        }
        if self.networks.iter().any(|network| network.contains(&ip)) || self.allows_name(host) {
            return Ok(());
        }
        Err(self.not_allowed(address.to_string()))
    }

    fn allows_name(&self, host: &str) -> bool {
        if host.is_empty() || host.parse::<IpAddr>().is_ok() {
            return false;
        }
        let host = normal(host);
        self.names.contains(&host) || self.suffixes.iter().any(|suffix| host.ends_with(suffix.as_str()))
    }

    fn not_allowed(&self, address: String) -> AddressRefused {
        AddressRefused::NotAllowed { address, provider: self.provider.clone() }
    }
}

/// DNS names compare without case and without the root's dot (RFC 4343, RFC 1034 section 3.1).
fn normal(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// The host of an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// An IP address; one that is IPv4 in IPv6's clothes is IPv4.
    Address(IpAddr),
    /// A name, still to be resolved.
    Name(String),
}

/// An endpoint's `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// Whom to connect to.
    pub host: Host,
    /// At which port, never 0.
    pub port: u16,
}

impl Authority {
    /// Reads `host:port`; an IPv6 address stands in brackets.
    ///
    /// # Errors
    /// [`AddressRefused::Malformed`].
    pub fn parse(text: &str) -> Result<Self, AddressRefused> {
        let malformed = || AddressRefused::Malformed(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(malformed)?;
        let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        let port = port.parse::<u16>().ok().filter(|port| digits && *port != 0).ok_or_else(malformed)?;
        let host = match host.strip_prefix('[').map(|rest| rest.strip_suffix(']')) {
            Some(Some(inside)) => Host::Address(IpAddr::V6(inside.parse().map_err(|_not_ipv6| malformed())?)),
            Some(None) => return Err(malformed()),
            None => match host.parse::<Ipv4Addr>() {
                Ok(ip) => Host::Address(IpAddr::V4(ip)),
                Err(_not_ipv4) if is_dns_name(host) => Host::Name(host.to_owned()),
                Err(_not_ipv4) => return Err(malformed()),
            },
        };
        let host = match host {
            Host::Address(ip) => Host::Address(ip.to_canonical()),
            name @ Host::Name(_) => name,
        };
        Ok(Self { host, port })
    }
}

/// RFC 1123 section 2.1, and the underscores that container networks use.
fn is_dns_name(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.len() <= crate::name::NAME_MAX_BYTES
        && host.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        })
}

#[cfg(test)]
mod tests;
