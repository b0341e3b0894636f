//! Programs that the tasks run, shown as they are run.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::root;

/// How often a program that says nothing itself is said to be still running.
const TICK: Duration = Duration::from_secs(10);

/// What a task ends with: nothing, or a sentence that says what to do.
pub(crate) type Task = Result<(), String>;

/// Says what comes now.
pub(crate) fn step(text: &str) {
    eprintln!("xtask: {text}");
}

/// Whether what a machine lacks is a failure and not a note.
pub(crate) fn in_ci() -> bool {
    std::env::var_os("CI").is_some()
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

/// Runs a command whose output is shown only if it fails, and ends it after `limit`. While it runs, its time
/// is told every [`TICK`].
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
    let said = wait_for(&wait, limit, TICK, |so_far| step(&format!("{name}: {} s", so_far.as_secs())));
    match said {
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

/// Waits for a message for at most `limit`, and tells every `tick` how long it has waited.
fn wait_for<T>(
    message: &mpsc::Receiver<T>,
    limit: Duration,
    tick: Duration,
    mut tell: impl FnMut(Duration),
) -> Result<T, mpsc::RecvTimeoutError> {
    let mut waited = Duration::ZERO;
    loop {
        let span = tick.min(limit.saturating_sub(waited));
        let answer = message.recv_timeout(span);
        waited += span;
        match answer {
            Err(mpsc::RecvTimeoutError::Timeout) if waited < limit => tell(waited),
            ended => return ended,
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

/// A command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
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
    fn what_takes_long_is_said_to_go_on() {
        let (ended, wait) = mpsc::channel();
        let mut told = 0;
        let (limit, tick) = (Duration::from_secs(60), Duration::from_millis(1));
        let answer = wait_for(&wait, limit, tick, |_so_far| {
            told += 1;
            if told == 3 {
                ended.send("done").unwrap();
            }
        });
        assert_eq!((answer, told), (Ok("done"), 3));
        let nothing = wait_for(&wait, Duration::from_millis(5), tick, |_so_far| told += 1);
        assert_eq!(nothing, Err(mpsc::RecvTimeoutError::Timeout));
    }

    #[test]
    fn a_program_that_fails_is_quoted() {
        let error = attempt(Command::new("sh").args(["-c", "echo broken >&2; exit 3"]), Duration::from_secs(60));
        assert!(error.unwrap_err().ends_with("exit status: 3: broken"));
        let error = attempt(&mut Command::new("no-such-program-here"), Duration::from_secs(60)).unwrap_err();
        assert!(error.starts_with("no-such-program-here: "), "{error}");
    }
}
