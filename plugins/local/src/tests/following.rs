use std::time::Duration;

use wicketgate_sdk::testing::{set_config, take_lines};
use wicketgate_sdk::{ErrorKind, Watch};

use super::*;

const WAIT: Duration = Duration::from_secs(1);

fn changes(cursor: Option<&str>) -> wicketgate_sdk::ChangeSet {
    local().changes(&["openfaas-fn".to_owned()], cursor, WAIT).unwrap()
}

fn told(set: &wicketgate_sdk::ChangeSet) -> Vec<(String, u64)> {
    set.changed.iter().map(|state| (state.function.name.clone(), state.status.replicas)).collect()
}

#[test]
fn a_snapshot_has_declared_and_deployed_functions_and_what_follows_is_told() {
    let _host = Host::play();
    local().deploy_function(deployment("hello", "greet")).unwrap();
    let snapshot = changes(None);
    assert!(snapshot.complete);
    assert_eq!(told(&snapshot), [("hello".to_owned(), 1), ("wordcount".to_owned(), 0)]);

    let quiet = changes(Some(&snapshot.cursor));
    assert!(quiet.changed.is_empty() && quiet.removed.is_empty() && quiet.complete);

    local().set_replicas("wordcount", "openfaas-fn", 2).unwrap();
    let set = changes(Some(&quiet.cursor));
    assert_eq!(told(&set), [("wordcount".to_owned(), 2)]);

    local().delete_function("hello", "openfaas-fn").unwrap();
    let set = changes(Some(&set.cursor));
    assert!(set.changed.is_empty());
    assert_eq!(set.removed[0].name, "hello");
}

#[test]
fn a_replica_that_ends_is_told() {
    let host = Host::play();
    local().set_replicas("wordcount", "openfaas-fn", 1).unwrap();
    let snapshot = changes(None);
    assert_eq!(snapshot.changed[0].status.available_replicas, 1);
    host.become_state("wordcount.openfaas-fn", 0, ReplicaState::Waiting);
    let set = changes(Some(&snapshot.cursor));
    assert_eq!((set.changed[0].status.replicas, set.changed[0].status.available_replicas), (1, 0));
}

#[test]
fn the_group_of_a_declared_function_may_go_while_the_function_stays() {
    let host = Host::play();
    local().set_replicas("wordcount", "openfaas-fn", 1).unwrap();
    let snapshot = changes(None);
    host.remove("wordcount.openfaas-fn").unwrap();
    let set = changes(Some(&snapshot.cursor));
    assert_eq!(told(&set), [("wordcount".to_owned(), 0)]);
    assert!(set.removed.is_empty());
}

#[test]
fn a_long_snapshot_comes_in_pages_and_misses_no_change_in_between() {
    let host = Host::play();
    let many: Vec<Command> = (0..1500).map(|n| command(&format!("c{n:04}"), &["true"], &[], true)).collect();
    host.commands.replace(many);
    let first = changes(None);
    assert_eq!((first.changed.len(), first.complete), (1000, false));
    local().set_replicas("c0000", "openfaas-fn", 1).unwrap();
    let second = changes(Some(&first.cursor));
    assert_eq!((second.changed.len(), second.complete), (500, true));
    assert_eq!(second.changed[0].function.name, "c1000");
    assert_eq!(told(&changes(Some(&second.cursor))), [("c0000".to_owned(), 1)]);
}

#[test]
fn groups_of_no_function_are_ended_where_a_watch_begins() {
    let host = Host::play();
    local().set_replicas("wordcount", "openfaas-fn", 1).unwrap();
    let spec = GroupSpec { command: "greet".to_owned(), env: Vec::new(), limits: crate::limits::none() };
    host.apply("orphan.openfaas-fn", &spec, ReplicaCount::Exactly(1)).unwrap();
    host.apply("wordcount.elsewhere", &spec, ReplicaCount::Exactly(1)).unwrap();
    host.calls();
    changes(None);
    assert_eq!(host.calls(), ["remove orphan.openfaas-fn", "remove wordcount.elsewhere"]);
}

#[test]
fn only_the_namespaces_that_were_asked_about_are_told() {
    let _host = Host::play();
    set_config(r#"{"namespaces":["edge","dev"]}"#);
    let in_dev = FunctionDeployment { namespace: "dev".to_owned(), ..deployment("hello", "greet") };
    local().deploy_function(in_dev).unwrap();
    let snapshot = local().changes(&["edge".to_owned()], None, WAIT).unwrap();
    assert_eq!(told(&snapshot), [("wordcount".to_owned(), 0)]);
    local().set_replicas("hello", "dev", 2).unwrap();
    let set = local().changes(&["edge".to_owned()], Some(&snapshot.cursor), WAIT).unwrap();
    assert!(set.changed.is_empty());
}

#[test]
fn a_namespace_that_only_the_provider_knows_is_warned_about() {
    let _host = Host::play();
    drop(take_lines());
    local().changes(&["edge".to_owned()], None, WAIT).unwrap();
    assert!(take_lines().iter().any(|line| line.message.contains("namespace edge")));
}

#[test]
fn foreign_cursors_are_expired() {
    let _host = Host::play();
    for cursor in ["", "x", "s/1", "f/x", "q/1"] {
        let error = local().changes(&["openfaas-fn".to_owned()], Some(cursor), WAIT).unwrap_err();
        assert_eq!(error.kind, ErrorKind::CursorExpired, "{cursor:?}");
    }
}
