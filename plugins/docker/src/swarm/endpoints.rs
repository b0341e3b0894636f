//! From tasks to addresses.

use serde_json::Value;
use wicketgate_sdk::http::Request;
use wicketgate_sdk::{Endpoint, ProviderError, Result};

use super::Service;
use crate::api::{each, filters, items, number, text, url};
use crate::settings::Addresses;
use crate::{Docker, authority, endpoint};

impl Docker {
    /// Where a service's running tasks are. Requests: the tasks; with host ports on machines of unknown
    /// address, the machines; with ports of the whole swarm, the service instead.
    pub(crate) fn service_endpoints(&self, service: &str, namespace: &str) -> Result<Vec<Endpoint>> {
        let found = self.service(service, namespace)?;
        let port = self.settings.port;
        match self.settings.addresses {
            Addresses::Dns => {
                let name = crate::names::swarm_name(service, namespace, &self.settings);
                Ok(self.behind_one(&found, authority(&name, port)))
            }
            Addresses::Ingress => {
                let Some(published) = published(&found, port) else { return Ok(Vec::new()) };
                let host = self.settings.host.as_deref().unwrap_or_default();
                Ok(self.behind_one(&found, authority(host, published)))
            }
            Addresses::Network => {
                let tasks = self.running(&found)?;
                let own =
                    |task: &Value| Some(endpoint(authority(&self.address_in_network(task)?, port), text(task, "/ID")));
                Ok(tasks.iter().filter_map(own).collect())
            }
            Addresses::HostPort => self.host_ports(&self.running(&found)?),
        }
    }

    /// The swarm balances behind one address: it is the service that is reached, as long as one of its tasks runs.
    fn behind_one(&self, found: &Service, authority: String) -> Vec<Endpoint> {
        let (_asked, running) = found.counts();
        if running == 0 { Vec::new() } else { vec![endpoint(authority, &found.id)] }
    }

    fn running(&self, found: &Service) -> Result<Vec<Value>> {
        let mut tasks = Vec::new();
        let wanted = filters(&[("service", &[found.id.as_str()]), ("desired-state", &["running"])]);
        each(Request::get(url("tasks")).query("filters", &wanted), "tasks", &mut |task| {
            if text(&task, "/Status/State") == "running" {
                tasks.push(task);
            }
            Ok(())
        })?;
        Ok(tasks)
    }

    fn host_ports(&self, tasks: &[Value]) -> Result<Vec<Endpoint>> {
        let mut machines = Vec::new();
        let mut endpoints = Vec::new();
        for task in tasks {
            let Some(port) = self.host_port(task) else { continue };
            let machine = text(task, "/NodeID");
            if self.settings.host.is_none() && machines.is_empty() {
                each(Request::get(url("nodes")), "nodes", &mut |node| {
                    machines.push((text(&node, "/ID").to_owned(), text(&node, "/Status/Addr").to_owned()));
                    Ok(())
                })?;
            }
            let known = machines.iter().find(|(id, _)| id == machine).map(|(_, address)| address.as_str());
            let address = self.settings.host.as_deref().or(known).filter(|a| !matches!(*a, "" | "0.0.0.0" | "::"));
            let address = address.ok_or_else(|| {
                ProviderError::internal(format!(
                    "the swarm does not know the address of machine {machine}; write config.host, or join it with --advertise-addr"
                ))
            })?;
            endpoints.push(endpoint(authority(address, port), text(task, "/ID")));
        }
        Ok(endpoints)
    }

    /// The port of its machine that a task has for itself. The same port can be listed twice.
    fn host_port(&self, task: &Value) -> Option<u16> {
        let is_it = |port: &&Value| {
            number(port, "/TargetPort") == u64::from(self.settings.port)
                && text(port, "/PublishMode") == "host"
                && text(port, "/Protocol") == "tcp"
        };
        let port = items(task, "/Status/PortStatus/Ports").iter().find(is_it)?;
        u16::try_from(number(port, "/PublishedPort")).ok().filter(|port| *port > 0)
    }

    /// The task's address in the operator's network, without the length of its prefix.
    fn address_in_network(&self, task: &Value) -> Option<String> {
        let wanted = self.settings.network.as_deref()?;
        let is_it = |at: &&Value| text(at, "/Network/Spec/Name") == wanted || text(at, "/Network/ID") == wanted;
        let attached = items(task, "/NetworksAttachments").iter().find(is_it)?;
        let address = text(attached, "/Addresses/0");
        address.split('/').next().filter(|address| !address.is_empty()).map(str::to_owned)
    }
}

/// The port that the swarm publishes for a service's `port` on every machine.
fn published(found: &Service, port: u16) -> Option<u16> {
    let is_it = |entry: &&Value| {
        number(entry, "/TargetPort") == u64::from(port) && matches!(text(entry, "/PublishMode"), "ingress" | "")
    };
    let entry = items(&found.endpoint, "/Ports").iter().find(is_it)?;
    u16::try_from(number(entry, "/PublishedPort")).ok().filter(|port| *port > 0)
}
