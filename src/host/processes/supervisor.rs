//! The groups of one provider and the tasks that keep them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::group::{Group, Occupied};
use super::launch::Launch;
use super::output::Output;
use super::replica::{self, Room, Wish};
use super::{
    ChangeSet, CommandSpec, GROUPS_MAX, GroupSpec, GroupStatus, OutputBatch, OutputLine, ProcessError, Replica,
    ReplicaCount, ReplicaState,
};
use crate::host::state::{Expectation, PAGE_MAX, ProviderState};
use crate::name::{FunctionName, ProviderName};

/// How many removed groups are remembered for cursors.
const REMOVED_MAX: usize = 1000;

/// How many bytes the variables of a group may have, names and values together.
const ENV_MAX_BYTES: usize = 64 << 10;

/// The longest wait of one call.
const WAIT_MAX: Duration = Duration::from_secs(600);

pub(super) struct Supervisor {
    pub(super) provider: ProviderName,
    pub(super) commands: BTreeMap<String, CommandSpec>,
    pub(super) program: PathBuf,
    state: ProviderState,
    /// Part of every cursor: versions begin again with the process.
    epoch: u64,
    next_room: AtomicU64,
    content: Mutex<Content>,
    /// The version of the last change; whoever waits, waits on it.
    changed: watch::Sender<u64>,
    /// Grows with every line; whoever waits for output, waits on it.
    lines: watch::Sender<u64>,
    tasks: Mutex<JoinSet<()>>,
    runtime: tokio::runtime::Handle,
    has_begun: AtomicBool,
}

#[derive(Default)]
struct Content {
    groups: BTreeMap<String, Group>,
    /// Names of removed groups with the version of their removal.
    removed: BTreeMap<String, u64>,
    /// Removals up to this version are forgotten.
    forgotten: u64,
    version: u64,
    /// The gateway ends: nothing is started any more.
    closing: bool,
}

/// What is remembered of a group over a restart.
#[derive(Serialize, Deserialize)]
struct Remembered {
    spec: GroupSpec,
    count: u32,
}

impl Supervisor {
    pub(super) fn new(
        provider: ProviderName,
        commands: BTreeMap<String, CommandSpec>,
        state: ProviderState,
        program: PathBuf,
    ) -> Arc<Self> {
        Arc::new(Self {
            provider,
            commands,
            program,
            state,
            epoch: super::now_ms(),
            next_room: AtomicU64::new(1),
            content: Mutex::default(),
            changed: watch::Sender::new(0),
            lines: watch::Sender::new(0),
            tasks: Mutex::default(),
            runtime: tokio::runtime::Handle::current(),
            has_begun: AtomicBool::new(false),
        })
    }

    pub(super) fn begin(self: &Arc<Self>) {
        if !self.has_begun.swap(true, Ordering::SeqCst) {
            self.recall();
        }
    }

    /// Brings back what the last run of the gateway had, as far as the commands still allow it.
    fn recall(self: &Arc<Self>) {
        let mut cursor = None;
        loop {
            let page = self.state.list("", cursor.as_deref(), PAGE_MAX);
            for group in page.keys {
                let entry = self.state.get(&group).ok().flatten();
                let remembered = entry.and_then(|entry| serde_json::from_slice::<Remembered>(&entry.value).ok());
                let restored = match remembered {
                    Some(Remembered { spec, count }) => {
                        let most = self.commands.get(&spec.command).map_or(count, |command| command.max_replicas.get());
                        self.apply(&group, spec, ReplicaCount::Exactly(count.min(most)))
                            .map_err(|error| error.to_string())
                            .map(drop)
                    }
                    None => Err("what was kept of it cannot be read".to_owned()),
                };
                // The operator changed the commands in the meantime: what they no longer allow does not run again.
                if let Err(reason) = restored {
                    tracing::warn!(provider = %self.provider, group, reason, "a group is forgotten");
                    let _best_effort = self.state.delete(&group, Expectation::Anything);
                }
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => return,
            }
        }
    }

    pub(super) fn apply(
        self: &Arc<Self>,
        name: &str,
        spec: GroupSpec,
        count: ReplicaCount,
    ) -> Result<GroupStatus, ProcessError> {
        let most = self.allowed(name, &spec, count)?.max_replicas.get();
        let mut content = self.lock();
        if !content.groups.contains_key(name) && content.groups.len() >= GROUPS_MAX {
            return Err(ProcessError::Invalid(format!("there are {GROUPS_MAX} groups already")));
        }
        content.version += 1;
        let version = content.version;
        let closing = content.closing;
        content.removed.remove(name);
        let group = content.groups.entry(name.to_owned()).or_insert_with(|| Group {
            spec: spec.clone(),
            edition: 0,
            count: 0,
            rooms: BTreeMap::new(),
            version,
            output: Output::default(),
        });
        if group.spec != spec {
            group.spec = spec;
            group.edition += 1;
        }
        group.count = match count {
            ReplicaCount::Exactly(count) => count,
            ReplicaCount::AtLeast(count) => group.count.max(count).min(most),
        };
        group.version = version;
        let count = group.count;
        if !closing {
            self.settle(name, group);
        }
        let status = group.status(name);
        self.remember(name, Some(&Remembered { spec: group.spec.clone(), count }));
        drop(content);
        self.changed.send_replace(version);
        Ok(status)
    }

