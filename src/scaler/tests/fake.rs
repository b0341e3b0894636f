//! A provider and a network that do what a test wrote down, and count what they are asked.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::metrics::Registry;
use crate::name::{FunctionRef, Generation, Namespace, ProviderName};
use crate::provider::{AllowedHost, Directory, EndpointPolicy, Entry, Listing};
use crate::query::functions::{FunctionDeployment, FunctionPage, FunctionStatus};
use crate::query::{
    Answer, ChangeSet, Endpoint, ErrorKind, Interface, Provider, QueryError, ServiceQuery, ServiceStatus, Target,
};
use crate::scaler::probe::{Attempt, Probe};
use crate::scaler::{Config, EndpointRef, Ready, ScaleError, Scaler};

/// One function of the script.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) status: ServiceStatus,
    /// When the wanted instances are available.
    pub(super) ready_at: Option<Instant>,
}

/// What the provider does, and what it was asked.
pub(super) struct Script {
    pub(super) services: HashMap<String, Service>,
    /// How long after a wish the instances are available; `None` is never.
    pub(super) start_time: Option<Duration>,
    /// How long an answer takes.
    pub(super) delay: Duration,
    /// Every question fails with this.
    pub(super) error: Option<QueryError>,
    /// Every wish fails with this.
    pub(super) wish_error: Option<QueryError>,
    /// Every question where instances are fails with this.
    pub(super) resolve_error: Option<QueryError>,
    /// So many wishes are taken and lost.
    pub(super) lost_wishes: u32,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) interfaces: Vec<Interface>,
    pub(super) events: VecDeque<Result<ChangeSet, QueryError>>,
    /// A watch without events answers at once.
    pub(super) restless: bool,
    /// A question panics instead of being answered.
    pub(super) panics: bool,
    pub(super) generation: u64,
    pub(super) gets: u32,
    pub(super) wishes: Vec<u64>,
    pub(super) resolves: u32,
    pub(super) lists: u32,
    pub(super) cursors: Vec<Option<String>>,
}

pub(super) struct Fake {
    name: ProviderName,
    script: Mutex<Script>,
    event: Notify,
}

impl Fake {
    pub(super) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    /// How often it was asked how many instances there are.
    pub(super) fn gets(&self) -> u32 {
        self.script().gets
    }

    /// How often it was asked where they are.
    pub(super) fn resolves(&self) -> u32 {
        self.script().resolves
    }

    /// Changes the function's counts, unseen by the watch.
    pub(super) fn set(&self, name: &str, replicas: u64, available: u64) {
        let mut script = self.script();
        let service = script
            .services
            .entry(name.into())
            .or_insert_with(|| Service { status: ServiceStatus::default(), ready_at: None });
        service.status.replicas = replicas;
        service.status.available_replicas = available;
        service.ready_at = None;
    }

    pub(super) fn label(&self, name: &str, label: &str, value: &str) {
        self.script().services.get_mut(name).unwrap().status.labels.insert(label.into(), value.into());
    }

    /// What the watch answers next.
    pub(super) fn happens(&self, event: Result<ChangeSet, QueryError>) {
        self.script().events.push_back(event);
        self.event.notify_one();
    }

    fn status(&self, function: &FunctionRef) -> Result<ServiceStatus, QueryError> {
        let mut script = self.script();
        if let Some(error) = &script.error {
            return Err(error.clone());
        }
        let generation = Generation(script.generation);
        let Some(service) = script.services.get_mut(function.name.as_str()) else {
            return Err(QueryError::platform(ErrorKind::NotFound, "no such service"));
        };
        if service.ready_at.is_some_and(|at| Instant::now() >= at) {
            service.status.available_replicas = service.status.replicas;
        }
        Ok(ServiceStatus { generation, ..service.status.clone() })
    }

    async fn delay(&self) {
        let delay = self.script().delay;
        if !delay.is_zero() {
            sleep(delay).await;
        }
    }
}

impl ServiceQuery for Fake {
    fn get_replicas<'a>(&'a self, function: &'a FunctionRef) -> Answer<'a, ServiceStatus> {
        Box::pin(async move {
            self.script().gets += 1;
            let panics = self.script().panics;
            assert!(!panics, "a provider that panics");
            let answer = self.status(function);
            self.delay().await;
            answer
        })
    }

