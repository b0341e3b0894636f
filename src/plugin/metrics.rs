//! What is counted of plugins. Handles are looked up once and kept: a call costs additions only.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Counter, CounterVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
};

use crate::host::egress::EgressUsage;
use crate::metrics::{Registry, SECONDS, SHORT_SECONDS};
use crate::name::ProviderName;
use crate::query::{Budget, Interface};

/// Which interface a call belongs to; `None` is `service-query`.
pub(super) type Slot = Option<Interface>;

/// How many values [`Slot`] has.
const SLOTS: usize = Interface::ALL.len() + 1;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// With an answer.
    Ok,
    /// With the plugin's own error.
    Error,
    /// With a trap.
    Trap,
    /// With a broken budget.
    Budget,
    /// With an answer that the contract forbids.
    BadOutput,
    /// Without an instance.
    Busy,
    /// Before it began: the plugin is in quarantine.
    Quarantined,
    /// Because nobody waits for it any more.
    Cancelled,
}

impl Outcome {
    const COUNT: usize = 8;

    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Trap => "trap",
            Self::Budget => "budget",
            Self::BadOutput => "bad-output",
            Self::Busy => "busy",
            Self::Quarantined => "quarantined",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The families; one for all providers.
#[derive(Clone)]
pub(super) struct Metrics {
    calls: IntCounterVec,
    seconds: HistogramVec,
    lease_wait: HistogramVec,
    cpu: CounterVec,
    memory: IntGaugeVec,
    requests: IntCounterVec,
    request_bytes: IntCounterVec,
    response_bytes: IntCounterVec,
    handles_left: IntCounterVec,
    exceeded: IntCounterVec,
    instances: IntGaugeVec,
    generation: IntGaugeVec,
    log_dropped: IntCounterVec,
    foreign: IntCounterVec,
    quarantined: IntGaugeVec,
    loads: IntCounterVec,
}

impl Metrics {
    pub(super) fn new(registry: &Registry, engine: &wasmtime::Engine) -> Self {
        let cpu = cpu_seconds();
        registry.register(cpu.clone());
        registry.register(PoolUse::new(engine.weak()));
        Self {
            calls: registry.counters(
                "wicketgate_plugin_calls_total",
                "Calls of plugins by how they ended.",
                &["provider", "interface", "outcome"],
            ),
            seconds: registry.histograms(
                "wicketgate_plugin_call_seconds",
                "How long calls of plugins took, without waiting for their turn.",
                &["provider", "interface"],
                &SHORT_SECONDS,
            ),
            lease_wait: registry.histograms(
                "wicketgate_plugin_lease_wait_seconds",
                "How long calls of plugins that had to wait did so until their turn.",
                &["provider"],
                &SECONDS,
            ),
            cpu,
            memory: registry.gauges(
                "wicketgate_plugin_memory_peak_bytes",
                "The most memory that an instance of the provider's plugin had after a call.",
                &["provider"],
            ),
            requests: registry.counters(
                "wicketgate_plugin_requests_total",
                "Requests that calls of plugins made, denied ones included.",
                &["provider"],
            ),
            request_bytes: registry.counters(
                "wicketgate_plugin_request_bytes_total",
                "Bytes of the bodies of these requests.",
                &["provider"],
            ),
            response_bytes: registry.counters(
                "wicketgate_plugin_response_bytes_total",
                "Bytes of the bodies of the answers to these requests.",
                &["provider"],
            ),
            handles_left: registry.counters(
                "wicketgate_plugin_handles_left_total",
                "Resources of the host that calls of plugins had not given back when they returned.",
                &["provider"],
            ),
            exceeded: registry.counters(
                "wicketgate_plugin_budget_exceeded_total",
                "Calls of plugins that broke a budget, by the setting that raises it.",
                &["provider", "budget"],
            ),
            instances: registry.gauges("wicketgate_plugin_instances", "Instances of plugins alive.", &["provider"]),
            generation: registry.gauges(
                "wicketgate_plugin_generation",
                "The generation of the provider's plugin that answers now.",
                &["provider"],
            ),
            log_dropped: registry.counters(
                "wicketgate_plugin_log_dropped_total",
                "Lines that plugins logged beyond their bound.",
                &["provider"],
            ),
            foreign: registry.counters(
                "wicketgate_plugin_foreign_entries_total",
                "Entries that plugins answered for namespaces which are not their own, and that were left out.",
                &["provider"],
            ),
            quarantined: registry.gauges(
                "wicketgate_plugin_quarantined",
                "1 while the provider's plugin is stopped because it kept failing.",
                &["provider"],
            ),
            loads: registry.counters(
                "wicketgate_plugin_loads_total",
                "Plugins that were loaded or refused, by the step that refused them.",
                &["provider", "result"],
            ),
        }
    }

    /// Counts a load by its result: `ok`, or the step that refused it.
    pub(super) fn loaded(&self, provider: &ProviderName, result: &str) {
        self.loads.with_label_values(&[provider.as_str(), result]).inc();
    }

