//! The ways to a swarm's instances: ports of their machine, their own addresses in an overlay network, the service's
//! name there, and ports that every machine of the swarm publishes.
//!
//! The last way needs IPVS in the kernel, and rules of the machine's firewall, which this engine leaves alone: there
//! the tests themselves forward what comes to the published port, as the swarm's mesh would.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{IMAGE, Value, call, counts, deploy, json, life_cycle, provider, scale, wait_until, with_engine};
use crate::harness::Gateway;
use crate::harness::docker::Engine;

/// A gateway before the swarm. `config` is more of the plugin's, `endpoint` the template's `EndpointSpec`, `allow`
/// where instances may be.
fn gateway(engine: &Engine, config: &str, endpoint: &str, allow: &str) -> Gateway {
    let config = format!(
        "mode = \"swarm\"\n{config}\n[provider.docker.config.template]\nEndpointSpec = {{ {endpoint} }}\n\
         TaskTemplate = {{ ContainerSpec = {{ Init = true }}, RestartPolicy = {{ Condition = \"any\", Delay = 0 }} }}"
    );
    let text = provider("docker", engine, &config, "docker-swarm").replace("127.0.0.0/8", allow);
    Gateway::with(&format!("{text}[scaling]\nprobe-linger = \"100ms\"\n"))
}

/// A function is called while it runs, and from zero.
fn serves_from_zero(gateway: &Gateway, name: &str) {
    deploy(gateway, "POST", name, "there", json!({}));
    assert_eq!(call(gateway, name, "x").0, "there");
    scale(gateway, name, 0);
    wait_until("nothing runs", || counts(gateway, name) == (0, 0));
    assert_eq!(call(gateway, name, "y").0, "there");
    scale(gateway, name, 2);
    wait_until("both are there", || counts(gateway, name) == (2, 2));
    assert_eq!(call(gateway, name, "z").0, "there");
}

fn delete(gateway: &Gateway, name: &str) {
    let delete = json!({ "functionName": name }).to_string();
    assert_eq!(gateway.send("DELETE", "/system/functions", &[], delete).status, 202);
}

#[test]
fn each_task_is_reached_at_its_own_port_of_the_machine_that_the_swarm_knows() {
    with_engine(|engine| {
        // Without `host` the machines are asked for.
        let gateway = gateway(engine, "addresses = \"host-port\"", "", "127.0.0.1/32");
        life_cycle(&gateway, "swarm-host-port");
    });
}

#[test]
fn a_gateway_in_the_overlay_network_reaches_each_task_at_its_own_address() {
    with_engine(|engine| {
        engine.overlay("fns-own");
        engine.inside("fns-own", || {
            let config = "addresses = \"network\"\nnetwork = \"fns-own\"";
            let gateway = gateway(engine, config, "", "10.0.0.0/8");
            life_cycle(&gateway, "swarm-network");
        });
    });
}

/// A service as OpenFaaS's own provider for swarms makes it: labels at service and containers, no port published.
fn theirs(engine: &Engine, name: &str, network: &str) {
    let labels = json!({ "com.openfaas.function": name, "function": "true", "team": "blue" });
    let spec = json!({
        "Name": name, "Labels": labels,
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": IMAGE, "Labels": labels, "Env": ["fprocess=cat", "NAME=theirs"], "Init": true,
            },
            "RestartPolicy": { "Condition": "any", "MaxAttempts": 5, "Delay": 5_000_000_000_u64 },
            "Placement": { "Constraints": ["node.platform.os == linux"] },
            "Resources": { "Limits": { "MemoryBytes": 64 << 20 } },
            "Networks": [{ "Target": network }],
        },
        "Mode": { "Replicated": { "Replicas": 1 } },
    });
    engine.post("/services/create", &spec);
}

#[test]
fn a_function_that_openfaas_own_provider_deployed_is_found_scaled_and_called() {
    with_engine(|engine| {
        engine.overlay("fns-theirs");
        theirs(engine, "swarm-theirs", "fns-theirs");
        engine.inside("fns-theirs", || {
            let config = "addresses = \"network\"\nnetwork = \"fns-theirs\"";
            let gateway = gateway(engine, config, "", "10.0.0.0/8");
            let list = gateway.get("/system/functions").json();
            let found = list.as_array().unwrap().iter().find(|function| function["name"] == "swarm-theirs").unwrap();
            assert_eq!((&found["image"], &found["envProcess"]), (&json!(IMAGE), &json!("cat")), "{found}");
            assert_eq!((&found["labels"]["team"], &found["labels"]["function"]), (&json!("blue"), &json!("true")));
            assert_eq!(found["limits"]["memory"], json!((64 << 20).to_string()), "{found}");
            assert_eq!(call(&gateway, "swarm-theirs", "x").0, "theirs");
            scale(&gateway, "swarm-theirs", 0);
            wait_until("nothing runs", || counts(&gateway, "swarm-theirs") == (0, 0));
            assert_eq!(call(&gateway, "swarm-theirs", "y").0, "theirs", "from zero");
            scale(&gateway, "swarm-theirs", 3);
            wait_until("three run", || counts(&gateway, "swarm-theirs") == (3, 3));
            let labels = &engine.get("/services/swarm-theirs")["Spec"]["TaskTemplate"]["ContainerSpec"]["Labels"];
            assert_eq!(labels["function"], "true", "what others wrote stays");
            delete(&gateway, "swarm-theirs");
        });
    });
}

