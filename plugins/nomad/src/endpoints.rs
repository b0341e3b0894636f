//! `endpoints`: where the running allocations of a job are.
//!
//! The list of a job's allocations has no ports, so each allocation costs a request of its own, once:
//! its address never changes and is kept in the provider's state.

use std::collections::BTreeMap;

use serde_json::Value;
use wicketgate_sdk::state::{self, Expectation};
use wicketgate_sdk::{Endpoint, Endpoints, ErrorKind, Result, Target};

use crate::json::{entries, list, number, text};
use crate::{Nomad, api};

/// The most addresses that are asked for in a call; the others follow with the next ones.
const ASKED: usize = 16;

/// The most allocations of a job that are used.
const MOST: usize = 256;

impl Endpoints for Nomad {
    fn resolve(&self, service: &str, namespace: &str) -> Result<Vec<Endpoint>> {
        let id = self.job_id(service);
        let what = format!("allocations of {service}.{namespace}");
        let found = api::fetch(api::get(&["v1", "job", &id, "allocations"], namespace), &what)?;
        let group = self.group(service);
        let mut running: Vec<&Value> = list(&found).iter().filter(|one| is_ready(one, &group)).collect();
        running.sort_by_key(|one| std::cmp::Reverse(number(one, "CreateIndex")));
        running.truncate(MOST);

        let key = format!("addresses/{namespace}/{id}");
        // A state that cannot be read or written costs requests and nothing else.
        let known = state::get_json::<BTreeMap<String, String>>(&key).ok().flatten();
        let (known, version) = known.map_or((BTreeMap::new(), None), |(known, version)| (known, Some(version)));
        let mut addresses = BTreeMap::new();
        let mut asked = 0;
        for allocation in running {
            let allocation = text(allocation, "ID");
            let address = match known.get(&allocation) {
                Some(address) => address.clone(),
                None if asked == ASKED => continue,
                None => {
                    asked += 1;
                    match self.address(&allocation, namespace, &what) {
                        Ok(Some(address)) => address,
                        // Without such a port; or it is gone by now.
                        Ok(None) => continue,
                        Err(error) if error.kind == ErrorKind::NotFound => continue,
                        Err(error) => return Err(error),
                    }
                }
            };
            addresses.insert(allocation, address);
        }
        if addresses != known {
            let expected = version.map_or(Expectation::Absent, Expectation::Version);
            // Whoever was faster has asked for the same addresses.
            drop(state::put_json(&key, &addresses, expected));
        }
        let endpoint = |(allocation, address)| Endpoint {
            target: Target::Authority(address),
            path_prefix: String::new(),
            host_header: None,
            tls: false,
            ttl_ms: self.settings.endpoint_ttl_ms,
            instance: allocation,
        };
        Ok(addresses.into_iter().map(endpoint).collect())
    }
}

/// Whether an allocation of this group takes requests, as far as Nomad knows.
fn is_ready(allocation: &Value, group: &str) -> bool {
    text(allocation, "ClientStatus") == "running"
        && text(allocation, "DesiredStatus") == "run"
        && text(allocation, "TaskGroup") == group
        && allocation.pointer("/DeploymentStatus/Healthy") != Some(&Value::Bool(false))
}

impl Nomad {
    /// `ip:port` of an allocation's port.
    fn address(&self, allocation: &str, namespace: &str, what: &str) -> Result<Option<String>> {
        let detail = api::fetch(api::get(&["v1", "allocation", allocation], namespace), what)?;
        let ports = ports(&detail);
        let labelled = ports.iter().find(|port| port.label == self.settings.port_label);
        let port = labelled.or(if let [only] = ports.as_slice() { Some(only) } else { None });
        Ok(port.map(
            |Port { host, number, .. }| {
                if host.contains(':') { format!("[{host}]:{number}") } else { format!("{host}:{number}") }
            },
        ))
    }
}

/// A port of an allocation on its machine.
struct Port {
    label: String,
    host: String,
    number: u64,
}

/// The ports of an allocation's group, or, in jobs of an older form, of its tasks.
fn ports(allocation: &Value) -> Vec<Port> {
    let port = |port: &Value, host: String| Port { label: text(port, "Label"), host, number: number(port, "Value") };
    let shared = allocation.pointer("/AllocatedResources/Shared").unwrap_or(&Value::Null);
    let mut found: Vec<Port> = entries(shared, "Ports").iter().map(|one| port(one, text(one, "HostIP"))).collect();
    if found.is_empty() {
        let tasks = allocation.pointer("/AllocatedResources/Tasks").and_then(Value::as_object);
        let networks = tasks.into_iter().flat_map(|tasks| tasks.values()).flat_map(|task| entries(task, "Networks"));
        for network in networks {
            let all = ["DynamicPorts", "ReservedPorts"].into_iter().flat_map(|kind| entries(network, kind));
            found.extend(all.map(|one| port(one, text(network, "IP"))));
        }
    }
    found
}
