//! Whole functions: deployed, woken, dialled at their pods' own addresses, managed and deleted.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::played::is_as_recorded;
use crate::harness::{Connection, Gateway, GatewayBuilder, Played, wait_until};

const TOKEN: &str = "the-token-of-the-account";

fn config(cluster: &Played, profile: &str) -> String {
    format!(
        "[provider.kubernetes]\ncomponent = \"builtin:kubernetes\"\nnamespaces = [\"fns\"]\ndefault = true\n\
         config = {{ port = {} }}\n\
         [provider.kubernetes.grant.kubernetes]\nconnect = \"http://{}\"\nauth = {{ bearer-file = \"token\" }}\n\
         profile = \"{profile}\"\n\
         [provider.kubernetes.endpoints]\nallow = [\"127.0.3.0/24\"]\n",
        cluster.facts()["port"],
        cluster.address()
    )
}

fn gateway(cluster: &Played, profile: &str) -> Gateway {
    GatewayBuilder::new(&config(cluster, profile)).file("token", TOKEN).start()
}

fn send(gateway: &Gateway, method: &str, path: &str, body: &Value) -> u16 {
    gateway.send(method, path, &[], body.to_string()).status
}

fn scale(gateway: &Gateway, count: u64) {
    let body = json!({ "serviceName": "echo", "replicas": count, "namespace": "fns" });
    assert_eq!(send(gateway, "POST", "/system/scale-function/echo?namespace=fns", &body), 202);
}

fn counts(gateway: &Gateway) -> (u64, u64) {
    let shown = gateway.get("/system/function/echo?namespace=fns").json();
    let count = |key: &str| shown[key].as_u64().unwrap_or(0);
    (count("replicas"), count("availableReplicas"))
}

/// Which pod answered, after the words of the body were counted.
fn call(gateway: &Gateway, body: &str) -> String {
    let reply = gateway.post("/function/echo.fns", body);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let text = reply.text();
    let (pod, words) = text.rsplit_once(' ').unwrap();
    assert_eq!(words, body.split_whitespace().count().to_string());
    assert!(pod.starts_with("echo-"), "{text}");
    pod.to_owned()
}

#[test]
fn what_is_played_is_what_was_recorded() {
    is_as_recorded("kubernetes", "kubernetes-1.36", 40);
}

/// All that becomes of a function, as `faas-cli` drives it.
fn life_cycle(cluster: &Played, gateway: &Gateway) {
    let wish = |team: &str| {
        json!({ "service": "echo", "image": "example/echo:1", "namespace": "fns", "labels": { "team": team },
            "constraints": ["kubernetes.io/arch=arm64"], "limits": { "memory": "64Mi" }, "secrets": ["key"],
            "readOnlyRootFilesystem": true })
    };
    assert_eq!(send(gateway, "POST", "/system/functions", &wish("a")), 202);
    assert_eq!(send(gateway, "POST", "/system/functions", &wish("a")), 409);
    let first = call(gateway, "one two");

    scale(gateway, 0);
    wait_until("none is left", || counts(gateway) == (0, 0));
    // The cluster notices the wish a moment after it was written; until then the pod would simply stay.
    let log = format!("/api/v1/namespaces/fns/pods/{first}/log");
    wait_until("the pod ended", || {
        let token = format!("Bearer {TOKEN}");
        Connection::tcp(cluster.address()).send("GET", &log, &[("authorization", &token)], b"").status == 404
    });
    let cold = gateway.post("/function/echo.fns", "the quick brown fox");
    assert_eq!(cold.status, 200, "{}", cold.text());
    assert!(cold.header("server-timing").is_some_and(|timing| timing.contains("scale;dur=")), "{:?}", cold.headers);
    assert!(!cold.text().starts_with(&first), "the pod of before is gone: {}", cold.text());

    scale(gateway, 3);
    wait_until("three are ready", || counts(gateway) == (3, 3));
    let mut seen = BTreeSet::new();
    wait_until("all three answer", || {
        seen.insert(call(gateway, "x"));
        seen.len() == 3
    });

    let logs = gateway.get("/system/logs?name=echo&namespace=fns").text();
    assert_eq!(logs.lines().filter(|line| line.contains("up echo-")).count(), 3, "{logs}");

    assert_eq!(send(gateway, "PUT", "/system/functions", &wish("b")), 202);
    let list = gateway.get("/system/functions?namespace=fns").json();
    assert_eq!((&list[0]["labels"]["team"], &list[0]["replicas"]), (&json!("b"), &json!(3)), "{list}");
    assert_eq!((&list[0]["limits"]["memory"], &list[0]["secrets"]), (&json!("64Mi"), &json!(["key"])), "{list}");

    let gone = json!({ "functionName": "echo", "namespace": "fns" });
    assert_eq!(send(gateway, "DELETE", "/system/functions", &gone), 202);
    wait_until("it is forgotten", || gateway.get("/function/echo.fns").status == 404);
    assert_eq!(send(gateway, "DELETE", "/system/functions", &gone), 404);
}

