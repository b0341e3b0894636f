//! Containers of one engine.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{
    IMAGE, Over, Value, call, counts, deploy, gateway, json, life_cycle, provider, scale, under_load, wait_until,
    with_engine,
};
use crate::harness::Gateway;
use crate::harness::docker::Engine;

/// The plugin's configuration, with what becomes of containers that are not wanted.
pub(crate) fn config(zero: &str) -> String {
    format!(
        "mode = \"engine\"\nzero = \"{zero}\"\ntemplate = {{ HostConfig = {{ Init = true, CapDrop = [\"ALL\"] }} }}"
    )
}

pub(crate) fn plain(engine: &Engine, zero: &str) -> Gateway {
    gateway(engine, &config(zero), "docker")
}

/// The states of a function's containers, the one that never runs left out.
fn states(engine: &Engine, name: &str) -> Vec<String> {
    let all = engine.containers(&format!("com.openfaas.function={name}"));
    let replicas = all.iter().filter(|container| container["Labels"]["com.wicketgate.role"] != "model");
    replicas.map(|container| container["State"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn containers_are_deployed_stopped_started_scaled_read_changed_and_deleted() {
    with_engine(|engine| {
        life_cycle(&plain(engine, "stop"), "plain-stop");
        assert!(engine.containers("com.openfaas.function=plain-stop").is_empty());
    });
}

#[test]
fn the_same_with_containers_that_are_removed() {
    with_engine(|engine| {
        life_cycle(&plain(engine, "remove"), "plain-remove");
        assert!(engine.containers("com.openfaas.function=plain-remove").is_empty());
    });
}

#[test]
fn the_same_with_containers_that_are_paused() {
    with_engine(|engine| {
        life_cycle(&plain(engine, "pause"), "plain-pause");
        assert!(engine.containers("com.openfaas.function=plain-pause").is_empty());
    });
}

#[test]
fn instances_are_reached_at_their_own_addresses_in_a_network() {
    with_engine(|engine| {
        let config = format!("{}\naddresses = \"network\"\nnetwork = \"bridge\"", config("stop"));
        let gateway =
            Gateway::with(&provider("docker", engine, &config, "docker").replace("127.0.0.0/8", "172.16.0.0/12"));
        life_cycle(&gateway, "plain-bridge");
        deploy(&gateway, "POST", "plain-bridge", "bridge", json!({}));
        call(&gateway, "plain-bridge", "x");
        assert!(places(engine, "plain-bridge").is_empty(), "no port is published");
    });
}

#[test]
fn zero_is_what_the_operator_says_it_is() {
    with_engine(|engine| {
        for zero in ["stop", "remove", "pause"] {
            goes_to_zero(engine, zero);
        }
    });
}

/// A function that was scaled to zero leaves what the operator wants left of it, and comes back.
pub(crate) fn goes_to_zero(engine: &Engine, zero: &str) {
    let (gateway, name) = (plain(engine, zero), format!("plain-zero-{zero}"));
    let left: &[&str] = match zero {
        "stop" => &["exited"],
        "pause" => &["paused"],
        _ => &[],
    };
    deploy(&gateway, "POST", &name, "zero", json!({}));
    let (_, before) = call(&gateway, &name, "x");
    scale(&gateway, &name, 0);
    wait_until("nothing runs", || states(engine, &name) == left);
    let (_, after) = call(&gateway, &name, "y");
    assert_eq!(before == after, zero != "remove", "{zero}: {before} {after}");
}

#[test]
fn a_container_that_ignores_the_request_to_stop_is_not_counted_meanwhile() {
    with_engine(|engine| {
        // Without an init process the program is the first of its container, which ignores SIGTERM.
        let gateway = gateway(engine, "mode = \"engine\"\nstop-seconds = 4", "docker");
        deploy(&gateway, "POST", "plain-deaf", "deaf", json!({}));
        let (_, before) = call(&gateway, "plain-deaf", "x");
        scale(&gateway, "plain-deaf", 0);
        assert_eq!(
            (counts(&gateway, "plain-deaf"), states(engine, "plain-deaf")),
            ((0, 0), vec!["running".to_owned()])
        );
        let (_, after) = call(&gateway, "plain-deaf", "y");
        assert_ne!(before, after, "a request does not go to a container that is ending");
        wait_until("the first one ended", || states(engine, "plain-deaf").contains(&"exited".to_owned()));
    });
}

#[test]
fn a_container_that_is_killed_is_replaced_by_the_next_request() {
    with_engine(|engine| {
        let gateway = plain(engine, "stop");
        deploy(&gateway, "POST", "plain-kill", "kill", json!({}));
        call(&gateway, "plain-kill", "x");
        let all = engine.containers("com.openfaas.function=plain-kill");
        let running = all.iter().find(|container| container["State"] == "running").unwrap();
        engine.post(&format!("/containers/{}/kill", running["Id"].as_str().unwrap()), &Value::Null);
        // Until then the engine's proxy still takes what is sent on connections to it, and a POST that
        // was sent is not sent again.
        wait_until("it ended", || states(engine, "plain-kill") == ["exited"]);
        assert_eq!(call(&gateway, "plain-kill", "y").0, "kill");
    });
}

#[test]
fn nothing_of_the_machine_is_given_to_a_container() {
    with_engine(|engine| {
        let gateway = plain(engine, "stop");
        deploy(
            &gateway,
            "POST",
            "plain-bare",
            "bare",
            json!({
                "readOnlyRootFilesystem": true,
                "limits": { "memory": "64Mi", "cpu": "500m" },
                "labels": { "com.openfaas.scale.max": "4" },
            }),
        );
        assert_eq!(call(&gateway, "plain-bare", "x").0, "bare");
        for container in engine.containers("com.openfaas.function=plain-bare") {
            let held = engine.get(&format!("/containers/{}/json", container["Id"].as_str().unwrap()));
            let host = &held["HostConfig"];
            for (key, wanted) in [
                ("Binds", Value::Null),
                ("CapAdd", Value::Null),
                ("CapDrop", json!(["ALL"])),
                ("Devices", Value::Null),
                ("Memory", json!(64 << 20)),
                ("NanoCpus", json!(500_000_000)),
                ("PidMode", json!("")),
                ("Privileged", json!(false)),
                ("ReadonlyRootfs", json!(true)),
                ("UTSMode", json!("")),
                ("VolumesFrom", Value::Null),
            ] {
                let is_empty = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
                assert!(host[key] == wanted || is_empty(&host[key]) && wanted.is_null(), "{key}: {}", host[key]);
            }
            let bindings = &host["PortBindings"]["8080/tcp"][0];
            assert!(bindings["HostIp"].as_str().unwrap().starts_with("127."), "{bindings}");
        }
        for (body, what) in [
            (json!({ "labels": { "com.wicketgate.role": "model" } }), "a label of the plugin's own"),
            (json!({ "labels": { "com.openfaas.function": "other" } }), "another function's name"),
            (json!({ "constraints": ["node.role == manager"] }), "a constraint"),
            (json!({ "secrets": ["x"] }), "a secret"),
            (json!({ "limits": { "memory": "lots" } }), "an amount"),
            (json!({ "image": "" }), "no image"),
        ] {
            let mut deployment = json!({ "service": "plain-bad", "image": IMAGE });
            deployment.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
            let reply = gateway.post("/system/functions", deployment.to_string());
            assert_eq!(reply.status, 400, "{what}: {}", reply.text());
        }
        assert!(engine.containers("com.openfaas.function=plain-bad").is_empty());
    });
}

#[test]
fn containers_that_the_operator_labelled_are_started_and_nothing_more() {
    with_engine(|engine| {
        let labels = || json!({ "com.openfaas.function": "plain-theirs" });
        engine.create("plain-theirs-a", labels(), ("127.5.5.5", 0));
        engine.create("plain-stranger", json!({ "some": "label" }), ("127.5.5.6", 0));
        let gateway = gateway(engine, "mode = \"engine\"", "docker-scale-only");
        assert_eq!(call(&gateway, "plain-theirs", "x").0, "plain-theirs-a");
        let reply = gateway.post("/system/scale-function/plain-theirs", r#"{"replicas":2}"#);
        assert_eq!(reply.status, 400, "{}", reply.text());
        let delete = r#"{"functionName":"plain-theirs"}"#;
        assert_eq!(gateway.send("DELETE", "/system/functions", &[], delete).status, 400);
        assert_eq!(gateway.get("/function/plain-stranger").code(404), "function_not_found");
        assert_eq!(states(engine, "plain-theirs"), ["running"]);
    });
}

#[test]
fn an_update_under_load_fails_no_request_and_one_that_does_not_come_up_changes_nothing() {
    with_engine(|engine| {
        let gateway = gateway(engine, &format!("{}\nupdate-seconds = 4", config("stop")), "docker");
        deploy(&gateway, "POST", "plain-roll", "one", json!({}));
        scale(&gateway, "plain-roll", 2);
        wait_until("both are there", || counts(&gateway, "plain-roll") == (2, 2));
        under_load(&gateway, "plain-roll", |only| {
            only("one");
            for who in ["two", "three"] {
                deploy(&gateway, "PUT", "plain-roll", who, json!({}));
                only(who);
                assert_eq!(counts(&gateway, "plain-roll"), (2, 2));
                wait_until("the old ones are gone", || states(engine, "plain-roll") == ["running", "running"]);
            }
            // A program that ends at once: its containers come and go, and the old ones serve.
            let broken = json!({
                "service": "plain-roll", "image": IMAGE, "envVars": { "NAME": "four", "EXIT": "1" },
            });
            let reply = gateway.send("PUT", "/system/functions", &[], broken.to_string());
            assert!(reply.status >= 400, "{}", reply.text());
            only("three");
        });
        wait_until("nothing of the broken one is left", || states(engine, "plain-roll") == ["running", "running"]);
        assert_eq!(gateway.get("/system/function/plain-roll").json()["envVars"]["NAME"], "three");
    });
}

#[test]
fn a_function_that_is_paused_is_changed_and_wakes_as_the_new_one() {
    with_engine(|engine| {
        let gateway = plain(engine, "pause");
        deploy(&gateway, "POST", "plain-asleep", "before", json!({}));
        call(&gateway, "plain-asleep", "x");
        scale(&gateway, "plain-asleep", 0);
        wait_until("it is paused", || states(engine, "plain-asleep") == ["paused"]);
        deploy(&gateway, "PUT", "plain-asleep", "after", json!({}));
        assert_eq!((counts(&gateway, "plain-asleep"), states(engine, "plain-asleep").len()), ((0, 0), 0));
        assert_eq!(call(&gateway, "plain-asleep", "y").0, "after");
    });
}

/// The places where a function's running containers listen.
fn places(engine: &Engine, name: &str) -> Vec<(String, u64)> {
    let all = engine.containers(&format!("com.openfaas.function={name}"));
    let ports = all.iter().flat_map(|container| container["Ports"].as_array().unwrap());
    ports
        .filter(|port| port["PublicPort"].is_u64())
        .map(|port| (port["IP"].as_str().unwrap().to_owned(), port["PublicPort"].as_u64().unwrap()))
        .collect()
}

#[test]
fn a_port_that_another_container_takes_over_never_gets_the_first_functions_requests() {
    with_engine(|engine| {
        let gateway = plain(engine, "remove");
        let names = ["plain-one", "plain-two"];
        for name in names {
            deploy(&gateway, "POST", name, name, json!({}));
        }
        let (is_over, answers) = (AtomicBool::new(false), [AtomicU64::new(0), AtomicU64::new(0)]);
        let mut seen: [Vec<(String, u64)>; 2] = [Vec::new(), Vec::new()];
        std::thread::scope(|scope| {
            let over = Over(&is_over);
            for (at, name) in names.into_iter().enumerate() {
                for _ in 0..2 {
                    let (gateway, is_over, answers) = (&gateway, &is_over, &answers);
                    scope.spawn(move || {
                        while !is_over.load(Ordering::Relaxed) {
                            let reply = gateway.post(&format!("/function/{name}"), name);
                            // A container that is killed breaks what it was answering; another function's
                            // answer is what must never be seen.
                            if reply.status == 200 {
                                let text = reply.text();
                                assert!(
                                    text.starts_with(&format!("{name} ")) && text.ends_with(name),
                                    "{name}: {text}"
                                );
                                answers[at].fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    });
                }
            }
            for turn in 0..6 {
                let (dies, lives) = (turn % 2, (turn + 1) % 2);
                for at in [dies, lives] {
                    let before = answers[at].load(Ordering::Relaxed);
                    wait_until("it answers", || answers[at].load(Ordering::Relaxed) > before + 10);
                    seen[at].extend(places(engine, names[at]));
                }
                // Both die, the one after the other, and callers bring them back: the ports that they gave
                // up are free for whoever comes first.
                for at in [dies, lives] {
                    for container in engine.containers(&format!("com.openfaas.function={}", names[at])) {
                        let id = container["Id"].as_str().unwrap();
                        engine.ask("POST", &format!("/containers/{id}/kill"), &Value::Null);
                    }
                }
            }
            drop(over);
        });
        let [one, two] = &seen;
        let ports =
            |places: &[(String, u64)]| places.iter().map(|place| place.1).collect::<std::collections::BTreeSet<_>>();
        assert!(!ports(one).is_disjoint(&ports(two)), "no port was used twice, so nothing was tried: {seen:?}");
        assert!(one.iter().all(|place| !two.contains(place)), "an address was given to another function: {seen:?}");
    });
}
