//! Services of a swarm: reading and scaling them.

use serde_json::{Value, json};
use wicketgate_sdk::http::Request;
use wicketgate_sdk::time::parse_rfc3339;
use wicketgate_sdk::{ErrorKind, FunctionStatus, Pairs, ProviderError, Result, ServiceStatus};

use crate::Docker;
use crate::api::{each, filters, items, number, success, text, url};
use crate::deployment::{Amounts, Deployed, put};
use crate::names::{FUNCTION, function_of, labels, no_function, split, swarm_name};

mod deploy;
pub(crate) mod endpoints;
pub(crate) mod secrets;

/// How often a change is tried again after another writer was faster.
const ATTEMPTS: u32 = 4;

/// A service as the API lists it. The spec is kept as it is, since an update has to send all of it.
pub(crate) struct Service {
    pub(crate) id: String,
    version: u64,
    created_at: String,
    pub(crate) spec: Value,
    pub(crate) endpoint: Value,
    /// Tasks that run and that are wanted. Absent in APIs before 1.41.
    running: u64,
    desired: u64,
}

impl Service {
    fn read(mut value: Value) -> Self {
        let mut take = |key: &str| value.get_mut(key).map(Value::take).unwrap_or_default();
        let (spec, endpoint) = (take("Spec"), take("Endpoint"));
        Self {
            id: text(&value, "/ID").to_owned(),
            version: number(&value, "/Version/Index"),
            created_at: text(&value, "/CreatedAt").to_owned(),
            running: number(&value, "/ServiceStatus/RunningTasks"),
            desired: number(&value, "/ServiceStatus/DesiredTasks"),
            spec,
            endpoint,
        }
    }

    pub(crate) fn labels(&self) -> Pairs {
        labels(&self.spec, "/Labels")
    }

    fn name(&self) -> &str {
        text(&self.spec, "/Name")
    }

    /// The count that the service was asked for; a global service has none.
    fn asked(&self) -> Option<u64> {
        // Go leaves out a zero in some versions.
        let replicated = self.spec.pointer("/Mode/Replicated")?;
        Some(number(replicated, "/Replicas"))
    }

    /// What is asked for and what runs of it. Tasks that still run while they are being stopped are
    /// no available ones.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let asked = self.asked().unwrap_or(self.desired);
        (asked, self.running.min(asked))
    }

    pub(crate) fn status(&self) -> ServiceStatus {
        let (replicas, available_replicas) = self.counts();
        let (labels, annotations) = split(&self.labels());
        let version = Some(self.version.to_string());
        ServiceStatus { replicas, available_replicas, labels, annotations, version, ..ServiceStatus::default() }
    }

    /// The function as callers see it.
    fn function(&self, service: &str, namespace: &str, template_env: usize) -> FunctionStatus {
        const CONTAINER: &str = "/TaskTemplate/ContainerSpec";
        let texts = |pointer: &str| -> Vec<String> {
            items(&self.spec, pointer).iter().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let mut deployed = Deployed {
            image: text(&self.spec, &format!("{CONTAINER}/Image")).to_owned(),
            limits: amounts(&self.spec, "Limits"),
            requests: amounts(&self.spec, "Reservations"),
            read_only: self.spec.pointer(&format!("{CONTAINER}/ReadOnly")) == Some(&Value::Bool(true)),
            ..Deployed::default()
        };
        let variables = texts(&format!("{CONTAINER}/Env"));
        deployed.set_variables(variables.get(template_env..).unwrap_or_default());
        let mut deployment = deployed.into_deployment(service, namespace);
        let status = self.status();
        deployment.labels = status.labels;
        deployment.annotations = status.annotations;
        deployment.constraints = texts("/TaskTemplate/Placement/Constraints");
        for secret in items(&self.spec, &format!("{CONTAINER}/Secrets")) {
            deployment.secrets.push(secrets::short(text(secret, "/SecretName"), namespace).to_owned());
        }
        FunctionStatus {
            deployment,
            replicas: status.replicas,
            available_replicas: status.available_replicas,
            created_at_ms: parse_rfc3339(&self.created_at),
            usage: None,
            invocation_count: None,
        }
    }
}

