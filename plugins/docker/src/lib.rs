//! The provider plugin for Docker: services of a swarm (`mode = "swarm"`), or containers of one
//! engine (`mode = "engine"`), which may be Podman's.
//!
//! All state that counts is the engine's: what a function is stands in labels and specs. The grant
//! `docker` is the engine's API; the README lists every request.

use serde_json::Value;
use wicketgate_sdk::http::Request;
use wicketgate_sdk::{
    About, Endpoint, Endpoints, FunctionDeployment, FunctionPage, FunctionStatus, Functions, Health, NamespaceEntry,
    NamespacePage, Namespaces, Platform, Provider, ProviderError, Result, Scaling, Secret, SecretPage, Secrets,
    ServiceStatus, Target, export_provider,
};

mod api;
mod deployment;
mod engine;
mod frames;
mod logs;
mod names;
mod settings;
mod swarm;
#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests;
mod watch;

use api::{by_name, items, text, url};
use settings::{Mode, Settings};

/// How long an endpoint may be used, in milliseconds. Short, since a port can be given to another
/// container; a connection that is refused and an event of the engine end it earlier.
pub(crate) const ENDPOINT_TTL_MS: u32 = 1000;

/// A Docker engine.
pub struct Docker {
    settings: Settings,
}

export_provider! {
    Docker,
    exports: [Scaling, Watch, Endpoints, Functions, Namespaces, Secrets, Logs, About, Health],
    name: "docker",
    description: "Docker Swarm services, or containers of a Docker or Podman engine",
    grants: { "docker": "the engine's API with its version as base, e.g. unix:/var/run/docker.sock and /v1.44" },
    config: {
        "mode": "swarm or engine; needed",
        "namespaces": "the namespaces that functions may be in; what has no namespace label is in the first; default: openfaas-fn",
        "addresses": "host-port (a published port of each instance), network (each instance's address in the network), dns or ingress (swarm only); default: host-port",
        "host": "the address of published ports; default: engine: a loopback address for each container; swarm: what the swarm knows of the machine",
        "network": "the network that new functions join",
        "port": "the port that functions serve on; default: 8080",
        "max-replicas": "the most replicas of a function; default: 20",
        "zero": "engine: stop, remove or pause; default: stop",
        "stop-seconds": "engine: how long a replica may take to end, 0 to 3600; default: 10",
        "update-seconds": "engine: how long an update waits until the new replicas run and are healthy, 1 to 600; default: 20",
        "look-seconds": "swarm: how often services are looked at for changes on other machines, which have no event here, 0 (never) to 3600; default: 2",
        "restart": "engine: no, always, on-failure or unless-stopped; default: unless-stopped",
        "pull": "engine: missing or never; default: missing",
        "template": "what every new service or container begins with: a part of the body of its create request",
    },
}

impl Provider for Docker {
    fn open() -> Result<Self> {
        Ok(Self { settings: Settings::read()? })
    }

    fn get_replicas(&self, service: &str, namespace: &str) -> Result<ServiceStatus> {
        match self.settings.mode {
            Mode::Swarm => Ok(self.service(service, namespace)?.status()),
            Mode::Engine => Ok(self.group(service, namespace)?.status()),
        }
    }

    fn set_replicas(&self, service: &str, namespace: &str, count: u64) -> Result<()> {
        match self.settings.mode {
            Mode::Swarm => self.scale_service(service, namespace, count, false).map(drop),
            Mode::Engine => self.scale_group(service, namespace, count, false).map(drop),
        }
    }
}

impl Scaling for Docker {
    /// What is read here decides, under the version that was read: `expected_version` is never newer.
    fn ensure(&self, service: &str, namespace: &str, at_least: u64, _version: Option<&str>) -> Result<ServiceStatus> {
        match self.settings.mode {
            Mode::Swarm => self.scale_service(service, namespace, at_least, true),
            Mode::Engine => self.scale_group(service, namespace, at_least, true),
        }
    }
}

impl Endpoints for Docker {
    fn resolve(&self, service: &str, namespace: &str) -> Result<Vec<Endpoint>> {
        match self.settings.mode {
            Mode::Swarm => self.service_endpoints(service, namespace),
            Mode::Engine => self.group_endpoints(service, namespace),
        }
    }
}

impl Functions for Docker {
    /// The engine lists without pages; the list is read element by element, and what lies outside of
    /// the page is dropped on the way.
    fn list_functions(&self, namespace: &str, cursor: Option<&str>, limit: u32) -> Result<FunctionPage> {
        self.settings.check_namespace(namespace)?;
        let is_after = |name: &str| cursor.is_none_or(|cursor| name > cursor);
        let mut functions = Vec::new();
        match self.settings.mode {
            Mode::Swarm => self.each_service(&mut |name, at, service| {
                if at == namespace && is_after(name) {
                    functions.push(self.service_function(name, at, &service));
                }
            })?,
            Mode::Engine => {
                let own = |group: &&engine::Group| group.namespace == namespace && is_after(&group.service);
                functions.extend(self.groups()?.iter().filter(own).map(|group| self.group_function(group)));
            }
        }
        let name = |function: &FunctionStatus| function.deployment.service.clone();
        let (functions, next) = page(functions, &name, cursor, limit);
        Ok(FunctionPage { functions, next })
    }