#[test]
fn a_gateway_in_the_overlay_network_reaches_a_service_by_its_name() {
    with_engine(|engine| {
        engine.overlay("fns-name");
        engine.inside("fns-name", || {
            // The name stands for all tasks; the other way, one address for all, needs IPVS.
            let config = "addresses = \"dns\"\nnetwork = \"fns-name\"";
            let gateway = gateway(engine, config, "Mode = \"dnsrr\"", "10.0.0.0/8");
            serves_from_zero(&gateway, "swarm-dns");
            let ports = &engine.get("/services/swarm-dns")["Endpoint"]["Ports"];
            assert!(ports.is_null(), "no port is published: {ports}");
            delete(&gateway, "swarm-dns");
        });
    });
}

#[test]
fn a_service_is_reached_at_the_port_that_every_machine_publishes() {
    with_engine(|engine| {
        let config = "addresses = \"ingress\"\nhost = \"127.0.0.1\"";
        let gateway = gateway(engine, config, "", "127.0.0.1/32");
        deploy(&gateway, "POST", "swarm-ingress", "there", json!({}));
        let port = published(engine, "swarm-ingress");
        let refused = TcpStream::connect(("127.0.0.1", port)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "there is a mesh by now: do not play it");
        // A service whose port nobody serves yet is waited for.
        let (gateway, begun) = (&gateway, AtomicBool::new(false));
        std::thread::scope(|scope| {
            let early = scope.spawn(|| {
                begun.store(true, Ordering::Relaxed);
                call(gateway, "swarm-ingress", "early").0
            });
            wait_until("it is called", || begun.load(Ordering::Relaxed) && counts(gateway, "swarm-ingress") == (1, 1));
            let _mesh = Mesh::play(engine, "swarm-ingress", port);
            assert_eq!(early.join().unwrap(), "there");
            scale(gateway, "swarm-ingress", 0);
            wait_until("nothing runs", || counts(gateway, "swarm-ingress") == (0, 0));
            assert_eq!(call(gateway, "swarm-ingress", "woken").0, "there");
        });
        delete(gateway, "swarm-ingress");
    });
}

/// The port of every machine that the swarm drew for a service, a moment after it was made.
fn published(engine: &Engine, service: &str) -> u16 {
    let mut held = Value::Null;
    wait_until("the swarm has drawn a port", || {
        held = engine.get(&format!("/services/{service}"));
        held["Endpoint"]["Ports"].is_array()
    });
    let port = &held["Endpoint"]["Ports"][0];
    assert_eq!((port["PublishMode"].as_str(), port["TargetPort"].as_u64()), (Some("ingress"), Some(8080)), "{held}");
    u16::try_from(port["PublishedPort"].as_u64().unwrap()).unwrap()
}

/// Where a service's running tasks are on their machine.
fn local_addresses(engine: &Engine, service: &str) -> BTreeSet<String> {
    let bridge = engine.get("/networks/docker_gwbridge")["Containers"].clone();
    let tasks = engine.containers(&format!("com.docker.swarm.service.name={service}"));
    let running = tasks.iter().filter(|task| task["State"] == "running");
    let address =
        |task: &Value| Some(bridge[task["Id"].as_str()?]["IPv4Address"].as_str()?.split_once('/')?.0.to_owned());
    running.filter_map(address).collect()
}

/// Forwards what comes to a published port to one of the service's tasks, until it is dropped.
struct Mesh(Arc<AtomicBool>, u16);

impl Mesh {
    fn play(engine: &'static Engine, service: &'static str, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let Some(address) = local_addresses(engine, service).pop_first() else { continue };
                let Ok(task) = TcpStream::connect((address.as_str(), 8080)) else { continue };
                for (mut from, mut to) in [(client.try_clone().unwrap(), task.try_clone().unwrap()), (task, client)] {
                    std::thread::spawn(move || {
                        drop(std::io::copy(&mut from, &mut to));
                        drop(to.shutdown(std::net::Shutdown::Both));
                    });
                }
            }
        });
        Self(over, port)
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        // Wakes it up.
        drop(TcpStream::connect(("127.0.0.1", self.1)));
    }
}
