//! Good and hostile guests (`tests/fixtures/*.wat`) against the whole host, without a platform.

mod contract;
mod guests;
mod hostile;
mod lies;
mod traps;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::super::engine::EngineConfig;
use super::super::fixtures::component;
use super::super::load::Plugins;
use super::super::loaded::HostParts;
use super::super::quarantine::STRIKES;
use super::super::refuse::Refusal;
use super::*;
use crate::host::egress::{Egress, EgressMetrics};
use crate::host::state::Store;
use crate::metrics::Registry;
use crate::name::FunctionRef;
use crate::provider::{ComponentSource, Limits, Reuse};
use crate::query::{Budget, ErrorKind, Interface, PluginFault, Provider, ServiceQuery};

pub(in crate::plugin) struct Bench {
    pub(in crate::plugin) plugins: Plugins,
    registry: Registry,
    folder: tempfile::TempDir,
}

impl Bench {
    pub(in crate::plugin) fn new() -> Self {
        let registry = Registry::default();
        let config = EngineConfig { instances: Some(8), tick: Duration::from_millis(1), ..EngineConfig::default() };
        let folder = tempfile::tempdir().unwrap();
        let plugins = Plugins::new(&config, &registry, Some(folder.path().join("code"))).unwrap();
        Self { plugins, registry, folder }
    }

    pub(in crate::plugin) fn with_lock(mut self, keeper: Arc<crate::trust::lock::Keeper>) -> Self {
        self.plugins = self.plugins.with_lock(Some(keeper));
        self
    }

    pub(in crate::plugin) fn config(&self, fixture: &str, limits: Limits) -> ProviderConfig {
        let path = self.folder.path().join(format!("{fixture}.wasm"));
        std::fs::write(&path, component(fixture)).unwrap();
        ProviderConfig {
            name: "edge".parse().unwrap(),
            component: ComponentSource::File(path),
            digest: None,
            signature: crate::trust::signature::SignaturePolicy::default(),
            namespaces: vec!["dev".parse().unwrap()],
            is_default: false,
            config: serde_json::json!({}),
            grants: Default::default(),
            commands: Default::default(),
            endpoints: Default::default(),
            limits,
            swap: Default::default(),
        }
    }

    pub(in crate::plugin) fn parts(&self, config: &ProviderConfig) -> HostParts {
        let metrics = EgressMetrics::new(&Registry::default());
        HostParts {
            egress: Arc::new(Egress::closed(&config.name, &metrics)),
            state: Store::in_memory().provider(&config.name, config.limits.state_quota),
            processes: None,
        }
    }

    pub(in crate::plugin) async fn load(&self, config: &ProviderConfig) -> Result<Candidate, Refusal> {
        self.plugins.load(config, self.parts(config)).await.map_err(|error| error.refusal)
    }

    pub(in crate::plugin) async fn provider(&self, fixture: &str, limits: Limits) -> PluginProvider {
        let config = self.config(fixture, limits);
        let provider = PluginProvider::new(&config);
        provider.publish(self.load(&config).await.unwrap());
        provider
    }

    async fn refusal(&self, fixture: &str) -> Refusal {
        match self.load(&self.config(fixture, limits())).await {
            Err(refusal) => refusal,
            Ok(_) => panic!("{fixture} was loaded"),
        }
    }

    pub(in crate::plugin) fn exposes(&self, line: &str) -> bool {
        String::from_utf8(self.registry.exposition()).unwrap().lines().any(|have| have == line)
    }
}

pub(in crate::plugin) fn limits() -> Limits {
    Limits { cpu_time: Duration::from_millis(20), call_timeout: Duration::from_secs(10), ..Limits::default() }
}

pub(in crate::plugin) fn figlet() -> FunctionRef {
    FunctionRef { name: "figlet".parse().unwrap(), namespace: "dev".parse().unwrap() }
}

async fn fault_of(provider: &PluginProvider) -> PluginFault {
    let error = provider.get_replicas(&figlet()).await.expect_err("the guest misbehaves");
    let Cause::Plugin(fault) = error.cause else { panic!("{:?}: {}", error.cause, error.message) };
    fault
}

