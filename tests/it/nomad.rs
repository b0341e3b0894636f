//! The Nomad provider through the gateway: before the play of `nomad.py`, which is held to a real agent's
//! recordings, and before a real agent where `NOMAD_ADDR` names one.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::contest::{Contest, strange};
use crate::harness::played::is_as_recorded;
use crate::harness::{Gateway, GatewayBuilder, Played, wait_until};

mod real;

const TOKEN: &str = "8a6c1b0e-5d0b-4b1c-9c8e-2f3a4b5c6d7e";

/// A provider and the job that a deployment becomes: `grant` is more of its grant, `group` and `task` are more of the
/// job's.
fn provider(connect: &str, grant: &str, endpoints: &str, group: &str, task: &str) -> String {
    format!(
        r#"
[provider.cluster]
component = "builtin:nomad"
namespaces = ["default"]
default = true
[provider.cluster.grant.nomad]
connect = "{connect}"
{grant}
[provider.cluster.endpoints]
allow = [{endpoints}]
[provider.cluster.config.template]
Datacenters = ["dc1"]
[[provider.cluster.config.template.TaskGroups]]
Name = "fn"
Count = 1
Scaling = {{ Min = 0, Max = 10, Enabled = true }}
{group}
[[provider.cluster.config.template.TaskGroups.Tasks]]
Name = "fn"
{task}
"#
    )
}

/// A gateway with the shipped rules; `auth` is the grant's.
fn config(address: &str, profile: &str, auth: &str) -> String {
    let grant = format!("profile = \"{profile}\"\n{auth}");
    let task = "Driver = \"docker\"\nConfig = { image = \"{image}\" }";
    provider(&format!("http://{address}"), &grant, "\"127.0.0.1/32\"", "Update = { MaxParallel = 1 }", task)
}

/// The same with a token.
fn gateway(nomad: &Played, profile: &str, token: &str) -> Gateway {
    let auth = "auth = { header = { name = \"X-Nomad-Token\", file = \"{folder}/token\" } }";
    GatewayBuilder::new(&config(nomad.address(), profile, auth)).file("token", token).start()
}

fn deploy(gateway: &Gateway, method: &str, more: Value) -> u16 {
    let mut body = json!({ "service": "echo", "image": "example/echo:1", "namespace": "default" });
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    gateway.send(method, "/system/functions", &[], body.to_string()).status
}

/// Scales as soon as the deployment before has ended: until then it is a conflict.
fn scale(gateway: &Gateway, count: u64) {
    let body = json!({ "serviceName": "echo", "replicas": count, "namespace": "default" }).to_string();
    wait_until("the deployment before has ended", || {
        let reply = gateway.post("/system/scale-function/echo?namespace=default", &body);
        assert!(matches!(reply.status, 202 | 409), "{}", reply.text());
        reply.status == 202
    });
}

fn counts(gateway: &Gateway) -> (u64, u64) {
    let shown = gateway.get("/system/function/echo?namespace=default").json();
    let count = |key: &str| shown[key].as_u64().unwrap_or(0);
    (count("replicas"), count("availableReplicas"))
}

fn call(gateway: &Gateway, body: &str) -> String {
    let reply = gateway.post("/function/echo.default", body);
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.text()
}

#[test]
fn what_is_played_is_what_was_recorded() {
    is_as_recorded("nomad", "nomad-1.1", 70);
}

