//! What commands, groups and replicas are.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::query::Pairs;

/// How a command serves requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// `mode = "fork"`: a process for each request, the body on its standard input.
    Fork,
    /// `mode = "http"`: one process that serves HTTP on the port in `PORT`.
    Http,
}

/// A command that the operator declared, after it was checked: the keys of
/// `[provider.NAME.command.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandSpec {
    /// `command`: the program and its arguments. Never empty.
    pub argv: Vec<String>,
    /// `mode`: default `"fork"`.
    pub mode: Mode,
    /// `env`: variables that every process gets. Beyond them it gets `PATH`, `HOME`, `LANG` and `TZ`
    /// of the gateway, and nothing else.
    pub env: BTreeMap<String, String>,
    /// `allowed-env`: variables that a deployment may set.
    pub allowed_env: Vec<String>,
    /// `labels`: the labels of functions that run it, e.g. `com.openfaas.scale.max`.
    pub labels: Pairs,
    /// `deployed`: whether it is a function of its own name without a deployment. Default true.
    pub deployed: bool,
    /// `max-replicas`: of one function. Default 16, at most 1000.
    pub max_replicas: NonZeroU32,
    /// `concurrency`: requests that one replica runs at once; `fork` only. Default 16, at most 1024.
    pub concurrency: NonZeroU32,
    /// `queue`: requests that wait for their turn in one replica before 503; `fork` only. Default 64.
    pub queue: u32,
    /// `request-timeout`: of one request; `fork` only. Default 60 s, at most 1 h.
    pub request_timeout: Duration,
    /// `start-timeout`: from start to the first accepted connection; `http` only. Default 30 s, at most 10 min.
    pub start_timeout: Duration,
    /// `stop-grace`: from TERM to KILL. Default 10 s, at most 10 min.
    pub stop_grace: Duration,
    /// `content-type`: of the answer; `fork` only. Default `text/plain; charset=utf-8`.
    pub content_type: String,
    /// `working-directory`. Default: the root directory.
    pub working_directory: Option<PathBuf>,
    /// `stop-delay`: from the moment that a ready replica is no longer named as an endpoint to TERM, so
    /// that requests on their way still reach it. Default 2 s (an endpoint is used for 1 s), at most 10 min.
    pub stop_delay: Duration,
    /// `health-...`: what a replica must answer; `http` only.
    pub health: HealthSpec,
    /// `memory`, `cpu-time`, `open-files`, `processes`: of each process. Default none.
    pub limits: ProcessLimits,
    /// `log-buffer`: bytes of output that are held of one replica; a function holds four times as much in
    /// all. Default 64 KiB, 4 KiB to 16 MiB.
    pub log_buffer: usize,
}

/// How a replica is looked after: the keys `health-...` of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthSpec {
    /// `health-path`: a GET of it must be answered with 200 to 399. Default none: a connection must be accepted.
    pub path: Option<String>,
    /// `health-interval`: between two looks. Default 5 s, 100 ms to 1 h.
    pub interval: Duration,
    /// `health-timeout`: of one look. Default 1 s, 10 ms to 1 min.
    pub timeout: Duration,
    /// `health-failures`: looks that fail one after another until the process is replaced. Default 3, at most 100.
    pub failures: NonZeroU32,
}

impl Default for HealthSpec {
    fn default() -> Self {
        Self {
            path: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            failures: const { NonZeroU32::new(3).unwrap() },
        }
    }
}

/// Resource limits of a process, as `setrlimit` knows them. `None` is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessLimits {
    /// Address space in bytes.
    pub memory: Option<u64>,
    /// Processor time in whole seconds, at least 1.
    pub cpu_seconds: Option<u64>,
    /// Open files.
    pub open_files: Option<u64>,
    /// Processes and threads, counted over all of the gateway's user, as the kernel does; not for root.
    pub processes: Option<u64>,
}

impl ProcessLimits {
    /// The lower one of each.
    #[must_use]
    pub fn lower(self, other: Self) -> Self {
        let least = |one: Option<u64>, other: Option<u64>| one.into_iter().chain(other).min();
        Self {
            memory: least(self.memory, other.memory),
            cpu_seconds: least(self.cpu_seconds, other.cpu_seconds),
            open_files: least(self.open_files, other.open_files),
            processes: least(self.processes, other.processes),
        }
    }
}

impl Default for CommandSpec {
    fn default() -> Self {
        Self {
            argv: Vec::new(),
            mode: Mode::Fork,
            env: BTreeMap::new(),
            allowed_env: Vec::new(),
            labels: Pairs::new(),
            deployed: true,
            max_replicas: const { NonZeroU32::new(16).unwrap() },
            concurrency: const { NonZeroU32::new(16).unwrap() },
            queue: 64,
            request_timeout: Duration::from_secs(60),
            start_timeout: Duration::from_secs(30),
            stop_grace: Duration::from_secs(10),
            content_type: "text/plain; charset=utf-8".to_owned(),
            working_directory: None,
            stop_delay: Duration::from_secs(2),
            health: HealthSpec::default(),
            limits: ProcessLimits::default(),
            log_buffer: 64 << 10,
        }
    }
}

/// What a group runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSpec {
    /// The name of a declared command.
    pub command: String,
    /// Variables, each allowed by the command.
    pub env: BTreeMap<String, String>,
    /// What each process may use; the command's own limits hold too.
    #[serde(default)]
    pub limits: ProcessLimits,
}

/// How many replicas a group shall have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaCount {
    /// So many.
    Exactly(u32),
    /// As many as now, within this and the command's `max-replicas`. Looked at and written in one step.
    AtLeast(u32),
}

/// Where a replica is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaState {
    /// Started, not yet answering.
    Starting,
    /// Answers on its address.
    Ready,
    /// Ended by itself; it will be started again.
    Waiting,
    /// Asked to end.
    Stopping,
}

/// One process, or the room of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Another process is another instance, even on the same port.
    pub instance: String,
    /// `127.0.0.1:PORT`, while it is ready.
    pub address: Option<String>,
    /// Where it is in its life.
    pub state: ReplicaState,
    /// How often this room's process had to be started again.
    pub restarts: u32,
    /// When the process was started, in milliseconds since the Unix epoch.
    pub started_at_ms: u64,
}

/// A group as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStatus {
    /// Its name.
    pub group: String,
    /// What it runs.
    pub spec: GroupSpec,
    /// How many replicas it should have.
    pub count: u32,
    /// The replicas, those that are stopping included.
    pub replicas: Vec<Replica>,
    /// Grows with every change of the group.
    pub version: u64,
}

/// What changed since a cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeSet {
    /// Groups that appeared or changed.
    pub changed: Vec<GroupStatus>,
    /// Groups that are gone.
    pub removed: Vec<String>,
    /// What to hand to the next call.
    pub cursor: String,
}

/// One line that a replica printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputLine {
    /// Which replica.
    pub instance: String,
    /// When, in milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    /// What, without the line's end.
    pub text: String,
}

/// Some lines of a group, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputBatch {
    /// The lines.
    pub lines: Vec<OutputLine>,
    /// The cursor for what follows.
    pub cursor: String,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProcessError {
    /// No command of this name is declared.
    #[error("no command {0:?} is declared; add it to the provider's `command` tables")]
    UnknownCommand(String),
    /// A variable, a count or a name is not allowed.
    #[error("{0}")]
    Invalid(String),
    /// No such group.
    #[error("there is no such group")]
    NotFound,
    /// Begin again without a cursor.
    #[error("the cursor is too old")]
    CursorExpired,
    /// The generation is not published yet, or was retired.
    #[error("this generation may not change processes")]
    ReadOnly,
}
