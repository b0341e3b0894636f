//! The plugin against a host that is played: groups, their replicas, changes and output.

mod deploying;
mod following;
mod printing;
mod scaling;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use wicketgate_sdk::processes::{
    ChangeSet, Command, GroupSpec, GroupStatus, Mode, OutputBatch, OutputLine, ProcessError, ProcessLimits, Replica,
    ReplicaCount, ReplicaState,
};
use wicketgate_sdk::testing::{Processes, play_processes};
use wicketgate_sdk::{FunctionDeployment, Functions, Provider};

use crate::{Local, MANIFEST};

/// The operator's bound of replicas in these tests.
const REPLICAS_MAX: u32 = 9;

fn command(name: &str, argv: &[&str], allowed_env: &[&str], deployed: bool) -> Command {
    let texts = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Command {
        name: name.to_owned(),
        mode: Mode::ForkPerRequest,
        argv: texts(argv),
        allowed_env: texts(allowed_env),
        labels: vec![("com.openfaas.scale.max".to_owned(), "4".to_owned())],
        deployed,
        limits: ProcessLimits { memory: Some(64 << 20), ..crate::limits::none() },
    }
}

/// A host whose processes are ready at once.
#[derive(Default)]
struct Host {
    commands: RefCell<Vec<Command>>,
    groups: RefCell<BTreeMap<String, GroupStatus>>,
    removed: RefCell<Vec<(u64, String)>>,
    version: RefCell<u64>,
    lines: RefCell<Vec<OutputLine>>,
    /// Calls that changed something, in their order.
    calls: RefCell<Vec<String>>,
    /// What somebody else does just before the next `apply`.
    meanwhile: RefCell<Option<Box<dyn FnOnce()>>>,
}

impl Host {
    /// Plays a host with two commands; `wordcount` is deployed, `greet` is not.
    fn play() -> Rc<Self> {
        let host = Rc::new(Self::default());
        host.commands.replace(vec![
            command("greet", &["sh", "-c", "echo hello $NAME"], &["NAME"], false),
            command("wordcount", &["wc", "-w"], &[], true),
        ]);
        play_processes(Rc::clone(&host) as Rc<dyn Processes>);
        host
    }

    fn next_version(&self) -> u64 {
        *self.version.borrow_mut() += 1;
        *self.version.borrow()
    }

    fn calls(&self) -> Vec<String> {
        self.calls.take()
    }

    /// Lets a replica be in another state.
    fn become_state(&self, group: &str, index: usize, state: ReplicaState) {
        let version = self.next_version();
        let mut groups = self.groups.borrow_mut();
        let group = groups.get_mut(group).unwrap();
        group.replicas[index].state = state;
        group.version = version;
    }
}

impl Processes for Host {
    fn commands(&self) -> Vec<Command> {
        self.commands.borrow().clone()
    }

    fn apply(&self, group: &str, spec: &GroupSpec, count: ReplicaCount) -> Result<GroupStatus, ProcessError> {
        if let Some(meanwhile) = self.meanwhile.take() {
            meanwhile();
        }
        let count = match count {
            ReplicaCount::Exactly(count) => count,
            ReplicaCount::AtLeast(count) => self.status(group).map_or(0, |group| group.count).max(count),
        };
        if !self.commands.borrow().iter().any(|command| command.name == spec.command) {
            return Err(ProcessError::UnknownCommand(spec.command.clone()));
        }
        if count > REPLICAS_MAX {
            return Err(ProcessError::Invalid(format!("{count} replicas, at most {REPLICAS_MAX}")));
        }
        self.calls.borrow_mut().push(format!("apply {group} {} {count}", spec.command));
        let replica = |index: u32| Replica {
            instance: format!("{group}-{index}"),
            address: Some(format!("127.0.0.1:{}", 40_000 + index)),
            state: ReplicaState::Ready,
            restarts: 0,
            started_at_ms: 1,
        };
        let status = GroupStatus {
            group: group.to_owned(),
            spec: spec.clone(),
            count,
            replicas: (0..count).map(replica).collect(),
            version: self.next_version(),
        };
        self.groups.borrow_mut().insert(group.to_owned(), status.clone());
        Ok(status)
    }

    fn status(&self, group: &str) -> Result<GroupStatus, ProcessError> {
        self.groups.borrow().get(group).cloned().ok_or(ProcessError::NotFound)
    }

    fn groups(&self) -> Vec<String> {
        self.groups.borrow().keys().cloned().collect()
    }

    fn remove(&self, group: &str) -> Result<(), ProcessError> {
        self.groups.borrow_mut().remove(group).ok_or(ProcessError::NotFound)?;
        self.calls.borrow_mut().push(format!("remove {group}"));
        self.removed.borrow_mut().push((self.next_version(), group.to_owned()));
        Ok(())
    }

    fn changes(&self, cursor: Option<&str>, _timeout_ms: u32) -> Result<ChangeSet, ProcessError> {
        let since = match cursor {
            Some(cursor) => cursor.parse().map_err(|_foreign| ProcessError::CursorExpired)?,
            None => 0,
        };
        let groups = self.groups.borrow();
        let removed = self.removed.borrow();
        let gone = removed.iter().filter(|(at, _)| cursor.is_some() && *at > since);
        Ok(ChangeSet {
            changed: groups.values().filter(|group| group.version > since).cloned().collect(),
            removed: gone.map(|(_, name)| name.clone()).collect(),
            cursor: self.version.borrow().to_string(),
        })
    }

    fn output(
        &self,
        group: &str,
        cursor: Option<&str>,
        limit: u32,
        _timeout_ms: u32,
    ) -> Result<OutputBatch, ProcessError> {
        self.status(group)?;
        let from: usize = cursor.map_or(0, |cursor| cursor.parse().unwrap());
        let lines: Vec<OutputLine> = self.lines.borrow().iter().skip(from).take(limit as usize).cloned().collect();
        Ok(OutputBatch { cursor: (from + lines.len()).to_string(), lines })
    }
}

/// The plugin with whatever `config` the test set.
fn local() -> Local {
    Local::open().unwrap()
}

fn deployment(service: &str, image: &str) -> FunctionDeployment {
    FunctionDeployment {
        service: service.to_owned(),
        namespace: "openfaas-fn".to_owned(),
        image: image.to_owned(),
        ..FunctionDeployment::default()
    }
}

fn names(namespace: &str) -> Vec<String> {
    let page = local().list_functions(namespace, None, 1000).unwrap();
    page.functions.into_iter().map(|function| function.deployment.service).collect()
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

#[test]
fn the_manifest_is_json() {
    let manifest: serde_json::Value = serde_json::from_str(MANIFEST).unwrap();
    assert_eq!(manifest["name"], "local");
    assert!(manifest["config"]["namespaces"].is_string());
}
