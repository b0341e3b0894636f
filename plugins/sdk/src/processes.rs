//! Processes on the gateway's own machine, for providers whose operator declared commands.

pub use crate::bindings::imports::wicketgate::host::processes::{
    ChangeSet, Command, GroupSpec, GroupStatus, Mode, OutputBatch, OutputLine, ProcessError, ProcessLimits, Replica,
    ReplicaCount, ReplicaState,
};
use crate::{ProviderError, Result};

#[cfg(target_arch = "wasm32")]
use crate::bindings::imports::wicketgate::host::processes as host;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::processes as host;

/// The commands that the operator declared, by name.
#[must_use]
pub fn commands() -> Vec<Command> {
    host::commands()
}

/// Makes a group, or changes it. Takes effect in the background. With [`ReplicaCount::AtLeast`] a count that
/// somebody else raised in the meantime is kept.
///
/// # Errors
/// `unknown-command`, `invalid` (a variable or count that is not allowed) or `read-only`.
pub fn apply(group: &str, spec: &GroupSpec, count: ReplicaCount) -> Result<GroupStatus, ProcessError> {
    host::apply(group, spec, count)
}

/// A group as it is now.
///
/// # Errors
/// `not-found`.
pub fn status(group: &str) -> Result<GroupStatus, ProcessError> {
    host::status(group)
}

/// The names of all groups, in ascending order.
#[must_use]
pub fn groups() -> Vec<String> {
    host::groups()
}

/// Stops a group's replicas and forgets it.
///
/// # Errors
/// `not-found` or `read-only`.
pub fn remove(group: &str) -> Result<(), ProcessError> {
    host::remove(group)
}

/// Waits up to `timeout_ms` milliseconds for groups to change; without a cursor all, at once.
///
/// # Errors
/// `cursor-expired`.
pub fn changes(cursor: Option<&str>, timeout_ms: u32) -> Result<ChangeSet, ProcessError> {
    host::changes(cursor, timeout_ms)
}

/// What a group's replicas printed after the cursor, at most `limit` (1 to 1000) lines. Waits up
/// to `timeout_ms` milliseconds for the first one.
///
/// # Errors
/// `not-found` or `cursor-expired`.
pub fn output(group: &str, cursor: Option<&str>, limit: u32, timeout_ms: u32) -> Result<OutputBatch, ProcessError> {
    host::output(group, cursor, limit, timeout_ms)
}

impl From<ProcessError> for ProviderError {
    fn from(error: ProcessError) -> Self {
        match error {
            ProcessError::UnknownCommand(name) => {
                Self::invalid(format!("no command {name:?} is declared in the provider's configuration"))
            }
            ProcessError::Invalid(text) => Self::invalid(text),
            ProcessError::NotFound => Self::not_found("no such group of processes"),
            ProcessError::CursorExpired => Self::cursor_expired("the cursor is too old"),
            ProcessError::ReadOnly => Self::conflict("this generation of the plugin is not published"),
        }
    }
}
