//! More replicas and fewer.

use std::time::Duration;

use serde_json::{Map, Value, json};
use wicketgate_sdk::http::Request;
use wicketgate_sdk::{ErrorKind, Pairs, ProviderError, Result, ServiceStatus, clock, random, warn};

use super::{Container, Group, Phase, Replica, forget_leaving, is_gone, note_leaving};
use crate::Docker;
use crate::api::{ANSWER_BYTES, success, taken, text, url};
use crate::deployment::{Deployed, put};
use crate::names::{self, DEPLOYMENT, REVISION, ROLE, set_label, table};
use crate::settings::{Addresses, Zero};

/// How long a call waits for containers to stop, over all of them. The engine goes on stopping one
/// that takes longer.
const STOP_WAIT: Duration = Duration::from_millis(1500);

/// The least such wait for one container: the engine must have read the request.
const STOP_WAIT_LEAST: Duration = Duration::from_millis(100);

/// What is added to a container's time to stop before it counts as running again.
const STOP_SLACK_MS: u64 = 10_000;

/// How often a scaling reads again after another writer was faster.
const ATTEMPTS: u32 = 4;

/// A replica's role.
const REPLICA: &str = "replica";

impl Docker {
    /// Brings a function to `count` replicas, or, with `only_raise`, to at least as many.
    pub(crate) fn scale_group(
        &self,
        service: &str,
        namespace: &str,
        count: u64,
        only_raise: bool,
    ) -> Result<ServiceStatus> {
        self.settings.check_count(count)?;
        forget_leaving(None)?;
        let mut attempt = 1;
        loop {
            let group = self.group(service, namespace)?;
            let wanted = group.wanted();
            if wanted == count || only_raise && wanted > count {
                return Ok(group.status());
            }
            let outcome =
                if wanted < count { self.raise(&group, count - wanted) } else { self.lower(&group, wanted - count) };
            match outcome {
                // Another writer was faster with a name, or a container changed meanwhile.
                Err(error) if error.kind == ErrorKind::Conflict && attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error),
                Ok(()) if only_raise => return Ok(self.group(service, namespace)?.status()),
                Ok(()) => return Ok(ServiceStatus::default()),
            }
        }
    }

    /// Brings `more` replicas to life: paused ones first, since they are back at once, then those
    /// that ended, then new ones.
    pub(super) fn raise(&self, group: &Group, mut more: u64) -> Result<()> {
        let current = |replica: &&Replica| {
            // Without a model there is one revision only.
            group.revision().is_none_or(|revision| replica.container.label(REVISION) == Some(revision))
        };
        for replica in group.replicas.iter().filter(|replica| replica.phase == Phase::Paused).filter(current) {
            if more == 0 {
                return Ok(());
            }
            self.act(&replica.container, "unpause")?;
            more -= 1;
        }
        let idle = group.replicas.iter().filter(|replica| replica.phase == Phase::Idle);
        for replica in idle {
            if self.settings.zero == Zero::Remove && group.model.is_some() {
                // Each life is a new container there; this one ended by itself or was cut half way.
                self.remove(&replica.container)?;
            } else if more > 0 && current(&replica) {
                self.act(&replica.container, "start")?;
                forget_leaving(Some(&replica.container.id))?;
                more -= 1;
            }
        }
        if more == 0 {
            return Ok(());
        }
        let Some(model) = &group.model else {
            return Err(ProviderError::invalid(format!(
                "{}.{} has {} containers, which somebody labelled; only a function that was deployed here gets more",
                group.service,
                group.namespace,
                group.replicas.len()
            )));
        };
        let revision = model.label(REVISION).unwrap_or_default().to_owned();
        let stem = format!("{}.{}", model_stem(model), revision.get(..8).unwrap_or(&revision));
        // Idle ones that are in the way were removed above.
        let is_gone = |replica: &Replica| self.settings.zero == Zero::Remove && replica.phase == Phase::Idle;
        let is_free = |slot: &u64| {
            let name = format!("{stem}.{slot}");
            group.replicas.iter().all(|replica| replica.container.name != name || is_gone(replica))
        };
        let slots = (1..=self.settings.max_replicas.saturating_mul(2)).filter(is_free);
        for slot in slots.take(usize::try_from(more).unwrap_or(usize::MAX)) {
            let body = self.replica_body(group, model)?;
            let id = self.create(&format!("{stem}.{slot}"), &body).map_err(|error| {
                // The name is the compare-and-swap: whoever took it made this very replica.
                if error.platform_status == Some(409) {
                    ProviderError { kind: ErrorKind::Conflict, ..error }
                } else {
                    error
                }
            })?;
            let created = Container { id, ..Container::default() };
            if let Err(error) = self.act(&created, "start") {
                self.remove(&created)?;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Takes `fewer` replicas away, the youngest first.
    fn lower(&self, group: &Group, fewer: u64) -> Result<()> {
        let alive = |replica: &&Replica| matches!(replica.phase, Phase::Running | Phase::Starting);
        let surplus = group.replicas.iter().rev().filter(alive);
        let until = clock::monotonic() + STOP_WAIT;
        for replica in surplus.take(usize::try_from(fewer).unwrap_or(usize::MAX)) {
            if self.settings.zero == Zero::Pause && replica.container.state == "running" {
                self.act(&replica.container, "pause")?;
                continue;
            }
            let wait = until.saturating_sub(clock::monotonic()).max(STOP_WAIT_LEAST);
            let has_ended = self.stop(&replica.container, wait)?;
            if has_ended && self.settings.zero == Zero::Remove && group.model.is_some() {
                self.remove(&replica.container)?;
            }
        }
        Ok(())
    }

    /// Ends the replicas of a revision that is no more. One that takes its time goes on ending by itself, and is
    /// swept.
    pub(super) fn retire(&self, old: &[Replica]) -> Result<()> {
        let until = clock::monotonic() + STOP_WAIT;
        for replica in old {
            let is_up = matches!(replica.phase, Phase::Running | Phase::Starting);
            let wait = until.saturating_sub(clock::monotonic()).max(STOP_WAIT_LEAST);
            if !is_up || self.stop(&replica.container, wait)? {
                self.remove(&replica.container)?;
            }
        }
        Ok(())
    }

    /// Removes what was told to stop and has ended since, where replicas are removed; those of a revision that is
    /// no more are removed anywhere.
    pub(crate) fn sweep(&self, group: &Group) {
        if group.model.is_none() {
            return;
        }
        let Ok(notes) = super::leaving() else { return };
        let is_old =
            |replica: &Replica| group.old_models.is_empty() && replica.container.label(REVISION) != group.revision();
        let is_to_go = |replica: &&Replica| {
            replica.phase == Phase::Idle && (self.settings.zero == Zero::Remove || is_old(replica))
        };
        let ended = group.replicas.iter().filter(is_to_go);
        for replica in ended.filter(|replica| notes.contains(&replica.container.id)) {
            let id = &replica.container.id;
            let outcome = self.remove(&replica.container).and_then(|()| forget_leaving(Some(id)));
            if let Err(error) = outcome {
                warn!("container {id} of {}.{} stays: {}", group.service, group.namespace, error.message);
            }
        }
    }

    /// `start`, `pause`, `unpause`. 304 says that it is so already.
    fn act(&self, container: &Container, verb: &str) -> Result<()> {
        let answer = Request::post(format!("{}/{verb}", path_of(container))).send()?;
        if answer.status() == 304 {
            return Ok(());
        }
        // Somebody removed it, or paused it, since it was listed: read again.
        success(answer, &format!("{verb} container {}", container.id))
            .map(drop)
            .map_err(|error| if is_gone(&error) { ProviderError { kind: ErrorKind::Conflict, ..error } } else { error })
    }

    /// Stops a container, and says whether it ended within `wait`. The engine goes on when nobody
    /// waits any longer; a note in the state keeps the container from being counted meanwhile.
    fn stop(&self, container: &Container, wait: Duration) -> Result<bool> {
        let seconds = self.settings.stop_seconds;
        note_leaving(&container.id, seconds * 1000 + STOP_SLACK_MS)?;
        let request =
            Request::post(format!("{}/stop", path_of(container))).query("t", &seconds.to_string()).timeout(wait);
        let answer = match request.send() {
            Ok(answer) => answer,
            Err(error) if error.kind == ErrorKind::Timeout => return Ok(false),
            Err(error) => {
                forget_leaving(Some(&container.id))?;
                return Err(error);
            }
        };
        forget_leaving(Some(&container.id))?;
        // 304: it had ended. 404: it is gone, which will do.
        if matches!(answer.status(), 304 | 404) {
            return Ok(true);
        }
        success(answer, &format!("stop container {}", container.id))?;
        Ok(true)
    }

    /// Removes a container with its anonymous volumes, running or not.
    pub(super) fn remove(&self, container: &Container) -> Result<()> {
        let request = Request::delete(path_of(container)).query("force", "true").query("v", "true");
        let answer = request.send()?;
        // 409: its removal is under way.
        if matches!(answer.status(), 404 | 409) {
            return Ok(());
        }
        success(answer, &format!("remove container {}", container.id))?;
        Ok(())
    }

    /// Makes a container and answers its id.
    pub(super) fn create(&self, name: &str, body: &Value) -> Result<String> {
        let answer = Request::post(url("containers/create")).query("name", name).json(body)?.send()?;
        let created: Value = success(answer, &format!("create container {name}")).map_err(taken)?.json(ANSWER_BYTES)?;
        Ok(text(&created, "/Id").to_owned())
    }

    /// The body that makes a replica.
    fn replica_body(&self, group: &Group, model: &Container) -> Result<Value> {
        let mut labels = model.labels.clone();
        labels.retain(|(key, _)| key != DEPLOYMENT);
        set_label(&mut labels, ROLE, REPLICA);
        self.body(&group.deployed(), &labels)
    }

    /// The body of `POST /containers/create`: the operator's template, and what was deployed. Binds,
    /// privileges, capabilities and namespaces are in it only if the template names them.
    pub(super) fn body(&self, deployed: &Deployed, labels: &Pairs) -> Result<Value> {
        let template = &self.settings.template;
        let mut body = template.clone();
        deployed.write_container(&mut body, template)?;
        let mut all = names::labels(template, "/Labels");
        for (key, value) in labels {
            set_label(&mut all, key, value);
        }
        put(&mut body, &["Labels"], table(&all));
        put(&mut body, &["HostConfig", "RestartPolicy"], json!({ "Name": self.settings.restart }));
        if let Some(network) = &self.settings.network {
            put(&mut body, &["HostConfig", "NetworkMode"], json!(network));
        }
        if self.settings.addresses == Addresses::HostPort {
            let port = format!("{}/tcp", self.settings.port);
            put(&mut body, &["ExposedPorts", &port], Value::Object(Map::new()));
            let host = self.settings.host.clone().unwrap_or_else(loopback);
            put(&mut body, &["HostConfig", "PortBindings", &port], json!([{ "HostIp": host, "HostPort": "" }]));
        }
        Ok(body)
    }
}

/// An address of this machine's own network, 127.64.0.0 to 127.127.255.255, drawn for one container:
/// a port that it gives up is then nobody else's later, since the address is not.
fn loopback() -> String {
    let drawn = random::bytes(3);
    let byte = |at: usize| drawn.get(at).copied().unwrap_or(1);
    format!("127.{}.{}.{}", 64 | byte(0) & 63, byte(1), byte(2).clamp(1, 254))
}

/// The URL of a container.
fn path_of(container: &Container) -> String {
    Request::get(url("containers/")).segment(&container.id).url
}

/// The name that replicas' names begin with. An update leaves the revision behind the model's name if
/// it is cut half way.
fn model_stem(model: &Container) -> String {
    let revision = model.label(REVISION).unwrap_or_default();
    let name = &model.name;
    name.strip_suffix(&format!(".{revision}")).unwrap_or(name).to_owned()
}
