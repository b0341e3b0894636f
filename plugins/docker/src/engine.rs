//! Containers of one engine: a function is a group of them with the same labels.
//!
//! One container of a function, the *model*, is made when it is deployed and never started: its
//! labels hold what was deployed, so that the engine itself is the only record, and its name makes
//! a second deployment of the name fail. Replicas are made from the model. Containers that the
//! operator labelled are a function without a model: what is there is started and stopped, and
//! nothing more.
//!
//! The engine has no wish for a number of containers; the number asked for is that of the
//! containers that run and were not told to stop.

use serde_json::Value;
use wicketgate_sdk::http::Request;
use wicketgate_sdk::{Endpoint, ErrorKind, Pairs, ProviderError, Result, ServiceStatus, clock, state};

use crate::api::{by_name, each, filters, items, number, text, url};
use crate::deployment::Deployed;
use crate::names::{self, DEPLOYMENT, FUNCTION, MODEL, REVISION, ROLE, function_of, label, no_function, split};
use crate::settings::Addresses;
use crate::{Docker, authority, endpoint};

mod deploy;
mod scale;

/// Before the ids of containers that were told to stop and may take their time.
const LEAVING: &str = "leaving/";

/// What marks the containers of a swarm.
const SWARMS: &str = "com.docker.swarm.service.id";

/// A container as the API lists it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Container {
    pub(crate) id: String,
    name: String,
    image: String,
    /// Seconds since 1970.
    created: u64,
    labels: Pairs,
    state: String,
    status: String,
    /// `host:port`, if it can be reached.
    place: Option<String>,
}

/// What a container is doing, in Docker's words and Podman's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Serving, as far as the engine knows.
    Running,
    /// Between two lives, or not healthy yet.
    Starting,
    Paused,
    /// Ended or never started: it can be started.
    Idle,
    /// On its way out.
    Leaving,
}

/// A replica.
#[derive(Clone, Debug)]
struct Replica {
    container: Container,
    phase: Phase,
}

/// The containers of a function.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    pub(crate) service: String,
    pub(crate) namespace: String,
    /// The newest model; more than one is left when an update was cut half way.
    model: Option<Container>,
    old_models: Vec<Container>,
    /// The oldest first.
    replicas: Vec<Replica>,
}

impl Container {
    fn label(&self, key: &str) -> Option<&str> {
        label(&self.labels, key)
    }

    fn is_model(&self) -> bool {
        self.label(ROLE) == Some(MODEL)
    }

    /// A text that sorts as the containers' ages do, the oldest first.
    fn age(&self) -> String {
        format!("{:020}{}", self.created, self.name)
    }

    fn phase(&self, leaving: &[String]) -> Phase {
        match self.state.as_str() {
            "running" if leaving.contains(&self.id) => Phase::Leaving,
            "running" if self.status.contains("(health: starting)") || self.status.contains("(unhealthy)") => {
                Phase::Starting
            }
            "running" => Phase::Running,
            "restarting" => Phase::Starting,
            "paused" => Phase::Paused,
            "created" | "exited" | "configured" | "stopped" | "initialized" => Phase::Idle,
            _ => Phase::Leaving,
        }
    }
}

impl Group {
    /// The replicas that count and are called. While the function is being changed there are two revisions:
    /// until the old model goes those of the old one serve, then those of the new one, each as long as one runs.
    fn serving(&self) -> impl Iterator<Item = &Replica> {
        let is_changing = !self.old_models.is_empty();
        let newest = self.revision();
        let is_first =
            move |replica: &&Replica| newest.is_none() || (replica.container.label(REVISION) == newest) != is_changing;
        let has_first = self.replicas.iter().filter(is_first).any(|replica| replica.phase == Phase::Running);
        self.replicas.iter().filter(move |replica| !has_first || is_first(replica))
    }

    fn count(&self, phases: &[Phase]) -> u64 {
        self.serving().map(|replica| u64::from(phases.contains(&replica.phase))).sum()
    }

    /// How many replicas are wanted: those that run or are about to.
    fn wanted(&self) -> u64 {
        self.count(&[Phase::Running, Phase::Starting])
    }

