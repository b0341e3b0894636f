//! Programs that the tasks run, shown as they are run.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::root;

/// What a task ends with: nothing, or a sentence that says what to do.
pub(crate) type Task = Result<(), String>;

/// Says what comes now.
pub(crate) fn step(text: &str) {
    eprintln!("xtask: {text}");
}

/// Runs cargo, the one that runs this task, in the checkout.
pub(crate) fn cargo(arguments: &[&str]) -> Task {
    run(cargo_command().args(arguments))
}

/// Cargo, the one that runs this task, in the checkout.
pub(crate) fn cargo_command() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from));
    cargo.current_dir(root());
    cargo
}

/// Runs a command to its end; its output is the terminal's.
pub(crate) fn run(command: &mut Command) -> Task {
    let status = command.status().map_err(|error| format!("{}: {error}", shown(command)))?;
    if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", shown(command))) }
}

/// Runs a command whose output is shown only if it fails, and ends it after `limit`.
pub(crate) fn attempt(command: &mut Command, limit: Duration) -> Task {
    let name = shown(command);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0).spawn();
    let mut child = child.map_err(|error| format!("{name}: {error}"))?;
    let pid = child.id();
    let stderr = child.stderr.take();
    let (ended, wait) = mpsc::channel();
    std::thread::spawn(move || {
        let said: Vec<String> =
            stderr.map_or_else(Vec::new, |pipe| BufReader::new(pipe).lines().map_while(Result::ok).collect());
        let _gone = ended.send((child.wait(), said));
    });
    match wait.recv_timeout(limit) {
        Ok((Ok(status), _said)) if status.success() => Ok(()),
        Ok((Ok(status), said)) => {
            let from = said.len().saturating_sub(5);
            Err(format!("{name} ended with {status}: {}", said.get(from..).unwrap_or_default().join(" | ")))
        }
        Ok((Err(error), _said)) => Err(format!("{name}: {error}")),
        Err(_still_running) => {
            // The whole group: rustup and apt-get work through children.
            let _ended = Command::new("kill").args(["-KILL", "--", &format!("-{pid}")]).status();
            Err(format!("{name} did not end within {} s", limit.as_secs()))
        }
    }
}

/// Becomes the command, so that signals reach it and not this task.
pub(crate) fn replace_by(mut command: Command) -> Task {
    Err(format!("{}: {}", shown(&command), command.exec()))
}

/// Whether a program is on the path.
pub(crate) fn has(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).any(|dir| dir.join(program).is_file())
    })
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_hangs_is_stopped() {
        let error = attempt(Command::new("sleep").arg("600"), Duration::from_millis(100)).unwrap_err();
        assert_eq!(error, "sleep 600 did not end within 0 s");
    }

    #[test]
    fn a_program_that_fails_is_quoted() {
        let error = attempt(Command::new("sh").args(["-c", "echo broken >&2; exit 3"]), Duration::from_secs(60));
        assert!(error.unwrap_err().ends_with("exit status: 3: broken"));
        let error = attempt(&mut Command::new("no-such-program-here"), Duration::from_secs(60)).unwrap_err();
        assert!(error.starts_with("no-such-program-here: "), "{error}");
    }
}