    /// The handles of one provider.
    pub(super) fn provider(&self, name: &ProviderName) -> ProviderMetrics {
        let label = [name.as_str()];
        ProviderMetrics {
            cpu: self.cpu.with_label_values(&label),
            memory: self.memory.with_label_values(&label),
            requests: self.requests.with_label_values(&label),
            request_bytes: self.request_bytes.with_label_values(&label),
            response_bytes: self.response_bytes.with_label_values(&label),
            handles_left: self.handles_left.with_label_values(&label),
            instances: self.instances.with_label_values(&label),
            generation: self.generation.with_label_values(&label),
            log_dropped: self.log_dropped.with_label_values(&label),
            foreign: self.foreign.with_label_values(&label),
            quarantined: self.quarantined.with_label_values(&label),
            lease_wait: self.lease_wait.with_label_values(&label),
            calls: Default::default(),
            name: name.clone(),
            families: self.clone(),
        }
    }
}

#[expect(clippy::expect_used, reason = "names and labels are literals, so every start would fail")]
fn cpu_seconds() -> CounterVec {
    let options = Opts::new("wicketgate_plugin_cpu_seconds_total", "Processor time that calls of plugins used.");
    CounterVec::new(options, &["provider"]).expect("metric names and labels are valid")
}

/// One provider's handles. Those of calls are made when they are first counted, so that what never
/// happens does not fill the exposition.
pub(super) struct ProviderMetrics {
    pub(super) cpu: Counter,
    pub(super) instances: IntGauge,
    pub(super) generation: IntGauge,
    pub(super) log_dropped: IntCounter,
    pub(super) foreign: IntCounter,
    pub(super) quarantined: IntGauge,
    pub(super) lease_wait: Histogram,
    memory: IntGauge,
    requests: IntCounter,
    request_bytes: IntCounter,
    response_bytes: IntCounter,
    handles_left: IntCounter,
    calls: [SlotMetrics; SLOTS],
    name: ProviderName,
    families: Metrics,
}

#[derive(Default)]
struct SlotMetrics {
    outcomes: [OnceLock<IntCounter>; Outcome::COUNT],
    seconds: OnceLock<Histogram>,
}

fn interface_name(slot: Slot) -> &'static str {
    slot.map_or("service-query", Interface::as_str)
}

impl ProviderMetrics {
    /// Counts how a call ended.
    pub(super) fn count(&self, slot: Slot, outcome: Outcome) {
        let counter = self.slot(slot).and_then(|metrics| metrics.outcomes.get(outcome as usize));
        if let Some(counter) = counter {
            counter
                .get_or_init(|| {
                    let labels = [self.name.as_str(), interface_name(slot), outcome.as_str()];
                    self.families.calls.with_label_values(&labels)
                })
                .inc();
        }
    }

    /// Notes how long a call took.
    pub(super) fn took(&self, slot: Slot, span: Duration) {
        if let Some(metrics) = self.slot(slot) {
            metrics
                .seconds
                .get_or_init(|| self.families.seconds.with_label_values(&[self.name.as_str(), interface_name(slot)]))
                .observe(span.as_secs_f64());
        }
    }

    /// Counts a broken budget.
    pub(super) fn exceeded(&self, budget: Budget) {
        self.families.exceeded.with_label_values(&[self.name.as_str(), budget.setting()]).inc();
    }

    /// Notes how much memory an instance has after a call.
    pub(super) fn memory(&self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        if self.memory.get() < bytes {
            self.memory.set(bytes);
        }
    }

    /// Counts what a call sent and received; nothing for one that did neither, as most do.
    pub(super) fn sent(&self, usage: &EgressUsage) {
        if usage.requests > 0 {
            self.requests.inc_by(usage.requests.into());
            self.request_bytes.inc_by(usage.request_bytes);
            self.response_bytes.inc_by(usage.response_bytes);
        }
    }

    /// Counts what a call left behind.
    pub(super) fn left(&self, handles: usize) {
        self.handles_left.inc_by(handles as u64);
    }

    fn slot(&self, slot: Slot) -> Option<&SlotMetrics> {
        self.calls.get(slot.map_or(0, |interface| interface as usize + 1))
    }
}

/// The use of the engine's pool, read when the metrics are.
struct PoolUse {
    engine: wasmtime::EngineWeak,
    slots: IntGaugeVec,
    resident: IntGauge,
}

impl PoolUse {
    #[expect(clippy::expect_used, reason = "names and labels are literals, so every start would fail")]
    fn new(engine: wasmtime::EngineWeak) -> Self {
        let slots = IntGaugeVec::new(Opts::new("wicketgate_plugin_pool_slots", "Slots of the pool in use."), &["kind"]);
        let resident =
            IntGauge::new("wicketgate_plugin_pool_unused_resident_bytes", "Memory that unused slots still hold.");
        Self {
            engine,
            slots: slots.expect("metric names and labels are valid"),
            resident: resident.expect("metric names are valid"),
        }
    }
}

impl Collector for PoolUse {
    fn desc(&self) -> Vec<&Desc> {
        self.slots.desc().into_iter().chain(self.resident.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(pool) = self.engine.upgrade().and_then(|engine| engine.pooling_allocator_metrics()) else {
            return Vec::new();
        };
        let count = |used: usize| i64::try_from(used).unwrap_or(i64::MAX);
        let total = |used: u64| i64::try_from(used).unwrap_or(i64::MAX);
        for (kind, used) in [
            ("component-instances", total(pool.component_instances())),
            ("core-instances", total(pool.core_instances())),
            ("memories", count(pool.memories())),
            ("tables", count(pool.tables())),
            ("stacks", count(pool.stacks())),
            ("warm-memories", i64::from(pool.unused_warm_memories())),
        ] {
            self.slots.with_label_values(&[kind]).set(used);
        }
        self.resident.set(count(pool.unused_memory_bytes_resident()));
        self.slots.collect().into_iter().chain(self.resident.collect()).collect()
    }
}
