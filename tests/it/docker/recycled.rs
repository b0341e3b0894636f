//! Two services that want one port of the machine.

use std::sync::Mutex;

use super::{IMAGE, Value, gateway_with, json, swarm, wait_until, with_engine};
use crate::harness::contest::{Contest, strange};
use crate::harness::docker::Engine;

/// The port of both, in the engine's own network.
const PORT: u16 = 20_080;

const NAMES: [&str; 2] = ["swarm-one", "swarm-two"];

/// Makes a service without tasks, as an operator would who wants its port to be this one.
fn create(engine: &Engine, name: &str) {
    let labels = json!({ "com.openfaas.function": name });
    let port = json!({ "Protocol": "tcp", "TargetPort": 8080, "PublishedPort": PORT, "PublishMode": "host" });
    let spec = json!({
        "Name": name, "Labels": labels,
        "TaskTemplate": {
            "ContainerSpec": { "Image": IMAGE, "Init": true, "Env": [format!("NAME={name}")], "Labels": labels },
            "RestartPolicy": { "Condition": "any", "Delay": 0 },
        },
        "Mode": { "Replicated": { "Replicas": 0 } }, "EndpointSpec": { "Ports": [port] },
    });
    engine.post("/services/create", &spec);
}

/// Asks the swarm for so many tasks.
fn ask_for(engine: &Engine, name: &str, count: u64) {
    wait_until("nobody else writes", || {
        let mut held = engine.get(&format!("/services/{name}"));
        held["Spec"]["Mode"]["Replicated"]["Replicas"] = json!(count);
        let path = format!("/services/{name}/update?version={}", held["Version"]["Index"]);
        let reply = engine.ask("POST", &path, &held["Spec"]);
        assert!(reply.status == 200 || reply.text().contains("out of sequence"), "{}", reply.text());
        reply.status == 200
    });
}

/// What all tasks of a function printed, those that ended too.
fn printed(engine: &Engine, name: &str) -> String {
    let mut all = String::new();
    for container in engine.containers(&format!("com.openfaas.function={name}")) {
        let path = format!("/containers/{}/logs?stdout=1", container["Id"].as_str().unwrap());
        all.push_str(&String::from_utf8_lossy(&engine.ask("GET", &path, &Value::Null).body));
    }
    all
}

#[test]
fn a_port_that_another_task_takes_over_never_gets_the_first_functions_requests() {
    with_engine(|engine| {
        NAMES.iter().for_each(|name| create(engine, name));
        let tables = "[scaling]\nprobe-linger = \"100ms\"\nscale-timeout = \"5s\"\nscale-backoff = \"100ms\"\n";
        let gateway = &gateway_with(engine, swarm::CONFIG, "docker-swarm-scale-only", tables);
        // The swarm forgets tasks that nobody wants any more, so what they printed is read before.
        let lines = Mutex::new(Vec::new());
        let ask_for = |name: &str, count: u64| {
            lines.lock().unwrap().extend(printed(engine, name).lines().map(|line| format!("{name}: {line}")));
            ask_for(engine, name, count);
        };
        Contest { gateway, names: NAMES, namespace: "", port: PORT, ask_for: &ask_for }.run();
        NAMES.iter().for_each(|name| ask_for(name, 0));
        let lines = lines.into_inner().unwrap();
        for name in NAMES {
            let own: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix(&format!("{name}: "))).collect();
            assert!(own.len() > 20, "{lines:#?}");
            assert_eq!(strange(own, name), Vec::<String>::new(), "{name} got what was for the other one");
        }
    });
}
