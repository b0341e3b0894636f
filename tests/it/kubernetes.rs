//! The Kubernetes provider, before a recording of a real API server; before the play of `kubernetes.py`, which
//! is held to such recordings; and before a real one where `KUBECONFIG` names it.

use serde_json::json;

use crate::harness::replay::{Replay, Script};
use crate::harness::{Gateway, GatewayBuilder, wait_until};

mod cluster;
mod real;
mod tls;

fn recording(name: &str) -> Script {
    Script::of(&format!("kubernetes-1.36/{name}"))
}

/// A provider on this server, with the recording's own credentials; `tables` are more tables.
pub(crate) fn provider(replay: &Replay, tables: &str) -> String {
    format!(
        "[provider.kubernetes]\ncomponent = \"builtin:kubernetes\"\nnamespaces = [\"fns\"]\ndefault = true\n\
         config = {{ field-manager = \"gateway\" }}\n\
         [provider.kubernetes.grant.kubernetes]\nconnect = \"http://{}\"\nauth = {{ bearer-file = \"token\" }}\n\
         profile = \"kubernetes\"\n\
         [provider.kubernetes.endpoints]\nallow = [\"127.0.0.0/8\"]\n{tables}\n",
        replay.address()
    )
}

fn builder(config: &str) -> GatewayBuilder {
    GatewayBuilder::new(config).file("token", "serviceaccount")
}

fn gateway(replay: &Replay, tables: &str) -> Gateway {
    builder(&provider(replay, tables)).start()
}

/// What every provider is asked before it is published: the recording's answer to the health check.
pub(crate) fn healthy() -> Script {
    recording("discovery-and-version").only(&["discovery group", "version"])
}

