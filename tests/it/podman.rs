//! `builtin:docker` against a real Podman: containers behind its service, which speaks Docker's API in its own way.

use crate::docker::{engine, gateway, life_cycle, provider, wakes_by_an_event};
use crate::harness::Gateway;
use crate::harness::docker::with_podman;
use crate::plugin_check::passes;
use serde_json::json;

/// A whole life, with one of the ways to zero.
fn lives(zero: &str) {
    with_podman(|podman| {
        let name = format!("podman-{zero}");
        life_cycle(&engine::plain(podman, zero), &name);
        assert!(podman.containers(&format!("com.openfaas.function={name}")).is_empty());
        engine::goes_to_zero(podman, zero);
    });
}

#[test]
fn containers_that_are_stopped_live_through_a_whole_life() {
    lives("stop");
}

#[test]
fn containers_that_are_removed_live_through_a_whole_life() {
    lives("remove");
}

#[test]
fn containers_that_are_paused_live_through_a_whole_life() {
    lives("pause");
}

#[test]
fn the_platform_says_what_it_is() {
    with_podman(|podman| {
        let gateway = gateway(podman, "mode = \"engine\"", "docker-scale-only");
        let info = gateway.get("/system/info").json();
        assert_eq!(info["provider"]["orchestration"], "podman", "{info}");
        assert_eq!(gateway.get("/healthz").status, 200);
    });
}

#[test]
fn an_event_ends_a_cold_start_and_a_followed_log_goes_on() {
    with_podman(|podman| {
        wakes_by_an_event(podman, "podman-event-stop", &engine::config("stop"), "docker");
        wakes_by_an_event(podman, "podman-event-pause", &engine::config("pause"), "docker");
    });
}

#[test]
fn it_does_what_the_contract_says() {
    with_podman(|podman| {
        let text = provider("docker", podman, "mode = \"engine\"", "docker");
        let gateway = Gateway::with(&text);
        crate::docker::deploy(&gateway, "POST", "podman-check", "checked", json!({}));
        drop(gateway);
        // Podman takes its time on a loaded machine; a silent platform is waited for as long.
        let text = text.replace("call-timeout = \"30s\"", "call-timeout = \"10s\"");
        passes(&text, "builtin:docker", &["--function", "podman-check", "--most", "3"]);
    });
}
