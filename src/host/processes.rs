//! `wicketgate:host/processes`: processes on this machine, for providers whose operator declared commands.
//!
//! A plugin names a command and a count; the **host** keeps it so. Each replica runs under a watchdog, a
//! process of our own binary that holds a pipe to the gateway and ends the replica when the pipe closes,
//! however the gateway ended. Groups belong to a provider, not to a generation: a swap leaves them, and a
//! restart of the gateway brings them back from the state store.

mod group;
pub mod launch;
mod output;
mod replica;
mod supervisor;
#[cfg(test)]
mod tests;
mod types;

pub use types::{
    ChangeSet, CommandSpec, GroupSpec, GroupStatus, HealthSpec, Mode, OutputBatch, OutputLine, ProcessError,
    ProcessLimits, Replica, ReplicaCount, ReplicaState,
};

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::host::state::ProviderState;
use crate::name::ProviderName;
use supervisor::Supervisor;

/// How many groups a provider may have.
pub const GROUPS_MAX: usize = 1000;

/// The processes of one provider. Clones share them.
#[derive(Clone)]
pub struct Processes {
    supervisor: Arc<Supervisor>,
    read_only: bool,
}

impl Processes {
    /// The processes of a provider; the groups that `state` remembers come back with [`begin`](Self::begin).
    /// `program` is this binary, which each replica's watchdog is run from. Must be called within a tokio
    /// runtime: the groups' tasks run there.
    #[must_use]
    pub fn new(
        provider: ProviderName,
        commands: BTreeMap<String, CommandSpec>,
        state: ProviderState,
        program: PathBuf,
    ) -> Self {
        Self { supervisor: Supervisor::new(provider, commands, state, program), read_only: false }
    }

    /// Brings back the groups that are remembered, once: when the provider's first generation is published, so
    /// that trying a plugin starts nothing.
    pub fn begin(&self) {
        self.supervisor.begin();
    }

    /// The same processes for a generation that is not published yet: it may look and not change.
    #[must_use]
    pub fn read_only(&self) -> Self {
        Self { supervisor: Arc::clone(&self.supervisor), read_only: true }
    }

    /// The commands that the operator declared.
    #[must_use]
    pub fn commands(&self) -> &BTreeMap<String, CommandSpec> {
        &self.supervisor.commands
    }

    /// Makes a group, or changes it. Takes effect in the background: replicas of another spec are stopped as
    /// new ones become ready, at most a quarter more than the count (rounded up) running at a time.
    ///
    /// # Errors
    /// [`ProcessError::UnknownCommand`], [`ProcessError::Invalid`] or [`ProcessError::ReadOnly`]; nothing
    /// changed then.
    pub fn apply(&self, group: &str, spec: GroupSpec, count: ReplicaCount) -> Result<GroupStatus, ProcessError> {
        self.may_write()?;
        self.supervisor.apply(group, spec, count)
    }

    /// A group as it is now.
    ///
    /// # Errors
    /// [`ProcessError::NotFound`].
    pub fn status(&self, group: &str) -> Result<GroupStatus, ProcessError> {
        self.supervisor.status(group)
    }

    /// The names of all groups, in ascending order.
    #[must_use]
    pub fn groups(&self) -> Vec<String> {
        self.supervisor.groups()
    }

    /// Stops a group's replicas and forgets it.
    ///
    /// # Errors
    /// [`ProcessError::NotFound`] or [`ProcessError::ReadOnly`].
    pub fn remove(&self, group: &str) -> Result<(), ProcessError> {
        self.may_write()?;
        self.supervisor.remove(group)
    }

    /// Waits up to `timeout` for groups to change; without a cursor all groups at once.
    ///
    /// # Errors
    /// [`ProcessError::CursorExpired`].
    ///
    /// # Cancel safety
    /// Nothing is lost: the same cursor answers the same.
    pub async fn changes(&self, cursor: Option<&str>, timeout: Duration) -> Result<ChangeSet, ProcessError> {
        self.supervisor.changes(cursor, timeout).await
    }

    /// What a group printed since the cursor, of what is still held, at most `limit` (1 to 1000) lines. Waits
    /// up to `timeout` for the first one.
    ///
    /// # Errors
    /// [`ProcessError::NotFound`] or [`ProcessError::CursorExpired`].
    ///
    /// # Cancel safety
    /// Nothing is lost: the same cursor answers the same.
    pub async fn output(
        &self,
        group: &str,
        cursor: Option<&str>,
        limit: usize,
        timeout: Duration,
    ) -> Result<OutputBatch, ProcessError> {
        self.supervisor.output(group, cursor, limit.clamp(1, 1000), timeout).await
    }

    /// Stops all replicas at once, each with its grace, and waits until they ended. The groups stay remembered.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the replicas stopping.
    pub async fn shutdown(&self) {
        self.supervisor.shutdown().await;
    }

    fn may_write(&self) -> Result<(), ProcessError> {
        if self.read_only { Err(ProcessError::ReadOnly) } else { Ok(()) }
    }
}

/// Milliseconds since the Unix epoch.
fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
