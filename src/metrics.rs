//! The registry of metrics and their text form. A leaf: each part defines its own metrics from
//! these constructors and keeps the handles, so that counting costs one atomic addition.

use std::collections::BTreeMap;

use prometheus::core::Collector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    TextEncoder,
};

/// Buckets for spans of time in seconds, those of OpenFaaS's `gateway_functions_seconds`.
pub const SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Buckets for spans that are usually shorter than a millisecond, in seconds.
pub const SHORT_SECONDS: [f64; 12] =
    [0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.001, 0.005, 0.025, 0.1, 0.5, 2.5];

/// All metrics of one gateway.
#[derive(Clone, Default)]
pub struct Registry(prometheus::Registry);

impl Registry {
    /// A registry that already holds the `process_*` metrics.
    #[must_use]
    pub fn new() -> Self {
        let registry = Self::default();
        #[cfg(target_os = "linux")]
        registry.register(prometheus::process_collector::ProcessCollector::for_self());
        registry
    }

    /// Adds a collector. A name that is taken is a mistake of ours: it is logged, and the second
    /// collector counts unseen.
    pub fn register(&self, collector: impl Collector + 'static) {
        if let Err(error) = self.0.register(Box::new(collector)) {
            tracing::error!(%error, "metric not registered");
        }
    }

    /// A counter with labels.
    #[must_use]
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), labels))
    }

    /// A counter.
    #[must_use]
    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(name, help))
    }

    /// A gauge with labels.
    #[must_use]
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    /// A gauge.
    #[must_use]
    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(name, help))
    }

    /// A histogram with labels.
    #[must_use]
    pub fn histograms(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
        self.add(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels))
    }

    /// A histogram.
    #[must_use]
    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.add(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())))
    }

    /// The counters named `name`, added up by the value of one label.
    #[must_use]
    pub fn sums(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for family in self.0.gather().iter().filter(|family| family.name() == name) {
            for metric in family.get_metric() {
                if let Some(pair) = metric.get_label().iter().find(|pair| pair.name() == label) {
                    *sums.entry(pair.value().to_owned()).or_insert(0.0) += metric.get_counter().get_value();
                }
            }
        }
        sums
    }

    /// All metrics in Prometheus' text format, version 0.0.4.
    #[must_use]
    pub fn exposition(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(16 << 10);
        if let Err(error) = TextEncoder::new().encode(&self.0.gather(), &mut text) {
            tracing::error!(%error, "metrics not encoded");
        }
        text
    }

    #[expect(clippy::expect_used, reason = "names and labels are literals of ours, so every start would fail")]
    fn add<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let collector = made.expect("metric names and labels are valid");
        self.register(collector.clone());
        collector
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_up_over_the_other_labels() {
        let registry = Registry::default();
        let counters = registry.counters("gateway_function_invocation_total", "Help.", &["function_name", "code"]);
        counters.with_label_values(&["a.x", "200"]).inc_by(2);
        counters.with_label_values(&["a.x", "500"]).inc();
        counters.with_label_values(&["b.x", "200"]).inc();
        let sums = registry.sums("gateway_function_invocation_total", "function_name");
        assert_eq!(sums, BTreeMap::from([("a.x".to_owned(), 3.0), ("b.x".to_owned(), 1.0)]));
        assert!(registry.sums("other", "function_name").is_empty());
    }

    #[test]
    fn what_was_counted_is_exposed_under_its_exact_name() {
        let registry = Registry::new();
        registry
            .counters("gateway_function_invocation_started", "Started.", &["function_name"])
            .with_label_values(&["figlet.openfaas-fn"])
            .inc();
        let text = String::from_utf8(registry.exposition()).unwrap();
        assert!(text.contains("gateway_function_invocation_started{function_name=\"figlet.openfaas-fn\"} 1"), "{text}");
    }
}
