//! The provider plugin for the gateway's own machine: functions are commands that the operator
//! declared, their instances are processes that the host keeps.
//!
//! The plugin chooses neither program nor arguments. A deployment *names* a declared command and
//! may set the variables that this command allows; all else is refused. A function is the host's
//! group of processes `name.namespace`; what was deployed is kept in the provider's state.

use wicketgate_sdk::processes::{self, GroupSpec, GroupStatus, ProcessError, ReplicaCount, ReplicaState};
use wicketgate_sdk::{
    About, Endpoint, Endpoints, ErrorKind, Health, Platform, Provider, ProviderError, Result, Scaling, ServiceStatus,
    Target, config, export_provider,
};

mod admit;
mod deploy;
mod function;
mod limits;
mod logs;
mod namespaces;
#[cfg(test)]
mod tests;
mod watch;

use function::Function;

/// The namespace of functions where the operator's `config` names none.
const NAMESPACE: &str = "openfaas-fn";

/// How long an endpoint may be used. Short, because a port that a process gave up can be given to
/// the next one; asking again is a call within this machine.
const ENDPOINT_TTL_MS: u32 = 1000;

/// How often a deployment that changed while its processes were asked for is read again.
const APPLY_TRIES: usize = 8;

/// This machine.
pub struct Local {
    settings: Settings,
}

export_provider! {
    Local,
    exports: [Scaling, Watch, Endpoints, Functions, Namespaces, Logs, About, Health],
    name: "local",
    description: "Functions that are commands on the gateway's own machine",
    grants: {},
    config: {
        "namespaces": "the namespaces that functions may be in; in the first one, declared commands are functions without being deployed; default: openfaas-fn",
    },
}

/// The operator's `config` table.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default = "default_namespaces")]
    namespaces: Vec<String>,
}

fn default_namespaces() -> Vec<String> {
    vec![NAMESPACE.to_owned()]
}

impl Settings {
    fn check(&self) -> Result<()> {
        if self.namespaces.is_empty() {
            return Err(ProviderError::invalid("config.namespaces is empty; write namespaces = [\"openfaas-fn\"]"));
        }
        match self.namespaces.iter().find(|name| !function::is_name(name) || name.contains('.')) {
            Some(name) => Err(ProviderError::invalid(format!(
                "config.namespaces has {name:?}, which is no namespace; write letters, digits, '-' or '_'"
            ))),
            None => Ok(()),
        }
    }
}

impl Provider for Local {
    fn open() -> Result<Self> {
        let settings: Settings = config::typed()?;
        settings.check()?;
        Ok(Self { settings })
    }

    fn get_replicas(&self, service: &str, namespace: &str) -> Result<ServiceStatus> {
        let function = self.function(service, namespace)?;
        Ok(service_status(&function, group(&function.group)?.as_ref()))
    }

    fn set_replicas(&self, service: &str, namespace: &str, count: u64) -> Result<()> {
        let function = self.function(service, namespace)?;
        let spec = function.spec();
        match group(&function.group)? {
            Some(group) if u64::from(group.count) == count && is_same(&group.spec, &spec) => Ok(()),
            None if count == 0 => Ok(()),
            _ => self.apply(&function, ReplicaCount::Exactly(processes_of(count)?)).map(drop),
        }
    }
}

impl Scaling for Local {
    /// The host raises the count and lowers none in one step, so `expected_version` says nothing.
    fn ensure(
        &self,
        service: &str,
        namespace: &str,
        at_least: u64,
        _expected_version: Option<&str>,
    ) -> Result<ServiceStatus> {
        let function = self.function(service, namespace)?;
        let spec = function.spec();
        let group = group(&function.group)?;
        if let Some(group) = &group
            && u64::from(group.count) >= at_least
            && is_same(&group.spec, &spec)
        {
            return Ok(service_status(&function, Some(group)));
        }
        let applied = self.apply(&function, ReplicaCount::AtLeast(processes_of(at_least)?))?;
        Ok(service_status(&function, Some(&applied)))
    }
}

