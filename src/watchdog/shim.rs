//! The shim: sets what a process must have from its first instruction, then becomes the command.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit};

use super::EXEC;
use crate::host::processes::ProcessLimits;
use crate::host::processes::launch::Launch;

/// A command line that runs `launch`'s program through the shim, with its variables and directory.
pub(super) fn command(launch: &Launch) -> Result<Command, String> {
    let limits = serde_json::to_string(&launch.limits).map_err(|error| error.to_string())?;
    let mut command = Command::new("/proc/self/exe");
    command.arg("watchdog").arg(EXEC).arg(std::process::id().to_string()).arg(limits).args(&launch.argv);
    command.env_clear().envs(&launch.env).process_group(0);
    command.current_dir(launch.working_directory.as_deref().unwrap_or(std::path::Path::new("/")));
    Ok(command)
}

/// `PARENT LIMITS PROGRAM [ARGUMENT ...]`: becomes the program. Returns only if that fails.
pub(super) fn become_command(arguments: &[String]) -> Result<(), String> {
    let [parent, limits, program, rest @ ..] = arguments else {
        return Err("usage: wicketgate watchdog --exec PARENT LIMITS PROGRAM [ARGUMENT ...]".to_owned());
    };
    let limits: ProcessLimits = serde_json::from_str(limits).map_err(|error| format!("limits: {error}"))?;
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| format!("parent death signal: {error}"))?;
    // The watchdog may have been killed before the signal was set.
    if getppid().map(Pid::as_raw_nonzero).map(|pid| pid.to_string()).as_deref() != Some(parent) {
        return Err("the watchdog is gone".to_owned());
    }
    limit(Resource::As, limits.memory)?;
    limit(Resource::Cpu, limits.cpu_seconds)?;
    limit(Resource::Nofile, limits.open_files)?;
    limit(Resource::Nproc, limits.processes)?;
    // A crash must not fill the disk of an edge node.
    limit(Resource::Core, Some(0))?;
    Err(format!("{program}: {}", Command::new(program).args(rest).exec()))
}

fn limit(resource: Resource, most: Option<u64>) -> Result<(), String> {
    let Some(most) = most else { return Ok(()) };
    setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
        .map_err(|error| format!("limit {resource:?} of {most}: {error}"))
}
