//! The same against a real agent.

use serde_json::json;

use crate::harness::{Gateway, GatewayBuilder, wait_until};

/// A name that nobody else's job has.
const NAME: &str = "wicketgate-test-echo";

/// The job serves with what the machine of the agent has.
const GROUP: &str = r#"Networks = [{ DynamicPorts = [{ Label = "http" }] }]
Update = { MaxParallel = 1, MinHealthyTime = 500000000, HealthCheck = "task_states" }"#;
const TASK: &str = r#"Driver = "raw_exec"
Config = { command = "/bin/sh", args = ["-c", "exec python3 -m http.server $NOMAD_PORT_http"] }
Resources = { CPU = 50, MemoryMB = 64 }"#;

/// Deletes the job, whatever happened.
struct Job<'a>(&'a Gateway);

impl Drop for Job<'_> {
    fn drop(&mut self) {
        let gone = json!({ "functionName": NAME, "namespace": "default" }).to_string();
        drop(self.0.send("DELETE", "/system/functions", &[], gone));
    }
}

pub(super) fn run(address: &str) {
    let token = std::env::var("NOMAD_TOKEN").unwrap_or_default();
    let auth = match token.as_str() {
        "" => "",
        _ => "auth = { header = { name = \"X-Nomad-Token\", file = \"{folder}/token\" } }\n",
    };
    // The shipped rules, and one for this driver, which they leave out.
    let grant = format!("profile = \"nomad\"\nallow = [\"POST /v1/jobs\"]\n{auth}");
    let gateway = GatewayBuilder::new(&super::provider(address, &grant, "\"0.0.0.0/0\", \"::/0\"", GROUP, TASK))
        .file("token", &token)
        .start();
    let wish = json!({ "service": NAME, "image": "none", "namespace": "default" }).to_string();
    assert_eq!(gateway.post("/system/functions", &wish).status, 202);
    let _job = Job(&gateway);
    assert_eq!(gateway.post("/system/functions", &wish).status, 409);
    let path = format!("/function/{NAME}.default/");
    assert_eq!(gateway.get(&path).status, 200);
    for count in [0_u64, 2, 0] {
        let body = json!({ "replicas": count, "namespace": "default" }).to_string();
        wait_until("the deployment before has ended", || {
            let status = gateway.post(&format!("/system/scale-function/{NAME}?namespace=default"), &body).status;
            assert!(matches!(status, 202 | 409), "{status}");
            status == 202
        });
        wait_until("so many are available", || {
            let shown = gateway.get(&format!("/system/function/{NAME}?namespace=default")).json();
            let number = |key: &str| shown[key].as_u64().unwrap_or(0);
            (number("replicas"), number("availableReplicas")) == (count, count)
        });
    }
    assert_eq!(gateway.get(&path).status, 200, "from zero");
}
