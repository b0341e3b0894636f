//! The provider plugin for Amazon ECS: a function is a service, its instances are the service's tasks.
//!
//! A namespace is a cluster. Which services of a cluster are functions says a tag, so that the gateway neither
//! shows nor scales anything else that runs there. Every request is a `POST /` whose field `x-amz-target` names
//! the operation; the host signs it. Nothing is kept between calls.

use std::collections::BTreeMap;

use wicketgate_sdk::{
    About, Endpoint, Endpoints, Health, Platform, Provider, ProviderError, Result, Scaling, ServiceStatus, Target,
    config, export_provider,
};

mod api;
mod deploy;
mod functions;
mod namespaces;
mod service;
mod tasks;
#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests;

use service::Service;

/// The namespace of functions where the operator's `config` names none.
const NAMESPACE: &str = "openfaas-fn";

/// The cluster that ECS itself takes when none is named.
const CLUSTER: &str = "default";

/// How long the address of a task may be used, in milliseconds: a subnet gives an address that was given back to
/// the next task.
const TASK_TTL_MS: u32 = 2000;

/// How long an address that the operator wrote may be used, in milliseconds: it does not change while the plugin
/// runs, and asking again costs no request.
const NAME_TTL_MS: u32 = 600_000;

/// The services of some clusters.
pub struct Ecs {
    settings: Settings,
}

export_provider! {
    Ecs,
    exports: [Scaling, Endpoints, Functions, Namespaces, About, Health],
    name: "ecs",
    description: "Functions that are services of Amazon ECS",
    grants: { "ecs": "the root of the ECS API of one region, e.g. https://ecs.eu-west-1.amazonaws.com, signed by the host" },
    config: {
        "clusters": "the cluster of each namespace, by name or ARN; default: openfaas-fn = default",
        "services": "tagged: services with the tag wicketgate.function are functions; all: every service is; default: tagged",
        "port": "where a task answers, 1 to 65535; a service's tag wicketgate.port wins; default: 8080",
        "address": "how tasks are reached: task, by the address of each one's network interface, or a text such as {service}.{namespace}.internal:8080; default: task",
        "deploy": "what task definitions and services are made with; without it functions are only scaled",
    },
}

/// The operator's `config` table.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    clusters: BTreeMap<String, String>,
    services: Services,
    port: u16,
    address: String,
    deploy: Option<deploy::Template>,
}

/// Which services are functions.
#[derive(Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Services {
    Tagged,
    All,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            clusters: BTreeMap::from([(NAMESPACE.to_owned(), CLUSTER.to_owned())]),
            services: Services::Tagged,
            port: 8080,
            address: "task".to_owned(),
            deploy: None,
        }
    }
}

impl Settings {
    fn check(&self) -> Result<()> {
        let refuse = |text: &str| Err(ProviderError::invalid(text));
        if self.clusters.is_empty() {
            return refuse("config.clusters is empty; write clusters = { openfaas-fn = \"default\" }");
        }
        if self.port == 0 {
            return refuse("config.port is 0; write 1 to 65535");
        }
        if self.address != "task" && !self.address.contains("{service}") {
            return refuse("config.address is neither \"task\" nor a text with {service} in it");
        }
        self.deploy.as_ref().map_or(Ok(()), deploy::Template::check)
    }
}

impl Provider for Ecs {
    fn open() -> Result<Self> {
        let settings: Settings = config::typed()?;
        settings.check()?;
        Ok(Self { settings })
    }

    fn get_replicas(&self, service: &str, namespace: &str) -> Result<ServiceStatus> {
        Ok(self.service(service, namespace)?.into_status())
    }

    /// Two requests: without the first one a service that is no function could be scaled.
    fn set_replicas(&self, service: &str, namespace: &str, count: u64) -> Result<()> {
        let found = self.service(service, namespace)?;
        if found.desired_count == count { Ok(()) } else { self.scale(service, namespace, count) }
    }
}

