//! The last calls of a generation that the guest did not survive.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use wasmtime::WasmBacktrace;

use super::shown;
use crate::name::FunctionRef;

/// Calls that are kept of each generation.
const REPORTS_MAX: usize = 8;
/// Frames that are kept of each, the innermost first.
const FRAMES_MAX: usize = 32;

/// One frame of a guest's stack.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Frame {
    /// The function: its name where the component has names, otherwise its number.
    pub function: String,
    /// `file:line`, where the component has debug information.
    pub source: Option<String>,
    /// Where in the component's bytes, for tools that know its debug file.
    pub offset: Option<usize>,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrapReport {
    /// When it ended.
    pub at: SystemTime,
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
    /// Where the guest was, the innermost frame first; empty if it was waiting.
    pub frames: Vec<Frame>,
}

/// The last of them, the latest first.
#[derive(Default)]
pub(in crate::plugin) struct History(Mutex<VecDeque<TrapReport>>);

impl History {
    pub(in crate::plugin) fn add(&self, report: TrapReport) {
        let mut reports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reports.truncate(REPORTS_MAX - 1);
        reports.push_front(report);
    }

    pub(in crate::plugin) fn all(&self) -> Vec<TrapReport> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
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
    let name = || frame.func_name().map_or_else(number, shown);
    if frame.symbols().is_empty() {
        return vec![Frame { function: name(), source: None, offset }];
    }
    frame
        .symbols()
        .iter()
        .map(|symbol| Frame {
            function: symbol.name().map_or_else(name, shown),
            source: symbol.file().map(|file| match symbol.line() {
                Some(line) => format!("{}:{line}", shown(file)),
                None => shown(file),
            }),
            offset,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_reports_are_kept_and_no_more() {
        let history = History::default();
        for number in 0..20 {
            history.add(TrapReport {
                at: SystemTime::UNIX_EPOCH,
                interface: "service-query",
                function: None,
                call_id: None,
                message: number.to_string(),
                cpu: Duration::ZERO,
                wall: Duration::ZERO,
                memory: 0,
                frames: Vec::new(),
            });
        }
        let messages: Vec<_> = history.all().into_iter().map(|report| report.message).collect();
        assert_eq!((messages.len(), messages[0].as_str(), messages[7].as_str()), (REPORTS_MAX, "19", "12"));
    }
}
