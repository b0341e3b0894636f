//! Requests of plugins to their platforms: named, matched, counted, authenticated, sent over kept connections.
//!
//! The way of a request ([`Egress::send`]), each step before the next:
//!
//! 1. It is counted against the call's [`EgressMeter`].
//! 2. Its authority names a [`Grant`]; its target can be read in only one way
//!    ([`check_path`](crate::host::grant::path::check_path)); a [rule](crate::host::grant::Rule) allows it. A body that a
//!    rule looks into is read to its end first, within the grant's `buffered-bytes`.
//! 3. Header fields outside the allowlist ([`headers`]) are left out.
//! 4. It waits for its place among the grant's requests in flight.
//! 5. The base path, `Host` and the credentials are added. What is added here no guest ever sees.
//! 6. It goes over an idle connection of the grant's pool, or over a new one to an address that may
//!    be dialled. Redirects are not followed: `Location` is an answer like others.
//! 7. A credential that the platform refused (401) is read again, and where it is another one by now the
//!    request is sent once more.
//! 8. Fields of the response that challenge, set cookies or echo the credential are taken away; its
//!    body is counted while it is read.

pub mod headers;

mod authorize;
mod aws;
mod body;
mod client;
mod container;
mod credentials;
mod echo;
mod error;
mod fault;
mod gate;
mod held;
mod meter;
mod metrics;
#[cfg(test)]
mod tests;
mod tls;

pub use body::{BoxError, EgressBody};
pub use client::GrantClient;
pub use error::{EgressError, SHOWN_MAX_BYTES};
pub use fault::{GrantError, GrantFault};
pub use meter::{EgressLimits, EgressMeter, EgressUsage};
pub use metrics::EgressMetrics;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};

use crate::host::grant::{Effect, Grant};
use crate::name::{Namespace, ProviderName};
use crate::provider::ProviderConfig;
use crate::trust::used::Recorder;
use crate::upstream::Place;
use credentials::Credentials;
use gate::Gate;

/// What a plugin may do, by where it is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Not published yet: only rules with effect `read`.
    ReadOnly,
    /// Published.
    Full,
}

/// What a guest asked for; a grant's own bound holds where that is shorter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Option<Duration>,
    /// For the head of the response.
    pub first_byte: Option<Duration>,
    /// For each pause within the response's body.
    pub between_bytes: Option<Duration>,
}

/// Leads requests elsewhere than their grant says, by whether they change something; `None` leaves them on their
/// way. For the conformance suite, which stands in for platforms that fail. Everything else of a request stays as it
/// is: its rule, its credentials, its bounds.
pub type Detour = Arc<dyn Fn(Effect) -> Option<Place> + Send + Sync>;

/// The egress of one generation of a provider's plugin: its grants, with their connections and
/// credentials. Dropping it closes idle connections.
pub struct Egress {
    provider: ProviderName,
    namespaces: Arc<[Namespace]>,
    gates: BTreeMap<String, Arc<Gate>>,
    metrics: EgressMetrics,
}

/// What keeps a grant from being used: of its TLS, and of its credentials. Blocks for reading the files that
/// it names; connects to nothing.
#[must_use]
pub fn faults(grant: &Grant) -> Vec<GrantFault> {
    let (client, credentials) = (GrantClient::new(grant).err(), Credentials::load(grant).err());
    client.into_iter().chain(credentials).collect()
}

impl Egress {
    /// Reads the secrets, keys and certificates that the provider's grants name. Blocks for these
    /// few reads; connects to nothing.
    ///
    /// # Errors
    /// The first grant that cannot be used, and why.
    pub fn new(config: &ProviderConfig, metrics: &EgressMetrics) -> Result<Self, GrantError> {
        Self::make(config, metrics, None)
    }

    /// The same, with requests led elsewhere by `detour`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_detour(config: &ProviderConfig, metrics: &EgressMetrics, detour: &Detour) -> Result<Self, GrantError> {
        Self::make(config, metrics, Some(detour))
    }

    fn make(config: &ProviderConfig, metrics: &EgressMetrics, detour: Option<&Detour>) -> Result<Self, GrantError> {
        let mut gates = BTreeMap::new();
        for (name, grant) in &config.grants {
            let mut gate = Gate::new(&config.name, name, grant, config.limits.header_bytes, metrics)
                .map_err(|reason| GrantError { provider: config.name.clone(), grant: name.clone(), reason })?;
            gate.detour = detour.map(Arc::clone);
            gates.insert(name.clone(), Arc::new(gate));
        }
        let namespaces = config.namespaces.clone().into();
        Ok(Self { provider: config.name.clone(), namespaces, gates, metrics: metrics.clone() })
    }

    /// Egress that grants nothing.
    #[must_use]
    pub fn closed(provider: &ProviderName, metrics: &EgressMetrics) -> Self {
        Self { provider: provider.clone(), namespaces: [].into(), gates: BTreeMap::new(), metrics: metrics.clone() }
    }

    /// Sends a guest's request and answers with the head of the response.
    ///
    /// # Errors
    /// See [`EgressError`]. Whatever was denied has not reached the platform.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection; the platform may have seen the request.
    pub async fn send<B>(
        &self,
        request: Request<B>,
        access: Access,
        meter: &Arc<EgressMeter>,
        timeouts: Timeouts,
    ) -> Result<Response<EgressBody>, EgressError>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let Some(gate) = request.uri().authority().and_then(|name| self.gates.get(name.as_str())) else {
            let _ = meter.count_request();
            let error = self.unknown_grant(&request);
            self.count(&error);
            return Err(error);
        };
        let answer = gate.send(request, access, &self.namespaces, meter, timeouts).await;
        if let Err(error) = &answer {
            gate.failed(error);
        }
        answer
    }

    /// A grant as a place to forward functions' requests to, with the certificates of now.
    #[must_use]
    pub fn client(&self, grant: &str) -> Option<Arc<GrantClient>> {
        self.gates.get(grant).map(|gate| Arc::clone(&gate.held_now().client))
    }

    /// Records what passes the grants from now on. A second call changes nothing.
    pub fn record(&self, recorder: &Arc<Recorder>) {
        for gate in self.gates.values() {
            let _same = gate.used.set(Arc::clone(recorder));
        }
    }

    /// The names of the grants.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.gates.keys().map(String::as_str)
    }

    fn unknown_grant<B>(&self, request: &Request<B>) -> EgressError {
        let asked = request.uri().authority().map_or("", |authority| authority.as_str());
        let names: Vec<&str> = self.names().collect();
        EgressError::UnknownGrant {
            provider: self.provider.clone(),
            asked: error::shown(asked),
            granted: if names.is_empty() { "nothing".to_owned() } else { names.join(", ") },
            rule: authorize::rule_for(request.method(), request.uri()),
        }
    }

    fn count(&self, error: &EgressError) {
        self.metrics.ended(&self.provider, "", error.outcome());
        if let Some(reason) = error.denial() {
            self.metrics.denied(&self.provider, reason);
        }
    }
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Egress").field("provider", &self.provider).field("grants", &self.gates.keys()).finish()
    }
}