    fn get_function(&self, service: &str, namespace: &str, _usage: bool) -> Result<FunctionStatus> {
        match self.settings.mode {
            Mode::Swarm => Ok(self.service_function(service, namespace, &self.service(service, namespace)?)),
            Mode::Engine => Ok(self.group_function(&self.group(service, namespace)?)),
        }
    }

    fn deploy_function(&self, deployment: FunctionDeployment) -> Result<()> {
        match self.settings.mode {
            Mode::Swarm => self.create_service(&deployment),
            Mode::Engine => self.create_group(&deployment),
        }
    }

    fn update_function(&self, deployment: FunctionDeployment) -> Result<()> {
        match self.settings.mode {
            Mode::Swarm => self.update_service(&deployment),
            Mode::Engine => self.update_group(&deployment),
        }
    }

    fn delete_function(&self, service: &str, namespace: &str) -> Result<()> {
        match self.settings.mode {
            Mode::Swarm => self.delete_service(service, namespace),
            Mode::Engine => self.delete_group(service, namespace),
        }
    }
}

/// Docker has no namespaces: they are labels, and the operator's list says which there are.
impl Namespaces for Docker {
    fn list_namespaces(&self, cursor: Option<&str>, limit: u32) -> Result<NamespacePage> {
        let (names, next) = page(self.settings.namespaces.clone(), &String::clone, cursor, limit);
        Ok(NamespacePage { names, next })
    }

    fn get_namespace(&self, name: &str) -> Result<NamespaceEntry> {
        self.settings.check_namespace(name)?;
        Ok(NamespaceEntry { name: name.to_owned(), ..NamespaceEntry::default() })
    }

    fn create_namespace(&self, entry: NamespaceEntry) -> Result<()> {
        Err(the_operators(&entry.name))
    }

    fn update_namespace(&self, entry: NamespaceEntry) -> Result<()> {
        Err(the_operators(&entry.name))
    }

    fn delete_namespace(&self, name: &str) -> Result<()> {
        Err(the_operators(name))
    }
}

impl Secrets for Docker {
    fn list_secrets(&self, namespace: &str, cursor: Option<&str>, limit: u32) -> Result<SecretPage> {
        self.need_swarm()?;
        self.list_swarm_secrets(namespace, cursor, limit)
    }

    fn create_secret(&self, secret: Secret) -> Result<()> {
        self.need_swarm()?;
        self.create_swarm_secret(&secret)
    }

    fn update_secret(&self, secret: Secret) -> Result<()> {
        self.need_swarm()?;
        self.update_swarm_secret(&secret)
    }

    fn delete_secret(&self, name: &str, namespace: &str) -> Result<()> {
        self.need_swarm()?;
        self.delete_swarm_secret(name, namespace)
    }
}

impl About for Docker {
    fn describe(&self) -> Result<Platform> {
        let version = self.version()?;
        let is_podman = items(&version, "/Components").iter().any(|part| text(part, "/Name").starts_with("Podman"));
        let orchestration = match (self.settings.mode, is_podman) {
            (Mode::Swarm, _) => "swarm",
            (Mode::Engine, false) => "docker",
            (Mode::Engine, true) => "podman",
        };
        Ok(Platform {
            name: "docker".to_owned(),
            orchestration: orchestration.to_owned(),
            release: text(&version, "/Version").to_owned(),
            sha: text(&version, "/GitCommit").to_owned(),
        })
    }
}

impl Health for Docker {
    /// In a swarm, a question that only a manager answers.
    fn check(&self) -> Result<()> {
        match self.settings.mode {
            Mode::Engine => self.version().map(drop),
            Mode::Swarm => {
                let request = Request::get(url("services")).query("status", "true");
                // No service has this id: the answer is an empty list.
                let request = request.query("filters", &api::filters(&[("id", &["wicketgate-health"])]));
                api::success(request.send()?, "services").map(drop)
            }
        }
    }
}

impl Docker {
    fn version(&self) -> Result<Value> {
        api::success(Request::get(url("version")).send()?, "version")?.json(api::ANSWER_BYTES)
    }

    fn need_swarm(&self) -> Result<()> {
        match self.settings.mode {
            Mode::Swarm => Ok(()),
            Mode::Engine => Err(ProviderError::unsupported("a single engine has no secrets; a swarm has")),
        }
    }
}

fn the_operators(name: &str) -> ProviderError {
    ProviderError::unsupported(format!(
        "Docker has no namespaces; {name:?} is the operator's to name, with config = {{ namespaces = [...] }}"
    ))
}

/// The part of a list after `cursor`, in the order of names, at most `limit` long, and the cursor of
/// the next part.
fn page<T>(
    mut list: Vec<T>,
    name: &dyn Fn(&T) -> String,
    cursor: Option<&str>,
    limit: u32,
) -> (Vec<T>, Option<String>) {
    list.retain(|item| cursor.is_none_or(|cursor| name(item).as_str() > cursor));
    let mut list = by_name(list, name);
    let limit = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
    let more = list.len() > limit;
    list.truncate(limit);
    let next = list.last().filter(|_| more).map(name);
    (list, next)
}

/// `host:port`, with brackets around an IPv6 address.
fn authority(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// An instance at an address.
fn endpoint(authority: String, instance: &str) -> Endpoint {
    Endpoint {
        target: Target::Authority(authority),
        path_prefix: String::new(),
        host_header: None,
        tls: false,
        ttl_ms: ENDPOINT_TTL_MS,
        instance: instance.to_owned(),
    }
}
