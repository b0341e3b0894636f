//! Processor time, medians, and the table of figures.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

/// One line of the report: what was measured, beside the bound that `--gate` holds it to.
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    /// The most that it may be; `None` for a figure that is only shown.
    pub(crate) limit: Option<f64>,
}

/// All figures of a run.
#[derive(Default)]
pub(crate) struct Report(pub(crate) Vec<Figure>);

impl Report {
    /// A figure that is only shown.
    pub(crate) fn show(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.0.push(Figure { name: name.into(), value, unit, limit: None });
    }

    /// A figure that `--gate` holds to a limit.
    pub(crate) fn hold(&mut self, name: impl Into<String>, value: f64, unit: &'static str, limit: f64) {
        self.0.push(Figure { name: name.into(), value, unit, limit: Some(limit) });
    }

    /// The names of the figures over their limits. A figure that is not a number is over any limit.
    pub(crate) fn missed(&self) -> Vec<&str> {
        self.0
            .iter()
            .filter(|figure| figure.limit.is_some_and(|limit| figure.value > limit || figure.value.is_nan()))
            .map(|figure| figure.name.as_str())
            .collect()
    }

    /// The table.
    pub(crate) fn table(&self) -> String {
        let width = self.0.iter().map(|figure| figure.name.len()).max().unwrap_or(0);
        let mut text = String::new();
        for figure in &self.0 {
            let limit = figure.limit.map_or(String::new(), |limit| {
                let verdict = if figure.value <= limit { "met" } else { "MISSED" };
                format!("  at most {limit} {}: {verdict}", figure.unit)
            });
            let _written = writeln!(text, "{:width$}  {:>10.3} {:<7}{limit}", figure.name, figure.value, figure.unit);
        }
        text
    }
}

/// The middle of some numbers; NaN of none.
pub(crate) fn median(numbers: &[f64]) -> f64 {
    percentile(numbers, 50.0)
}

/// The value below which `percent` of the numbers lie (nearest rank); NaN of none.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a rank in a list that fits into memory"
)]
pub(crate) fn percentile(numbers: &[f64], percent: f64) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// Processor time that a process and its children have used, in nanoseconds, from the scheduler's own
/// accounts (`/proc/PID/task/*/schedstat`, first field), which count finer than the 10 ms of `stat`.
pub(crate) fn process_cpu_ns(pid: u32) -> u64 {
    family(pid).into_iter().map(own_cpu_ns).sum()
}

fn own_cpu_ns(pid: u32) -> u64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok())
        .sum()
}

fn family(pid: u32) -> BTreeSet<u32> {
    let mut all = BTreeSet::from([pid]);
    let mut todo = vec![pid];
    while let Some(parent) = todo.pop() {
        let Ok(tasks) = fs::read_dir(format!("/proc/{parent}/task")) else { continue };
        for task in tasks.flatten() {
            let Ok(children) = fs::read_to_string(task.path().join("children")) else { continue };
            for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
                if all.insert(child) {
                    todo.push(child);
                }
            }
        }
    }
    all
}

/// Resident memory of a process in MiB.
pub(crate) fn resident_mib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<f64>().ok())
        .map_or(f64::NAN, |kib| kib / 1024.0)
}

/// Processor time of the calling thread, from the scheduler's accounts.
pub(crate) fn thread_cpu() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0))
}
