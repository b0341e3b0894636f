//! A generation that begins with a share of the functions, on a running gateway.

use serde_json::{Value, json};

use super::{is_served, plugin, put, show, steps, variant};
use crate::harness::{Gateway, Platform, faas_provider};
use crate::plugins::fixtures;

/// Functions beside `figlet`, so that both generations have some.
const FUNCTIONS: usize = 20;

/// A gateway that was called about every function. Nobody calls afterwards, so whatever the canary is judged by
/// was asked of it for that.
fn gateway(platform: &Platform, time: &str) -> Gateway {
    platform.function(json!({ "name": "figlet", "replicas": 1 }));
    // A candidate in text form answers whatever it likes, and is not to be refused for that.
    let tables = format!(
        "[provider.platform.swap]\nshadow = 0\nswap-lookback = \"1h\"\n\
         [provider.platform.swap.canary]\nshare = 50\ntime = \"{time}\"\ncalls = 5\n"
    );
    let gateway = Gateway::with(&format!("[reload]\nwatch = false\n{}", faas_provider(platform, "", &tables)));
    for number in 0..FUNCTIONS {
        let name = format!("f{number}");
        platform.function(json!({ "name": name, "replicas": 1 }));
        assert_eq!(gateway.get(&format!("/function/{name}")).status, 200);
    }
    is_served(&gateway);
    gateway
}

/// Swaps for a component that is not to take over: the reason.
fn taken_back(gateway: &Gateway, component: &[u8]) -> String {
    let before = show(gateway);
    let reply = put(gateway, "/providers/platform", component);
    let change = reply.json();
    assert_eq!((reply.status, &change["outcome"]), (422, &json!("rolled-back")), "{change}");
    assert!(steps(&change).contains(&"canary") && !steps(&change).contains(&"published"), "{change}");
    let now = show(gateway);
    assert_eq!((&now["generation"], &now["digest"]), (&before["generation"], &before["digest"]));
    assert_eq!(now["canary"], Value::Null);
    for number in 0..FUNCTIONS {
        assert_eq!(gateway.get(&format!("/function/f{number}")).status, 200);
    }
    change["reason"].as_str().unwrap().to_owned()
}

#[test]
fn a_good_canary_takes_over_after_its_time() {
    let platform = Platform::start();
    let gateway = gateway(&platform, "2s");
    let asked = platform.count("GET", "/system/function/f1");
    let change = put(&gateway, "/providers/platform", &variant(1)).json();
    assert_eq!(change["outcome"], "published", "{change}");
    let steps = steps(&change);
    let canary = steps.iter().position(|step| *step == "canary").unwrap();
    assert_eq!(steps[canary + 1], "published", "{change}");
    assert!(change["took_ms"].as_u64().unwrap() >= 2000, "{change}");
    assert_eq!(change["findings"], Value::Null, "it was asked often enough: {change}");
    assert!(platform.count("GET", "/system/function/f1") > asked);
    assert_eq!(show(&gateway)["generation"], change["generation"]);
    is_served(&gateway);
}

#[test]
fn a_canary_that_fails_is_taken_back_before_anybody_calls_it() {
    let platform = Platform::start();
    let gateway = gateway(&platform, "10s");
    let reason = taken_back(&gateway, &fixtures::component("long-key"));
    assert!(reason.contains("failed") || reason.contains("kept failing"), "{reason}");
}

#[test]
fn a_canary_that_is_slow_is_taken_back() {
    let platform = Platform::start();
    let gateway = gateway(&platform, "10s");
    let reason = taken_back(&gateway, &fixtures::component("slow"));
    assert!(reason.contains("canary.slower"), "{reason}");
    // The same plugin as before is not.
    assert_ne!(plugin(), fixtures::component("slow"));
}
