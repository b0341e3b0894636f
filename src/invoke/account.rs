//! What is counted of invocations: OpenFaaS's three metrics, and a counter of the answers that the
//! gateway gave by itself.
//!
//! Handles are looked up once for each function, status and worker, so that counting a request costs
//! a few atomic additions. Only functions that exist are counted by name, and in each worker no more than are
//! remembered (`scaling.functions`), so that nobody can grow the metrics by inventing names.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::StatusCode;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};
use tokio::time::Instant;

use crate::metrics::{Registry, SECONDS};
use crate::name::FunctionRef;

/// The `function_name` of the others.
const OTHERS: &str = "(others)";

/// The `code` of a request whose client left before its response. nginx has the same.
pub const CLIENT_LEFT: u16 = 499;

/// The metrics, shared by all workers. Cheap to clone.
#[derive(Clone)]
pub(super) struct Metrics {
    total: IntCounterVec,
    seconds: HistogramVec,
    started: IntCounterVec,
    problems: IntCounterVec,
    /// Connections opened to instances.
    pub(super) connections: IntCounter,
}

impl Metrics {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            total: registry.counters(
                "gateway_function_invocation_total",
                "Invocations of functions that ended, by status.",
                &["function_name", "code"],
            ),
            seconds: registry.histograms(
                "gateway_functions_seconds",
                "How long functions took, without the wait for an instance.",
                &["function_name", "code"],
                &SECONDS,
            ),
            started: registry.counters(
                "gateway_function_invocation_started",
                "Invocations of functions that were begun to be forwarded.",
                &["function_name"],
            ),
            problems: registry.counters(
                "wicketgate_invocation_problems_total",
                "Answers that the gateway gave instead of a function, by their X-Wicketgate-Error.",
                &["code"],
            ),
            connections: registry
                .counter("wicketgate_upstream_connections_total", "Connections opened to functions' instances."),
        }
    }

    /// Counts an answer that the gateway gave instead of a function.
    pub(super) fn problem(&self, code: &str) {
        self.problems.with_label_values(&[code]).inc();
    }
}

/// One function's handles.
pub(super) struct Counted {
    label: Box<str>,
    metrics: Metrics,
    started: IntCounter,
    ok: OnceLock<(IntCounter, Histogram)>,
}

impl Counted {
    fn new(label: &str, metrics: &Metrics) -> Self {
        let started = metrics.started.with_label_values(&[label]);
        Self { label: label.into(), metrics: metrics.clone(), started, ok: OnceLock::new() }
    }

    fn observe(&self, code: u16, seconds: f64) {
        if code == StatusCode::OK.as_u16() {
            let (total, histogram) = self.ok.get_or_init(|| self.handles(code));
            total.inc();
            histogram.observe(seconds);
        } else {
            let (total, histogram) = self.handles(code);
            total.inc();
            histogram.observe(seconds);
        }
    }

    fn handles(&self, code: u16) -> (IntCounter, Histogram) {
        let code = code.to_string();
        let labels = [&*self.label, code.as_str()];
        (self.metrics.total.with_label_values(&labels), self.metrics.seconds.with_label_values(&labels))
    }
}

type Function = (FunctionRef, Arc<Counted>);

/// The functions that a worker has seen, by the name in the path.
pub(super) struct Known {
    metrics: Metrics,
    /// So many are counted by name, and the others together.
    most: usize,
    by_name: Mutex<HashMap<Box<str>, Function>>,
    others: Arc<Counted>,
}

impl Known {
    pub(super) fn new(metrics: &Metrics, most: usize) -> Self {
        let others = Arc::new(Counted::new(OTHERS, metrics));
        Self { metrics: metrics.clone(), most, by_name: Mutex::default(), others }
    }

    /// A function that was counted before, by the name in the path.
    pub(super) fn get(&self, name: &str) -> Option<(FunctionRef, Arc<Counted>)> {
        let by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        by_name.get(name).map(|(function, counted)| (function.clone(), Arc::clone(counted)))
    }

    /// The handles of a function that exists.
    pub(super) fn add(&self, name: &str, function: &FunctionRef) -> Arc<Counted> {
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_function, counted)) = by_name.get(name) {
            return Arc::clone(counted);
        }
        if by_name.len() >= self.most {
            return Arc::clone(&self.others);
        }
        let counted = Arc::new(Counted::new(&function.to_string(), &self.metrics));
        by_name.insert(name.into(), (function.clone(), Arc::clone(&counted)));
        counted
    }
}

/// One invocation: counted as started when made, and with its status and duration when dropped.
pub(super) struct Account {
    counted: Arc<Counted>,
    began: Instant,
    code: u16,
}

impl Account {
    /// One that begins at `began`.
    pub(super) fn start(counted: Arc<Counted>, began: Instant) -> Self {
        counted.started.inc();
        Self { counted, began, code: CLIENT_LEFT }
    }

    /// What the client is told. Without it, the client had left.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.code = status.as_u16();
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.counted.observe(self.code, self.began.elapsed().as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figlet() -> FunctionRef {
        FunctionRef::parse("figlet", &"dev".parse().unwrap()).unwrap()
    }

    fn begun(counted: Arc<Counted>) -> Account {
        Account::start(counted, Instant::now())
    }

    fn exposition(registry: &Registry) -> String {
        String::from_utf8(registry.exposition()).unwrap()
    }

    #[test]
    fn an_invocation_is_counted_when_it_starts_and_when_it_ends() {
        let registry = Registry::default();
        let known = Known::new(&Metrics::new(&registry), 3);
        let mut account = begun(known.add("figlet", &figlet()));
        let text = exposition(&registry);
        assert!(text.contains("gateway_function_invocation_started{function_name=\"figlet.dev\"} 1"), "{text}");
        assert!(!text.contains("gateway_function_invocation_total{"), "{text}");
        account.answered(StatusCode::OK);
        drop(account);
        drop(begun(known.add("figlet", &figlet())));
        let text = exposition(&registry);
        for code in ["200", "499"] {
            let labels = format!("{{code=\"{code}\",function_name=\"figlet.dev\"}} 1");
            assert!(text.contains(&format!("gateway_function_invocation_total{labels}")), "{text}");
            assert!(text.contains(&format!("gateway_functions_seconds_count{labels}")), "{text}");
        }
    }

    #[test]
    fn a_function_is_known_by_the_name_in_the_path() {
        let known = Known::new(&Metrics::new(&Registry::default()), 3);
        assert!(known.get("figlet").is_none());
        known.add("figlet", &figlet());
        assert_eq!(known.get("figlet").unwrap().0, figlet());
    }

    #[test]
    fn names_beyond_the_bound_are_counted_together() {
        let registry = Registry::default();
        let known = Known::new(&Metrics::new(&registry), 3);
        let namespace = "dev".parse().unwrap();
        for number in 0..3 {
            let name = format!("f{number}");
            known.add(&name, &FunctionRef::parse(&name, &namespace).unwrap());
        }
        drop(begun(known.add("one-more", &FunctionRef::parse("one-more", &namespace).unwrap())));
        let text = exposition(&registry);
        assert!(text.contains("gateway_function_invocation_started{function_name=\"(others)\"} 1"));
        assert!(text.contains("f2.dev") && !text.contains("one-more"), "{text}");
    }
}