/// The list that a watch begins with, and a watch in which nothing happens any more.
pub(crate) fn quiet_watch() -> Script {
    let script = recording("watch-bookmarks").only(&["list", "watch"]).with_query("list", "limit", "250");
    // Only what comes before the first change is of interest: the watch begins at its end.
    script
        .with_query("watch", "timeoutSeconds", "20")
        .with_text(r#""resourceVersion":"1397"},"items""#, r#""resourceVersion":"1427"},"items""#)
}

const WATCH: &str = "[scaling]\nwatch-wait = \"20s\"\n";

#[test]
fn counts_are_set_and_read_through_the_api() {
    let replay = Replay::start(healthy().then(quiet_watch()).then(recording("scale-zero-to-three-to-zero")));
    let gateway = gateway(&replay, WATCH);
    let counts = || {
        let function = gateway.get("/system/function/echo?namespace=fns").json();
        let count = |key: &str| function[key].as_u64().unwrap_or(0);
        (count("replicas"), count("availableReplicas"))
    };
    assert_eq!(counts(), (0, 0));
    let scale = |count: u32| {
        gateway.post("/system/scale-function/echo?namespace=fns", json!({ "replicas": count }).to_string())
    };
    assert_eq!(scale(3).status, 202);
    wait_until("three are ready", || counts() == (3, 3));
    assert_eq!(scale(0).status, 202);
    wait_until("none is left", || counts() == (0, 0));
    replay.check();
}

#[test]
fn a_watch_follows_the_functions_from_event_to_event() {
    let script = recording("watch-bookmarks").only(&["list", "watch"]).with_query("list", "limit", "250");
    let replay = Replay::start(healthy().then(script));
    let gateway = gateway(&replay, WATCH);
    // The last version of the stream is its bookmark's; who asks from there has followed all of it.
    wait_until("the watch goes on from the bookmark", || {
        replay.count(
            "GET /apis/apps/v1/namespaces/fns/deployments?labelSelector=faas_function&watch=1&resourceVersion=1427",
        ) > 0
    });
    assert_eq!(
        gateway.metric("wicketgate_watch_healthy{provider=\"kubernetes\"}").max(0.0),
        1.0,
        "{}",
        gateway.metrics("/metrics").text()
    );
}

#[test]
fn a_watch_that_is_too_old_begins_again_with_a_list() {
    let old = recording("watch-too-old").only(&["list again", "watch from the first list", "watch again"]);
    let old = old.with_query("list again", "labelSelector", "faas_function").with_query("list again", "limit", "250");
    let old = old.with_query("watch again", "labelSelector", "faas_function").with_query(
        "watch again",
        "timeoutSeconds",
        "20",
    );
    let old = old.with_query("watch from the first list", "labelSelector", "faas_function");
    let old = old.with_query("watch from the first list", "timeoutSeconds", "20");
    // The first list's version is the one that is too old.
    let first = recording("watch-too-old").only(&["list page 1"]).with_query("list page 1", "limit", "250");
    let first =
        first.with_query("list page 1", "labelSelector", "faas_function").with_text("\"continue\"", "\"ended\"");
    let replay = Replay::start(healthy().then(first).then(old));
    let gateway = gateway(&replay, WATCH);
    wait_until("the list was asked for again", || {
        replay.count("GET /apis/apps/v1/namespaces/fns/deployments?labelSelector=faas_function&limit") >= 2
    });
    wait_until("the watch goes on from the second list", || {
        replay.count(
            "GET /apis/apps/v1/namespaces/fns/deployments?labelSelector=faas_function&watch=1&resourceVersion=1361",
        ) >= 1
    });
    drop(gateway);
}

#[test]
fn a_function_is_deployed_by_apply_and_found_by_its_name() {
    let body = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "figlet", "namespace": "fns", "labels": { "faas_function": "figlet" } },
        "spec": {
            "selector": { "matchLabels": { "faas_function": "figlet" } },
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } },
            "template": {
                "metadata": { "labels": { "faas_function": "figlet" } },
                "spec": {
                    "automountServiceAccountToken": false, "enableServiceLinks": false,
                    "containers": [{
                        "name": "figlet", "image": "registry.example.com/functions/figlet:1.0",
                        "ports": [{ "name": "http", "containerPort": 8080 }],
                        "securityContext": { "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": false },
                        "readinessProbe": { "tcpSocket": { "port": 8080 }, "periodSeconds": 1 },
                    }],
                },
            },
        },
    });
    let absent = recording("delete").only(&["background: gone at once"]);
    let made =
        recording("create-apply").only(&["deployment, yaml", "service, json body"]).with_body("deployment, yaml", body);
    let found = recording("update-apply").only(&["read for put"]);
    let replay = Replay::start(healthy().then(quiet_watch()).then(absent).then(made).then(found));
    let gateway = gateway(&replay, WATCH);
    let deploy =
        json!({ "service": "figlet", "image": "registry.example.com/functions/figlet:1.0", "namespace": "fns" });
    let reply = gateway.post("/system/functions", deploy.to_string());
    assert_eq!(reply.status, 202, "{}", reply.text());
    assert_eq!(gateway.get("/system/function/figlet?namespace=fns").json()["name"], "figlet");
}

#[test]
fn what_the_api_server_refuses_reaches_the_caller_as_what_it_is() {
    let asked = "/apis/apps/v1/namespaces/fns/deployments/nope";
    let own = "<bearer serviceaccount>";
    for (scenario, name, path, status, retry) in [
        ("not-found", "deployment", asked, 404, None),
        ("bad-token", "deployment", "/apis/apps/v1/namespaces/fns/deployments/echo", 502, None),
        ("forbidden", "absent namespace", "/apis/apps/v1/namespaces/nope/deployments/echo", 502, None),
        ("throttled-429", "scale read", "/apis/apps/v1/namespaces/fns/deployments/echo/scale", 503, Some("2")),
    ] {
        let script = recording(scenario).only(&[name]).elsewhere(path, asked).with_header(name, "authorization", own);
        let replay = Replay::start(healthy().then(quiet_watch()).then(script));
        let gateway = gateway(&replay, WATCH);
        let reply = gateway.get("/system/function/nope?namespace=fns");
        replay.check();
        assert_eq!(reply.status, status, "{}", reply.text());
        if retry.is_some() {
            assert_eq!(reply.header("retry-after"), retry, "{:?}", reply.headers);
        }
    }
}

/// A real API server, as its kubeconfig file says. The cluster needs a namespace `wicketgate-test`, which this test
/// makes and leaves.
#[test]
fn a_real_api_server_where_one_is_configured() {
    let Some(config) = std::env::var_os("KUBECONFIG") else {
        eprintln!("NOT RUN: a_real_api_server: KUBECONFIG is not set; the recording was replayed instead");
        return;
    };
    real::run(&config);
}
