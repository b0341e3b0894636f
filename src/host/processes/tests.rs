use super::*;
use crate::host::state::Store;

/// Processes that have begun.
fn supervised(script: &str, store: &Store) -> (tempfile::TempDir, Processes) {
    let (directory, processes) = prepared(script, store);
    processes.begin();
    (directory, processes)
}

/// A program that speaks the watchdog's protocol and nothing else.
fn prepared(script: &str, store: &Store) -> (tempfile::TempDir, Processes) {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("watchdog");
    std::fs::write(&program, format!("#!/bin/sh\nread -r launch\n{script}\n")).unwrap();
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    std::fs::set_permissions(&program, mode).unwrap();
    let command = CommandSpec {
        argv: vec!["true".to_owned()],
        allowed_env: vec!["ALLOWED".to_owned()],
        stop_grace: Duration::from_millis(100),
        stop_delay: Duration::ZERO,
        ..CommandSpec::default()
    };
    let provider: ProviderName = "edge".parse().unwrap();
    let state = store.host("processes", &provider, 1 << 20);
    let commands = BTreeMap::from([("echo".to_owned(), command)]);
    (directory, Processes::new(provider, commands, state, program))
}

fn echo() -> GroupSpec {
    GroupSpec { command: "echo".to_owned(), ..GroupSpec::default() }
}

const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until a group is as wished, by the changes and not by looking again and again.
async fn until(processes: &Processes, wished: impl Fn(&GroupStatus) -> bool) -> GroupStatus {
    tokio::time::timeout(DEADLINE, async {
        let mut cursor = None;
        loop {
            let changes = processes.changes(cursor.as_deref(), DEADLINE).await.unwrap();
            if let Some(group) = changes.changed.into_iter().find(|group| wished(group)) {
                return group;
            }
            cursor = Some(changes.cursor);
        }
    })
    .await
    .expect("the group became as wished")
}

fn ready(group: &GroupStatus) -> usize {
    group.replicas.iter().filter(|replica| replica.state == ReplicaState::Ready).count()
}