    fn set_replicas<'a>(&'a self, function: &'a FunctionRef, count: u64) -> Answer<'a, ()> {
        Box::pin(async move {
            self.script().wishes.push(count);
            self.delay().await;
            let mut script = self.script();
            if let Some(error) = script.error.as_ref().or(script.wish_error.as_ref()) {
                return Err(error.clone());
            }
            if script.lost_wishes > 0 {
                script.lost_wishes -= 1;
                return Ok(());
            }
            let ready_at = script.start_time.map(|start| Instant::now() + start);
            let service = script.services.get_mut(function.name.as_str()).unwrap();
            service.status.replicas = count;
            service.ready_at = ready_at;
            Ok(())
        })
    }
}

impl Provider for Fake {
    fn name(&self) -> &ProviderName {
        &self.name
    }

    fn has(&self, interface: Interface) -> bool {
        self.script().interfaces.contains(&interface)
    }

    fn generation(&self) -> Generation {
        Generation(self.script().generation)
    }

    fn resolve<'a>(&'a self, _function: &'a FunctionRef) -> Answer<'a, Vec<Endpoint>> {
        Box::pin(async move {
            self.script().resolves += 1;
            self.delay().await;
            let script = self.script();
            let error = script.error.clone().or_else(|| script.resolve_error.clone());
            error.map_or_else(|| Ok(script.endpoints.clone()), Err)
        })
    }

    fn list<'a>(
        &'a self,
        _namespace: &'a Namespace,
        _cursor: Option<&'a str>,
        _limit: u32,
    ) -> Answer<'a, FunctionPage> {
        Box::pin(async move {
            let mut script = self.script();
            script.lists += 1;
            let functions = script.services.iter().map(|(name, service)| FunctionStatus {
                deployment: FunctionDeployment { service: name.clone(), ..FunctionDeployment::default() },
                replicas: service.status.replicas,
                available_replicas: service.status.available_replicas,
                ..FunctionStatus::default()
            });
            Ok(FunctionPage { functions: functions.collect(), next: None })
        })
    }

    fn changes<'a>(
        &'a self,
        _namespaces: &'a [Namespace],
        cursor: Option<&'a str>,
        timeout: Duration,
    ) -> Answer<'a, ChangeSet> {
        Box::pin(async move {
            self.script().cursors.push(cursor.map(str::to_owned));
            let end = Instant::now() + timeout;
            loop {
                let event = self.script().events.pop_front();
                if let Some(event) = event {
                    return event;
                }
                let restless = self.script().restless;
                if restless || tokio::time::timeout_at(end, self.event.notified()).await.is_err() {
                    return Ok(changes(&[], &[], "idle"));
                }
            }
        })
    }
}

/// A network in which connections are accepted from a moment on.
pub(super) struct Network {
    accepts_at: Mutex<Option<Instant>>,
    attempts: Mutex<u32>,
}

impl Network {
    pub(super) fn accepts_at(&self, at: Instant) {
        *self.accepts_at.lock().unwrap() = Some(at);
    }

    pub(super) fn attempts(&self) -> u32 {
        *self.attempts.lock().unwrap()
    }
}

struct Wire(Arc<Network>);

impl Probe for Wire {
    fn accepts<'a>(&'a self, _endpoint: &'a EndpointRef) -> Attempt<'a> {
        *self.0.attempts.lock().unwrap() += 1;
        let accepts = self.0.accepts_at.lock().unwrap().is_none_or(|at| Instant::now() >= at);
        Box::pin(std::future::ready(if accepts { Ok(()) } else { Err("connection refused".into()) }))
    }
}

/// A scaler over one scripted provider that serves the namespace `dev`.
pub(super) struct World {
    pub(super) scaler: Arc<Scaler>,
    pub(super) directory: Arc<Directory>,
    pub(super) provider: Arc<Fake>,
    pub(super) network: Arc<Network>,
    pub(super) registry: Registry,
}

pub(super) fn world(config: Config) -> World {
    build(config, Some("10.0.0.0/8"), None, &[Interface::Endpoints])
}