impl Scaling for Ecs {
    /// The API has no versions and no compare-and-swap, so `expected_version` says nothing: what is read here
    /// decides, a moment before it is written.
    fn ensure(
        &self,
        service: &str,
        namespace: &str,
        at_least: u64,
        _expected_version: Option<&str>,
    ) -> Result<ServiceStatus> {
        let found = self.service(service, namespace)?;
        if found.desired_count >= at_least {
            return Ok(found.into_status());
        }
        self.scale(service, namespace, at_least)?;
        Ok(Service { desired_count: at_least, ..found }.into_status())
    }
}

impl Endpoints for Ecs {
    fn resolve(&self, service: &str, namespace: &str) -> Result<Vec<Endpoint>> {
        let cluster = self.cluster(namespace)?;
        if !service::is_name(service) {
            return Err(no_function(service, namespace));
        }
        if self.settings.address != "task" {
            let target = self.settings.address.replace("{service}", service).replace("{namespace}", namespace);
            return Ok(vec![endpoint(target, NAME_TTL_MS, String::new())]);
        }
        let port = self.service(service, namespace)?.port.unwrap_or(self.settings.port);
        let tasks = tasks::running(cluster, service)?;
        let addresses = tasks.into_iter().filter_map(|task| Some((task.address()?, task.task_arn)));
        Ok(addresses
            .map(|(address, arn)| {
                let target =
                    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") };
                endpoint(target, TASK_TTL_MS, arn)
            })
            .collect())
    }
}

fn endpoint(authority: String, ttl_ms: u32, instance: String) -> Endpoint {
    Endpoint {
        target: Target::Authority(authority),
        path_prefix: String::new(),
        host_header: None,
        tls: false,
        ttl_ms,
        instance,
    }
}

impl About for Ecs {
    fn describe(&self) -> Result<Platform> {
        Ok(Platform {
            name: "ecs".to_owned(),
            orchestration: "ecs".to_owned(),
            // The API has one version and no release.
            release: api::VERSION.to_owned(),
            sha: String::new(),
        })
    }
}

impl Health for Ecs {
    fn check(&self) -> Result<()> {
        for cluster in self.settings.clusters.values() {
            service::page(cluster, None, 1)?;
        }
        Ok(())
    }
}

impl Ecs {
    /// The cluster of a namespace.
    fn cluster(&self, namespace: &str) -> Result<&str> {
        self.settings.clusters.get(namespace).map(String::as_str).ok_or_else(|| {
            let own: Vec<&str> = self.settings.clusters.keys().map(String::as_str).collect();
            let own = own.join(", ");
            ProviderError::not_found(format!(
                "there is no namespace {namespace:?}, only {own}; the operator adds one with config = {{ clusters = {{ ... }} }}"
            ))
        })
    }

    /// The service of a function.
    fn service(&self, service: &str, namespace: &str) -> Result<Service> {
        let cluster = self.cluster(namespace)?;
        if !service::is_name(service) {
            // ECS would answer such a name as it answers a mistake of ours.
            return Err(no_function(service, namespace));
        }
        let found = service::describe(cluster, &[service.to_owned()])?.into_iter().next();
        found.filter(|found| self.is_function(found)).ok_or_else(|| no_function(service, namespace))
    }

    fn is_function(&self, service: &Service) -> bool {
        self.settings.services == Services::All || service.is_tagged
    }

    fn scale(&self, service: &str, namespace: &str, count: u64) -> Result<()> {
        let count = service::count(count)?;
        let body =
            serde_json::json!({ "cluster": self.cluster(namespace)?, "service": service, "desiredCount": count });
        let what = format!("scale function {service}.{namespace} to {count}");
        api::run("UpdateService", &body, &what)
    }
}

fn no_function(service: &str, namespace: &str) -> ProviderError {
    ProviderError::not_found(format!("there is no function {service}.{namespace}"))
}
