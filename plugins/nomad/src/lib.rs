//! The provider plugin for Nomad: a function is a service job with a mark in its `Meta`, and the count
//! of one of its task groups.
//!
//! All requests go to the grant `nomad`; the host adds the token. The README lists the requests. What
//! is kept between calls: when a job was scaled last, since scalings within milliseconds of each other
//! end wrong in some versions, and the addresses of allocations, which never change.

use std::time::Duration;

use serde_json::{Value, json};
use wicketgate_sdk::state::{self, Expectation};
use wicketgate_sdk::{
    About, Health, Pairs, Platform, Provider, ProviderError, Result, Scaling, ServiceStatus, clock, export_provider,
};

mod api;
mod endpoints;
mod functions;
mod jobs;
mod json;
mod logs;
mod namespaces;
mod settings;
mod template;
#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests;
mod watch;

use json::{entries, number, text, texts};
use settings::Settings;

/// What stands before an annotation's key in a job's `Meta`, which holds labels as they are.
pub(crate) const ANNOTATION: &str = "annotation.";

/// The key of `Meta` that marks a function where the operator names no other.
pub(crate) const LABEL: &str = "faas_function";

/// The least time between two scalings of a job. With less Nomad 1.1 may run other counts than it says.
const SCALE_PAUSE: Duration = Duration::from_millis(500);

/// The longest value of a label that the contract takes, in bytes, and its longest key.
const VALUE_BYTES: usize = 8192;
const KEY_BYTES: usize = 253;
const PAIRS: usize = 256;

/// A Nomad cluster.
pub struct Nomad {
    settings: Settings,
}

export_provider! {
    Nomad,
    exports: [Scaling, Watch, Endpoints, Functions, Namespaces, Logs, About, Health],
    name: "nomad",
    description: "Functions that are jobs of Nomad",
    grants: {
        "nomad": "the root of a Nomad agent's API, with a token of the policy in the plugin's folder",
    },
    config: {
        "label": "the key of Meta that makes a job a function; default: faas_function; empty: every job is one",
        "job-prefix": "what stands before a function's name in its job's; default: nothing",
        "group": "the task group that is scaled, {name} in it is the function; default: fn",
        "port-label": "the label of the port that takes requests; default: http",
        "endpoint-ttl-ms": "for how long an address may be used, 100 to 60000; default: 3000",
        "template": "the job that a deployment becomes, as Nomad's API takes it; without it nothing is deployed",
    },
}

/// A function's job.
pub(crate) struct Job {
    pub(crate) value: Value,
    /// The task group that is scaled.
    pub(crate) group: Value,
}

impl Provider for Nomad {
    fn open() -> Result<Self> {
        Ok(Self { settings: Settings::read()? })
    }

    /// Two requests: the job has labels and limits, its `scale` the counts.
    fn get_replicas(&self, service: &str, namespace: &str) -> Result<ServiceStatus> {
        let job = self.job(service, namespace)?;
        self.status(&job, service, namespace)
    }

    fn set_replicas(&self, service: &str, namespace: &str, count: u64) -> Result<()> {
        let job = self.job(service, namespace)?;
        if number(&job.group, "Count") == count {
            return Ok(());
        }
        self.scale(service, namespace, count)
    }
}

impl Scaling for Nomad {
    /// Nomad 1.1 compares no versions when it scales, so what was just read decides.
    fn ensure(
        &self,
        service: &str,
        namespace: &str,
        at_least: u64,
        _expected_version: Option<&str>,
    ) -> Result<ServiceStatus> {
        let job = self.job(service, namespace)?;
        let mut status = self.status(&job, service, namespace)?;
        if status.replicas >= at_least {
            return Ok(status);
        }
        self.scale(service, namespace, at_least)?;
        status.replicas = at_least;
        Ok(status)
    }
}