#[test]
fn a_function_is_deployed_called_from_zero_scaled_read_updated_and_deleted() {
    let nomad = Played::nomad(&["--token", TOKEN]);
    let gateway = gateway(&nomad, "nomad", TOKEN);
    let info = gateway.get("/system/info").json();
    assert_eq!(info["provider"]["orchestration"], "nomad", "{info}");
    assert_eq!(info["provider"]["version"]["release"], "1.1.2", "{info}");
    let wish = json!({ "labels": { "team": "a" }, "annotations": { "topic": "b" }, "envProcess": "cat" });
    assert_eq!(deploy(&gateway, "POST", wish), 202);
    assert_eq!(deploy(&gateway, "POST", json!({})), 409);
    assert_eq!(call(&gateway, "one two"), "echo-0 2");
    wait_until("the events of the cluster are followed", || {
        let healthy = gateway.metric("wicketgate_watch_healthy{provider=\"cluster\"}");
        healthy > 0.0 && nomad.log().iter().any(|one| one["target"].as_str().unwrap().starts_with("/v1/event/stream"))
    });

    scale(&gateway, 0);
    wait_until("none is left", || counts(&gateway) == (0, 0));
    let cold = gateway.post("/function/echo.default", "the quick brown fox");
    assert_eq!((cold.status, cold.text().as_str()), (200, "echo-1 4"));
    assert!(cold.header("server-timing").is_some_and(|timing| timing.contains("scale;dur=")), "{:?}", cold.headers);

    scale(&gateway, 3);
    wait_until("three are healthy", || counts(&gateway) == (3, 3));
    let mut seen = BTreeSet::new();
    wait_until("all three answer", || {
        seen.insert(call(&gateway, ""));
        seen.len() == 3
    });

    let logs = gateway.get("/system/logs?name=echo&namespace=default").text();
    assert!(logs.lines().count() >= 3 && logs.contains("up echo-1"), "{logs}");

    wait_until("the deployment before has ended", || {
        let status = deploy(&gateway, "PUT", json!({ "labels": { "team": "b" } }));
        assert!(matches!(status, 202 | 409), "{status}");
        status == 202
    });
    let list = gateway.get("/system/functions?namespace=default").json();
    assert_eq!((&list[0]["labels"]["team"], &list[0]["replicas"]), (&json!("b"), &json!(3)), "{list}");

    let gone = json!({ "functionName": "echo", "namespace": "default" }).to_string();
    assert_eq!(gateway.send("DELETE", "/system/functions", &[], &gone).status, 202);
    wait_until("it is forgotten", || gateway.get("/function/echo.default").status == 404);
    assert_eq!(gateway.send("DELETE", "/system/functions", &[], &gone).status, 404);

    let used: BTreeSet<&str> = nomad.log().iter().filter_map(capability).collect();
    let policy = include_str!("../../plugins/nomad/policy.hcl");
    let lists = policy.lines().filter_map(|line| line.split_once("capabilities = ")?.1.parse().ok());
    let granted: Vec<Value> = lists.flat_map(|list: Value| list.as_array().cloned().unwrap()).collect();
    let granted: BTreeSet<&str> = granted.iter().map(|one| one.as_str().unwrap()).collect();
    assert_eq!(used, granted, "what is asked for, and what policy.hcl allows");
}

/// What a request needs of the token in its namespace.
fn capability(request: &Value) -> Option<&'static str> {
    let (method, target) = (request["method"].as_str().unwrap(), request["target"].as_str().unwrap());
    let path = target.split_once('?').map_or(target, |(path, _)| path).trim_start_matches("/v1/");
    Some(match (method, path.split('/').collect::<Vec<_>>().as_slice()) {
        ("GET", ["jobs"]) => "list-jobs",
        ("GET", ["job", _, "scale"]) => "read-job-scaling",
        ("POST", ["job", _, "scale"]) => "scale-job",
        ("GET", ["job", ..] | ["allocation", _] | ["event", "stream"]) => "read-job",
        ("POST", ["jobs"]) | ("DELETE", ["job", _]) => "submit-job",
        ("GET", ["client", "fs", "logs", _]) => "read-logs",
        // Open to everybody, and filtered by what the token may do.
        ("GET", ["status", "leader"] | ["namespaces"]) => return None,
        // A right of nodes, not of a namespace, and not needed.
        ("GET", ["agent", "members"]) => return None,
        other => panic!("{other:?}"),
    })
}

#[test]
fn all_callers_of_a_cold_function_join_one_start() {
    let nomad = Played::nomad(&[]);
    nomad.control("/_jobs", &json!({ "names": ["echo"] }));
    let gateway = Gateway::with(&config(nomad.address(), "nomad-scale-only", ""));
    std::thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(|| assert_eq!(call(&gateway, "a b c"), "echo-0 3"));
        }
    });
    let scaled = nomad.log().iter().filter(|one| one["method"] == "POST").count();
    assert_eq!(scaled, 1, "{:?}", nomad.log());
}

#[test]
fn what_is_refused_is_told_apart() {
    let nomad = Played::nomad(&["--token", TOKEN]);
    nomad.control("/_jobs", &json!({ "names": ["echo"] }));
    let stranger = gateway(&nomad, "nomad", "00000000-0000-0000-0000-000000000000");
    assert_eq!(stranger.get("/system/function/echo?namespace=default").code(502), "platform_unauthenticated");

    let own = gateway(&nomad, "nomad", TOKEN);
    assert_eq!(own.get("/system/function/nope?namespace=default").status, 404);
    assert_eq!(own.get("/function/nope.default").status, 404);
    // What a job has no place for is refused, not left out.
    for wish in [
        json!({ "service": "new", "secrets": ["a"] }),
        json!({ "service": "new", "constraints": ["a=b"] }),
        json!({ "service": "new", "readOnlyRootFilesystem": true }),
        json!({ "service": "new", "limits": { "cpu": "100m" } }),
        json!({ "service": "new", "requests": { "memory": "16Mi" } }),
    ] {
        assert_eq!(deploy(&own, "POST", wish.clone()), 400, "{wish}");
    }
    let over = json!({ "serviceName": "echo", "replicas": 99 }).to_string();
    assert_eq!(own.post("/system/scale-function/echo?namespace=default", over).status, 400);

    // The rules of who only scales leave out everything else.
    let scaler = gateway(&nomad, "nomad-scale-only", TOKEN);
    assert_eq!(call(&scaler, "a"), "echo-0 1");
    assert!(deploy(&scaler, "POST", json!({ "service": "new" })) >= 400);
    let is_registered =
        |one: &Value| one["method"] == "POST" && one["target"].as_str().unwrap().starts_with("/v1/jobs");
    assert!(!nomad.log().iter().any(is_registered), "{:?}", nomad.log());
}

