//! Processes that the host runs for the `local` plugin.

/// A command that the operator declared.
#[derive(Clone, Debug)]
pub struct CommandSpec {}
