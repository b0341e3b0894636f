//! What is logged where nobody sits at a terminal: one JSON object a line, and the call id of whoever failed.

use serde_json::{Value, json};

use crate::harness::{Platform, gateway, wait_until};

#[test]
fn lines_are_json_and_a_failed_invocation_is_found_by_its_call_id() {
    let platform = Platform::start();
    platform.function(json!({ "name": "figlet" }));
    let gateway = gateway(&platform, "[scaling]\nscale-from-zero = false\n");
    let reply = gateway.send("GET", "/function/figlet", &[("x-call-id", "find-me-7")], "");
    assert_eq!(reply.code(503), "no_instance");
    assert_eq!(reply.header("x-call-id"), Some("find-me-7"));
    let lines = || -> Vec<Value> {
        let text = gateway.output().text();
        // Three lines for people, where it listens, and the rest is the log; its last line may not be whole yet.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let places = ["wicketgate ", "listening on ", "metrics on ", "admin on "];
        let log = whole.lines().filter(|line| !places.iter().any(|place| line.starts_with(place)));
        log.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    };
    wait_until("the failure is logged", || lines().iter().any(|line| line["call_id"] == "find-me-7"));
    let all = lines();
    let line = all.iter().find(|line| line["call_id"] == "find-me-7").unwrap();
    assert_eq!((&line["level"], &line["message"]), (&json!("WARN"), &json!("no instance")), "{line}");
    assert_eq!(line["function"], "figlet.openfaas-fn", "{line}");
    assert!(line["error"].as_str().is_some_and(|error| error.contains("scale-from-zero")), "{line}");
    for line in &all {
        assert!(line["timestamp"].is_string() && line["level"].is_string() && line["target"].is_string(), "{line}");
    }
}