#[test]
fn all_callers_of_a_cold_function_join_one_start() {
    let cluster = Played::kubernetes(&["--token", TOKEN]);
    cluster.control("/_deployments", &json!({ "names": ["echo"] }));
    let gateway = gateway(&cluster, "kubernetes-scale-only");
    std::thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(|| call(&gateway, "a b c"));
        }
    });
    let scaled = cluster.log().iter().filter(|one| one["method"] == "PATCH").count();
    assert_eq!(scaled, 1, "{:?}", cluster.log());
}

/// Secrets, whose values never come out, and namespaces.
fn secrets_and_namespaces(gateway: &Gateway) {
    let secret = |value: &str| json!({ "name": "key", "namespace": "fns", "value": value });
    let names = || gateway.get("/system/secrets?namespace=fns").json();
    assert_eq!(send(gateway, "POST", "/system/secrets", &secret("one")), 202);
    assert_eq!(send(gateway, "POST", "/system/secrets", &secret("one")), 409);
    assert_eq!(send(gateway, "PUT", "/system/secrets", &secret("two")), 202);
    assert_eq!(names(), json!([{ "name": "key", "namespace": "fns" }]));
    assert_eq!(send(gateway, "DELETE", "/system/secrets", &json!({ "name": "key", "namespace": "fns" })), 202);
    assert_eq!(send(gateway, "DELETE", "/system/secrets", &json!({ "name": "key", "namespace": "fns" })), 404);
    assert_eq!(names(), json!([]));
    let listed = gateway.get("/system/namespaces").json();
    assert!(listed.as_array().unwrap().contains(&json!("fns")), "{listed}");
}

#[test]
fn functions_and_secrets_are_managed_with_the_rights_of_the_manifest_and_no_others() {
    let cluster = Played::kubernetes(&["--token", TOKEN]);
    let gateway = gateway(&cluster, "kubernetes");
    life_cycle(&cluster, &gateway);
    secrets_and_namespaces(&gateway);
    let used: BTreeSet<Right> = cluster.log().iter().flat_map(rights).collect();
    let mut granted = manifest();
    // Of the whole cluster; the README describes it, since most gateways do without.
    granted.insert(("list".to_owned(), String::new(), "namespaces".to_owned()));
    assert_eq!(used, granted, "what is asked for, and what rbac.yaml allows");
}

/// Verb, group and resource.
type Right = (String, String, String);

/// What the Roles of `rbac.yaml` allow.
fn manifest() -> BTreeSet<Right> {
    let text = include_str!("../../../plugins/kubernetes/rbac.yaml");
    let list = |line: &str, key: &str| -> Option<Vec<String>> {
        serde_json::from_str(line.trim().trim_start_matches("- ").strip_prefix(key)?).unwrap()
    };
    let (mut granted, mut groups, mut resources) = (BTreeSet::new(), Vec::new(), Vec::new());
    for line in text.lines() {
        groups = list(line, "apiGroups: ").unwrap_or(groups);
        resources = list(line, "resources: ").unwrap_or(resources);
        for verb in list(line, "verbs: ").unwrap_or_default() {
            granted.insert((verb, groups[0].clone(), resources[0].clone()));
        }
    }
    granted
}

/// What a request needs.
fn rights(request: &Value) -> Vec<Right> {
    let (method, target) = (request["method"].as_str().unwrap(), request["target"].as_str().unwrap());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (group, rest) = match segments.as_slice() {
        ["api", _, rest @ ..] => ("", rest),
        ["apis", group, _, rest @ ..] => (*group, rest),
        // Open to everybody who is known.
        _ => return Vec::new(),
    };
    let (resource, is_one) = match rest {
        ["namespaces", _, resource, _, sub] => (format!("{resource}/{sub}"), true),
        ["namespaces", _, resource, _] => ((*resource).to_owned(), true),
        ["namespaces", _, resource] | [resource] => ((*resource).to_owned(), false),
        other => panic!("{other:?}"),
    };
    let verbs = match method {
        "GET" if is_one => vec!["get"],
        "GET" if query.contains("watch=") => vec!["watch"],
        "GET" => vec!["list"],
        "POST" => vec!["create"],
        // An apply may make something new.
        "PATCH" if query.contains("fieldManager=") => vec!["create", "patch"],
        "PATCH" => vec!["patch"],
        "DELETE" => vec!["delete"],
        other => panic!("{other}"),
    };
    verbs.into_iter().map(|verb| (verb.to_owned(), group.to_owned(), resource.clone())).collect()
}