pub(super) fn build(config: Config, allow: Option<&str>, template: Option<&str>, interfaces: &[Interface]) -> World {
    let provider = fake("edge", interfaces);
    let network = Arc::new(Network { accepts_at: Mutex::default(), attempts: Mutex::default() });
    let registry = Registry::new();
    let directory = Arc::new(Directory::new(vec![entry(&provider, "dev", allow, template)]));
    let probe = Box::new(Wire(Arc::clone(&network)));
    let scaler = Scaler::with_probe(config, Arc::clone(&directory), &registry, probe);
    World { scaler: Arc::new(scaler), directory, provider, network, registry }
}

/// What the directory has of a provider that serves one namespace.
pub(super) fn entry(provider: &Arc<Fake>, namespace: &str, allow: Option<&str>, template: Option<&str>) -> Entry {
    let allow = allow.map(|network| AllowedHost::Network(network.parse().unwrap())).into_iter().collect();
    Entry {
        provider: Arc::<Fake>::clone(provider),
        endpoints: EndpointPolicy { allow, template: template.map(str::to_owned) },
        namespaces: vec![namespace.parse().unwrap()],
        is_default: false,
    }
}

pub(super) fn fake(name: &str, interfaces: &[Interface]) -> Arc<Fake> {
    Arc::new(Fake {
        name: name.parse().unwrap(),
        event: Notify::new(),
        script: Mutex::new(Script {
            services: HashMap::new(),
            start_time: Some(Duration::from_millis(100)),
            delay: Duration::ZERO,
            error: None,
            wish_error: None,
            resolve_error: None,
            lost_wishes: 0,
            endpoints: vec![endpoint("10.0.0.1:80", 600_000)],
            interfaces: interfaces.to_vec(),
            events: VecDeque::new(),
            restless: false,
            panics: false,
            generation: 1,
            gets: 0,
            wishes: Vec::new(),
            resolves: 0,
            lists: 0,
            cursors: Vec::new(),
        }),
    })
}

impl World {
    /// Other providers from now on.
    pub(super) fn publish(&self, entries: Vec<Entry>) {
        self.directory.publish(Listing::new(entries.into_iter().map(Arc::new).collect()));
        self.scaler.update();
    }

    /// Makes the function known as one with an instance.
    pub(super) async fn warmed(&self, name: &str) -> Ready {
        self.provider.set(name, 1, 1);
        self.scaler.ready(&function(name)).await.unwrap()
    }

    /// A caller on a task of its own.
    pub(super) fn caller(&self, name: &str) -> JoinHandle<Result<Ready, ScaleError>> {
        let (scaler, asked) = (Arc::clone(&self.scaler), function(name));
        tokio::spawn(async move { scaler.ready(&asked).await })
    }

    /// Asks for `name` each `step` for a while; how often that had an answer from memory, and how often not.
    pub(super) async fn load(&self, name: &str, lasts: Duration, step: Duration) -> (u32, u32) {
        let (mut hits, mut misses) = (0, 0);
        let end = Instant::now() + lasts;
        while Instant::now() < end {
            *(if self.scaler.warm(&function(name)).is_some() { &mut hits } else { &mut misses }) += 1;
            sleep(step).await;
        }
        (hits, misses)
    }

    pub(super) fn metric(&self, line: &str) -> bool {
        String::from_utf8(self.registry.exposition()).unwrap().lines().any(|found| found == line)
    }
}

pub(super) fn function(name: &str) -> FunctionRef {
    FunctionRef { name: name.parse().unwrap(), namespace: "dev".parse().unwrap() }
}

pub(super) fn endpoint(authority: &str, ttl_ms: u64) -> Endpoint {
    Endpoint {
        target: Target::Authority(authority.into()),
        path_prefix: "".into(),
        host_header: None,
        tls: false,
        ttl: Duration::from_millis(ttl_ms),
        instance: authority.into(),
        via: None,
    }
}

pub(super) fn unavailable() -> QueryError {
    QueryError::platform(ErrorKind::Unavailable, "connection refused")
}

/// What a watch answers: functions with their available instances, and functions that are gone.
pub(super) fn changes(changed: &[(&str, u64)], removed: &[&str], cursor: &str) -> ChangeSet {
    let status = |available: u64| ServiceStatus {
        replicas: available,
        available_replicas: available,
        generation: Generation(1),
        ..ServiceStatus::default()
    };
    ChangeSet {
        changed: changed.iter().map(|(name, available)| (function(name), status(*available))).collect(),
        removed: removed.iter().map(|name| function(name)).collect(),
        cursor: cursor.to_owned(),
        complete: true,
    }
}

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
