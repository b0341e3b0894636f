//! Services of a swarm.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Over, Value, call, counts, deploy, gateway, json, life_cycle, scale, wait_until, with_engine};
use crate::harness::Gateway;
use crate::harness::docker::Engine;

pub(super) const CONFIG: &str = "mode = \"swarm\"\nhost = \"127.0.0.1\"\n\
    template = { TaskTemplate = { ContainerSpec = { Init = true }, RestartPolicy = { Condition = \"any\", Delay = 0 } } }";

pub(super) fn swarm(engine: &Engine) -> Gateway {
    gateway(engine, CONFIG, "docker-swarm")
}

/// A service of the engine's, as it holds it.
fn service(engine: &Engine, name: &str) -> Value {
    engine.get(&format!("/services/{name}"))
}

#[test]
fn a_service_is_deployed_woken_scaled_read_changed_and_deleted() {
    with_engine(|engine| life_cycle(&swarm(engine), "swarm-life"));
}

#[test]
fn scaling_keeps_all_of_a_spec_that_others_wrote() {
    with_engine(|engine| {
        let gateway = swarm(engine);
        deploy(&gateway, "POST", "swarm-spec", "spec", json!({}));
        // The swarm itself writes too while it starts tasks: tried again until the version holds.
        wait_until("the other writer has written", || {
            let before = service(engine, "swarm-spec");
            let mut spec = before["Spec"].clone();
            spec["TaskTemplate"]["ContainerSpec"]["StopGracePeriod"] = json!(1_500_000_001_u64);
            spec["UpdateConfig"] =
                json!({ "Parallelism": 2, "Delay": 7, "MaxFailureRatio": 0.25, "Order": "start-first" });
            spec["Labels"]["com.docker.stack.namespace"] = json!("theirs");
            let path =
                format!("/services/{}/update?version={}", before["ID"].as_str().unwrap(), before["Version"]["Index"]);
            let reply = engine.ask("POST", &path, &spec);
            assert!(reply.status == 200 || reply.text().contains("out of sequence"), "{}", reply.text());
            reply.status == 200
        });
        let changed = service(engine, "swarm-spec")["Spec"].clone();

        scale(&gateway, "swarm-spec", 2);
        let mut wanted = changed;
        wanted["Mode"]["Replicated"]["Replicas"] = json!(2);
        assert_eq!(service(engine, "swarm-spec")["Spec"], wanted);

        deploy(&gateway, "PUT", "swarm-spec", "other", json!({}));
        let updated = service(engine, "swarm-spec")["Spec"].clone();
        assert_eq!(updated["Mode"], wanted["Mode"], "an update leaves the number alone");
        assert_eq!(updated["UpdateConfig"], wanted["UpdateConfig"]);
        assert_eq!(updated["Labels"]["com.docker.stack.namespace"], "theirs");
        assert!(updated["TaskTemplate"]["ContainerSpec"]["Env"].to_string().contains("NAME=other"), "{updated}");
    });
}

#[test]
fn another_writer_is_no_error_to_whoever_scales() {
    with_engine(|engine| {
        let gateway = swarm(engine);
        deploy(&gateway, "POST", "swarm-conflict", "conflict", json!({}));
        let id = service(engine, "swarm-conflict")["ID"].as_str().unwrap().to_owned();
        let (is_over, writes) = (AtomicBool::new(false), std::sync::atomic::AtomicU64::new(0));
        std::thread::scope(|scope| {
            let over = Over(&is_over);
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let mut held = service(engine, &id);
                    held["Spec"]["Labels"]["written"] = json!(writes.load(Ordering::Relaxed).to_string());
                    let path = format!("/services/{id}/update?version={}", held["Version"]["Index"]);
                    let reply = engine.ask("POST", &path, &held["Spec"]);
                    match reply.status {
                        200 => drop(writes.fetch_add(1, Ordering::Relaxed)),
                        // What the gateway has to cope with too.
                        500 => assert!(reply.text().contains("update out of sequence"), "{}", reply.text()),
                        other => panic!("{other}: {}", reply.text()),
                    }
                }
            });
            wait_until("the other writer writes", || writes.load(Ordering::Relaxed) > 0);
            for count in (1..=15).rev() {
                // What cannot be had after some attempts is the caller's to try again: 409, and nothing is broken.
                wait_until("it is scaled", || {
                    let body = json!({ "replicas": count % 2 }).to_string();
                    let reply = gateway.post("/system/scale-function/swarm-conflict", body);
                    assert!(matches!(reply.status, 202 | 409), "{} {}", reply.status, reply.text());
                    reply.status == 202
                });
                let held = service(engine, &id);
                assert_eq!(held["Spec"]["Mode"]["Replicated"]["Replicas"].as_u64().unwrap_or(0), count % 2);
            }
            drop(over);
        });
        let held = service(engine, &id);
        assert_eq!(held["Spec"]["Labels"]["written"], (writes.load(Ordering::Relaxed) - 1).to_string());
    });
}

