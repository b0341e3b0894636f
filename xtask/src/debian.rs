//! Debian's packages, where a task needs a program that is not there.

use std::process::Command;
use std::time::Duration;

use crate::command::{Task, attempt, has, step};

/// How long `apt-get update` and one installation may take.
const LIMIT: Duration = Duration::from_secs(600);

/// Makes sure that `program` is there, from Debian's `packages` (separated by blanks) if need be; `why` completes the message.
pub(crate) fn need(program: &str, packages: &str, why: &str) -> Task {
    if has(program) {
        return Ok(());
    }
    install(&packages.split(' ').collect::<Vec<_>>()).map_err(|error| format!("{program} is missing ({why}): {error}"))
}

/// Whether this runs as root.
pub(crate) fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.starts_with(b"0\n"))
}

/// Installs packages as root or with sudo, without asking anything.
pub(crate) fn install(packages: &[&str]) -> Task {
    let by_hand = format!("install by hand: apt-get install {}", packages.join(" "));
    if !has("apt-get") {
        return Err(format!("there is no apt-get here; {by_hand}"));
    }
    step(&format!("installing {} with apt-get", packages.join(" ")));
    let root = is_root();
    if !root && !has("sudo") {
        return Err(format!("neither root nor sudo; {by_hand}"));
    }
    let apt = |arguments: &[&str]| {
        let mut command = if root { Command::new("apt-get") } else { Command::new("sudo") };
        if !root {
            // Without a password, or not at all: a task must not stop to ask.
            command.args(["-n", "apt-get"]);
        }
        command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
        attempt(&mut command, LIMIT)
    };
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(packages);
    // Lists may be absent or old: fetch them only when the first try fails.
    apt(&install)
        .or_else(|_stale| apt(&["update"]).and_then(|()| apt(&install)))
        .map_err(|error| format!("{error}; {by_hand}"))
}
