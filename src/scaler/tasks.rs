//! The scaler's background work, all of which ends with it.

use std::sync::{Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinSet};

/// Tasks that end when this is dropped.
pub(super) struct Tasks {
    tasks: Mutex<JoinSet<()>>,
    runtime: Handle,
}

impl Tasks {
    /// Runs its tasks on the current runtime, wherever they are spawned from.
    pub(super) fn new() -> Self {
        Self { tasks: Mutex::default(), runtime: Handle::current() }
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that ended are let go here, so that their number stays that of the running ones.
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, &self.runtime)
    }
}