#[test]
fn a_task_that_is_killed_comes_back_and_no_caller_sees_it() {
    with_engine(|engine| {
        let gateway = swarm(engine);
        deploy(&gateway, "POST", "swarm-kill", "kill", json!({}));
        let (_, before) = call(&gateway, "swarm-kill", "x");
        let container = engine.containers("com.openfaas.function=swarm-kill")[0]["Id"].as_str().unwrap().to_owned();
        engine.post(&format!("/containers/{container}/kill"), &Value::Null);
        let (_, after) = call(&gateway, "swarm-kill", "y");
        assert_ne!(before, after, "another task answers");
    });
}

#[test]
fn a_replica_that_runs_and_does_not_listen_yet_is_waited_for() {
    with_engine(|engine| {
        let gateway = swarm(engine);
        let slow = json!({ "envVars": { "NAME": "slow", "START_DELAY_MS": "1500" } });
        deploy(&gateway, "POST", "swarm-slow", "slow", slow);
        scale(&gateway, "swarm-slow", 0);
        wait_until("nothing runs", || counts(&gateway, "swarm-slow") == (0, 0));
        assert_eq!(call(&gateway, "swarm-slow", "x").0, "slow");
    });
}

#[test]
fn a_service_that_is_no_function_is_not_there() {
    with_engine(|engine| {
        let spec = json!({
            "Name": "database", "TaskTemplate": { "ContainerSpec": { "Image": super::IMAGE } },
            "Mode": { "Replicated": { "Replicas": 0 } },
        });
        engine.post("/services/create", &spec);
        let gateway = swarm(engine);
        assert_eq!(gateway.get("/function/database").code(404), "function_not_found");
        let reply = gateway.post("/system/scale-function/database", r#"{"replicas":1}"#);
        assert_eq!(reply.status, 404, "{}", reply.text());
        assert_eq!(service(engine, "database")["Version"], service(engine, "database")["Version"]);
        let taken =
            gateway.post("/system/functions", json!({ "service": "database", "image": super::IMAGE }).to_string());
        assert_eq!(taken.status, 409, "{}", taken.text());
    });
}

#[test]
fn a_function_of_another_namespace_is_another_function() {
    with_engine(|engine| {
        let gateway = swarm(engine);
        deploy(&gateway, "POST", "swarm-names", "here", json!({}));
        deploy(&gateway, "POST", "swarm-names", "there", json!({ "namespace": "dev" }));
        assert_eq!(call(&gateway, "swarm-names", "x").0, "here");
        assert_eq!(call(&gateway, "swarm-names.dev", "x").0, "there");
        let delete = json!({ "functionName": "swarm-names", "namespace": "dev" }).to_string();
        assert_eq!(gateway.send("DELETE", "/system/functions", &[], delete).status, 202);
        assert_eq!(call(&gateway, "swarm-names", "x").0, "here");
    });
}

#[test]
fn secrets_go_in_are_read_by_functions_and_never_come_out() {
    with_engine(|engine| {
        let gateway = swarm(engine);
        let secret = |value: &str| json!({ "name": "swarm-key", "value": value }).to_string();
        assert_eq!(gateway.post("/system/secrets", secret("one")).status, 202);
        assert_eq!(gateway.post("/system/secrets", secret("one")).status, 409);
        assert_eq!(gateway.send("PUT", "/system/secrets", &[], secret("two")).status, 202);
        let list = gateway.get("/system/secrets").json();
        assert!(list.as_array().unwrap().iter().any(|secret| secret["name"] == "swarm-key"), "{list}");
        assert!(!list.to_string().contains("two"), "{list}");
        deploy(&gateway, "POST", "swarm-secret", "secret", json!({ "secrets": ["swarm-key"] }));
        assert_eq!(gateway.get("/function/swarm-secret/secret/swarm-key").text(), "two");
        let shown = gateway.get("/system/function/swarm-secret").json();
        assert_eq!(shown["secrets"], json!(["swarm-key"]), "{shown}");
        // A secret in use cannot change; nothing is lost by trying.
        assert_eq!(gateway.send("PUT", "/system/secrets", &[], secret("three")).status, 409);
        assert_eq!(gateway.get("/function/swarm-secret/secret/swarm-key").text(), "two");
        let unknown = json!({ "service": "swarm-no", "image": super::IMAGE, "secrets": ["nobodys"] }).to_string();
        assert_eq!(gateway.post("/system/functions", unknown).status, 400);
    });
}

#[test]
fn who_may_only_scale_can_scale_and_do_nothing_else() {
    with_engine(|engine| {
        let operator = swarm(engine);
        deploy(&operator, "POST", "swarm-least", "least", json!({}));
        let gateway = gateway(engine, CONFIG, "docker-swarm-scale-only");
        scale(&gateway, "swarm-least", 0);
        wait_until("nothing runs", || counts(&gateway, "swarm-least") == (0, 0));
        assert_eq!(call(&gateway, "swarm-least", "x").0, "least");
        let body = json!({ "service": "swarm-least", "image": super::IMAGE }).to_string();
        for (method, target) in [("POST", "/system/functions"), ("PUT", "/system/functions")] {
            let reply = gateway.send(method, target, &[], &body);
            assert!(reply.status >= 400, "{method}: {}", reply.text());
        }
        let delete = json!({ "functionName": "swarm-least" }).to_string();
        assert!(gateway.send("DELETE", "/system/functions", &[], delete).status >= 400);
        assert!(gateway.get("/system/secrets").status >= 400);
        assert_eq!(call(&gateway, "swarm-least", "x").0, "least");
    });
}
