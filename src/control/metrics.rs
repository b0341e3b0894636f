//! What is counted of changes.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec};

use super::change::Step;
use crate::metrics::{Registry, SECONDS};
use crate::name::ProviderName;

pub(super) struct Metrics {
    steps: IntCounterVec,
    changes: IntCounterVec,
    seconds: HistogramVec,
    overdue: IntCounterVec,
}

impl Metrics {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            steps: registry.counters(
                "wicketgate_provider_change_steps_total",
                "Steps that changes of providers reached; `at` is the step that a refused one did not pass.",
                &["provider", "step", "at"],
            ),
            changes: registry.counters(
                "wicketgate_provider_changes_total",
                "Changes of providers that ended, by outcome.",
                &["provider", "outcome"],
            ),
            seconds: registry.histograms(
                "wicketgate_provider_change_seconds",
                "How long changes of providers took to their outcome.",
                &["provider"],
                &SECONDS,
            ),
            overdue: registry.counters(
                "wicketgate_plugin_drain_overdue_total",
                "Calls that still ran when the drain timeout of their generation was over.",
                &["provider"],
            ),
        }
    }

    pub(super) fn step(&self, provider: &ProviderName, step: &Step) {
        let at = if let Step::Refused { at, .. } = step { *at } else { "" };
        self.steps.with_label_values(&[provider.as_str(), step.as_str(), at]).inc();
    }

    pub(super) fn ended(&self, provider: &ProviderName, outcome: &str, took: Duration) {
        self.changes.with_label_values(&[provider.as_str(), outcome]).inc();
        self.seconds.with_label_values(&[provider.as_str()]).observe(took.as_secs_f64());
    }

    pub(super) fn overdue(&self, provider: &ProviderName, calls: usize) {
        self.overdue.with_label_values(&[provider.as_str()]).inc_by(calls as u64);
    }
}