    /// The group with the replicas of one revision only, and the other replicas.
    fn split(&self, revision: &str) -> (Self, Vec<Replica>) {
        let is_of = |replica: &Replica| replica.container.label(REVISION) == Some(revision);
        let (new, old) = self.replicas.iter().cloned().partition(is_of);
        (Self { replicas: new, old_models: Vec::new(), ..self.clone() }, old)
    }

    /// The container whose labels are the function's.
    fn speaker(&self) -> Option<&Container> {
        self.model.as_ref().or_else(|| self.replicas.first().map(|replica| &replica.container))
    }

    fn texts(&self) -> (Pairs, Pairs) {
        self.speaker().map(|container| split(&container.labels)).unwrap_or_default()
    }

    fn revision(&self) -> Option<&str> {
        self.model.as_ref()?.label(REVISION)
    }

    pub(crate) fn status(&self) -> ServiceStatus {
        let (labels, annotations) = self.texts();
        let available_replicas = self.count(&[Phase::Running]);
        ServiceStatus { replicas: self.wanted(), available_replicas, labels, annotations, ..ServiceStatus::default() }
    }

    /// What was deployed; of containers that the operator made, their image.
    fn deployed(&self) -> Deployed {
        let kept = self.model.as_ref().and_then(|model| model.label(DEPLOYMENT));
        let image = self.speaker().map(|container| container.image.clone()).unwrap_or_default();
        let bare = Deployed { image, ..Deployed::default() };
        kept.and_then(|text| Some(Deployed::from_value(&serde_json::from_str(text).ok()?))).unwrap_or(bare)
    }

    fn created_at_ms(&self) -> Option<u64> {
        self.speaker()?.created.checked_mul(1000)
    }

    fn take(&mut self, container: Container, leaving: &[String]) {
        if !container.is_model() {
            let phase = container.phase(leaving);
            self.replicas.push(Replica { container, phase });
        } else if let Some(known) = self.model.as_mut().filter(|known| known.created <= container.created) {
            // They come by age, and of one second by name: that of an update is the longer one.
            self.old_models.push(std::mem::replace(known, container));
        } else if self.model.is_some() {
            self.old_models.push(container);
        } else {
            self.model = Some(container);
        }
    }

    /// The ids of the replicas whose output is the function's, by their names.
    pub(crate) fn sources(&self) -> Vec<String> {
        self.replicas.iter().map(|replica| replica.container.id.clone()).collect()
    }
}

impl Docker {
    /// The containers of a function: one request.
    pub(crate) fn group(&self, service: &str, namespace: &str) -> Result<Group> {
        self.settings.check_namespace(namespace)?;
        let leaving = leaving()?;
        let mut group = Group { service: service.to_owned(), namespace: namespace.to_owned(), ..Group::default() };
        let mut is_there = false;
        let mut replicas = Vec::new();
        self.each_container(&format!("{FUNCTION}={service}"), &mut |name, at, container| {
            if name == service && at == namespace {
                is_there = true;
                replicas.push(container);
            }
        })?;
        for container in by_name(replicas, &Container::age) {
            group.take(container, &leaving);
        }
        if is_there { Ok(group) } else { Err(no_function(service, namespace)) }
    }

    /// The containers of all functions, by name and namespace: one request.
    pub(crate) fn groups(&self) -> Result<Vec<Group>> {
        let leaving = leaving()?;
        let mut all = Vec::new();
        self.each_container(FUNCTION, &mut |name, namespace, container| {
            all.push((name.to_owned(), namespace.to_owned(), container));
        })?;
        let all = by_name(all, &|(name, namespace, container)| format!("{name}/{namespace}/{}", container.age()));
        let mut groups: Vec<Group> = Vec::new();
        for (service, namespace, container) in all {
            match groups.last_mut().filter(|last| last.service == service && last.namespace == namespace) {
                Some(last) => last.take(container, &leaving),
                None => {
                    let mut group = Group { service, namespace, ..Group::default() };
                    group.take(container, &leaving);
                    groups.push(group);
                }
            }
        }
        Ok(groups)
    }

