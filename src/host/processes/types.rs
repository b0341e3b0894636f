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
    /// `memory`: address space of each process in bytes. Default none.
    pub memory: Option<u64>,
    /// `cpu-time`: processor time of each process. Default none.
    pub cpu_time: Option<Duration>,
    /// `open-files`: of each process. Default none.
    pub open_files: Option<u64>,
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
            memory: None,
            cpu_time: None,
            open_files: None,
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
