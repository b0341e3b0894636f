//! Why a guest's run ended: the engine's error as a typed fault, in a sentence that says what to
//! change.

pub(super) mod history;
pub(super) mod symbols;

use std::fmt::Write as _;

use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap};

use super::budget::Exceeded;
use crate::query::{Budget, PluginFault};
use history::Frame;

/// Frames of a trap's backtrace that are shown.
const FRAMES_MAX: usize = 5;

/// Characters of a guest's text that are shown.
const SHOWN_MAX: usize = 400;

/// What the engine says when a guest handed over more bytes than it may (48.0.8). The error's type
/// is private to it, so a test holds on to the text.
const FUEL_TEXT: &str = "fuel allocated for hostcalls has been exhausted";
/// The same for handles.
const HANDLES_TEXT: &str = "store handle limit exceeded";

/// Why a call did not return.
#[derive(Debug)]
pub(super) enum Stop {
    /// The guest was ended: a trap, a broken budget, or the engine had no room.
    Ended(wasmtime::Error),
    /// The call's time was over.
    Wall,
}

/// The fault, and a sentence for the operator.
#[derive(Debug)]
pub(super) struct Diagnosis {
    pub(super) fault: PluginFault,
    pub(super) message: String,
    /// Where the guest was, the innermost frame first.
    pub(super) frames: Vec<Frame>,
}

/// `memory_refused`: the guest had asked for more memory than it may have.
pub(super) fn diagnose(stop: &Stop, memory_refused: bool) -> Diagnosis {
    let mut diagnosis = classify(stop, memory_refused);
    if let Stop::Ended(error) = stop {
        diagnosis.frames = history::frames(error);
    }
    if diagnosis.fault == PluginFault::Trap {
        for (index, frame) in diagnosis.frames.iter().take(FRAMES_MAX).enumerate() {
            // Writing to a text cannot fail.
            let _ = write!(diagnosis.message, "{}{frame}", if index == 0 { ", in " } else { " < " });
        }
    }
    diagnosis
}

fn classify(stop: &Stop, memory_refused: bool) -> Diagnosis {
    let error = match stop {
        Stop::Wall => return exceeded(Budget::Wall),
        Stop::Ended(error) => error,
    };
    if let Some(Exceeded(budget)) = error.downcast_ref() {
        return exceeded(*budget);
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Diagnosis {
            fault: PluginFault::Busy,
            message: "the engine has no free instance; raise `engine.instances`".into(),
            frames: Vec::new(),
        };
    }
    let text = format!("{error:#}");
    if text.contains(FUEL_TEXT) {
        return exceeded(Budget::HostCallBytes);
    }
    if text.contains(HANDLES_TEXT) || matches!(error.downcast_ref(), Some(ResourceTableError::Full)) {
        return exceeded(Budget::Handles);
    }
    // A guest without memory usually traps; that it trapped is not what the operator can change.
    if memory_refused {
        return exceeded(Budget::Memory);
    }
    let message = match error.downcast_ref::<Trap>() {
        Some(trap) => format!("the plugin trapped: {trap}"),
        None => format!("the plugin failed: {}", shown(&error.root_cause().to_string())),
    };
    Diagnosis { fault: PluginFault::Trap, message, frames: Vec::new() }
}

/// A broken budget, and the setting that raises it.
pub(super) fn exceeded(budget: Budget) -> Diagnosis {
    let what = match budget {
        Budget::Cpu => "used more processor time than a call may",
        Budget::Wall => "did not return in time",
        Budget::Memory => "asked for more memory than an instance may have",
        Budget::HostCallBytes => "handed more bytes to the host at once than it may",
        Budget::Handles => "held more resources at once than an instance may",
        Budget::Requests => "sent more requests than a call may",
        Budget::RequestBytes => "sent more bytes of requests than a call may",
        Budget::ResponseBytes => "read more bytes of responses than a call may",
    };
    let message = format!("the plugin {what}; raise `limits.{}` if it should", budget.setting());
    Diagnosis { fault: PluginFault::Budget(budget), message, frames: Vec::new() }
}

/// Text that a guest chose, or was about: short, and without control characters.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_names_what_to_change() {
        let ended = |error: wasmtime::Error| diagnose(&Stop::Ended(error), false);
        let cpu = ended(wasmtime::Error::new(Exceeded(Budget::Cpu)).context("while calling"));
        assert_eq!(cpu.fault, PluginFault::Budget(Budget::Cpu));
        assert!(cpu.message.contains("limits.cpu-time"), "{}", cpu.message);
        assert_eq!(diagnose(&Stop::Wall, false).fault, PluginFault::Budget(Budget::Wall));
        assert_eq!(ended(ResourceTableError::Full.into()).fault, PluginFault::Budget(Budget::Handles));
        let trap = ended(wasmtime::Error::new(Trap::UnreachableCodeReached));
        assert_eq!(trap.fault, PluginFault::Trap);
        assert!(trap.message.contains("unreachable"), "{}", trap.message);
    }

    #[test]
    fn a_trap_after_a_refused_growth_is_about_memory() {
        let stop = Stop::Ended(wasmtime::Error::new(Trap::UnreachableCodeReached));
        assert_eq!(diagnose(&stop, true).fault, PluginFault::Budget(Budget::Memory));
    }
}
