//! What is sent for each operation, and what becomes of the answers: Docker's, and Podman's.

#![expect(clippy::needless_pass_by_value, reason = "fixtures take JSON as it is written")]

use std::time::Duration;

use serde_json::{Value, json};
use wicketgate_sdk::http::{Failure, Request};
use wicketgate_sdk::testing::{Answer, pass, play_platform, set_config, take_requests};
use wicketgate_sdk::{Endpoints, ErrorKind, FunctionDeployment, Functions, Provider, Scaling, Secrets, Target, Watch};

use crate::{Docker, MANIFEST};

mod printed;

fn open(config: &str) -> Docker {
    set_config(config);
    Docker::open().unwrap()
}

fn swarm() -> Docker {
    open(r#"{"mode":"swarm","host":"127.0.0.1","namespaces":["fns","dev"]}"#)
}

fn engine(more: &str) -> Docker {
    open(&format!(r#"{{"mode":"engine","namespaces":["fns","dev"]{more}}}"#))
}

/// Answers each request by the first rule whose text its method and path begin with.
fn play(rules: Vec<(&'static str, u16, Value)>) {
    play_platform(move |request: &Request| {
        let path = request.url.strip_prefix("http://docker").unwrap();
        let line = format!("{} {path}", request.method);
        let (_, status, body) =
            rules.iter().find(|(start, ..)| line.starts_with(start)).unwrap_or_else(|| panic!("{line}"));
        Ok(Answer::new(*status, if body.is_null() { String::new() } else { body.to_string() }))
    });
}

/// The requests that were sent, without their queries.
fn sent() -> Vec<String> {
    let line = |request: Request| {
        let path = request.url.strip_prefix("http://docker").unwrap().split('?').next().unwrap().to_owned();
        format!("{} {path}", request.method)
    };
    take_requests().into_iter().map(line).collect()
}

fn service(name: &str, labels: Value, replicas: u64, running: u64) -> Value {
    json!({
        "ID": format!("id-{name}"), "Version": { "Index": 7 }, "CreatedAt": "2026-11-24T03:14:06.668718332Z",
        "Spec": { "Name": name, "Labels": labels, "Odd": { "kept": 1 }, "Mode": { "Replicated": { "Replicas": replicas } },
            "TaskTemplate": { "ContainerSpec": { "Image": "fn:1", "Env": ["fprocess=cat", "A=b"] } } },
        "ServiceStatus": { "RunningTasks": running, "DesiredTasks": replicas },
    })
}

fn container(id: &str, state: &str, more: Value) -> Value {
    let mut labels = json!({ "com.openfaas.function": "echo", "com.openfaas.namespace": "fns" });
    labels.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({
        "Id": id, "Names": [format!("/{id}")], "Image": "fn:1", "Created": 1_700_000_000, "State": state,
        "Status": "Up 3 seconds", "Labels": labels,
        "Ports": [{ "IP": "127.70.1.2", "PrivatePort": 8080, "PublicPort": 32768, "Type": "tcp" }],
    })
}

#[test]
fn the_manifest_is_json_and_wrong_settings_are_told() {
    let manifest: Value = serde_json::from_str(MANIFEST).unwrap();
    assert_eq!(manifest["name"], "docker");
    for (config, mark) in [
        ("{}", "mode"),
        (r#"{"mode":"both"}"#, "swarm, engine"),
        (r#"{"mode":"engine","zero":"sleep"}"#, "stop, remove, pause"),
        (r#"{"mode":"engine","addresses":"dns","network":"x"}"#, "only a swarm"),
        (r#"{"mode":"swarm","addresses":"network"}"#, "network ="),
        (r#"{"mode":"swarm","port":0}"#, "config.port is 0"),
        (r#"{"mode":"swarm","template":[]}"#, "template"),
        (r#"{"mode":"swarm","tempate":{}}"#, "config.tempate"),
        (r#"{"mode":"swarm","namespaces":["a.b"]}"#, "a.b"),
    ] {
        set_config(config);
        let error = Docker::open().err().unwrap_or_else(|| panic!("{config}"));
        assert!(error.message.contains(mark), "{config}: {}", error.message);
    }
}

#[test]
fn a_service_is_found_by_its_exact_name_and_its_label() {
    let own = json!({ "com.openfaas.function": "echo", "team": "blue", "com.openfaas.annotations.topic": "news" });
    let other = service("echo-2", json!({ "com.openfaas.function": "echo-2" }), 9, 9);
    play(vec![("GET /services?", 200, Value::Array(vec![other, service("echo", own, 3, 5)]))]);
    let status = swarm().get_replicas("echo", "fns").unwrap();
    // Tasks that still run while they are being stopped are no available ones.
    assert_eq!((status.replicas, status.available_replicas, status.version.as_deref()), (3, 3, Some("7")));
    assert!(status.labels.contains(&("team".to_owned(), "blue".to_owned())), "{:?}", status.labels);
    assert_eq!(status.annotations, [("topic".to_owned(), "news".to_owned())]);
    assert_eq!(sent(), ["GET /services"]);

    play(vec![("GET /services?", 200, Value::Array(vec![service("echo", json!({}), 3, 3)]))]);
    assert_eq!(swarm().get_replicas("echo", "fns").unwrap_err().kind, ErrorKind::NotFound, "it is no function");
    assert_eq!(swarm().get_replicas("echo", "other").unwrap_err().kind, ErrorKind::NotFound);
}

#[test]
fn an_update_sends_the_whole_spec_and_reads_again_after_a_conflict() {
    let held = service("echo", json!({ "com.openfaas.function": "echo" }), 0, 0);
    let mut refusals = 2;
    play_platform(move |request| {
        if request.method == "GET" {
            return Ok(Answer::new(200, json!([held]).to_string()));
        }
        assert_eq!(request.url, "http://docker/services/id-echo/update?version=7");
        let spec: Value = serde_json::from_slice(&request.body).unwrap();
        let mut wanted = held["Spec"].clone();
        wanted["Mode"]["Replicated"]["Replicas"] = json!(2);
        assert_eq!(spec, wanted);
        refusals -= 1;
        let stale = r#"{"message":"rpc error: code = Unknown desc = update out of sequence"}"#;
        Ok(if refusals >= 0 { Answer::new(500, stale) } else { Answer::new(200, "{}") })
    });
    assert_eq!(swarm().ensure("echo", "fns", 2, None).unwrap().replicas, 2);
    assert_eq!(sent().len(), 6);
}

#[test]
fn a_conflict_that_stays_is_a_conflict_and_any_other_500_is_not() {
    for (text, kind, requests) in [
        ("rpc error: code = Unknown desc = update out of sequence", ErrorKind::Conflict, 8),
        ("rpc error: something", ErrorKind::Unavailable, 2),
    ] {
        let held = service("echo", json!({ "com.openfaas.function": "echo" }), 0, 0);
        play(vec![("GET /services?", 200, json!([held])), ("POST", 500, json!({ "message": text }))]);
        assert_eq!(swarm().set_replicas("echo", "fns", 1).unwrap_err().kind, kind);
        assert_eq!(sent().len(), requests);
    }
}

#[test]
fn tasks_become_addresses_and_a_port_that_is_listed_twice_counts_once() {
    let task = |id: &str, state: &str, port: u16| {
        let port = json!({ "Protocol": "tcp", "TargetPort": 8080, "PublishedPort": port, "PublishMode": "host" });
        json!({ "ID": id, "NodeID": "n1", "Status": { "State": state, "PortStatus": { "Ports": [port, port] } },
            "NetworksAttachments": [{ "Network": { "Spec": { "Name": "functions" } }, "Addresses": ["10.0.1.5/24"] }] })
    };
    let tasks = json!([task("t1", "running", 32768), task("t2", "starting", 32769)]);
    let node = json!([{ "ID": "n1", "Status": { "Addr": "192.0.2.7" } }]);
    let held = service("echo", json!({ "com.openfaas.function": "echo" }), 2, 1);
    for (more, place, requests) in [
        (r#""host":"127.0.0.1""#, "127.0.0.1:32768", 2),
        (r#""port":8080"#, "192.0.2.7:32768", 3),
        (r#""addresses":"network","network":"functions""#, "10.0.1.5:8080", 2),
        (r#""addresses":"dns","network":"functions""#, "echo:8080", 1),
    ] {
        let docker = open(&format!(r#"{{"mode":"swarm","namespaces":["fns"],{more}}}"#));
        play(vec![
            ("GET /services?", 200, json!([held])),
            ("GET /tasks?", 200, tasks.clone()),
            ("GET /nodes", 200, node.clone()),
        ]);
        let endpoints = docker.resolve("echo", "fns").unwrap();
        let targets: Vec<_> = endpoints.iter().map(|endpoint| endpoint.target.clone()).collect();
        assert_eq!(targets, [Target::Authority(place.to_owned())], "{more}");
        assert!(!endpoints[0].instance.is_empty() && endpoints[0].ttl_ms <= 1000);
        assert_eq!(sent().len(), requests, "{more}");
    }
}

#[test]
fn containers_that_run_are_counted_and_others_are_not() {
    let mut sick = container("sick", "running", json!({}));
    sick["Status"] = json!("Up 3 seconds (unhealthy)");
    play(vec![(
        "GET /containers/json?",
        200,
        json!([
            container("model", "created", json!({ "com.wicketgate.role": "model" })),
            container("one", "running", json!({})),
            sick,
            container("old", "exited", json!({})),
            container("task", "running", json!({ "com.docker.swarm.service.id": "x" })),
            container("dev", "running", json!({ "com.openfaas.namespace": "dev" })),
        ]),
    )]);
    let docker = engine("");
    let status = docker.get_replicas("echo", "fns").unwrap();
    assert_eq!((status.replicas, status.available_replicas), (2, 1));
    let endpoints = docker.resolve("echo", "fns").unwrap();
    assert_eq!(endpoints.len(), 1);
    assert_eq!(endpoints[0].target, Target::Authority("127.70.1.2:32768".to_owned()));
    assert_eq!(endpoints[0].instance, "one");
}

#[test]
fn podmans_answers_are_understood() {
    // A stop of what has ended is 304; a missing container has another body, but the same status.
    let all = json!([container("one", "running", json!({}))]);
    play(vec![("GET /containers/json?", 200, all.clone()), ("POST /containers/one/stop", 304, Value::Null)]);
    engine("").set_replicas("echo", "fns", 0).unwrap();
    assert_eq!(sent(), ["GET /containers/json", "POST /containers/one/stop"]);

    let missing = json!({ "cause": "no such container", "message": "no container with ID one", "response": 404 });
    play(vec![("GET /containers/json?", 200, all), ("POST /containers/one/pause", 404, missing)]);
    let error = engine(r#","zero":"pause""#).set_replicas("echo", "fns", 0).unwrap_err();
    assert_eq!((error.kind, error.platform_status), (ErrorKind::Conflict, Some(404)), "it is read again, then told");

    play(vec![("GET /containers/json?", 200, json!([]))]);
    assert_eq!(engine("").get_replicas("echo", "fns").unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(engine("").list_secrets("fns", None, 10).unwrap_err().kind, ErrorKind::Unsupported);
}

#[test]
fn paused_containers_come_back_before_others_are_started() {
    let all = json!([container("ended", "exited", json!({})), container("asleep", "paused", json!({}))]);
    play(vec![("GET /containers/json?", 200, all), ("POST", 204, Value::Null)]);
    engine(r#","zero":"pause""#).set_replicas("echo", "fns", 1).unwrap();
    assert_eq!(sent(), ["GET /containers/json", "POST /containers/asleep/unpause"]);
}

#[test]
fn a_deployment_cannot_ask_for_the_machine() {
    play_platform(|request| {
        Ok(match request.method {
            "GET" => Answer::new(200, "[]"),
            _ if request.url.contains("/create") => Answer::new(201, r#"{"Id":"new"}"#),
            _ => Answer::new(204, ""),
        })
    });
    let deployment = FunctionDeployment {
        service: "echo".to_owned(),
        namespace: "fns".to_owned(),
        image: "fn:1".to_owned(),
        env_vars: vec![("HostConfig".to_owned(), r#"{"Privileged":true}"#.to_owned())],
        ..FunctionDeployment::default()
    };
    // The fake lists nothing, so the deployment ends after its model; the body is what counts.
    drop(engine(r#","template":{"HostConfig":{"Init":true}}"#).deploy_function(deployment));
    let body = take_requests().into_iter().find(|request| request.url.contains("/containers/create")).unwrap().body;
    let body: Value = serde_json::from_slice(&body).unwrap();
    let keys: Vec<&String> = body["HostConfig"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["Init", "PortBindings", "RestartPolicy"], "{body}");
    assert!(body["HostConfig"]["PortBindings"]["8080/tcp"][0]["HostIp"].as_str().unwrap().starts_with("127."));
}

#[test]
fn events_are_told_as_the_states_that_they_led_to() {
    let event = r#"{"Type":"container","Action":"start","Actor":{"ID":"one","Attributes":{"com.openfaas.function":"echo","com.openfaas.namespace":"fns"}},"timeNano":1700000001000000005}"#;
    play_platform(move |request| {
        Ok(if request.url.contains("/events") {
            Answer::new(200, format!("{event}\n"))
        } else if request.url.contains("/version") {
            Answer::new(200, "{}").with_header("Date", "Tue, 24 Nov 2026 03:14:11 GMT")
        } else {
            Answer::new(200, json!([container("one", "running", json!({}))]).to_string())
        })
    });
    let docker = engine("");
    let namespaces = ["fns".to_owned()];
    let first = docker.changes(&namespaces, None, Duration::from_secs(1)).unwrap();
    assert!(first.complete && first.changed.len() == 1, "{first:?}");
    assert!(first.cursor.starts_with("f/1795490051000000000/"), "{}", first.cursor);
    let next = docker.changes(&namespaces, Some(&first.cursor), Duration::from_secs(1)).unwrap();
    assert_eq!((next.changed.len(), next.changed[0].status.available_replicas), (1, 1));
    assert!(docker.changes(&["dev".to_owned()], Some(&next.cursor), Duration::ZERO).unwrap().changed.is_empty());
    pass(Duration::from_secs(3600));
    let late = docker.changes(&namespaces, Some(&next.cursor), Duration::ZERO).unwrap_err();
    assert_eq!(late.kind, ErrorKind::CursorExpired);
}

#[test]
fn a_change_on_another_machine_is_told_without_an_event() {
    let running = std::rc::Rc::new(std::cell::Cell::new(2));
    let seen = std::rc::Rc::clone(&running);
    play_platform(move |request| {
        let label = json!({ "com.openfaas.function": "echo" });
        if request.url.contains("/events") {
            // Nothing happens here: the stream is silent until whoever reads it gives up.
            pass(request.timeout.unwrap());
            return Err(Failure { kind: ErrorKind::Timeout, text: "no answer in time".to_owned() });
        }
        let services = json!([service("echo", label, 2, seen.get()), service("other", json!({}), 1, 1)]);
        Ok(Answer::new(200, if request.url.contains("/version") { "{}".to_owned() } else { services.to_string() }))
    });
    let (docker, namespaces) = (swarm(), ["fns".to_owned()]);
    let wait = Duration::from_secs(5);
    let first = docker.changes(&namespaces, None, wait).unwrap();
    let quiet = docker.changes(&namespaces, Some(&first.cursor), wait).unwrap();
    assert!(quiet.changed.is_empty() && quiet.complete, "{quiet:?}");
    running.set(1);
    let next = docker.changes(&namespaces, Some(&quiet.cursor), wait).unwrap();
    assert_eq!((next.changed.len(), next.changed[0].status.available_replicas), (1, 1), "{next:?}");
    let never = open(r#"{"mode":"swarm","host":"127.0.0.1","namespaces":["fns"],"look-seconds":0}"#);
    running.set(2);
    let cursor = next.cursor.rsplit_once('/').unwrap().0.to_owned() + "/";
    assert!(never.changes(&namespaces, Some(&cursor), wait).unwrap().changed.is_empty());
}

#[test]
fn while_a_function_is_changed_its_old_replicas_serve_until_the_new_model_is_the_only_one() {
    let revision = |revision: &str| json!({ "com.wicketgate.revision": revision });
    let model = |id: &str, of: &str, created: u64| {
        let mut model =
            container(id, "created", json!({ "com.wicketgate.role": "model", "com.wicketgate.revision": of }));
        model["Created"] = json!(created);
        model
    };
    let replicas = [container("old-1", "running", revision("a")), container("new-1", "running", revision("b"))];
    for (models, serving) in
        [(vec![model("echo", "a", 1), model("echo.b", "b", 2)], "old-1"), (vec![model("echo.b", "b", 2)], "new-1")]
    {
        let all: Vec<Value> = models.into_iter().chain(replicas.clone()).collect();
        play(vec![("GET /containers/json?", 200, Value::Array(all))]);
        let docker = engine("");
        let status = docker.get_replicas("echo", "fns").unwrap();
        assert_eq!((status.replicas, status.available_replicas), (1, 1));
        let instances: Vec<_> =
            docker.resolve("echo", "fns").unwrap().into_iter().map(|endpoint| endpoint.instance).collect();
        assert_eq!(instances, [serving]);
    }
    // The old ones ended by themselves while the new ones were made: the new ones serve.
    let all = [model("echo", "a", 1), model("echo.b", "b", 2), container("new-1", "running", revision("b"))];
    play(vec![("GET /containers/json?", 200, json!(all))]);
    assert_eq!(engine("").resolve("echo", "fns").unwrap().len(), 1);
}
