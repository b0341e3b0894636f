//! Ending everything that a command started.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, set_child_subreaper, waitpid,
};
use tokio::process::Child;

/// How often the table of processes is read at the end: a process may start another while it is swept.
const SWEEPS: usize = 10;

/// Makes orphans of this process's descendants its own children, so that they can be found.
pub(super) fn adopt_orphans() {
    if let Err(error) = set_child_subreaper(Some(getpid())) {
        super::report("err", &format!("watchdog: orphans cannot be adopted: {error}"));
    }
}

/// Sends TERM to a child's group, waits for the child, then sends KILL to what is left of the group.
pub(super) async fn end_group(child: &mut Child, grace: Duration) {
    let group = group(child);
    signal(group, Signal::TERM);
    let _ended_or_not = tokio::time::timeout(grace, child.wait()).await;
    signal(group, Signal::KILL);
    let _reaped = child.wait().await;
}

/// Kills a child's group at once.
pub(super) async fn kill_group(child: &mut Child) {
    signal(group(child), Signal::KILL);
    let _reaped = child.wait().await;
}

/// The group of a child that was started as the leader of one; `None` once it was reaped.
fn group(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
}

fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        let _already_gone = kill_process_group(group, signal);
    }
}

/// Kills all descendants of this process, those included that left their group or session.
pub(super) fn kill_descendants() {
    for _ in 0..SWEEPS {
        let found = descendants();
        if found.is_empty() {
            return;
        }
        for pid in found {
            let _already_gone = kill_process(pid, Signal::KILL);
        }
        while matches!(waitpid(None, WaitOptions::NOHANG), Ok(Some(_reaped))) {}
    }
}

fn descendants() -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // After the name, which is in parentheses and may hold anything: state, parent, ...
        let Some((state, parent)) = stat.rsplit_once(") ").and_then(|(_name, rest)| {
            let mut fields = rest.split(' ');
            Some((fields.next()?.to_owned(), fields.next()?.parse::<i32>().ok()?))
        }) else {
            continue;
        };
        if state != "Z" {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut todo = vec![getpid().as_raw_nonzero().get()];
    while let Some(parent) = todo.pop() {
        for pid in children.remove(&parent).unwrap_or_default() {
            todo.push(pid);
            found.extend(Pid::from_raw(pid));
        }
    }
    found
}
