//! The last calls of a provider that the guest did not survive, over all its generations.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use wasmtime::WasmBacktrace;

use super::shown;
use super::symbols::Symbols;
use crate::host::egress::EgressUsage;
use crate::name::{FunctionRef, Generation};

/// Calls that are kept of each provider.
const REPORTS_MAX: usize = 8;
/// Frames that are kept of each, the innermost first.
pub(super) const FRAMES_MAX: usize = 32;

/// One frame of a guest's stack.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Frame {
    /// The function: its name where the component has names, otherwise its number.
    pub function: String,
    /// `file:line`, where the component has debug information.
    pub source: Option<String>,
    /// Where in the component's bytes, for tools that know its debug file.
    pub offset: Option<usize>,
    /// The function's number in its module.
    #[serde(skip)]
    pub(super) index: Option<u32>,
}

impl std::fmt::Display for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.function)?;
        match &self.source {
            Some(source) => write!(f, " at {source}"),
            None => Ok(()),
        }
    }
}

/// A call that ended in a trap or a broken budget.
///
/// Of its budgets one is missing: the bytes that it handed to the host. `limits.host-call-bytes` bounds each hand-over
/// by itself, and of one under way wasmtime tells only that it was too large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrapReport {
    /// When it ended.
    pub at: SystemTime,
    /// The generation that served it.
    pub generation: Generation,
    /// Which interface was called.
    pub interface: &'static str,
    /// About which function, if it was about one.
    pub function: Option<FunctionRef>,
    /// For which request, if it was for one.
    pub call_id: Option<Arc<str>>,
    /// What happened, in a sentence.
    pub message: String,
    /// Processor time that the call had used.
    pub cpu: Duration,
    /// Wall time since it began.
    pub wall: Duration,
    /// Bytes of memory that its instance had.
    pub memory: usize,
    /// Requests that it had sent, and bytes of their bodies and of those of their answers.
    pub egress: EgressUsage,
    /// Resources of the host that it held.
    pub handles: usize,
    /// Lines that it had logged.
    pub log_lines: u32,
    /// Where the guest was, the innermost frame first; empty if it was waiting.
    pub frames: Vec<Frame>,
}

/// The last of them, the latest first.
#[derive(Debug, Default)]
pub(in crate::plugin) struct History(Mutex<Reports>);

#[derive(Debug, Default)]
struct Reports {
    /// How many there were.
    count: u64,
    /// Each with its number.
    last: VecDeque<(u64, TrapReport)>,
}

impl History {
    /// Adds one, and looks up where it was in the debug file of the component, if there may be one, behind the
    /// call.
    pub(in crate::plugin) fn add(self: &Arc<Self>, report: TrapReport, symbols: Option<&Arc<Symbols>>) {
        let is_known = report.frames.iter().all(|frame| frame.source.is_some());
        let frames = report.frames.clone();
        let number = {
            let mut reports = self.lock();
            reports.count += 1;
            let number = reports.count;
            reports.last.truncate(REPORTS_MAX - 1);
            reports.last.push_front((number, report));
            number
        };
        let Some(symbols) = symbols.filter(|_| !is_known).cloned() else { return };
        let history = Arc::clone(self);
        let resolve = move || {
            if let Some(frames) = symbols.resolve(&frames) {
                history.resolved(number, frames);
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(resolve)),
            Err(_no_runtime) => resolve(),
        }
    }

    /// Puts better frames into a report that is still there.
    fn resolved(&self, number: u64, frames: Vec<Frame>) {
        let shown: Vec<String> = frames.iter().map(ToString::to_string).collect();
        let mut reports = self.lock();
        if let Some((_, report)) = reports.last.iter_mut().find(|(other, _)| *other == number) {
            report.frames = frames;
            let (generation, function) = (report.generation.0, report.function.as_ref().map(ToString::to_string));
            tracing::info!(generation, function, "the plugin trapped in {}", shown.join(" < "));
        }
    }

    pub(in crate::plugin) fn all(&self) -> Vec<TrapReport> {
        self.lock().last.iter().map(|(_, report)| report.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Reports> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A function's name as its author wrote it, where a Rust compiler made another one of it.
pub(super) fn named(name: &str) -> String {
    shown(&format!("{:#}", rustc_demangle::demangle(name)))
}

/// The frames of an error, as far as the component says what they are.
pub(super) fn frames(error: &wasmtime::Error) -> Vec<Frame> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    backtrace.frames().iter().take(FRAMES_MAX).flat_map(of_frame).take(FRAMES_MAX).collect()
}

/// One frame, or several where functions were inlined into it.
fn of_frame(frame: &wasmtime::FrameInfo) -> Vec<Frame> {
    let offset = frame.module_offset();
    let number = || match frame.module().name() {
        Some(module) => format!("{}!function {}", shown(module), frame.func_index()),
        None => format!("function {}", frame.func_index()),
    };
    let name = || frame.func_name().map_or_else(number, named);
    if frame.symbols().is_empty() {
        return vec![Frame { function: name(), source: None, offset, index: Some(frame.func_index()) }];
    }
    frame
        .symbols()
        .iter()
        .map(|symbol| Frame {
            function: symbol.name().map_or_else(name, named),
            source: symbol.file().map(|file| match symbol.line() {
                Some(line) => format!("{}:{line}", shown(file)),
                None => shown(file),
            }),
            offset,
            index: Some(frame.func_index()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_reports_are_kept_and_no_more() {
        let history = Arc::new(History::default());
        for number in 0..20 {
            let report = TrapReport {
                at: SystemTime::UNIX_EPOCH,
                generation: Generation(1),
                interface: "service-query",
                function: None,
                call_id: None,
                message: number.to_string(),
                cpu: Duration::ZERO,
                wall: Duration::ZERO,
                memory: 0,
                egress: EgressUsage::default(),
                handles: 0,
                log_lines: 0,
                frames: Vec::new(),
            };
            history.add(report, None);
        }
        let messages: Vec<_> = history.all().into_iter().map(|report| report.message).collect();
        assert_eq!((messages.len(), messages[0].as_str(), messages[7].as_str()), (REPORTS_MAX, "19", "12"));
    }
}
