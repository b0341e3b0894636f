//! What becomes of the instances on a platform whose place another one took.

use serde_json::{Value, json};

use super::{figlet, is_served, rollback, show};
use crate::harness::{Gateway, Platform, faas_provider, wait_until};

const SCALE: &str = "/system/scale-function/";

fn config(platform: &Platform, swap: &str) -> String {
    let tables = format!("[provider.platform.swap]\n{swap}\n");
    format!("[reload]\nwatch = false\n{}", faas_provider(platform, "", &tables))
}

fn move_to(gateway: &Gateway, config: &str) {
    gateway.rewrite(config);
    gateway.signal(rustix::process::Signal::HUP);
    gateway.output().wait_for("the configuration was taken").unwrap();
}

/// The functions that a platform was told to have no instance of.
fn stopped(platform: &Platform) -> Vec<String> {
    let scaled = platform.log().into_iter().filter(|seen| seen.text("path").starts_with(SCALE));
    let mut names: Vec<String> = scaled
        .filter(|seen| seen.json()["replicas"] == 0)
        .map(|seen| seen.text("path")[SCALE.len()..].to_owned())
        .collect();
    names.sort();
    names
}

/// The newest change has come to its end, the old generation's too.
fn is_over(gateway: &Gateway) -> bool {
    let steps = show(gateway)["history"][0]["steps"].clone();
    steps.as_array().unwrap().last().is_some_and(|step| step["step"] == "retired")
}

#[test]
fn the_platform_that_was_left_has_no_instances_if_that_is_wanted() {
    let (first, second, third) = (figlet(), figlet(), figlet());
    // One that was never called, one that has none anyway, and two that cannot be stopped.
    first.function(json!({ "name": "idle", "replicas": 2 }));
    first.function(json!({ "name": "none", "replicas": 0 }));
    for name in ["stuck", "stuck-too"] {
        first.function(json!({ "name": name, "replicas": 1 }));
        first.rule(json!({ "method": "POST", "path": format!("{SCALE}{name}"), "status": 500, "body": "no" }));
    }
    let gateway = Gateway::with(&config(&first, ""));
    is_served(&gateway);

    move_to(&gateway, &config(&second, "retire = \"scale-to-zero\"\nretire-problems = 1"));
    wait_until("the old generation retired", || is_over(&gateway));
    let mut names = stopped(&first);
    names.dedup();
    assert_eq!(names, ["figlet", "idle", "stuck", "stuck-too"]);
    let change = show(&gateway)["history"][0].clone();
    let steps: Vec<&Value> = change["steps"].as_array().unwrap().iter().map(|step| &step["step"]).collect();
    let end: Vec<&Value> = steps[steps.len() - 3..].to_vec();
    assert_eq!(end, ["draining", "scaled-to-zero", "retired"], "{change}");
    let findings = change["findings"].as_array().unwrap();
    let of = |what: &str| findings.iter().filter(|finding| finding.as_str().unwrap().contains(what)).count();
    assert_eq!((of("stuck"), of("and 1 functions more")), (1, 1), "{change}");
    is_served(&gateway);

    // By default they are left.
    gateway.rewrite(&config(&third, ""));
    gateway.signal(rustix::process::Signal::HUP);
    wait_until("the third platform serves", || {
        is_served(&gateway);
        third.count("GET", "/function/figlet") > 0
    });
    wait_until("the old generation retired", || is_over(&gateway));
    assert!(stopped(&second).is_empty());
}

#[test]
fn a_roll_back_stops_it_and_nothing_is_stopped_afterwards() {
    const FUNCTIONS: usize = 40;
    let (first, second) = (figlet(), figlet());
    for number in 0..FUNCTIONS {
        first.function(json!({ "name": format!("slow-{number}"), "replicas": 1, "scale_ms": 300 }));
    }
    let gateway = Gateway::with(&config(&first, ""));
    is_served(&gateway);
    move_to(&gateway, &config(&second, "retire = \"scale-to-zero\""));
    wait_until("the first functions are being stopped", || !stopped(&first).is_empty());
    let change = rollback(&gateway);
    assert_eq!(change["outcome"], "rolled-back", "{change}");
    let told = stopped(&first).len();
    assert!(told < FUNCTIONS, "{told}");
    is_served(&gateway);
    wait_until("all generations retired", || is_over(&gateway));
    assert_eq!(stopped(&first).len(), told, "nothing is stopped after the roll back");
    let history = show(&gateway)["history"].clone();
    assert!(history[1]["findings"].to_string().contains("needed again"), "{history}");
    assert!(stopped(&second).is_empty(), "the version that came back leaves what it left");
}