    /// Takes a group one step towards its spec and count: stops what is too much and starts what is missing.
    fn settle(self: &Arc<Self>, name: &str, group: &mut Group) {
        let Some(command) = self.commands.get(&group.spec.command) else { return };
        for _ in 0..group.stop_surplus() {
            let id = self.next_room.fetch_add(1, Ordering::Relaxed);
            let wish = watch::Sender::new(Wish::Stay);
            let room = Room { supervisor: Arc::clone(self), group: name.to_owned(), id };
            let launch = Launch::new(command, &group.spec);
            self.spawn(replica::keep(room, launch, command.stop_delay, wish.subscribe()));
            let replica = Replica {
                instance: String::new(),
                address: None,
                state: ReplicaState::Starting,
                restarts: 0,
                started_at_ms: super::now_ms(),
            };
            group.rooms.insert(id, Occupied { replica, edition: group.edition, wish });
        }
    }

    /// The command of a group that the operator's declarations allow.
    fn allowed(&self, name: &str, spec: &GroupSpec, count: ReplicaCount) -> Result<&CommandSpec, ProcessError> {
        name.parse::<FunctionName>()
            .map_err(|error| ProcessError::Invalid(format!("the group's name {name:?}: {error}")))?;
        let command =
            self.commands.get(&spec.command).ok_or_else(|| ProcessError::UnknownCommand(spec.command.clone()))?;
        let (ReplicaCount::Exactly(count) | ReplicaCount::AtLeast(count)) = count;
        if count > command.max_replicas.get() {
            let most = command.max_replicas;
            return Err(ProcessError::Invalid(format!("{count} replicas are more than max-replicas, {most}")));
        }
        if let Some(variable) = spec.env.keys().find(|name| !command.allowed_env.contains(name)) {
            return Err(ProcessError::Invalid(format!(
                "the variable {variable:?} is not in the command's allowed-env"
            )));
        }
        if spec.env.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > ENV_MAX_BYTES {
            return Err(ProcessError::Invalid(format!("the variables have more than {ENV_MAX_BYTES} bytes")));
        }
        if spec.env.values().any(|value| value.contains('\0')) {
            return Err(ProcessError::Invalid("a variable has a zero byte".to_owned()));
        }
        Ok(command)
    }

    pub(super) fn status(&self, name: &str) -> Result<GroupStatus, ProcessError> {
        self.lock().groups.get(name).map(|group| group.status(name)).ok_or(ProcessError::NotFound)
    }

    pub(super) fn groups(&self) -> Vec<String> {
        self.lock().groups.keys().cloned().collect()
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), ProcessError> {
        let mut content = self.lock();
        let group = content.groups.remove(name).ok_or(ProcessError::NotFound)?;
        // The tasks go on until their processes ended; nobody lists them any more.
        group.stop_all(Wish::End);
        content.version += 1;
        let version = content.version;
        content.removed.insert(name.to_owned(), version);
        if content.removed.len() > REMOVED_MAX
            && let Some((oldest, at)) =
                content.removed.iter().min_by_key(|(_name, at)| **at).map(|(n, at)| (n.clone(), *at))
        {
            content.removed.remove(&oldest);
            content.forgotten = at;
        }
        self.remember(name, None);
        drop(content);
        self.changed.send_replace(version);
        Ok(())
    }

    pub(super) async fn changes(&self, cursor: Option<&str>, timeout: Duration) -> Result<ChangeSet, ProcessError> {
        let Some(cursor) = cursor else { return self.changed_since(None) };
        let since = self.number(cursor)?;
        let mut changed = self.changed.subscribe();
        let _changed_or_waited =
            tokio::time::timeout(timeout.min(WAIT_MAX), changed.wait_for(|version| *version > since)).await;
        self.changed_since(Some(since))
    }

