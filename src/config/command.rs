//! `[provider.NAME.command.NAME]`: a command that the provider's plugin may run as processes.

use super::section::Section;
use crate::host::processes::CommandSpec;

/// Reads one command; `None` if it names no program.
pub(super) fn read(_name: &str, section: &Section<'_>) -> Option<CommandSpec> {
    section.value("command")?;
    Some(CommandSpec {})
}
