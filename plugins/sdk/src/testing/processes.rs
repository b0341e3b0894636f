//! Processes, played by the test.

use std::cell::RefCell;
use std::rc::Rc;

use crate::processes::{ChangeSet, Command, GroupSpec, GroupStatus, OutputBatch, ProcessError, ReplicaCount};

/// The host's `processes` interface. A function that a test does not play answers as a host
/// without any command or group does.
pub trait Processes {
    /// The commands that the operator declared.
    fn commands(&self) -> Vec<Command> {
        Vec::new()
    }
    /// Makes a group, or changes it.
    ///
    /// # Errors
    /// As the test likes.
    fn apply(&self, _group: &str, spec: &GroupSpec, _count: ReplicaCount) -> Result<GroupStatus, ProcessError> {
        Err(ProcessError::UnknownCommand(spec.command.clone()))
    }
    /// A group as it is now.
    ///
    /// # Errors
    /// As the test likes.
    fn status(&self, _group: &str) -> Result<GroupStatus, ProcessError> {
        Err(ProcessError::NotFound)
    }
    /// The names of all groups.
    fn groups(&self) -> Vec<String> {
        Vec::new()
    }
    /// Forgets a group.
    ///
    /// # Errors
    /// As the test likes.
    fn remove(&self, _group: &str) -> Result<(), ProcessError> {
        Err(ProcessError::NotFound)
    }
    /// What changed.
    ///
    /// # Errors
    /// As the test likes.
    fn changes(&self, _cursor: Option<&str>, _timeout_ms: u32) -> Result<ChangeSet, ProcessError> {
        Err(ProcessError::CursorExpired)
    }
    /// What was printed.
    ///
    /// # Errors
    /// As the test likes.
    fn output(
        &self,
        _group: &str,
        _cursor: Option<&str>,
        _limit: u32,
        _timeout_ms: u32,
    ) -> Result<OutputBatch, ProcessError> {
        Err(ProcessError::NotFound)
    }
}

struct Nothing;

impl Processes for Nothing {}

thread_local!(static PLAYED: RefCell<Rc<dyn Processes>> = RefCell::new(Rc::new(Nothing)));

/// Plays the processes from now on.
pub fn play_processes(processes: Rc<dyn Processes>) {
    PLAYED.replace(processes);
}

fn played() -> Rc<dyn Processes> {
    PLAYED.with_borrow(Rc::clone)
}

pub(crate) fn commands() -> Vec<Command> {
    played().commands()
}

pub(crate) fn apply(group: &str, spec: &GroupSpec, count: ReplicaCount) -> Result<GroupStatus, ProcessError> {
    played().apply(group, spec, count)
}

pub(crate) fn status(group: &str) -> Result<GroupStatus, ProcessError> {
    played().status(group)
}

pub(crate) fn groups() -> Vec<String> {
    played().groups()
}

pub(crate) fn remove(group: &str) -> Result<(), ProcessError> {
    played().remove(group)
}

pub(crate) fn changes(cursor: Option<&str>, timeout_ms: u32) -> Result<ChangeSet, ProcessError> {
    played().changes(cursor, timeout_ms)
}

pub(crate) fn output(
    group: &str,
    cursor: Option<&str>,
    limit: u32,
    timeout_ms: u32,
) -> Result<OutputBatch, ProcessError> {
    played().output(group, cursor, limit, timeout_ms)
}
