//! The same against a real API server.

use std::ffi::OsStr;
use std::process::Command;

use serde_json::json;

use crate::harness::{GatewayBuilder, wait_until};

const NAMESPACE: &str = "wicketgate-test";

/// Deletes the function, whatever happened.
struct Cluster<'a> {
    config: &'a OsStr,
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        let gone = ["delete", "deployment,service", "--ignore-not-found", "-n", NAMESPACE, "echo"];
        drop(Command::new("kubectl").args(gone).env("KUBECONFIG", self.config).status());
    }
}

pub(super) fn run(config: &OsStr) {
    let made = Command::new("kubectl").args(["create", "namespace", NAMESPACE]).env("KUBECONFIG", config).output();
    let made = made.expect("kubectl reaches the cluster of KUBECONFIG");
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(made.status.success() || said.contains("AlreadyExists"), "{said}");
    let _cluster = Cluster { config };
    let path = config.to_str().expect("KUBECONFIG names one file");
    let gateway = GatewayBuilder::new(&format!(
        "[provider.kubernetes]\ncomponent = \"builtin:kubernetes\"\nnamespaces = [\"{NAMESPACE}\"]\ndefault = true\n\
         config = {{ readiness = \"none\" }}\n\
         [provider.kubernetes.grant.kubernetes]\nconnect = \"kubeconfig:{path}\"\nprofile = \"kubernetes\"\n",
    ))
    .start();
    let image = std::env::var("WICKETGATE_TEST_IMAGE").unwrap_or_else(|_| "registry.k8s.io/pause:3.9".to_owned());
    let wish =
        |labels| json!({ "service": "echo", "image": image, "namespace": NAMESPACE, "labels": labels }).to_string();
    let reply = gateway.post("/system/functions", wish(json!({ "tier": "a" })));
    assert_eq!(reply.status, 202, "{}", reply.text());
    assert_eq!(gateway.post("/system/functions", wish(json!({}))).status, 409, "it is there now");
    let shown = || gateway.get(&format!("/system/function/echo?namespace={NAMESPACE}")).json();
    let scale = |count: u32| {
        let body = json!({ "replicas": count, "namespace": NAMESPACE }).to_string();
        let reply = gateway.post("/system/scale-function/echo", body);
        assert_eq!(reply.status, 202, "{}", reply.text());
    };
    for count in [0, 2, 0] {
        scale(count);
        assert_eq!(shown()["replicas"].as_u64().unwrap_or(0), u64::from(count));
    }
    let reply = gateway.send("PUT", "/system/functions", &[], wish(json!({ "tier": "b" })));
    assert_eq!(reply.status, 202, "{}", reply.text());
    assert_eq!((&shown()["labels"]["tier"], shown()["replicas"].as_u64().unwrap_or(0)), (&json!("b"), 0));
    let list = gateway.get(&format!("/system/functions?namespace={NAMESPACE}")).json();
    assert!(list.as_array().unwrap().iter().any(|function| function["name"] == "echo"), "{list}");
    let gone = json!({ "functionName": "echo", "namespace": NAMESPACE }).to_string();
    assert_eq!(gateway.send("DELETE", "/system/functions", &[], gone).status, 202);
    wait_until("it is gone", || gateway.get(&format!("/system/function/echo?namespace={NAMESPACE}")).status == 404);
}
