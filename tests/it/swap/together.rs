//! One change of the configuration that concerns several providers: all of them take it or none does, and
//! nobody else waits for it.

use serde_json::{Value, json};

use super::{figlet, is_served, plugin, show, variant};
use crate::harness::{Gateway, GatewayBuilder, Platform, faas_provider, wait_until};

/// A platform with a function of the second provider. One without replicas never gets an instance.
fn cows(replicas: u32) -> Platform {
    let platform = Platform::start();
    has_cows(&platform, replicas);
    platform
}

fn has_cows(platform: &Platform, replicas: u32) {
    platform.function(json!({
        "name": "cows", "namespace": "second", "replicas": replicas, "ready_after_polls": 1_000_000,
    }));
}

/// Two providers, each before its platform.
fn config(first: &Platform, second: &Platform, warm_timeout: &str) -> String {
    let second = faas_provider(second, "", &format!("[provider.platform.swap]\nwarm-timeout = \"{warm_timeout}\"\n"))
        .replace("provider.platform", "provider.second")
        .replace("openfaas-fn", "second")
        .replace("default = true", "default = false");
    format!("{}{second}", faas_provider(first, "", ""))
}

fn connects(gateway: &Gateway, provider: &str) -> String {
    let shown = gateway.admin(&format!("/providers/{provider}")).json();
    shown["grants"]["provider"]["connect"].as_str().unwrap().to_owned()
}

fn newest(gateway: &Gateway, provider: &str) -> Value {
    gateway.admin(&format!("/providers/{provider}")).json()["history"][0].clone()
}

fn hangup(gateway: &Gateway, config: &str, done: &str) {
    gateway.rewrite(config);
    let seen = gateway.output().text().matches(done).count();
    gateway.signal(rustix::process::Signal::HUP);
    wait_until(done, || gateway.output().text().matches(done).count() > seen);
}

#[test]
fn a_provider_that_stays_cold_keeps_the_other_one_where_it_is() {
    let (first, second) = (figlet(), cows(1));
    let (first_next, second_next) = (figlet(), cows(0));
    let quiet = |text: String| format!("[reload]\nwatch = false\n{text}");
    let before = quiet(config(&first, &second, "1s"));
    let gateway = Gateway::with(&before);
    is_served(&gateway);
    assert_eq!(gateway.get("/function/cows.second").status, 200);

    let next = quiet(config(&first_next, &second_next, "1s"));
    hangup(&gateway, &next, "the configuration was not taken");
    let (refused, other) = (newest(&gateway, "second"), newest(&gateway, "platform"));
    assert!(refused["reason"].as_str().unwrap().contains("cows.second"), "{refused}");
    assert_eq!(other["outcome"], "refused", "{other}");
    assert!(other["reason"].as_str().unwrap().contains("refused for second"), "{other}");
    assert_eq!(connects(&gateway, "platform"), format!("http://{}", first.address()));
    is_served(&gateway);
    assert_eq!((first.count("GET", "/function/figlet"), first_next.count("GET", "/function/figlet")), (2, 0));
    assert_eq!(first_next.count("POST", "/system/scale-function/figlet"), 0);

    // Nothing is left of it: the file from before is what runs, and the next one is taken as a whole.
    hangup(&gateway, &before, "the providers are as the configuration says");
    has_cows(&second_next, 1);
    hangup(&gateway, &next, "the configuration was taken");
    is_served(&gateway);
    assert_eq!(gateway.get("/function/cows.second").status, 200);
    assert_eq!(
        (first_next.count("GET", "/function/figlet"), second_next.count("GET", "/function/cows.second")),
        (1, 1)
    );
    // And back.
    hangup(&gateway, &before, "the configuration was taken");
    assert_eq!(connects(&gateway, "platform"), format!("http://{}", first.address()));
}

#[test]
fn a_change_that_takes_its_time_holds_up_nobody_else() {
    let (first, second, second_next) = (figlet(), cows(1), cows(0));
    let file = |text: String| text.replacen("builtin:faas-provider", "{folder}/plugin.wasm", 1);
    let before = file(config(&first, &second, "30s"));
    let gateway = GatewayBuilder::new(&before).file("plugin.wasm", plugin()).start();
    is_served(&gateway);
    assert_eq!(gateway.get("/function/cows.second").status, 200);

    gateway.rewrite(&file(config(&first, &second_next, "30s")));
    wait_until("an instance is waited for", || second_next.count("POST", "/system/scale-function/cows") > 0);
    let digest = show(&gateway)["digest"].clone();
    std::fs::write(gateway.folder().join("plugin.wasm"), variant(1)).unwrap();
    wait_until("the other provider's file is loaded", || show(&gateway)["digest"] != digest);
    assert_eq!(newest(&gateway, "second")["outcome"], Value::Null, "still under way");

    // What is written meanwhile is read afterwards.
    gateway.rewrite(&before);
    gateway.output().wait_for("read when the change that is under way ended").unwrap();
    has_cows(&second_next, 1);
    let here = format!("http://{}", second.address());
    wait_until("it went there and came back", || {
        newest(&gateway, "second")["number"].as_u64() > Some(2)
            && newest(&gateway, "second")["outcome"] == "published"
            && connects(&gateway, "second") == here
    });
    let history = gateway.admin("/providers/second").json()["history"].clone();
    assert_eq!(history.as_array().unwrap().len(), 3, "{history}");
    is_served(&gateway);
}