    fn changed_since(&self, since: Option<u64>) -> Result<ChangeSet, ProcessError> {
        let content = self.lock();
        if since.is_some_and(|since| since < content.forgotten || since > content.version) {
            return Err(ProcessError::CursorExpired);
        }
        let after = since.unwrap_or(0);
        let changed = content.groups.iter().filter(|(_name, group)| since.is_none() || group.version > after);
        let removed = content.removed.iter().filter(|(_name, at)| since.is_some() && **at > after);
        Ok(ChangeSet {
            changed: changed.map(|(name, group)| group.status(name)).collect(),
            removed: removed.map(|(name, _at)| name.clone()).collect(),
            cursor: self.cursor(content.version),
        })
    }

    pub(super) async fn output(
        &self,
        name: &str,
        cursor: Option<&str>,
        limit: usize,
        timeout: Duration,
    ) -> Result<OutputBatch, ProcessError> {
        let from = cursor.map(|cursor| self.number(cursor)).transpose()?;
        let mut lines = self.lines.subscribe();
        let read = || -> Result<OutputBatch, ProcessError> {
            let content = self.lock();
            let group = content.groups.get(name).ok_or(ProcessError::NotFound)?;
            let (mut batch, next) = group.output.read(from, limit)?;
            batch.cursor = self.cursor(next);
            Ok(batch)
        };
        let waited = tokio::time::timeout(timeout.min(WAIT_MAX), async {
            loop {
                let batch = read()?;
                if !batch.lines.is_empty() || lines.changed().await.is_err() {
                    return Ok(batch);
                }
            }
        });
        waited.await.unwrap_or_else(|_nothing_printed| read())
    }

    pub(super) async fn shutdown(&self) {
        let mut tasks = {
            let mut content = self.lock();
            content.closing = true;
            content.groups.values().for_each(|group| group.stop_all(Wish::End));
            std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner))
        };
        while tasks.join_next().await.is_some() {}
    }

    /// Changes a replica; whoever waits for changes is told.
    pub(super) fn update(self: &Arc<Self>, room: &Room, change: impl FnOnce(&mut Replica)) {
        let mut content = self.lock();
        let (version, closing) = (content.version + 1, content.closing);
        let Some(group) = content.groups.get_mut(&room.group) else { return };
        let Some(occupied) = group.rooms.get_mut(&room.id) else { return };
        change(&mut occupied.replica);
        group.version = version;
        if !closing {
            self.settle(&room.group, group);
        }
        content.version = version;
        drop(content);
        self.changed.send_replace(version);
    }

    /// A room's process ended for good.
    pub(super) fn left(self: &Arc<Self>, room: &Room) {
        let mut content = self.lock();
        let (version, closing) = (content.version + 1, content.closing);
        let Some(group) = content.groups.get_mut(&room.group) else { return };
        group.rooms.remove(&room.id);
        group.version = version;
        if !closing {
            self.settle(&room.group, group);
        }
        content.version = version;
        drop(content);
        self.changed.send_replace(version);
    }

    pub(super) fn printed(&self, room: &Room, instance: &str, text: String) {
        tracing::debug!(target: "wicketgate::function", provider = %self.provider, group = room.group, instance, "{text}");
        if let Some(group) = self.lock().groups.get_mut(&room.group) {
            let share = self.commands.get(&group.spec.command).map_or(0, |command| command.log_buffer);
            let line = OutputLine { instance: instance.to_owned(), timestamp_ms: super::now_ms(), text };
            group.output.push(line, share);
        }
        self.lines.send_modify(|lines| *lines += 1);
    }

    /// An identity that no other process of this or an earlier run has.
    pub(super) fn instance(&self, pid: Option<u32>) -> String {
        let number = self.next_room.fetch_add(1, Ordering::Relaxed);
        format!("{:x}-{number}-{}", self.epoch, pid.unwrap_or(0))
    }

    fn spawn(&self, kept: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(kept, &self.runtime);
    }

    fn remember(&self, name: &str, group: Option<&Remembered>) {
        let written = match group.map(serde_json::to_vec) {
            Some(Ok(bytes)) => self.state.put(name, &bytes, Expectation::Anything).map(drop),
            Some(Err(_unwritable)) => Ok(()),
            None => self.state.delete(name, Expectation::Anything),
        };
        if let Err(error) = written {
            tracing::warn!(provider = %self.provider, group = name, %error, "a restart of the gateway will not know this change");
        }
    }

    fn cursor(&self, number: u64) -> String {
        format!("{:x}-{number}", self.epoch)
    }

    fn number(&self, cursor: &str) -> Result<u64, ProcessError> {
        let (epoch, number) = cursor.split_once('-').ok_or(ProcessError::CursorExpired)?;
        if u64::from_str_radix(epoch, 16) != Ok(self.epoch) {
            return Err(ProcessError::CursorExpired);
        }
        number.parse().map_err(|_not_ours| ProcessError::CursorExpired)
    }

    /// No critical section can panic half way through a change, so poison means nothing here.
    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
