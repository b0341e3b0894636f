//! `builtin:docker` against a real Docker Engine: swarm services, and plain containers.

use serde_json::{Value, json};

use crate::harness::docker::{Engine, IMAGE, with_engine};
use crate::harness::{Gateway, wait_until};

mod engine;
mod swarm;

/// A gateway before the engine. `config` is the plugin's, `profile` the grant's.
fn gateway(engine: &Engine, config: &str, profile: &str) -> Gateway {
    gateway_with(engine, config, profile, "[scaling]\nprobe-linger = \"100ms\"\n")
}

/// The same with more tables.
fn gateway_with(engine: &Engine, config: &str, profile: &str, tables: &str) -> Gateway {
    Gateway::with(&format!(
        "[provider.docker]\ncomponent = \"builtin:docker\"\nnamespaces = [\"openfaas-fn\", \"dev\"]\ndefault = true\n\
         [provider.docker.config]\nnamespaces = [\"openfaas-fn\", \"dev\"]\n{config}\n\
         [provider.docker.grant.docker]\nconnect = \"unix:{}\"\nbase = \"/v1.41\"\nprofile = \"{profile}\"\n\
         [provider.docker.endpoints]\nallow = [\"127.0.0.0/8\"]\n\
         [provider.docker.limits]\ncall-timeout = \"30s\"\ndeploy-timeout = \"60s\"\n{tables}\n",
        engine.socket().display(),
    ))
}

/// Deploys a function whose answers begin with `says`.
fn deploy(gateway: &Gateway, method: &str, name: &str, says: &str, more: Value) {
    let mut body = json!({ "service": name, "image": IMAGE, "envVars": { "NAME": says } });
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let reply = gateway.send(method, "/system/functions", &[], body.to_string());
    assert_eq!(reply.status, 202, "{method} {body}: {}", reply.text());
}

/// A function's `replicas` and `availableReplicas`.
fn counts(gateway: &Gateway, name: &str) -> (u64, u64) {
    let reply = gateway.get(&format!("/system/function/{name}"));
    assert_eq!(reply.status, 200, "{}", reply.text());
    let status = reply.json();
    (status["replicas"].as_u64().unwrap_or(0), status["availableReplicas"].as_u64().unwrap_or(0))
}

fn scale(gateway: &Gateway, name: &str, count: u64) {
    let body = json!({ "serviceName": name, "replicas": count }).to_string();
    let reply = gateway.post(&format!("/system/scale-function/{name}"), body);
    assert_eq!(reply.status, 202, "scale {name} to {count}: {}", reply.text());
}

/// Calls a function, which must answer, and splits its answer: what it says, and its machine's name.
fn call(gateway: &Gateway, name: &str, body: &str) -> (String, String) {
    let reply = gateway.post(&format!("/function/{name}/path"), body);
    assert_eq!(reply.status, 200, "{name}: {}", reply.text());
    let text = reply.text();
    let words: Vec<&str> = text.splitn(4, ' ').collect();
    assert_eq!((words[2], words[3]), ("/path", body), "{text}");
    (words[0].to_owned(), words[1].to_owned())
}

/// The texts of a function's log.
fn logs(gateway: &Gateway, query: &str) -> Vec<String> {
    let reply = gateway.get(&format!("/system/logs?{query}"));
    assert_eq!(reply.status, 200, "{}", reply.text());
    let line = |line: &str| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_owned();
    reply.text().lines().map(line).collect()
}

/// Ends what other threads do when the test ends, however it does.
struct Over<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

/// The whole life of a function, as `faas-cli` drives it; the same for every platform.
fn life_cycle(gateway: &Gateway, name: &str) {
    deploy(gateway, "POST", name, "first", json!({ "labels": { "team": "blue" }, "annotations": { "topic": "news" } }));
    let again = gateway.post("/system/functions", json!({ "service": name, "image": IMAGE }).to_string());
    assert_eq!(again.status, 409, "{}", again.text());
    assert_eq!(call(gateway, name, "one").0, "first");

    let list = gateway.get("/system/functions").json();
    let shown = list.as_array().unwrap().iter().find(|function| function["name"] == name).unwrap();
    assert_eq!((&shown["image"], &shown["labels"]["team"]), (&json!(IMAGE), &json!("blue")), "{shown}");
    assert_eq!(
        (&shown["annotations"]["topic"], &shown["envVars"]["NAME"]),
        (&json!("news"), &json!("first")),
        "{shown}"
    );

    scale(gateway, name, 0);
    wait_until("nothing runs", || counts(gateway, name) == (0, 0));
    let woken = gateway.post(&format!("/function/{name}/path"), "two");
    assert_eq!(woken.status, 200, "{}", woken.text());
    assert!(woken.header("server-timing").is_some_and(|timing| timing.contains("scale;dur=")), "{:?}", woken.headers);

    scale(gateway, name, 3);
    wait_until("three are there", || counts(gateway, name) == (3, 3));
    let mut machines = std::collections::BTreeSet::new();
    wait_until("all three answer", || {
        machines.insert(call(gateway, name, "three").1);
        machines.len() == 3
    });

    wait_until("the log tells of every call", || {
        let texts = logs(gateway, &format!("name={name}"));
        texts.iter().filter(|text| text.starts_with("first got POST /path")).count() >= 3
            && texts.iter().any(|text| text == "first is up")
    });
    assert_eq!(logs(gateway, &format!("name={name}&tail=1")).len(), 1);

    deploy(gateway, "PUT", name, "second", json!({ "labels": { "team": "red" } }));
    wait_until("the new one answers", || call(gateway, name, "four").0 == "second");
    let shown = gateway.get(&format!("/system/function/{name}")).json();
    assert_eq!(shown["labels"]["team"], "red", "{shown}");

    let delete = json!({ "functionName": name }).to_string();
    assert_eq!(gateway.send("DELETE", "/system/functions", &[], &delete).status, 202);
    assert_eq!(gateway.send("DELETE", "/system/functions", &[], &delete).status, 404);
    wait_until("it is forgotten", || gateway.get(&format!("/function/{name}")).status == 404);
    let update = json!({ "service": name, "image": IMAGE }).to_string();
    assert_eq!(gateway.send("PUT", "/system/functions", &[], update).status, 404);
}

#[test]
fn the_platform_says_what_it_is() {
    with_engine(|engine| {
        for (mode, orchestration) in [("swarm", "swarm"), ("engine", "docker")] {
            let gateway = gateway(engine, &format!("mode = \"{mode}\""), "docker-swarm-scale-only");
            let info = gateway.get("/system/info").json();
            assert_eq!(info["provider"]["orchestration"], orchestration, "{info}");
            assert_eq!(gateway.get("/healthz").status, 200);
        }
    });
}