impl About for Nomad {
    /// The release is what the servers tell each other. It needs a right of its own, `node:read`, and is left
    /// out where the token lacks it: `/v1/agent/self` would show the machine's configuration too.
    fn describe(&self) -> Result<Platform> {
        self.check()?;
        let members = api::fetch(api::get(&["v1", "agent", "members"], ""), "servers").unwrap_or_default();
        Ok(Platform {
            name: "nomad".to_owned(),
            orchestration: "nomad".to_owned(),
            release: release(&members),
            sha: String::new(),
        })
    }
}

impl Health for Nomad {
    /// A leader is told to everybody; the namespaces only to a token that has any.
    fn check(&self) -> Result<()> {
        let leader = api::fetch(api::get(&["v1", "status", "leader"], ""), "leader")?;
        if leader.as_str().is_none_or(str::is_empty) {
            return Err(ProviderError::unavailable("the cluster has no leader"));
        }
        let namespaces = api::fetch(api::get(&["v1", "namespaces"], ""), "namespaces")?;
        if json::list(&namespaces).is_empty() {
            return Err(ProviderError::denied("the token has rights in no namespace"));
        }
        Ok(())
    }
}

impl Nomad {
    /// The name of a function's job.
    pub(crate) fn job_id(&self, service: &str) -> String {
        format!("{}{service}", self.settings.job_prefix)
    }

    /// The task group of a function's job.
    pub(crate) fn group(&self, service: &str) -> String {
        self.settings.group.replace("{name}", service)
    }

    /// The job of a function. A stopped one is gone: it takes counts and starts nothing.
    pub(crate) fn job(&self, service: &str, namespace: &str) -> Result<Job> {
        let what = format!("function {service}.{namespace}");
        let value = api::fetch(api::get(&["v1", "job", &self.job_id(service)], namespace), &what)?;
        if !value.get("ID").is_some_and(Value::is_string) {
            return Err(ProviderError::internal(format!("{what}: the answer is no job of Nomad")));
        }
        if value.get("Stop") == Some(&Value::Bool(true)) {
            return Err(ProviderError::not_found(format!("{what}: its job is stopped")));
        }
        if !self.is_function(&value) {
            let label = &self.settings.label;
            return Err(ProviderError::not_found(format!("{what}: its job has no {label} in its Meta")));
        }
        let wanted = self.group(service);
        let group = entries(&value, "TaskGroups").iter().find(|group| text(group, "Name") == wanted).cloned();
        let group = group.ok_or_else(|| {
            ProviderError::not_found(format!("{what}: its job has no group {wanted:?}; config.group names it"))
        })?;
        Ok(Job { value, group })
    }

    fn is_function(&self, job: &Value) -> bool {
        self.settings.label.is_empty() || self.is_marked(job)
    }

    /// Whether a job says itself that it is a function.
    fn is_marked(&self, job: &Value) -> bool {
        let label = if self.settings.label.is_empty() { LABEL } else { &self.settings.label };
        texts(job, "Meta").any(|(key, _)| key == label)
    }

    pub(crate) fn status(&self, job: &Job, service: &str, namespace: &str) -> Result<ServiceStatus> {
        let what = format!("counts of {service}.{namespace}");
        let scale = api::fetch(api::get(&["v1", "job", &self.job_id(service), "scale"], namespace), &what)?;
        let counts = scale.get("TaskGroups").and_then(|groups| groups.get(self.group(service)));
        let counts = counts.ok_or_else(|| ProviderError::internal(format!("{what}: the answer has no such group")))?;
        let replicas = number(counts, "Desired");
        // A group whose changes are not deployments has no health.
        let available = if has_deployments(job) { number(counts, "Healthy") } else { number(counts, "Running") };
        let (mut labels, annotations) = meta(&job.value);
        if !self.is_marked(&job.value) {
            add_container_labels(job, &mut labels);
        }
        let policy = job.group.get("Scaling").filter(|policy| policy.get("Enabled") == Some(&Value::Bool(true)));
        Ok(ServiceStatus {
            replicas,
            available_replicas: available.min(replicas),
            min_replicas: policy.and_then(|policy| policy.get("Min")?.as_u64()),
            max_replicas: policy.and_then(|policy| policy.get("Max")?.as_u64()),
            labels,
            annotations,
            version: Some(number(&job.value, "JobModifyIndex").to_string()),
            ..ServiceStatus::default()
        })
    }