    fn each_container(&self, label: &str, take: &mut dyn FnMut(&str, &str, Container)) -> Result<()> {
        let request = Request::get(url("containers/json")).query("all", "true");
        each(request.query("filters", &filters(&[("label", &[label])])), "containers", &mut |value| {
            let labels = names::labels(&value, "/Labels");
            // A swarm's tasks are containers of its machines too, and none of this provider's business.
            let own = function_of(&labels, &self.settings).filter(|_| names::label(&labels, SWARMS).is_none());
            if let Some((name, namespace)) = own {
                let container = Container {
                    id: text(&value, "/Id").to_owned(),
                    name: text(&value, "/Names/0").trim_start_matches('/').to_owned(),
                    image: text(&value, "/Image").to_owned(),
                    created: number(&value, "/Created"),
                    labels: labels.clone(),
                    state: text(&value, "/State").to_owned(),
                    status: text(&value, "/Status").to_owned(),
                    place: self.place(&value),
                };
                take(name, namespace, container);
            }
            Ok(())
        })
    }

    /// Where the replicas that run are. The identity is the container's: an address that is another
    /// container's now is another endpoint.
    pub(crate) fn group_endpoints(&self, service: &str, namespace: &str) -> Result<Vec<Endpoint>> {
        let group = self.group(service, namespace)?;
        let running = group.serving().filter(|replica| replica.phase == Phase::Running);
        let place = |replica: &Replica| Some(endpoint(replica.container.place.clone()?, &replica.container.id));
        Ok(running.filter_map(place).collect())
    }

    /// Where a container is reached.
    fn place(&self, container: &Value) -> Option<String> {
        if self.settings.addresses == Addresses::Network {
            let networks = container.pointer("/NetworkSettings/Networks")?;
            let address = text(networks.get(self.settings.network.as_deref()?)?, "/IPAddress");
            return (!address.is_empty()).then(|| authority(address, self.settings.port));
        }
        let is_it = |port: &&Value| {
            number(port, "/PrivatePort") == u64::from(self.settings.port)
                && number(port, "/PublicPort") > 0
                && matches!(text(port, "/Type"), "tcp" | "")
        };
        let port = items(container, "/Ports").iter().find(is_it)?;
        let ip = text(port, "/IP");
        // A port that is open on every address of the machine is open on this one.
        let everywhere = matches!(ip, "" | "0.0.0.0" | "::");
        let own = self.settings.host.as_deref().unwrap_or("127.0.0.1");
        Some(authority(if everywhere { own } else { ip }, u16::try_from(number(port, "/PublicPort")).ok()?))
    }
}

/// The containers that were told to stop and whose time is not over.
fn leaving() -> Result<Vec<String>> {
    let now = clock::now_ms();
    let fresh = |key: String| {
        let (id, until) = key.strip_prefix(LEAVING)?.split_once('/')?;
        (until.parse::<u64>().ok()? > now).then(|| id.to_owned())
    };
    Ok(state::list(LEAVING)?.into_iter().filter_map(fresh).collect())
}

/// Takes note of a container that is told to stop.
fn note_leaving(id: &str, millis: u64) -> Result<()> {
    let until = clock::now_ms().saturating_add(millis);
    state::put(&format!("{LEAVING}{id}/{until}"), b"", state::Expectation::Anything)?;
    Ok(())
}

/// Forgets such a note; without an id, those whose time is over.
fn forget_leaving(id: Option<&str>) -> Result<()> {
    let now = clock::now_ms();
    for key in state::list(LEAVING)? {
        let Some((noted, until)) = key.strip_prefix(LEAVING).and_then(|rest| rest.split_once('/')) else { continue };
        let is_over = until.parse::<u64>().is_ok_and(|until| until <= now);
        if id.map_or(is_over, |id| id == noted) {
            state::delete(&key, state::Expectation::Anything)?;
        }
    }
    Ok(())
}

/// Whether an error says that the object is gone.
fn is_gone(error: &ProviderError) -> bool {
    error.kind == ErrorKind::NotFound
}
