//! The end of a generation on a running gateway.

use serde_json::json;

use super::{put, show, variant};
use crate::harness::{Gateway, Platform, faas_provider, wait_until};

#[test]
fn a_question_of_the_old_generation_is_cut_at_the_drain_timeout_and_asked_anew() {
    let platform = Platform::start();
    platform.function(json!({ "name": "figlet", "replicas": 1 }));
    let status = "/system/function/figlet";
    platform.rule(json!({ "method": "GET", "path": status, "then": "hang", "times": 1 }));
    // Nobody compares, and without the cut the question would outlast every deadline of this test.
    let tables = "[provider.platform.swap]\nshadow = 0\n\
                  [provider.platform.limits]\ndrain-timeout = \"400ms\"\ncall-timeout = \"5m\"\n";
    let gateway = Gateway::with(&format!("[reload]\nwatch = false\n{}", faas_provider(&platform, "", tables)));
    std::thread::scope(|scope| {
        let request = scope.spawn(|| gateway.get("/function/figlet"));
        wait_until("the question hangs", || platform.count("GET", status) == 1);
        let change = put(&gateway, "/providers/platform", &variant(1)).json();
        assert_eq!(change["outcome"], "published", "{change}");
        let reply = request.join().unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
    });
    assert!(platform.count("GET", status) >= 2, "the next generation was asked");
    wait_until("the old generation retired", || {
        show(&gateway)["history"][0]["steps"].as_array().unwrap().last().unwrap()["step"] == "retired"
    });
    let change = show(&gateway)["history"][0].clone();
    let after = |name: &str| {
        let steps = change["steps"].as_array().unwrap();
        steps.iter().find(|step| step["step"] == name).unwrap()["after_ms"].as_u64().unwrap()
    };
    assert!(after("retired") - after("draining") >= 390, "{change}");
    let overdue = gateway.metric("wicketgate_plugin_drain_overdue_total{provider=\"platform\"}");
    assert_eq!(overdue.to_string(), "1");
}