    /// Sets a count that differs from the one that is there.
    fn scale(&self, service: &str, namespace: &str, count: u64) -> Result<()> {
        let what = format!("scale function {service}.{namespace} to {count}");
        let id = self.job_id(service);
        // A scaling during a deployment is refused, and some versions carry it out all the same when the
        // deployment ends: so it is not even sent.
        let deployment = api::fetch(api::get(&["v1", "job", &id, "deployment"], namespace), &what)?;
        let state = text(&deployment, "Status");
        if matches!(state.as_str(), "running" | "paused" | "pending" | "blocked" | "unblocking" | "initializing") {
            return Err(api::is_deploying(&what, &state));
        }
        take_turn(&id, namespace, &what)?;
        let body = json!({ "Count": count, "Target": { "Group": self.group(service) }, "Message": "gateway: scale" });
        api::send(api::post(&["v1", "job", &id, "scale"], namespace, &body), &what).map(drop)
    }
}

/// The release of the servers that are alive; while they are being upgraded, the one that most of them have.
fn release(members: &Value) -> String {
    let alive = entries(members, "Members").iter().filter(|server| text(server, "Status") == "alive");
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    for build in alive.filter_map(|server| server.pointer("/Tags/build")?.as_str()) {
        *counts.entry(build).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map_or_else(String::new, |(build, _)| build.to_owned())
}

/// Waits until the job's last scaling is long enough ago. Who loses the race for the turn is told so.
fn take_turn(id: &str, namespace: &str, what: &str) -> Result<()> {
    let key = format!("scaled/{namespace}/{id}");
    let last: Option<(u64, u64)> = state::get_json(&key)?;
    let now = clock::now_ms();
    let pause = u64::try_from(SCALE_PAUSE.as_millis()).unwrap_or(0);
    let wait = last.map_or(0, |(at, _)| at.saturating_add(pause).saturating_sub(now)).min(pause);
    let expected = last.map_or(Expectation::Absent, |(_, version)| Expectation::Version(version));
    state::put_json(&key, &now.saturating_add(wait), expected).map_err(|error| ProviderError {
        message: format!("{what}: another scaling of this job is under way: {}", error.message),
        ..error.with_retry_after(SCALE_PAUSE)
    })?;
    if wait > 0 {
        clock::wait(Duration::from_millis(wait));
    }
    Ok(())
}

/// Whether changes of the group are deployments, which end with a verdict about its health.
fn has_deployments(job: &Job) -> bool {
    job.group.get("Update").is_some_and(|update| number(update, "MaxParallel") > 0)
}

/// Where other providers of OpenFaaS put a function's labels: into those of its first task's container.
fn add_container_labels(job: &Job, labels: &mut Pairs) {
    let config = functions::first_task(job).get("Config").unwrap_or(&Value::Null);
    // Nomad takes a block that may be repeated, so a list of tables.
    let all = entries(config, "labels").iter().flat_map(json::fields);
    for (key, value) in all.filter(|(key, value)| key.len() <= KEY_BYTES && value.len() <= VALUE_BYTES) {
        if labels.len() < PAIRS && labels.iter().all(|(known, _)| known != key) {
            labels.push((key.to_owned(), value.to_owned()));
        }
    }
}

/// Labels and annotations of a job.
pub(crate) fn meta(job: &Value) -> (Pairs, Pairs) {
    let (mut labels, mut annotations) = (Pairs::new(), Pairs::new());
    for (key, value) in texts(job, "Meta").filter(|(key, value)| key.len() <= KEY_BYTES && value.len() <= VALUE_BYTES) {
        let (pairs, key) = match key.strip_prefix(ANNOTATION) {
            Some(key) => (&mut annotations, key),
            None => (&mut labels, key),
        };
        if pairs.len() < PAIRS {
            pairs.push((key.to_owned(), value.to_owned()));
        }
    }
    (labels, annotations)
}
