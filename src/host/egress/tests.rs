//! Against real servers on loopback: what reaches them, and what comes back.

mod aws;
mod bodies;
mod credentials;
mod limits;
mod renewal;
mod rules;
mod secrets;
mod server;
mod tls;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};

use super::{Access, Egress, EgressBody, EgressError, EgressLimits, EgressMeter, EgressMetrics, GrantError, Timeouts};
use crate::host::grant::{Connect, Grant, Rule};
use crate::metrics::Registry;
use crate::provider::{ComponentSource, EndpointPolicy, Limits, ProviderConfig};

/// One provider's egress with its metrics, and what a call may use.
struct Edge {
    egress: Egress,
    registry: Registry,
    meter: Arc<EgressMeter>,
}

fn config(grants: BTreeMap<String, Grant>) -> ProviderConfig {
    ProviderConfig {
        name: "edge".parse().unwrap(),
        component: ComponentSource::Builtin("faas-provider".to_owned()),
        digest: None,
        signature: crate::trust::signature::SignaturePolicy::default(),
        namespaces: vec!["dev".parse().unwrap()],
        is_default: true,
        config: serde_json::Value::Null,
        grants,
        commands: BTreeMap::new(),
        endpoints: EndpointPolicy::default(),
        limits: Limits::default(),
        swap: Default::default(),
    }
}

fn limits() -> EgressLimits {
    EgressLimits::from(&Limits::default())
}

impl Edge {
    /// A provider whose only grant is called `platform`.
    fn new(grant: Grant) -> Self {
        Self::try_new(grant).unwrap()
    }

    fn try_new(grant: Grant) -> Result<Self, GrantError> {
        let registry = Registry::default();
        let egress = Egress::new(&config([("platform".to_owned(), grant)].into()), &EgressMetrics::new(&registry))?;
        Ok(Self { egress, registry, meter: Arc::new(EgressMeter::new(limits())) })
    }

    fn limited(mut self, limits: EgressLimits) -> Self {
        self.meter = Arc::new(EgressMeter::new(limits));
        self
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<EgressBody>, EgressError> {
        self.egress.send(request, Access::Full, &self.meter, Timeouts::default()).await
    }

    async fn get(&self, target: &str) -> Result<Response<EgressBody>, EgressError> {
        self.send(get(target)).await
    }

    fn metrics(&self) -> String {
        String::from_utf8(self.registry.exposition()).unwrap()
    }
}

fn get(target: &str) -> Request<Full<Bytes>> {
    Request::get(format!("http://platform{target}")).body(Full::default()).unwrap()
}

fn post(target: &str, body: &'static str) -> Request<Full<Bytes>> {
    Request::post(format!("http://platform{target}")).body(Full::from(body)).unwrap()
}

/// A grant for a server on loopback that allows these rules.
fn grant(port: u16, rules: &[&str]) -> Grant {
    let rules = rules.iter().map(|rule| rule.parse::<Rule>().unwrap()).collect();
    Grant { rules, ..Grant::new(Connect::Tcp { tls: false, host: "127.0.0.1".to_owned(), port }) }
}

async fn text(response: Response<EgressBody>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// What an error and all that caused it say.
fn said(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A file that only its owner can read.
fn secret(directory: &Path, name: &str, content: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = directory.join(name);
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}
