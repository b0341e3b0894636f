//! `/system/*`, the metrics port and the admin socket, as `faas-cli` and an operator use them.

use serde_json::json;

use crate::harness::{Connection, GatewayBuilder, Platform, faas_provider, gateway};

/// `admin:secret` in base64.
const CREDENTIALS: (&str, &str) = ("authorization", "Basic YWRtaW46c2VjcmV0");

#[test]
fn a_function_is_deployed_listed_scaled_updated_and_deleted() {
    let platform = Platform::start();
    let gateway = gateway(&platform, "");
    assert_eq!(gateway.get("/system/functions").json(), json!([]));
    let deployment = json!({ "service": "figlet", "image": "ghcr.io/openfaas/figlet", "envProcess": "figlet",
        "labels": { "com.openfaas.scale.min": "1" }, "annotations": null, "network": "unknown keys are ignored" });
    assert_eq!(gateway.post("/system/functions", deployment.to_string()).status, 202);

    let list = gateway.get("/system/functions").json();
    assert_eq!(list[0]["name"], "figlet");
    assert_eq!(list[0]["namespace"], "openfaas-fn");
    assert_eq!(list[0]["createdAt"], "2026-01-02T03:04:05Z");
    assert_eq!(list[0].get("invocationCount"), None);
    assert_eq!(gateway.get("/function/figlet").status, 200);
    assert_eq!(gateway.get("/system/functions").json()[0]["invocationCount"], 1);

    let shown = gateway.get("/system/function/figlet?namespace=openfaas-fn&usage=1");
    assert_eq!((shown.status, &shown.json()["replicas"]), (200, &json!(1)));
    assert_eq!(shown.header("content-type"), Some("application/json"));

    let scale = json!({ "serviceName": "figlet", "replicas": 0 });
    assert_eq!(gateway.post("/system/scale-function/figlet", scale.to_string()).status, 202);
    assert_eq!(gateway.get("/system/function/figlet").json().get("replicas"), None, "0 is left out, as Go does");
    // The scaler forgot what it knew: the next call is a cold start, not a 503 of the platform.
    assert!(gateway.get("/function/figlet").header("server-timing").is_some());

    let update = json!({ "service": "figlet", "image": "other" });
    assert_eq!(gateway.send("PUT", "/system/functions", &[], update.to_string()).status, 202);
    assert_eq!(gateway.get("/system/function/figlet").json()["image"], "other");
    let unknown = json!({ "service": "nobody", "image": "x" });
    assert_eq!(gateway.send("PUT", "/system/functions", &[], unknown.to_string()).status, 404);

    let delete = json!({ "functionName": "figlet" });
    assert_eq!(gateway.send("DELETE", "/system/functions", &[], delete.to_string()).status, 202);
    assert_eq!(gateway.get("/system/function/figlet").code(404), "not_found");
    assert_eq!(gateway.get("/function/figlet").status, 404);
}

