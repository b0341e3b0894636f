//! What is counted about egress. Labels are the operator's names, never a guest's text.

use prometheus::{IntCounter, IntCounterVec};

use crate::metrics::Registry;
use crate::name::ProviderName;

/// The metrics of all egress; made once, cheap to clone.
#[derive(Clone)]
pub struct EgressMetrics {
    requests: IntCounterVec,
    denied: IntCounterVec,
    connections: IntCounterVec,
}

impl EgressMetrics {
    /// Registers the metrics.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        Self {
            requests: registry.counters(
                "wicketgate_egress_requests_total",
                "Requests that plugins wanted to send, by provider, grant (empty: no such grant) and outcome.",
                &["provider", "grant", "outcome"],
            ),
            denied: registry.counters(
                "wicketgate_egress_denied_total",
                "Requests of plugins that were refused, by provider and reason; \"dry-run\" ones were sent all the same.",
                &["provider", "reason"],
            ),
            connections: registry.counters(
                "wicketgate_egress_connections_opened_total",
                "Connections that were opened for requests of plugins, by provider and grant.",
                &["provider", "grant"],
            ),
        }
    }

    pub(super) fn ended(&self, provider: &ProviderName, grant: &str, outcome: &str) {
        self.requests.with_label_values(&[provider.as_str(), grant, outcome]).inc();
    }

    /// The handle of what happens nearly always, so that it costs one addition.
    pub(super) fn answered(&self, provider: &ProviderName, grant: &str) -> IntCounter {
        self.requests.with_label_values(&[provider.as_str(), grant, "answered"])
    }

    pub(super) fn denied(&self, provider: &ProviderName, reason: &str) {
        self.denied.with_label_values(&[provider.as_str(), reason]).inc();
    }

    pub(super) fn connections(&self, provider: &ProviderName, grant: &str) -> IntCounter {
        self.connections.with_label_values(&[provider.as_str(), grant])
    }
}
