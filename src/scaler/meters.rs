//! The scaler's own metrics. None is touched on the warm path.

use prometheus::{Histogram, IntCounterVec, IntGauge, IntGaugeVec};

use crate::metrics::{Registry, SECONDS};

pub(super) struct Meters {
    /// Cold starts that ended, by `outcome`: `ready`, or a [`ScaleError::label`](super::ScaleError::label).
    pub(super) cold_starts: IntCounterVec,
    /// How long a caller waited for one.
    pub(super) waits: Histogram,
    /// How many callers wait.
    pub(super) waiting: IntGauge,
    /// Callers who got no place, by the setting that was in the way.
    pub(super) refused: IntCounterVec,
    /// Requests to the platform for more instances, by `outcome`.
    pub(super) scale_requests: IntCounterVec,
    /// Questions asked behind the requests, by `reason` and `outcome`.
    pub(super) refreshes: IntCounterVec,
    /// How old an answer was when the next one replaced it.
    pub(super) snapshot_age: Histogram,
    /// How many functions are known.
    pub(super) tracked: IntGauge,
    /// Whether a provider's watch is healthy.
    pub(super) watching: IntGaugeVec,
    /// Watch calls that ended, by `provider` and `outcome`.
    pub(super) watch_calls: IntCounterVec,
}

impl Meters {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            cold_starts: registry.counters(
                "wicketgate_cold_starts_total",
                "Cold starts and first look-ups of functions that ended, by outcome.",
                &["outcome"],
            ),
            waits: registry.histogram(
                "wicketgate_cold_start_wait_seconds",
                "How long a request waited for its function to be ready.",
                &SECONDS,
            ),
            waiting: registry.gauge("wicketgate_cold_start_waiting", "Requests that wait for a cold start now."),
            refused: registry.counters(
                "wicketgate_cold_start_refused_total",
                "Requests that got no place in a bounded queue, by the setting that bounds it.",
                &["setting"],
            ),
            scale_requests: registry.counters(
                "wicketgate_scale_requests_total",
                "Requests to a platform for a function's first instances, by outcome.",
                &["outcome"],
            ),
            refreshes: registry.counters(
                "wicketgate_refreshes_total",
                "Questions to providers that keep known functions fresh, by reason and outcome.",
                &["reason", "outcome"],
            ),
            snapshot_age: registry.histogram(
                "wicketgate_snapshot_age_seconds",
                "Age of what was known of a function when a refresh replaced it.",
                &SECONDS,
            ),
            tracked: registry.gauge("wicketgate_functions_tracked", "Functions whose state is known."),
            watching: registry.gauges(
                "wicketgate_watch_healthy",
                "1 while a provider's watch tells of every change.",
                &["provider"],
            ),
            watch_calls: registry.counters(
                "wicketgate_watch_calls_total",
                "Watch calls that ended, by outcome.",
                &["provider", "outcome"],
            ),
        }
    }
}
