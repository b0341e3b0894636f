//! Ending everything that a command started.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, set_child_subreaper, waitpid,
};
use tokio::process::Child;
use tokio::signal::unix::SignalKind;

/// How often the table of processes is read at the end: a process may start another while it is swept.
const SWEEPS: usize = 10;

/// How long the end of an orphan may wait to be seen.
const REAP_PAUSE: Duration = Duration::from_secs(1);

/// Makes orphans of this process's descendants its own children, so that they can be found.
pub(super) fn adopt_orphans() {
    if let Err(error) = set_child_subreaper(Some(getpid())) {
        super::report("err", &format!("watchdog: orphans cannot be adopted: {error}"));
    }
}

/// Processes that this one started itself and waits for itself.
static OWN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// A child that somebody waits for, so that [`reap_orphans`] leaves it alone. Made right after the start, without
/// an `.await` in between; dropped after the child was waited for.
pub(super) struct Own(Option<i32>);

impl Own {
    pub(super) fn new(child: &Child) -> Self {
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = pid {
            own().insert(pid);
        }
        Self(pid)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            own().remove(&pid);
        }
    }
}

/// An insertion or removal cannot stop half way, so poison means nothing here.
fn own() -> MutexGuard<'static, BTreeSet<i32>> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for adopted orphans as they end: a replica that runs for months must not fill the table of processes
/// with zombies of what its commands left behind. Never ends.
pub(super) async fn reap_orphans() {
    let Ok(mut ended) = tokio::signal::unix::signal(SignalKind::child()) else {
        super::report("err", "watchdog: the end of orphans cannot be heard of");
        return;
    };
    while ended.recv().await.is_some() {
        // Every request of a command ends a process; the table is read for many of them at once.
        tokio::time::sleep(REAP_PAUSE).await;
        for pid in ended_children() {
            if !own().contains(&pid.as_raw_nonzero().get()) {
                let _reaped = waitpid(Some(pid), WaitOptions::NOHANG);
            }
        }
    }
}

/// The children of this process that ended and were not waited for.
fn ended_children() -> Vec<Pid> {
    let own = getpid().as_raw_nonzero().get();
    let all = process_table();
    all.into_iter()
        .filter(|found| found.has_ended && found.parent == own)
        .filter_map(|f| Pid::from_raw(f.pid))
        .collect()
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

struct Found {
    pid: i32,
    parent: i32,
    has_ended: bool,
}

/// All processes of the machine, as far as they can be read.
fn process_table() -> Vec<Found> {
    let read = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // After the name, which is in parentheses and may hold anything: state, parent, ...
        let (_name, rest) = stat.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let has_ended = fields.next()? == "Z";
        Some(Found { pid, parent: fields.next()?.parse().ok()?, has_ended })
    };
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(read).collect()
}

fn descendants() -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for Found { pid, parent, .. } in process_table().into_iter().filter(|found| !found.has_ended) {
        children.entry(parent).or_default().push(pid);
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