/// Ready at once, then waits for the word to stop.
const STAYS: &str = "echo ready 4242; read -r word";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_gets_as_many_replicas_as_were_asked_for_and_loses_them_again() {
    let (_directory, processes) = supervised(STAYS, &Store::in_memory());
    processes.apply("f.ns", echo(), ReplicaCount::Exactly(2)).unwrap();
    let up = until(&processes, |group| ready(group) == 2).await;
    assert_eq!(up.replicas[0].address.as_deref(), Some("127.0.0.1:4242"));
    assert_ne!(up.replicas[0].instance, up.replicas[1].instance);
    processes.apply("f.ns", echo(), ReplicaCount::Exactly(0)).unwrap();
    until(&processes, |group| group.replicas.is_empty()).await;
    assert_eq!(processes.groups(), ["f.ns"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_ends_is_started_again_as_another_instance() {
    let (directory, processes) =
        supervised("echo ready 4242; [ -e \"$0.once\" ] && read -r word; touch \"$0.once\"", &Store::in_memory());
    processes.apply("f.ns", echo(), ReplicaCount::Exactly(1)).unwrap();
    let again = until(&processes, |group| ready(group) == 1 && group.replicas[0].restarts == 1).await;
    assert!(directory.path().join("watchdog.once").exists());
    assert_eq!(again.replicas.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_come_back_from_the_state() {
    let store = Store::in_memory();
    let (_directory, processes) = supervised(STAYS, &store);
    processes.apply("f.ns", echo(), ReplicaCount::Exactly(1)).unwrap();
    processes.shutdown().await;
    let (_directory, processes) = supervised(STAYS, &store);
    until(&processes, |group| group.group == "f.ns" && ready(group) == 1).await;
    processes.remove("f.ns").unwrap();
    let (_directory, processes) = supervised(STAYS, &store);
    assert!(processes.groups().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replica_prints_can_be_read_from_a_cursor() {
    let (_directory, processes) = supervised("echo out one; echo err two; read -r word", &Store::in_memory());
    processes.apply("f.ns", echo(), ReplicaCount::Exactly(1)).unwrap();
    let first = processes.output("f.ns", None, 1, DEADLINE).await.unwrap();
    assert_eq!(first.lines[0].text, "one");
    let second = processes.output("f.ns", Some(&first.cursor), 10, DEADLINE).await.unwrap();
    assert_eq!(second.lines[0].text, "two");
    assert_eq!(processes.output("f.ns", Some("0-0"), 1, DEADLINE).await, Err(ProcessError::CursorExpired));
}

#[tokio::test]
async fn only_what_the_operator_declared_is_run() {
    let (_directory, processes) = supervised(STAYS, &Store::in_memory());
    let other = GroupSpec { command: "sh".to_owned(), ..GroupSpec::default() };
    assert_eq!(
        processes.apply("f.ns", other, ReplicaCount::Exactly(1)),
        Err(ProcessError::UnknownCommand("sh".to_owned()))
    );
    let env = GroupSpec { env: [("LD_PRELOAD".to_owned(), "x".to_owned())].into(), ..echo() };
    assert!(matches!(processes.apply("f.ns", env, ReplicaCount::Exactly(1)), Err(ProcessError::Invalid(_))));
    assert!(matches!(processes.apply("f/ns", echo(), ReplicaCount::Exactly(1)), Err(ProcessError::Invalid(_))));
    assert!(matches!(processes.apply("f.ns", echo(), ReplicaCount::Exactly(17)), Err(ProcessError::Invalid(_))));
    assert_eq!(processes.read_only().apply("f.ns", echo(), ReplicaCount::Exactly(1)), Err(ProcessError::ReadOnly));
    assert!(processes.groups().is_empty());
}

#[tokio::test]
async fn what_the_operator_no_longer_allows_does_not_come_back() {
    let store = Store::in_memory();
    let state = store.host("processes", &"edge".parse().unwrap(), 1 << 20);
    let keep =
        |group: &str, json: &str| state.put(group, json.as_bytes(), crate::host::state::Expectation::Anything).unwrap();
    keep("foreign.ns", r#"{"spec":{"command":"echo","env":{"LD_PRELOAD":"x"}},"count":1}"#);
    keep("undeclared.ns", r#"{"spec":{"command":"sh","env":{}},"count":1}"#);
    keep("many.ns", r#"{"spec":{"command":"echo","env":{}},"count":500}"#);
    let (_directory, processes) = supervised(STAYS, &store);
    assert_eq!(processes.groups(), ["many.ns"]);
    assert_eq!(processes.status("many.ns").unwrap().count, 16);
    assert_eq!(state.get("foreign.ns").unwrap(), None);
    processes.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_raise_never_lowers_and_stays_within_the_commands_bound() {
    let (_directory, processes) = supervised(STAYS, &Store::in_memory());
    let apply = |count| processes.apply("f.ns", echo(), count).map(|group| group.count);
    assert_eq!(apply(ReplicaCount::AtLeast(1)), Ok(1));
    assert_eq!(apply(ReplicaCount::Exactly(3)), Ok(3));
    assert_eq!(apply(ReplicaCount::AtLeast(2)), Ok(3));
    assert_eq!(apply(ReplicaCount::AtLeast(5)), Ok(5));
    assert!(matches!(apply(ReplicaCount::AtLeast(17)), Err(ProcessError::Invalid(_))));
    assert_eq!(apply(ReplicaCount::Exactly(0)), Ok(0));
    processes.shutdown().await;
}

fn echo_with(value: &str) -> GroupSpec {
    GroupSpec { env: [("ALLOWED".to_owned(), value.to_owned())].into(), ..echo() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_of_an_old_spec_leave_only_as_new_ones_become_ready() {
    let script = "case \"$launch\" in *broken*) read -r word; exit;; esac; echo ready 4242; read -r word";
    let (_directory, processes) = supervised(script, &Store::in_memory());
    processes.apply("f.ns", echo(), ReplicaCount::Exactly(4)).unwrap();
    let before = until(&processes, |group| ready(group) == 4).await;
    // What never becomes ready replaces nothing, and takes one place more.
    processes.apply("f.ns", echo_with("broken"), ReplicaCount::AtLeast(0)).unwrap();
    let stuck = until(&processes, |group| group.replicas.iter().filter(|r| !r.instance.is_empty()).count() == 5).await;
    assert_eq!((ready(&stuck), stuck.count), (4, 4));
    processes.apply("f.ns", echo_with("good"), ReplicaCount::AtLeast(0)).unwrap();
    let after = until(&processes, |group| {
        assert!(ready(group) >= 4, "{group:?}");
        group.replicas.len() == 4
            && group.replicas.iter().all(|r| !before.replicas.iter().any(|b| b.instance == r.instance))
    })
    .await;
    assert_eq!(ready(&after), 4);
    processes.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_answers_no_more_is_no_endpoint() {
    let (_directory, processes) = supervised("echo ready 4242; echo sick no answer; read -r word", &Store::in_memory());
    processes.apply("f.ns", echo(), ReplicaCount::Exactly(1)).unwrap();
    let sick = until(&processes, |group| group.replicas.iter().any(|r| r.state == ReplicaState::Waiting)).await;
    assert_eq!(sick.replicas[0].address, None);
    processes.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ready_replica_that_is_stopped_is_told_so_after_the_delay_and_at_once_when_the_gateway_ends() {
    let (directory, processes) =
        supervised("echo ready 4242; read -r word; echo \"$word\" > \"$0.word\"", &Store::in_memory());
    let slow = CommandSpec { stop_delay: Duration::from_secs(600), ..processes.commands()["echo"].clone() };
    let program = directory.path().join("watchdog");
    let state = Store::in_memory().host("processes", &"edge".parse().unwrap(), 1 << 20);
    let processes = Processes::new("edge".parse().unwrap(), [("echo".to_owned(), slow)].into(), state, program);
    processes.apply("f.ns", echo(), ReplicaCount::Exactly(1)).unwrap();
    until(&processes, |group| ready(group) == 1).await;
    processes.apply("f.ns", echo(), ReplicaCount::Exactly(0)).unwrap();
    let leaving = processes.status("f.ns").unwrap();
    assert_eq!((leaving.replicas[0].state, leaving.replicas[0].address.as_ref()), (ReplicaState::Stopping, None));
    assert!(!directory.path().join("watchdog.word").exists());
    tokio::time::timeout(DEADLINE, processes.shutdown()).await.expect("the delay is over when the gateway ends");
    assert_eq!(std::fs::read_to_string(directory.path().join("watchdog.word")).unwrap(), "stop\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn remembered_groups_come_back_when_they_begin_and_not_before() {
    let store = Store::in_memory();
    let script = "echo ready 4242; read -r word";
    let (_directory, first) = supervised(script, &store);
    first.apply("f.ns", echo(), ReplicaCount::Exactly(1)).unwrap();
    until(&first, |group| ready(group) == 1).await;
    first.shutdown().await;
    let (_directory, again) = prepared(script, &store);
    assert!(again.groups().is_empty(), "a plugin that is only tried starts nothing");
    again.begin();
    until(&again, |group| ready(group) == 1).await;
    again.apply("f.ns", echo(), ReplicaCount::Exactly(0)).unwrap();
    again.begin();
    assert_eq!(again.status("f.ns").unwrap().count, 0, "once");
    again.shutdown().await;
}