#[tokio::test]
async fn a_good_guest_answers_and_its_answer_carries_its_generation() {
    let bench = Bench::new();
    let provider = bench.provider("good", limits()).await;
    let status = provider.get_replicas(&figlet()).await.unwrap();
    assert_eq!((status.replicas, status.available_replicas), (2, 1));
    assert_eq!(status.labels.get("com.openfaas.scale.zero").map(String::as_str), Some("1"));
    assert_eq!(status.generation, Generation(1));
    provider.set_replicas(&figlet(), 3).await.unwrap();
    // It does not export `scaling`.
    assert_eq!(provider.ensure(&figlet(), 1, None).await.unwrap(), None);
    assert!(Interface::ALL.iter().all(|interface| !provider.has(*interface)));
    let error = provider.check().await.unwrap_err();
    assert_eq!(error.cause, Cause::NotExported(Interface::Health));
    assert!(
        bench.exposes(r#"wicketgate_plugin_calls_total{interface="service-query",outcome="ok",provider="edge"} 3"#)
    );
}

#[tokio::test]
async fn the_platforms_word_is_passed_on() {
    let bench = Bench::new();
    let provider = bench.provider("not-found", limits()).await;
    let error = provider.get_replicas(&figlet()).await.unwrap_err();
    assert_eq!(error.cause, Cause::Platform(ErrorKind::NotFound));
    assert_eq!(error.platform_status, Some(404));
    assert_eq!(error.to_string(), "provider edge (generation 1): figlet.dev: no such function");
}

#[tokio::test]
async fn instances_are_reused_as_the_settings_say() {
    let bench = Bench::new();
    let calls = |calls| Reuse::Pooled {
        calls: NonZeroU32::new(calls).unwrap(),
        age: Duration::from_secs(60),
        recycle_above: 16 << 20,
    };
    for (reuse, expected) in [(Reuse::PerCall, [1, 1, 1]), (calls(100), [1, 2, 3]), (calls(2), [1, 2, 1])] {
        let provider = bench.provider("counts-calls", Limits { instances: reuse, ..limits() }).await;
        let mut seen = [0; 3];
        for count in &mut seen {
            *count = provider.get_replicas(&figlet()).await.unwrap().replicas;
        }
        assert_eq!(seen, expected, "{reuse:?}");
    }
}

#[tokio::test]
async fn handles_without_end_are_a_broken_budget() {
    let bench = Bench::new();
    let provider = bench.provider("handles", Limits { handles: 16, ..limits() }).await;
    let error = provider.set_replicas(&figlet(), 1).await.unwrap_err();
    assert_eq!(error.cause, Cause::Plugin(PluginFault::Budget(Budget::Handles)), "{}", error.message);
    assert!(error.message.contains("limits.handles"), "{}", error.message);
}

#[tokio::test]
async fn handles_that_a_call_left_are_counted() {
    let bench = Bench::new();
    let left = |count: u32| format!(r#"wicketgate_plugin_handles_left_total{{provider="edge"}} {count}"#);
    bench.provider("good", limits()).await.get_replicas(&figlet()).await.unwrap();
    assert!(bench.exposes(&left(0)));
    let provider = bench.provider("handles", limits()).await;
    for count in 1..=2 {
        provider.get_replicas(&figlet()).await.unwrap();
        // It keeps a pollable, which is two: itself, and what it waits for.
        assert!(bench.exposes(&left(2 * count)), "{count}");
    }
}

#[tokio::test]
async fn more_bytes_than_a_host_call_may_have_are_a_broken_budget() {
    let bench = Bench::new();
    let provider = bench.provider("log-flood", Limits { host_call_bytes: 32 << 10, ..limits() }).await;
    let error = provider.set_replicas(&figlet(), 1).await.unwrap_err();
    assert_eq!(error.cause, Cause::Plugin(PluginFault::Budget(Budget::HostCallBytes)), "{}", error.message);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_finds_no_turn_is_busy_and_one_that_is_dropped_gives_its_turn_back() {
    let bench = Bench::new();
    let limits = Limits { concurrency: NonZeroU32::MIN, lease_timeout: Duration::from_secs(1), ..limits() };
    let provider = bench.provider("sleeps", limits).await;
    let function = figlet();
    let waiting = provider.get_replicas(&function);
    tokio::select! {
        biased;
        _ = waiting => panic!("it sleeps"),
        other = provider.set_replicas(&function, 1) => {
            assert_eq!(other.unwrap_err().cause, Cause::Plugin(PluginFault::Busy));
        }
    }
    provider.set_replicas(&function, 1).await.unwrap();
    assert!(
        bench.exposes(
            r#"wicketgate_plugin_calls_total{interface="service-query",outcome="cancelled",provider="edge"} 1"#
        )
    );
    assert!(bench.exposes(r#"wicketgate_plugin_instances{provider="edge"} 1"#));
}

#[tokio::test]
async fn the_clock_ticks_for_as_long_as_a_plugin_can_run() {
    let bench = Bench::new();
    let provider = bench.provider("endless-loop", limits()).await;
    drop(bench);
    assert_eq!(fault_of(&provider).await, PluginFault::Budget(Budget::Cpu));
}

#[tokio::test]
async fn an_endless_loop_lets_others_on_its_thread_go_on() {
    let bench = Bench::new();
    let looping = bench.provider("endless-loop", Limits { cpu_time: Duration::from_millis(200), ..limits() }).await;
    let good = bench.provider("good", limits()).await;
    let function = figlet();
    let (mut answered, mut looping) = (0, looping.get_replicas(&function));
    let error = loop {
        tokio::select! {
            ended = &mut looping => break ended.unwrap_err(),
            other = good.get_replicas(&function) => {
                other.unwrap();
                answered += 1;
            }
        }
    };
    assert_eq!(error.cause, Cause::Plugin(PluginFault::Budget(Budget::Cpu)));
    assert!(answered > 10, "only {answered} calls were answered meanwhile");
}

#[tokio::test]
async fn a_plugin_that_keeps_trapping_is_quarantined() {
    let bench = Bench::new();
    let provider = bench.provider("trap", limits()).await;
    for _ in 0..STRIKES {
        assert_eq!(fault_of(&provider).await, PluginFault::Trap);
    }
    let error = provider.get_replicas(&figlet()).await.unwrap_err();
    assert_eq!(error.cause, Cause::Plugin(PluginFault::Quarantined));
    assert!(error.retry_after.is_some());
    assert!(provider.status().unwrap().is_quarantined);
    assert!(bench.exposes(r#"wicketgate_plugin_quarantined{provider="edge"} 1"#));
}

#[tokio::test]
async fn generations_follow_each_other_and_back() {
    let bench = Bench::new();
    let config = bench.config("good", limits());
    let provider = PluginProvider::new(&config);
    let error = provider.get_replicas(&figlet()).await.unwrap_err();
    assert_eq!(error.cause, Cause::NoPlugin);
    provider.explain("the disk is gone");
    assert_eq!(provider.status().unwrap_err(), "the disk is gone");
    assert_eq!(provider.publish(bench.load(&config).await.unwrap()), Generation(1));
    provider.get_replicas(&figlet()).await.unwrap();
    let bad = bench.config("not-found", limits());
    assert_eq!(provider.publish(bench.load(&bad).await.unwrap()), Generation(2));
    assert!(provider.get_replicas(&figlet()).await.unwrap_err().is_not_found());
    assert_eq!(provider.roll_back(), Some(Generation(3)));
    assert_eq!(provider.get_replicas(&figlet()).await.unwrap().generation, Generation(3));
}

#[tokio::test]
async fn refusals_say_what_is_wrong() {
    let bench = Bench::new();
    for (fixture, step, says) in [
        ("no-service-query", "linked", "acme:other/health@1.0.0"),
        ("missing-function", "typed", "contract"),
        ("wrong-type", "typed", "contract"),
        ("unknown-import", "linked", "acme:host/secrets@1.0.0"),
        ("wants-processes", "linked", "[provider.edge.command.NAME]"),
        ("wants-memory", "typed", "limits.memory"),
        ("trap-in-start", "typed", "unreachable"),
        ("loop-in-start", "typed", "limits.cpu-time"),
    ] {
        let refusal = bench.refusal(fixture).await;
        assert_eq!(refusal.step(), step, "{fixture}: {refusal}");
        assert!(refusal.to_string().contains(says), "{fixture}: {refusal}");
    }
}

#[tokio::test]
async fn only_the_pinned_bytes_are_loaded() {
    let bench = Bench::new();
    let mut config = bench.config("good", limits());
    config.digest = Some(Digest::of(b"other bytes"));
    assert!(matches!(bench.load(&config).await, Err(Refusal::Digest { .. })));
    config.digest = Some(Digest::of(&component("good")));
    assert!(bench.load(&config).await.is_ok());
}
