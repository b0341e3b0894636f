//! `wicketgate:host/processes`: processes on this machine, for providers whose operator declared commands.
//!
//! A plugin names a command and a count; the **host** keeps it so. Each replica runs under a watchdog, a
//! process of our own binary that holds a pipe to the gateway and ends the replica when the pipe closes,
//! however the gateway ended. Groups belong to a provider, not to a generation: a swap leaves them, and a
//! restart of the gateway brings them back from the state store.

mod types;

pub use types::{
    ChangeSet, CommandSpec, GroupSpec, GroupStatus, Mode, OutputBatch, OutputLine, ProcessError, Replica, ReplicaState,
};