/// Resources in a notation that a deployment may hold.
fn amounts(spec: &Value, kind: &str) -> Option<Amounts> {
    let some = |key: &str| Some(number(spec, &format!("/TaskTemplate/Resources/{kind}/{key}"))).filter(|n| *n > 0);
    let memory = some("MemoryBytes").map(|bytes| bytes.to_string());
    let cpu = some("NanoCPUs").map(|nanos| format!("{}m", nanos / 1_000_000));
    if memory.is_none() && cpu.is_none() { None } else { Some(Amounts { memory, cpu }) }
}

impl Docker {
    /// The service of a function: one request. The `name` filter is a prefix, so equality is checked,
    /// and a service that is no function is not found.
    pub(crate) fn service(&self, service: &str, namespace: &str) -> Result<Service> {
        self.settings.check_namespace(namespace)?;
        let name = swarm_name(service, namespace, &self.settings);
        let mut found = None;
        let request = Request::get(url("services")).query("status", "true");
        let what = format!("service {name}");
        each(request.query("filters", &filters(&[("name", &[name.as_str()])])), &what, &mut |candidate| {
            let candidate = Service::read(candidate);
            let is_it = candidate.name() == name
                && function_of(&candidate.labels(), &self.settings) == Some((service, namespace));
            if is_it {
                found = Some(candidate);
            }
            Ok(())
        })?;
        found.ok_or_else(|| no_function(service, namespace))
    }

    /// Hands over every service that is a function, with its name and namespace.
    pub(crate) fn each_service(&self, take: &mut dyn FnMut(&str, &str, Service)) -> Result<()> {
        let request = Request::get(url("services")).query("status", "true");
        each(request.query("filters", &filters(&[("label", &[FUNCTION])])), "services", &mut |service| {
            let service = Service::read(service);
            let labels = service.labels();
            if let Some((name, namespace)) = function_of(&labels, &self.settings)
                && service.name() == swarm_name(name, namespace, &self.settings)
            {
                take(name, namespace, service);
            }
            Ok(())
        })
    }

    /// Changes a service: reads it, lets `change` edit the raw spec (`false`: nothing to do), and
    /// writes all of it back under the version that was read. When another writer was faster, it
    /// reads again. Answers the service as it was read, with the edited spec.
    pub(crate) fn edit(
        &self,
        service: &str,
        namespace: &str,
        change: &mut dyn FnMut(&mut Service) -> Result<bool>,
    ) -> Result<Service> {
        let mut attempt = 1;
        loop {
            let mut found = self.service(service, namespace)?;
            if !change(&mut found)? {
                return Ok(found);
            }
            let what = format!("update service {service}.{namespace}");
            let path = Request::post(url("services/")).segment(&found.id);
            let request = Request { url: format!("{}/update", path.url), ..path };
            let answer = request.query("version", &found.version.to_string()).json(&found.spec)?.send()?;
            match success(answer, &what) {
                Ok(_) => return Ok(found),
                Err(error) if error.kind == ErrorKind::Conflict && attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Asks for `count` replicas, or, with `only_raise`, for at least as many.
    pub(crate) fn scale_service(
        &self,
        service: &str,
        namespace: &str,
        count: u64,
        only_raise: bool,
    ) -> Result<ServiceStatus> {
        self.settings.check_count(count)?;
        let mut is_changed = false;
        let found = self.edit(service, namespace, &mut |found| {
            let Some(asked) = found.asked() else {
                return Err(ProviderError::unsupported(format!(
                    "service {service}.{namespace} runs on every machine; only replicated services are scaled"
                )));
            };
            is_changed = if only_raise { asked < count } else { asked != count };
            put(&mut found.spec, &["Mode", "Replicated", "Replicas"], json!(if is_changed { count } else { asked }));
            Ok(is_changed)
        })?;
        let status = found.status();
        // The version is a new one now, which the answer to an update does not say.
        Ok(ServiceStatus { version: status.version.filter(|_| !is_changed), ..status })
    }

    /// A service as callers see it.
    pub(crate) fn service_function(&self, service: &str, namespace: &str, found: &Service) -> FunctionStatus {
        // Variables of the template come first in what was deployed here, and are the operator's business.
        let own = items(&self.settings.template, "/TaskTemplate/ContainerSpec/Env");
        let is_ours = items(&found.spec, "/TaskTemplate/ContainerSpec/Env").starts_with(own);
        found.function(service, namespace, if is_ours { own.len() } else { 0 })
    }
}