impl Endpoints for Local {
    fn resolve(&self, service: &str, namespace: &str) -> Result<Vec<Endpoint>> {
        let function = self.function(service, namespace)?;
        let Some(group) = group(&function.group)? else { return Ok(Vec::new()) };
        let ready = group.replicas.into_iter().filter(|replica| replica.state == ReplicaState::Ready);
        let endpoints = ready.filter_map(|replica| {
            Some(Endpoint {
                target: Target::Authority(replica.address?),
                path_prefix: String::new(),
                host_header: None,
                tls: false,
                ttl_ms: ENDPOINT_TTL_MS,
                instance: replica.instance,
            })
        });
        Ok(endpoints.collect())
    }
}

impl About for Local {
    fn describe(&self) -> Result<Platform> {
        Ok(Platform {
            name: "local".to_owned(),
            orchestration: "local".to_owned(),
            release: env!("CARGO_PKG_VERSION").to_owned(),
            sha: String::new(),
        })
    }
}

impl Health for Local {
    /// The machine is there; what can be wrong is the operator's configuration.
    fn check(&self) -> Result<()> {
        if processes::commands().is_empty() {
            return Err(ProviderError::unavailable(
                "no command is declared; write [provider.NAME.command.wordcount] with command = [\"wc\", \"-w\"]",
            ));
        }
        Ok(())
    }
}

impl Local {
    /// Asks the host for processes of a function, of whatever is deployed when that is done: who updates or deletes
    /// the function at the same time has the last word.
    fn apply(&self, function: &Function, mut count: ReplicaCount) -> Result<GroupStatus> {
        let mut spec = function.spec();
        for _ in 0..APPLY_TRIES {
            let applied = processes::apply(&function.group, &spec, count)?;
            match self.function(&function.service, &function.namespace) {
                Ok(now) if is_same(&now.spec(), &spec) => return Ok(applied),
                Ok(now) => {
                    spec = now.spec();
                    count = ReplicaCount::AtLeast(0);
                }
                // A group of no function would run for ever.
                Err(gone) if gone.kind == ErrorKind::NotFound => {
                    processes::remove(&function.group).or_else(absent_is_fine)?;
                    return Err(gone);
                }
                Err(other) => return Err(other),
            }
        }
        Err(ProviderError::conflict(format!("function {} is changed again and again; try it later", function.group)))
    }
}

fn processes_of(count: u64) -> Result<u32> {
    u32::try_from(count)
        .map_err(|_too_many| ProviderError::invalid(format!("{count} replicas are more than one machine runs")))
}

/// The group of a function, if the host has it: a function that never ran has none.
fn group(name: &str) -> Result<Option<GroupStatus>> {
    match processes::status(name) {
        Ok(group) => Ok(Some(group)),
        Err(error) => absent_is_fine(error).map(|()| None),
    }
}

fn absent_is_fine(error: ProcessError) -> Result<()> {
    if matches!(error, ProcessError::NotFound) { Ok(()) } else { Err(error.into()) }
}

/// Whether two groups run the same. Variables have no order.
fn is_same(one: &GroupSpec, other: &GroupSpec) -> bool {
    let sorted = |spec: &GroupSpec| {
        let mut env = spec.env.clone();
        env.sort_unstable();
        env
    };
    one.command == other.command && limits::are_same(&one.limits, &other.limits) && sorted(one) == sorted(other)
}

fn service_status(function: &Function, group: Option<&GroupStatus>) -> ServiceStatus {
    ServiceStatus {
        replicas: group.map_or(0, |group| u64::from(group.count)),
        available_replicas: available(group),
        labels: function.labels.clone(),
        annotations: function.annotations(),
        version: group.map(|group| group.version.to_string()),
        ..ServiceStatus::default()
    }
}

/// How many processes of a group answer.
fn available(group: Option<&GroupStatus>) -> u64 {
    let replicas = group.map(|group| group.replicas.as_slice()).unwrap_or_default();
    replicas.iter().map(|replica| u64::from(replica.state == ReplicaState::Ready)).sum()
}