/// Jobs in the form that the community's provider of OpenFaaS for Nomad gives them: a prefix before the name, the
/// function's name for group and task, annotations in `Meta`, labels at the container.
#[test]
fn functions_that_another_provider_registered_are_found_scaled_and_called() {
    let nomad = Played::nomad(&[]);
    let job = json!({
        "ID": "faas-fn-echo", "Name": "faas-fn-echo", "Type": "service", "Region": "global", "Datacenters": ["dc1"],
        "Meta": { "topic": "news" }, "Update": { "MaxParallel": 3, "HealthCheck": "checks" },
        "TaskGroups": [{
            "Name": "echo", "Count": 0,
            "Networks": [{ "Mode": "host", "DynamicPorts": [{ "Label": "http", "To": 8080 }] }],
            "Tasks": [{
                "Name": "echo", "Driver": "docker", "Env": { "fprocess": "cat" },
                "Config": { "image": "example/echo:1", "ports": ["http"], "labels": [{ "team": "a" }] },
                "Resources": { "CPU": 100, "MemoryMB": 128 },
            }],
        }],
    });
    nomad.control("/v1/jobs", &json!({ "Job": job }));
    let layout = "[provider.cluster.config]\nlabel = \"\"\njob-prefix = \"faas-fn-\"\ngroup = \"{name}\"\n\
                  [provider.cluster.config.template]";
    let text = config(nomad.address(), "nomad-scale-only", "").replace("[provider.cluster.config.template]", layout);
    let gateway = Gateway::with(&text);
    let list = gateway.get("/system/functions?namespace=default").json();
    assert_eq!((&list[0]["name"], list.as_array().unwrap().len()), (&json!("echo"), 1), "{list}");
    assert_eq!((&list[0]["image"], &list[0]["envProcess"]), (&json!("example/echo:1"), &json!("cat")), "{list}");
    assert_eq!(list[0]["labels"], json!({ "team": "a", "topic": "news" }), "{list}");
    assert_eq!(call(&gateway, "one two"), "faas-fn-echo-0 2", "from zero");
    scale(&gateway, 2);
    wait_until("two are healthy", || counts(&gateway) == (2, 2));
}

#[test]
fn a_port_that_another_allocation_takes_over_never_gets_the_first_functions_requests() {
    let nomad = Played::nomad(&[]);
    let port = nomad.control("/_ports", &json!({ "count": 1 }))["ports"][0].as_u64().unwrap();
    let names = ["one", "two"];
    for name in names {
        // Without deployments, so that nobody has to wait for the one before.
        let job = json!({
            "ID": name, "Name": name, "Type": "service", "Meta": { "faas_function": name },
            "Update": { "MaxParallel": 0 }, "TaskGroups": [{ "Name": "fn", "Count": 0, "Tasks": [{ "Name": "fn" }] }],
        });
        nomad.control("/v1/jobs", &json!({ "Job": job }));
    }
    let ask_for = |name: &str, count: u64| {
        let body = json!({ "Count": count, "Target": { "Group": "fn" } });
        drop(nomad.control(&format!("/v1/job/{name}/scale"), &body));
    };
    let tables = "[scaling]\nscale-timeout = \"2s\"\nscale-backoff = \"100ms\"\n";
    let gateway = &Gateway::with(&format!("{}{tables}", config(nomad.address(), "nomad-scale-only", "")));
    let port = u16::try_from(port).unwrap();
    Contest { gateway, names, namespace: ".default", port, ask_for: &ask_for }.run();
    let received = nomad.received();
    for name in names {
        let own: Vec<&str> = received.iter().map(String::as_str).filter(|line| line.starts_with(name)).collect();
        assert!(own.len() > 20, "{received:?}");
        assert_eq!(strange(own, name), Vec::<String>::new(), "{name} got what was for the other one");
    }
}

/// A real agent, as `NOMAD_ADDR` and `NOMAD_TOKEN` name it, with the driver `raw_exec` on and python3 beside it.
#[test]
fn a_real_agent_where_one_is_configured() {
    let Ok(address) = std::env::var("NOMAD_ADDR") else {
        eprintln!(
            "NOT RUN: a_real_agent: NOMAD_ADDR is not set; the play that is held to its recordings was asked instead"
        );
        return;
    };
    real::run(&address);
}
