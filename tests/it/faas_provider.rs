//! The whole faas-provider API through the gateway, and what providers do differently.

use serde_json::json;

use crate::harness::{Platform, gateway, wait_until};

#[test]
fn a_followed_log_shows_what_was_there_and_each_line_as_it_comes() {
    let platform = Platform::start();
    platform.function(json!({ "name": "figlet", "replicas": 1 }));
    let gateway = gateway(&platform, "");
    let mut follower = gateway.connect();
    follower.begin("GET", "/system/logs?name=figlet&follow=true", &[], b"");
    assert_eq!(follower.head().0, 200);
    let mut seen = String::new();
    let mut read_until = |count: usize| {
        while seen.lines().count() < count {
            seen.push_str(&String::from_utf8(follower.chunk().expect("the stream goes on")).unwrap());
        }
        let line: serde_json::Value = serde_json::from_str(seen.lines().last().unwrap()).unwrap();
        line["text"].as_str().unwrap().to_owned()
    };
    assert_eq!(read_until(3), "line 2");
    for (count, text) in [(4, "fourth"), (5, "fifth"), (6, "sixth")] {
        platform.line(text);
        assert_eq!(read_until(count), text, "each line once, and in order");
    }
}

#[test]
fn namespaces_and_secrets_are_changed_and_deleted() {
    let platform = Platform::start();
    let gateway = gateway(&platform, "");
    let labels = |value: &str| json!({ "name": "dev", "labels": { "openfaas": "1", "tier": value } }).to_string();
    assert_eq!(gateway.post("/system/namespace/dev", labels("a")).status, 201);
    assert_eq!(gateway.send("PUT", "/system/namespace/dev", &[], labels("b")).status, 202);
    assert_eq!(gateway.get("/system/namespace/dev").json()["labels"]["tier"], "b");
    assert_eq!(gateway.send("PUT", "/system/namespace/none", &[], r#"{"name":"none"}"#).status, 404);
    assert_eq!(gateway.send("DELETE", "/system/namespace/dev", &[], r#"{"name":"dev"}"#).status, 202);
    assert_eq!(gateway.get("/system/namespace/dev").status, 404);

    let secret = |value: &str| json!({ "name": "key", "value": value }).to_string();
    assert_eq!(gateway.send("PUT", "/system/secrets", &[], secret("x")).status, 404);
    assert_eq!(gateway.post("/system/secrets", secret("one")).status, 202);
    assert_eq!(gateway.send("PUT", "/system/secrets", &[], secret("two")).status, 202);
    let sent = platform.wait_for(2, "PUT", "/system/secrets");
    assert_eq!(sent.last().unwrap().json()["value"], "two");
    assert_eq!(sent.last().unwrap().query("namespace"), Some("openfaas-fn"));
}

#[test]
fn what_providers_say_differently_is_the_same_to_callers() {
    let platform = Platform::start();
    let gateway = gateway(&platform, "");
    // A namespace that is not served.
    platform.rule(
        json!({ "method": "GET", "path": "/system/function/other", "status": 400, "body": "namespace must be: x" }),
    );
    assert_eq!(gateway.get("/function/other").code(404), "function_not_found");
    // faas-netes scaling what is not there.
    platform
        .rule(json!({ "method": "POST", "path": "/system/scale-function/nobody", "status": 500, "body": "not found" }));
    let body = json!({ "serviceName": "nobody", "replicas": 1 }).to_string();
    assert_eq!(gateway.post("/system/scale-function/nobody", body).code(404), "not_found");
    // faasd's list, and what its status says.
    let list = json!([{ "name": "figlet", "image": "x", "namespace": "openfaas-fn", "replicas": 1 }]).to_string();
    platform.rule(json!({ "method": "GET", "path": "/system/functions", "status": 200, "body": list }));
    let info = json!({ "provider": "faasd-ce", "orchestration": "containerd" }).to_string();
    platform.rule(json!({ "method": "GET", "path": "/system/info", "status": 200, "body": info }));
    wait_until("the one that runs is available in the list", || {
        gateway.get("/system/functions").json()[0]["availableReplicas"] == json!(1)
    });
}