#[test]
fn info_namespaces_secrets_and_logs_come_from_the_platform() {
    let platform = Platform::start();
    let gateway = gateway(&platform, "");
    let info = gateway.get("/system/info").json();
    assert_eq!(info["provider"]["provider"], "independent");
    assert_eq!(info["provider"]["orchestration"], "table");
    assert_eq!(info["provider"]["version"]["release"], "1.2.3");
    assert!(info["version"]["release"].is_string() && info["version"]["sha"].is_string(), "{info}");

    assert_eq!(gateway.get("/system/namespaces").json(), json!(["openfaas-fn"]));
    assert_eq!(gateway.post("/system/namespace/", r#"{"name":"dev","labels":{"openfaas":"1"}}"#).status, 201);
    assert_eq!(gateway.get("/system/namespaces").json(), json!(["dev", "openfaas-fn"]));
    assert_eq!(gateway.post("/system/namespace/dev", r#"{"name":"dev"}"#).status, 409);
    assert_eq!(gateway.get("/system/namespace/dev").json()["labels"]["openfaas"], "1");

    assert_eq!(gateway.post("/system/secrets", r#"{"name":"key","value":"hidden"}"#).status, 202);
    assert_eq!(gateway.post("/system/secrets", r#"{"name":"key","value":"hidden"}"#).code(409), "already_exists");
    let secrets = gateway.get("/system/secrets");
    assert_eq!(secrets.json(), json!([{ "name": "key", "namespace": "openfaas-fn" }]));
    assert_eq!(gateway.send("DELETE", "/system/secrets", &[], r#"{"name":"key"}"#).status, 202);
    assert!(!gateway.output().text().contains("hidden"), "a secret is never logged");

    platform.function(json!({ "name": "figlet", "replicas": 1 }));
    let logs = gateway.get("/system/logs?name=figlet&tail=10&follow=false");
    assert_eq!((logs.status, logs.header("content-type")), (200, Some("application/x-ndjson")));
    let lines: Vec<serde_json::Value> = logs.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(
        lines[1],
        json!({ "name": "figlet", "namespace": "openfaas-fn", "instance": "i-1",
        "timestamp": "2026-01-02T03:04:01.5Z", "text": "line 1" })
    );
}

#[test]
fn bad_input_is_a_400_with_a_sentence() {
    let platform = Platform::start();
    let gateway = gateway(&platform, "");
    for (method, target, body) in [
        ("POST", "/system/functions", "{"),
        ("POST", "/system/functions", "{}"),
        ("POST", "/system/functions", r#"{"service":"a b","image":"x"}"#),
        ("POST", "/system/scale-function/figlet", r#"{"replicas":-1}"#),
        ("POST", "/system/scale-function/figlet", r#"{"serviceName":"other","replicas":1}"#),
        ("GET", "/system/logs", ""),
    ] {
        assert_eq!(gateway.send(method, target, &[], body).code(400), "bad_request", "{method} {target} {body}");
    }
    assert_eq!(platform.count("POST", "/system/"), 0);
}

#[test]
fn paths_and_methods_are_answered_as_openfaas_does() {
    let platform = Platform::start();
    let gateway = gateway(&platform, "");
    for target in
        ["/system/nothing", "/system/alert", "/system/function/", "/function/", "/ui", "/async-function/figlet"]
    {
        let reply = gateway.get(target);
        assert_eq!((reply.status, reply.text().as_str()), (404, "404 page not found\n"), "{target}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    }
    for (method, target) in [
        ("HEAD", "/healthz"),
        ("PATCH", "/system/functions"),
        ("OPTIONS", "/system/functions"),
        ("POST", "/system/info"),
    ] {
        let reply = gateway.send(method, target, &[], "");
        assert_eq!(
            (reply.status, reply.body.as_slice(), reply.header("allow")),
            (405, &b""[..], None),
            "{method} {target}"
        );
    }
    assert_eq!(gateway.get("/healthz").status, 200);
    assert_eq!(gateway.get("/readyz").status, 200);
    assert_eq!(gateway.get("/").status, 200);
}

#[test]
fn credentials_guard_the_admin_api_and_nothing_else() {
    let platform = Platform::start();
    platform.function(json!({ "name": "figlet", "replicas": 1 }));
    let config = format!(
        "auth.basic = {{ user-file = \"user\", password-file = \"password\" }}\n{}",
        faas_provider(&platform, "", "")
    );
    let gateway = GatewayBuilder::new(&config).file("user", "admin\n").file("password", " secret\n").start();
    for target in ["/system/functions", "/system/info", "/system/namespaces"] {
        let reply = gateway.get(target);
        assert_eq!((reply.status, reply.text().as_str()), (401, "invalid credentials"), "{target}");
        assert_eq!(reply.header("www-authenticate"), Some("Basic realm=\"Restricted\""));
        let wrong = gateway.send("GET", target, &[("authorization", "Basic YWRtaW46d3Jvbmc=")], "");
        assert_eq!(wrong.status, 401, "{target}");
        // With credentials the Host does not matter.
        let right = gateway.send("GET", target, &[CREDENTIALS, ("host", "gateway.example:8080")], "");
        assert_eq!(right.status, 200, "{target}: {}", right.text());
    }
    assert_eq!(gateway.send("POST", "/system/scale-function/figlet", &[], r#"{"replicas":5}"#).status, 401);
    assert_eq!(platform.count("POST", "/system/"), 0);
    assert_eq!(gateway.get("/function/figlet").status, 200);
    assert_eq!(gateway.get("/healthz").status, 200);
    assert!(!gateway.output().text().contains("secret"), "a password is never logged");
}

#[test]
fn without_credentials_only_this_machine_under_its_own_name_may_ask() {
    let platform = Platform::start();
    let gateway = gateway(&platform, "");
    for host in ["localhost:8080", "127.0.0.1", "[::1]:8080"] {
        assert_eq!(gateway.send("GET", "/system/functions", &[("host", host)], "").status, 200, "{host}");
    }
    let reply = gateway.send("GET", "/system/functions", &[("host", "rebound.example")], "");
    assert_eq!(reply.code(403), "not_local");
    assert!(reply.text().contains("auth.basic") && reply.text().contains("none"), "{}", reply.text());
    let page = [("origin", "https://evil.example"), ("content-type", "text/plain")];
    assert_eq!(gateway.send("POST", "/system/functions", &page, "{}").code(403), "not_local");
}

#[test]
fn auth_none_lets_everybody_in_and_is_warned_about() {
    let platform = Platform::start();
    let config = format!("auth = \"none\"\n{}", faas_provider(&platform, "", ""));
    let gateway = GatewayBuilder::new(&config).start();
    assert_eq!(gateway.send("GET", "/system/functions", &[("host", "rebound.example")], "").status, 200);
}

#[test]
fn the_metrics_have_openfaas_names_and_ours() {
    let platform = Platform::start();
    platform.function(json!({ "name": "figlet", "replicas": 0 }));
    let gateway = gateway(&platform, "");
    for _ in 0..3 {
        assert_eq!(gateway.get("/function/figlet").status, 200);
    }
    assert_eq!(gateway.get("/function/nobody").status, 404);
    let label = "function_name=\"figlet.openfaas-fn\"";
    assert_eq!(gateway.metric(&format!("gateway_function_invocation_total{{code=\"200\",{label}}}")), 3.0);
    assert_eq!(gateway.metric(&format!("gateway_function_invocation_started{{{label}}}")), 3.0);
    assert_eq!(gateway.metric(&format!("gateway_functions_seconds_count{{code=\"200\",{label}}}")), 3.0);
    assert_eq!(gateway.metric(&format!("gateway_service_count{{{label}}}")), 1.0);
    let reply = gateway.metrics("/metrics");
    let text = reply.text();
    assert!(reply.header("content-type").unwrap().starts_with("text/plain"), "{:?}", reply.headers);
    assert!(!text.contains("nobody"), "a name that does not exist makes no series");
    for name in ["wicketgate_", "process_resident_memory_bytes"] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name} is missing in\n{text}");
    }
    // Prometheus' own rule: each family is named once.
    let mut families: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE ")).collect();
    let count = families.len();
    families.sort_unstable();
    families.dedup();
    assert_eq!(families.len(), count);
    assert_eq!(gateway.metrics("/healthz").text(), "OK");
    assert_eq!(gateway.metrics("/system/functions").status, 404);
}

#[test]
fn the_admin_socket_shows_the_providers_to_the_operator_only() {
    use std::os::unix::fs::MetadataExt as _;

    let platform = Platform::start();
    let gateway = gateway(&platform, "");
    let reply = gateway.admin("/providers");
    assert_eq!(reply.status, 200, "{}", reply.text());
    let provider = &reply.json()[0];
    assert_eq!(provider["name"], "platform");
    assert_eq!(provider["component"], "builtin:faas-provider");
    assert_eq!(provider["state"], "active");
    assert!(provider["generation"].as_u64().is_some_and(|generation| generation > 0), "{provider}");
    assert!(provider["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{provider}");
    assert_eq!(provider["namespaces"], json!(["openfaas-fn"]));
    let interfaces: Vec<&str> =
        provider["interfaces"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    for name in ["scaling", "endpoints", "functions", "namespaces", "secrets", "logs", "about", "health"] {
        assert!(interfaces.contains(&name), "{name} is missing in {interfaces:?}");
    }
    let mode = std::fs::metadata(gateway.folder().join("admin.sock")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(gateway.get("/providers").status, 404, "the main port does not have it");
}

#[test]
fn two_providers_share_a_gateway_and_one_that_is_down_hides_only_itself() {
    let (one, mut two) = (Platform::start(), Platform::start());
    one.function(json!({ "name": "figlet", "replicas": 1 }));
    two.function(json!({ "name": "env", "namespace": "dev", "replicas": 1 }));
    let second = format!(
        "[provider.second]\ncomponent = \"builtin:faas-provider\"\nnamespaces = [\"dev\"]\n\
         [provider.second.grant.provider]\nconnect = \"http://{}/\"\nprofile = \"faas-provider\"\n",
        two.address()
    );
    let gateway = gateway(&one, &second);
    assert_eq!(gateway.get("/function/figlet").status, 200);
    assert_eq!(gateway.get("/function/env.dev").status, 200);
    let list = gateway.get("/system/functions").json();
    assert_eq!((&list[0]["name"], &list[1]["name"]), (&json!("figlet"), &json!("env")));
    assert_eq!(gateway.get("/system/namespaces").json(), json!(["dev", "openfaas-fn"]));
    two.stop();
    let reply = gateway.get("/system/functions");
    assert_eq!((reply.status, reply.json().as_array().unwrap().len()), (200, 1));
    assert_eq!(reply.header("x-wicketgate-partial"), Some("second/dev"));
    assert_eq!(gateway.get("/system/functions?namespace=dev").status, 503);
    assert_eq!(gateway.get("/function/figlet").status, 200);
}

#[test]
fn a_log_stream_that_its_client_leaves_is_ended() {
    let platform = Platform::start();
    platform.function(json!({ "name": "figlet", "replicas": 1 }));
    let gateway = gateway(&platform, "[admin]\nlog-streams = 1\n");
    let mut connection = Connection::tcp(gateway.address());
    connection.begin("GET", "/system/logs?name=figlet&follow=true", &[], b"");
    assert_eq!(connection.head().0, 200);
    drop(connection);
    // The one place is free again as soon as the stream is ended.
    crate::harness::wait_until("a second log stream may begin", || {
        let mut next = Connection::tcp(gateway.address());
        next.begin("GET", "/system/logs?name=figlet&follow=true", &[], b"");
        next.head().0 == 200
    });
}

#[test]
fn what_a_grant_does_not_allow_never_reaches_the_platform() {
    let platform = Platform::start();
    platform.function(json!({ "name": "figlet" }));
    let config = faas_provider(&platform, "", "").replace("\"faas-provider\"\n", "\"faas-provider-scale-only\"\n");
    assert!(config.contains("scale-only"), "{config}");
    let gateway = GatewayBuilder::new(&config).start();
    let reply = gateway.post("/system/functions", r#"{"service":"figlet","image":"evil"}"#);
    assert_eq!(reply.code(502), "platform_denied");
    assert_eq!(platform.count("POST", "/system/functions"), 0);
    // What scaling needs is still open.
    assert_eq!(gateway.get("/function/figlet").status, 200);
}
