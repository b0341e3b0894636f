//! State and processes: what a guest asks of the host, and what it gets.

use super::super::bindings::host::{processes as wit_processes, state as wit_state};
use super::to_pairs;
use crate::host::processes::{
    ChangeSet, CommandSpec, GroupSpec, GroupStatus, Mode, OutputBatch, OutputLine, ProcessError, ProcessLimits,
    Replica, ReplicaCount, ReplicaState,
};
use crate::host::state::{Entry, Expectation, KeyPage, StateError};

pub(crate) fn entry(entry: &Entry) -> wit_state::Entry {
    wit_state::Entry { value: entry.value.to_vec(), version: entry.version }
}

pub(crate) fn expectation(expectation: wit_state::Expectation) -> Expectation {
    match expectation {
        wit_state::Expectation::Anything => Expectation::Anything,
        wit_state::Expectation::Absent => Expectation::Absent,
        wit_state::Expectation::Version(version) => Expectation::Version(version),
    }
}

pub(crate) fn key_page(page: KeyPage) -> wit_state::KeyPage {
    let KeyPage { keys, next } = page;
    wit_state::KeyPage { keys, next }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
pub(crate) fn state_error(error: StateError) -> wit_state::StateError {
    let text = error.to_string();
    match error {
        StateError::Conflict => wit_state::StateError::Conflict,
        StateError::Quota { .. } => wit_state::StateError::Quota(text),
        StateError::Invalid(_) => wit_state::StateError::Invalid(text),
        StateError::Unavailable(_) => wit_state::StateError::Unavailable(text),
    }
}

fn mode(mode: Mode) -> wit_processes::Mode {
    match mode {
        Mode::Fork => wit_processes::Mode::ForkPerRequest,
        Mode::Http => wit_processes::Mode::HttpServer,
    }
}

pub(crate) fn command(name: &str, command: &CommandSpec) -> wit_processes::Command {
    wit_processes::Command {
        name: name.to_owned(),
        mode: mode(command.mode),
        argv: command.argv.clone(),
        allowed_env: command.allowed_env.clone(),
        labels: to_pairs(Some(&command.labels)),
        deployed: command.deployed,
        limits: to_limits(command.limits),
    }
}

fn to_limits(limits: ProcessLimits) -> wit_processes::ProcessLimits {
    let ProcessLimits { memory, cpu_seconds, open_files, processes } = limits;
    wit_processes::ProcessLimits { memory, cpu_seconds, open_files, processes }
}

fn from_limits(limits: wit_processes::ProcessLimits) -> ProcessLimits {
    let wit_processes::ProcessLimits { memory, cpu_seconds, open_files, processes } = limits;
    ProcessLimits { memory, cpu_seconds, open_files, processes }
}

pub(crate) fn replica_count(count: wit_processes::ReplicaCount) -> ReplicaCount {
    match count {
        wit_processes::ReplicaCount::Exactly(count) => ReplicaCount::Exactly(count),
        wit_processes::ReplicaCount::AtLeast(count) => ReplicaCount::AtLeast(count),
    }
}

pub(crate) fn group_spec(spec: wit_processes::GroupSpec) -> GroupSpec {
    let wit_processes::GroupSpec { command, env, limits } = spec;
    GroupSpec { command, env: env.into_iter().collect(), limits: from_limits(limits) }
}

fn replica_state(state: ReplicaState) -> wit_processes::ReplicaState {
    match state {
        ReplicaState::Starting => wit_processes::ReplicaState::Starting,
        ReplicaState::Ready => wit_processes::ReplicaState::Ready,
        ReplicaState::Waiting => wit_processes::ReplicaState::Waiting,
        ReplicaState::Stopping => wit_processes::ReplicaState::Stopping,
    }
}

fn replica(replica: Replica) -> wit_processes::Replica {
    let Replica { instance, address, state, restarts, started_at_ms } = replica;
    wit_processes::Replica { instance, address, state: replica_state(state), restarts, started_at_ms }
}

pub(crate) fn group_status(status: GroupStatus) -> wit_processes::GroupStatus {
    let GroupStatus { group, spec: GroupSpec { command, env, limits }, count, replicas, version } = status;
    wit_processes::GroupStatus {
        group,
        spec: wit_processes::GroupSpec { command, env: env.into_iter().collect(), limits: to_limits(limits) },
        count,
        replicas: replicas.into_iter().map(replica).collect(),
        version,
    }
}

pub(crate) fn group_changes(set: ChangeSet) -> wit_processes::ChangeSet {
    let ChangeSet { changed, removed, cursor } = set;
    wit_processes::ChangeSet { changed: changed.into_iter().map(group_status).collect(), removed, cursor }
}

pub(crate) fn output_batch(batch: OutputBatch) -> wit_processes::OutputBatch {
    let OutputBatch { lines, cursor } = batch;
    let line = |line| {
        let OutputLine { instance, timestamp_ms, text } = line;
        wit_processes::OutputLine { instance, timestamp_ms, text }
    };
    wit_processes::OutputBatch { lines: lines.into_iter().map(line).collect(), cursor }
}

pub(crate) fn process_error(error: ProcessError) -> wit_processes::ProcessError {
    match error {
        ProcessError::UnknownCommand(name) => wit_processes::ProcessError::UnknownCommand(name),
        ProcessError::Invalid(why) => wit_processes::ProcessError::Invalid(why),
        ProcessError::NotFound => wit_processes::ProcessError::NotFound,
        ProcessError::CursorExpired => wit_processes::ProcessError::CursorExpired,
        ProcessError::ReadOnly => wit_processes::ProcessError::ReadOnly,
    }
}
