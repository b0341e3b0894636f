//! `endpoints`: where the ready pods of a function's Service are.

use serde_json::Value;
use wicketgate_sdk::{Endpoint, Endpoints, Result, Target};

use crate::Kubernetes;
use crate::api::{self, ENDPOINT_SLICES};
use crate::object::{List, entries, text};
use crate::settings::Addressing;

/// The label that names an `EndpointSlice`'s Service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// The port of that name is taken where a Service has several.
const PORT_NAME: &str = "http";

/// The most endpoints of an answer, as the contract has it.
const MOST: usize = 1000;

impl Endpoints for Kubernetes {
    fn resolve(&self, service: &str, namespace: &str) -> Result<Vec<Endpoint>> {
        if self.settings.endpoints == Addressing::Service {
            let domain = &self.settings.cluster_domain;
            let authority = format!("{service}.{namespace}.{domain}:{}", self.settings.port);
            return Ok(vec![self.endpoint(authority, String::new())]);
        }
        let request =
            api::get(ENDPOINT_SLICES.all(namespace)).query("labelSelector", &format!("{SERVICE_LABEL}={service}"));
        let slices: List<Value> = api::fetch(request, &format!("endpoints of {service}.{namespace}"))?;
        // A pod with addresses of both families is in two slices; the older family is taken.
        let of = |family: &'static str| slices.items.iter().filter(move |slice| text(slice, "addressType") == family);
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for slice in of("IPv4").chain(of("IPv6")) {
            let Some(port) = port(entries(slice, "ports")) else { continue };
            for endpoint in entries(slice, "endpoints") {
                // Absent means that nobody knows, which the API's documentation says to read as true.
                if endpoint.pointer("/conditions/ready") == Some(&Value::Bool(false)) {
                    continue;
                }
                // By the same documentation the addresses of one endpoint are interchangeable.
                let Some(address) = entries(endpoint, "addresses").first().and_then(Value::as_str) else { continue };
                let authority =
                    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") };
                // The pod's own id: the next pod with this address has another.
                let instance = endpoint.get("targetRef").map(|target| text(target, "uid")).unwrap_or_default();
                if endpoints.iter().any(|known| !instance.is_empty() && known.instance == instance) {
                    continue;
                }
                endpoints.push(self.endpoint(authority, instance));
                if endpoints.len() == MOST {
                    return Ok(endpoints);
                }
            }
        }
        Ok(endpoints)
    }
}

impl Kubernetes {
    fn endpoint(&self, authority: String, instance: String) -> Endpoint {
        Endpoint {
            target: Target::Authority(authority),
            path_prefix: String::new(),
            host_header: None,
            tls: false,
            ttl_ms: self.settings.endpoint_ttl_ms,
            instance,
        }
    }
}

/// The port of a slice that takes requests.
fn port(ports: &[Value]) -> Option<u16> {
    let chosen = match ports {
        [only] => Some(only),
        several => several.iter().find(|port| port.get("name").and_then(Value::as_str) == Some(PORT_NAME)),
    };
    u16::try_from(chosen?.get("port")?.as_u64()?).ok()
}
