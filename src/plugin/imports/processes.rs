//! `wicketgate:host/processes`: linked only for providers whose operator declared commands.

use std::time::Duration;

use wasmtime::Result;

use super::super::bindings::host::processes as wit;
use super::super::convert::host as convert;
use super::HostState;
use crate::host::processes::Processes;

impl HostState {
    /// The provider's processes, for a function of the host; a trap where the wiring forgot them.
    fn processes(&self, function: &'static str) -> Result<&Processes> {
        self.shared.uses(function);
        self.processes.as_ref().ok_or_else(|| wasmtime::format_err!("the provider has no processes"))
    }
}

impl wit::Host for HostState {
    async fn commands(&mut self) -> Result<Vec<wit::Command>> {
        Ok(self
            .processes("processes.commands")?
            .commands()
            .iter()
            .map(|(name, command)| convert::command(name, command))
            .collect())
    }

    async fn apply(
        &mut self,
        group: String,
        spec: wit::GroupSpec,
        count: wit::ReplicaCount,
    ) -> Result<Result<wit::GroupStatus, wit::ProcessError>> {
        let applied =
            self.processes("processes.apply")?.apply(&group, convert::group_spec(spec), convert::replica_count(count));
        Ok(applied.map(convert::group_status).map_err(convert::process_error))
    }

    async fn status(&mut self, group: String) -> Result<Result<wit::GroupStatus, wit::ProcessError>> {
        let status = self.processes("processes.status")?.status(&group);
        Ok(status.map(convert::group_status).map_err(convert::process_error))
    }

    async fn groups(&mut self) -> Result<Vec<String>> {
        Ok(self.processes("processes.groups")?.groups())
    }

    async fn remove(&mut self, group: String) -> Result<Result<(), wit::ProcessError>> {
        Ok(self.processes("processes.remove")?.remove(&group).map_err(convert::process_error))
    }

    async fn changes(
        &mut self,
        cursor: Option<String>,
        timeout_ms: u32,
    ) -> Result<Result<wit::ChangeSet, wit::ProcessError>> {
        let timeout = Duration::from_millis(timeout_ms.into());
        let changes = self.processes("processes.changes")?.changes(cursor.as_deref(), timeout).await;
        Ok(changes.map(convert::group_changes).map_err(convert::process_error))
    }

    async fn output(
        &mut self,
        group: String,
        cursor: Option<String>,
        limit: u32,
        timeout_ms: u32,
    ) -> Result<Result<wit::OutputBatch, wit::ProcessError>> {
        let timeout = Duration::from_millis(timeout_ms.into());
        let output =
            self.processes("processes.output")?.output(&group, cursor.as_deref(), limit as usize, timeout).await;
        Ok(output.map(convert::output_batch).map_err(convert::process_error))
    }
}
