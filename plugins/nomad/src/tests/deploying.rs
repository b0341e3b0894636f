//! Deploying from the template, and namespaces.

use serde_json::json;
use wicketgate_sdk::testing::{set_config, take_requests};
use wicketgate_sdk::{
    ErrorKind, FunctionDeployment, FunctionResources, Functions, NamespaceEntry, Namespaces, Provider,
};

use super::{job, nomad, play, recording, sent};
use crate::Nomad;

const TEMPLATE: &str = r#"{ "template": {
    "Datacenters": ["dc1"],
    "TaskGroups": [{ "Name": "fn", "Tasks": [{ "Name": "fn", "Driver": "docker",
        "Config": { "image": "{image}", "args": ["{name}.{namespace}", "{other}"] }, "Env": { "a": "b" } }] }] } }"#;

fn figlet() -> FunctionDeployment {
    FunctionDeployment {
        service: "echo".to_owned(),
        namespace: "default".to_owned(),
        image: "figlet:{name}".to_owned(),
        env_process: Some("figlet".to_owned()),
        env_vars: vec![("mode".to_owned(), "{image}".to_owned())],
        labels: vec![("tier".to_owned(), "edge".to_owned())],
        annotations: vec![("topic".to_owned(), "orders".to_owned())],
        limits: Some(FunctionResources { memory: Some("100M".to_owned()), ..FunctionResources::default() }),
        ..FunctionDeployment::default()
    }
}

fn filled() -> serde_json::Value {
    json!({
        "ID": "echo", "Name": "echo", "Namespace": "default", "Type": "service", "Datacenters": ["dc1"],
        "Meta": { "faas_function": "echo", "tier": "edge", "annotation.topic": "orders" },
        "TaskGroups": [{ "Name": "fn", "Tasks": [{
            "Name": "fn", "Driver": "docker",
            "Config": { "image": "figlet:{name}", "args": ["echo.default", "{other}"] },
            "Env": { "a": "b", "mode": "{image}", "fprocess": "figlet" },
            "Resources": { "MemoryMB": 96 },
        }] }],
    })
}

#[test]
fn a_deploy_registers_the_filled_template_once() {
    set_config(TEMPLATE);
    let body = json!({ "Job": filled(), "EnforceIndex": true, "JobModifyIndex": 0 });
    let absent = recording("purge").only(&["get at once"]);
    play(absent.then(recording("job-register").only(&["register"]).with_body("register", body.clone())));
    nomad().deploy_function(figlet()).unwrap();
    assert_eq!(sent(), 2);
    // Somebody registers it between the look and the write.
    let stale = recording("job-register").only(&["check index, stale"]).with_body("check index, stale", body);
    play(recording("purge").only(&["get at once"]).then(stale));
    assert_eq!(nomad().deploy_function(figlet()).unwrap_err().kind, ErrorKind::AlreadyExists);
    play(job());
    assert_eq!(nomad().deploy_function(figlet()).unwrap_err().kind, ErrorKind::AlreadyExists);
}

#[test]
fn an_update_keeps_the_count_and_a_stopped_job_starts_again() {
    set_config(TEMPLATE);
    let body = json!({ "Job": filled(), "EnforceIndex": true, "JobModifyIndex": 238, "PreserveCounts": true });
    let register = "re-register, PreserveCounts";
    play(job().then(recording("job-register").only(&[register]).with_body(register, body)));
    nomad().update_function(figlet()).unwrap();
    let body = json!({ "Job": filled(), "EnforceIndex": true, "JobModifyIndex": 529 });
    let stopped = recording("stopped-job").only(&["get", "register again"]);
    play(stopped.with_body("register again", body));
    nomad().deploy_function(figlet()).unwrap();
}

#[test]
fn what_a_job_has_no_place_for_is_refused() {
    let deploy = |deployment: FunctionDeployment| Nomad::open().unwrap().deploy_function(deployment).unwrap_err();
    set_config("{}");
    assert_eq!(deploy(figlet()).kind, ErrorKind::Unsupported);
    set_config(TEMPLATE);
    assert_eq!(deploy(FunctionDeployment { secrets: vec!["a".to_owned()], ..figlet() }).kind, ErrorKind::Invalid);
    assert_eq!(deploy(FunctionDeployment { constraints: vec!["a".to_owned()], ..figlet() }).kind, ErrorKind::Invalid);
    assert_eq!(deploy(FunctionDeployment { read_only_root_filesystem: true, ..figlet() }).kind, ErrorKind::Invalid);
    let requests = Some(FunctionResources { memory: Some("1Mi".to_owned()), ..FunctionResources::default() });
    assert!(deploy(FunctionDeployment { requests, ..figlet() }).message.contains("requests"));
    let limits = Some(FunctionResources { cpu: Some("100m".to_owned()), ..FunctionResources::default() });
    assert!(deploy(FunctionDeployment { limits, ..figlet() }).message.contains("limits.cpu"));
    let limits = Some(FunctionResources { memory: Some("lots".to_owned()), ..FunctionResources::default() });
    assert!(deploy(FunctionDeployment { limits, ..figlet() }).message.contains("128Mi"));
    set_config(r#"{ "template": { "TaskGroups": [{ "Name": "web", "Tasks": [{}] }] } }"#);
    assert!(deploy(figlet()).message.contains("\"fn\""));
    assert!(take_requests().is_empty());
}

#[test]
fn a_function_is_deleted_with_its_name_and_shown_with_its_command() {
    play(job().then(recording("purge").only(&["purge"])));
    nomad().delete_function("echo", "default").unwrap();
    play(job().then(recording("scale-zero-to-three-to-zero").only(&["scale at zero"])));
    let function = nomad().get_function("echo", "default", false).unwrap();
    assert_eq!(function.deployment.image, "/usr/bin/python3");
    assert!(function.created_at_ms.is_some_and(|millis| millis > 1_700_000_000_000));
    assert_eq!(function.deployment.limits.unwrap().memory.as_deref(), Some("32Mi"));
}

#[test]
fn namespaces_are_nomads_own() {
    let entry = NamespaceEntry { name: "fns".to_owned(), labels: Vec::new(), annotations: Vec::new() };
    let absent = recording("namespaces").only(&["get, gone"]);
    play(absent.then(recording("namespaces").only(&["create", "list of two", "get", "delete, not empty"])));
    nomad().create_namespace(entry.clone()).unwrap();
    assert_eq!(nomad().list_namespaces(None, 1).unwrap().next.as_deref(), Some("default"));
    assert_eq!(nomad().list_namespaces(Some("default"), 9).unwrap().names, ["fns"]);
    assert_eq!(nomad().get_namespace("fns").unwrap().name, "fns");
    assert_eq!(nomad().create_namespace(entry).unwrap_err().kind, ErrorKind::AlreadyExists);
    assert_eq!(nomad().delete_namespace("fns").unwrap_err().kind, ErrorKind::Invalid);
}
