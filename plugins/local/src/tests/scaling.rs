use wicketgate_sdk::testing::set_config;
use wicketgate_sdk::{About, Endpoints, ErrorKind, Health, NamespaceEntry, Namespaces, Scaling, Target};

use super::*;

#[test]
fn a_declared_command_is_a_function_without_processes() {
    let host = Host::play();
    let status = local().get_replicas("wordcount", "openfaas-fn").unwrap();
    assert_eq!((status.replicas, status.available_replicas), (0, 0));
    assert_eq!(status.labels, [pair("com.openfaas.scale.max", "4")]);
    assert_eq!(status.version, None);
    assert!(host.calls().is_empty(), "a reading changes nothing");
}

#[test]
fn what_is_neither_declared_nor_deployed_is_not_found() {
    let host = Host::play();
    for (service, namespace) in [("nobody", "openfaas-fn"), ("greet", "openfaas-fn"), ("wordcount", "dev"), ("", "")] {
        let error = local().get_replicas(service, namespace).unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound, "{service}.{namespace}");
        let error = local().set_replicas(service, namespace, 1).unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound, "{service}.{namespace}");
    }
    let long = "n".repeat(600);
    assert_eq!(local().get_replicas(&long, "openfaas-fn").unwrap_err().kind, ErrorKind::NotFound);
    assert!(host.calls().is_empty());
}

#[test]
fn a_cold_start_asks_for_one_process_and_its_repetition_for_none() {
    let host = Host::play();
    let status = local().ensure("wordcount", "openfaas-fn", 1, None).unwrap();
    assert_eq!((status.replicas, status.available_replicas), (1, 1));
    local().ensure("wordcount", "openfaas-fn", 1, Some("0")).unwrap();
    assert_eq!(host.calls(), ["apply wordcount.openfaas-fn wordcount 1"]);
}

#[test]
fn ensure_never_lowers_and_set_replicas_does() {
    let host = Host::play();
    local().set_replicas("wordcount", "openfaas-fn", 3).unwrap();
    assert_eq!(local().ensure("wordcount", "openfaas-fn", 1, None).unwrap().replicas, 3);
    assert_eq!(local().ensure("wordcount", "openfaas-fn", 5, None).unwrap().replicas, 5);
    local().set_replicas("wordcount", "openfaas-fn", 5).unwrap();
    local().set_replicas("wordcount", "openfaas-fn", 0).unwrap();
    let group = "apply wordcount.openfaas-fn wordcount";
    assert_eq!(host.calls(), [3, 5, 0].map(|count| format!("{group} {count}")), "what is so already is not asked for");
    assert_eq!(local().get_replicas("wordcount", "openfaas-fn").unwrap().replicas, 0);
}

#[test]
fn a_count_that_is_raised_in_the_same_instant_is_kept() {
    let host = Host::play();
    host.meanwhile.replace(Some(Box::new(|| local().set_replicas("wordcount", "openfaas-fn", 7).unwrap())));
    assert_eq!(local().ensure("wordcount", "openfaas-fn", 2, None).unwrap().replicas, 7);
    local().deploy_function(deployment("hello", "greet")).unwrap();
    host.meanwhile.replace(Some(Box::new(|| local().set_replicas("hello", "openfaas-fn", 5).unwrap())));
    local().update_function(deployment("hello", "wordcount")).unwrap();
    assert_eq!(local().get_replicas("hello", "openfaas-fn").unwrap().replicas, 5);
}

#[test]
fn an_update_in_the_middle_of_a_cold_start_has_the_last_word() {
    let host = Host::play();
    local().deploy_function(deployment("hello", "greet")).unwrap();
    host.groups.take();
    host.meanwhile.replace(Some(Box::new(|| local().update_function(deployment("hello", "wordcount")).unwrap())));
    local().ensure("hello", "openfaas-fn", 1, None).unwrap();
    let group = host.status("hello.openfaas-fn").unwrap();
    assert_eq!((group.spec.command.as_str(), group.count), ("wordcount", 1));
}

#[test]
fn zero_of_a_function_that_never_ran_needs_no_group() {
    let host = Host::play();
    local().set_replicas("wordcount", "openfaas-fn", 0).unwrap();
    assert!(host.calls().is_empty());
}

#[test]
fn more_than_the_operator_allows_is_invalid() {
    let _host = Host::play();
    for count in [u64::from(REPLICAS_MAX) + 1, u64::MAX] {
        let error = local().set_replicas("wordcount", "openfaas-fn", count).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{count}");
    }
}

#[test]
fn only_ready_processes_count_and_are_endpoints() {
    let host = Host::play();
    assert!(local().resolve("wordcount", "openfaas-fn").unwrap().is_empty());
    local().set_replicas("wordcount", "openfaas-fn", 4).unwrap();
    host.become_state("wordcount.openfaas-fn", 0, ReplicaState::Starting);
    host.become_state("wordcount.openfaas-fn", 1, ReplicaState::Waiting);
    host.become_state("wordcount.openfaas-fn", 3, ReplicaState::Stopping);
    assert_eq!(local().get_replicas("wordcount", "openfaas-fn").unwrap().available_replicas, 1);
    let endpoints = local().resolve("wordcount", "openfaas-fn").unwrap();
    assert_eq!(endpoints.len(), 1);
    assert_eq!(endpoints[0].target, Target::Authority("127.0.0.1:40002".to_owned()));
    assert_eq!(endpoints[0].instance, "wordcount.openfaas-fn-2");
    assert_eq!(endpoints[0].path_prefix, "");
    assert_eq!(local().resolve("nobody", "openfaas-fn").unwrap_err().kind, ErrorKind::NotFound);
}

#[test]
fn namespaces_are_the_operators() {
    let _host = Host::play();
    set_config(r#"{"namespaces":["edge","dev"]}"#);
    assert_eq!(local().list_namespaces(None, 10).unwrap().names, ["dev", "edge"]);
    let page = local().list_namespaces(None, 1).unwrap();
    assert_eq!(page.next.as_deref(), Some("dev"));
    assert_eq!(local().list_namespaces(Some("dev"), 1).unwrap().names, ["edge"]);
    assert_eq!(local().get_namespace("dev").unwrap().name, "dev");
    assert_eq!(local().get_namespace("openfaas-fn").unwrap_err().kind, ErrorKind::NotFound);
    let new = NamespaceEntry { name: "new".to_owned(), ..NamespaceEntry::default() };
    assert_eq!(local().create_namespace(new).unwrap_err().kind, ErrorKind::Unsupported);
    assert_eq!(local().delete_namespace("dev").unwrap_err().kind, ErrorKind::Unsupported);
    // Declared commands are functions in the first one only.
    assert!(local().get_replicas("wordcount", "edge").is_ok());
    assert_eq!(local().get_replicas("wordcount", "dev").unwrap_err().kind, ErrorKind::NotFound);
}

#[test]
fn a_config_that_cannot_be_is_refused() {
    for bad in
        [r#"{"namespaces":[]}"#, r#"{"namespaces":["a.b"]}"#, r#"{"namespaces":["a/b"]}"#, r#"{"namespace":"a"}"#]
    {
        set_config(bad);
        assert!(Local::open().is_err(), "{bad}");
    }
}

#[test]
fn health_wants_a_command_and_about_says_local() {
    let host = Host::play();
    local().check().unwrap();
    assert_eq!(local().describe().unwrap().orchestration, "local");
    host.commands.take();
    assert_eq!(local().check().unwrap_err().kind, ErrorKind::Unavailable);
}
