//! Providers that are swapped, rolled back, removed and configured anew while requests run.

mod canary;
mod drain;
mod live;
mod retire;
mod together;

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::harness::{
    Gateway, GatewayBuilder, Platform, Reply, bundled, faas_provider, gateway, variant_of, wait_until,
};
use crate::plugins::fixtures;

fn plugin() -> Vec<u8> {
    bundled("faas-provider")
}

fn variant(number: u8) -> Vec<u8> {
    variant_of("faas-provider", number)
}

fn put(gateway: &Gateway, target: &str, body: &[u8]) -> Reply {
    gateway.admin_send("PUT", target, &[("content-type", "application/wasm")], body)
}

fn show(gateway: &Gateway) -> Value {
    gateway.admin("/providers/platform").json()
}

fn generation(gateway: &Gateway) -> u64 {
    show(gateway)["generation"].as_u64().unwrap()
}

fn rollback(gateway: &Gateway) -> Value {
    let reply = gateway.admin_send("POST", "/providers/platform/rollback", &[], b"");
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

fn steps(change: &Value) -> Vec<&str> {
    change["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect()
}

fn figlet() -> Platform {
    let platform = Platform::start();
    platform.function(json!({ "name": "figlet", "replicas": 1 }));
    platform
}

fn is_served(gateway: &Gateway) {
    let reply = gateway.get("/function/figlet");
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[test]
fn a_component_is_uploaded_or_named_and_takes_over_after_every_step() {
    let platform = figlet();
    let gateway = gateway(&platform, "");
    is_served(&gateway);
    let first = show(&gateway);
    let before = first["generation"].as_u64().unwrap();

    let reply = put(&gateway, "/providers/platform?dry-run=true", &variant(1));
    assert_eq!((reply.status, &reply.json()["outcome"]), (200, &json!("ready")), "{}", reply.text());
    assert_eq!(generation(&gateway), before, "a dry run publishes nothing");

    let change = put(&gateway, "/providers/platform", &variant(1)).json();
    assert_eq!(change["outcome"], "published", "{change}");
    let all = [
        "granted",
        "fetched",
        "verified",
        "compiled",
        "linked",
        "typed",
        "compared",
        "probed",
        "shadowed",
        "published",
    ];
    assert_eq!(steps(&change)[..all.len()], all, "{change}");
    let now = show(&gateway);
    assert_eq!((&now["component"], &now["previous"]), (&json!("uploaded"), &first["generation"]));
    assert!(now["generation"].as_u64().unwrap() > before);
    assert_ne!(now["digest"], first["digest"]);
    is_served(&gateway);

    let path = gateway.folder().join("named.wasm");
    std::fs::write(&path, variant(2)).unwrap();
    let body = json!({ "path": path }).to_string();
    let json = [("content-type", "application/json")];
    let reply = gateway.admin_send("PUT", "/providers/platform", &json, body.as_bytes());
    assert_eq!((reply.status, &reply.json()["component"]), (200, &json!(path)), "{}", reply.text());
    is_served(&gateway);
    // Whoever asked is in the history and in the log.
    let change = &show(&gateway)["history"][0];
    assert_eq!((&change["by"], &change["kind"]), (&json!("admin"), &json!("swap")));
    assert!(change["uid"].is_u64() && change["pid"].as_u64() == Some(std::process::id().into()), "{change}");
    gateway.output().wait_for("\"provider changed\"").expect("a line for the audit");
    let series = "wicketgate_provider_changes_total{outcome=\"published\",provider=\"platform\"}";
    assert!(gateway.metric(series) >= 3.0);

    for (method, target, body, code) in [
        ("PUT", "/providers/nobody", "", "no_provider"),
        ("POST", "/providers/platform", "", "wrong_method"),
        ("GET", "/providers/platform/rollback/x", "", "no_route"),
    ] {
        let reply = gateway.admin_send(method, target, &[], body.as_bytes());
        assert_eq!(reply.code(reply.status), code, "{method} {target}");
    }
    for body in ["{", "{\"path\":\"relative.wasm\"}", "{\"path\":1}"] {
        let reply = gateway.admin_send("PUT", "/providers/platform", &json, body.as_bytes());
        assert_eq!(reply.code(400), "bad_request", "{body}");
    }
}

#[test]
fn a_refused_candidate_says_where_and_why_and_changes_nothing() {
    let platform = figlet();
    let tables = "[provider.platform.limits]\ncomponent-bytes = \"1MiB\"\n";
    let gateway = gateway(&platform, tables);
    is_served(&gateway);
    let before = show(&gateway);
    let cut = plugin().len() / 2;
    let candidates: [(Vec<u8>, &str, &str); 6] = [
        (b"#!/bin/sh".to_vec(), "compiled", "WebAssembly"),
        (plugin()[..cut].to_vec(), "compiled", ""),
        (fixtures::component("no-service-query"), "linked", "service-query"),
        (fixtures::component("wrong-type"), "typed", "contract"),
        (fixtures::component("trap-in-start"), "typed", ""),
        // It says that figlet does not exist, which the active generation knows better.
        (fixtures::component("not-found"), "shadowed", "figlet"),
    ];
    for (bytes, at, reason) in candidates {
        let reply = put(&gateway, "/providers/platform", &bytes);
        assert_eq!((reply.status, reply.header("x-wicketgate-error")), (422, Some("refused")), "{}", reply.text());
        let change = reply.json();
        assert_eq!((&change["outcome"], &change["at"]), (&json!("refused"), &json!(at)), "{change}");
        assert!(change["reason"].as_str().unwrap().contains(reason), "{change}");
        assert_eq!(steps(&change).last(), Some(&"refused"));
        let now = show(&gateway);
        assert_eq!((&now["generation"], &now["digest"]), (&before["generation"], &before["digest"]));
        is_served(&gateway);
    }
    // Where each was refused is counted, and what trying the last one showed is in its record.
    let refused = |at: &str| {
        gateway.metric(&format!(
            "wicketgate_provider_change_steps_total{{at=\"{at}\",provider=\"platform\",step=\"refused\"}}"
        ))
    };
    let counts = ["compiled", "linked", "typed", "shadowed", ""].map(|at| refused(at).to_string());
    assert_eq!(counts, ["2", "1", "2", "1", "0"]);
    let shadow = &show(&gateway)["history"][0]["shadow"];
    assert_eq!((&shadow["asked"], &shadow["differences"][0]["function"]), (&json!(1), &json!("figlet.openfaas-fn")));
    assert_eq!(put(&gateway, "/providers/platform", &vec![0; 2 << 20]).code(413), "body_too_large");
    assert_eq!(show(&gateway)["history"].as_array().unwrap().len(), 7);
}

#[test]
fn a_rollback_brings_the_generation_before_back_without_compiling() {
    let platform = figlet();
    let gateway = gateway(&platform, "");
    let reply = gateway.admin_send("POST", "/providers/platform/rollback", &[], b"");
    assert_eq!(reply.code(409), "nothing_before");
    let first = show(&gateway)["digest"].clone();
    assert_eq!(put(&gateway, "/providers/platform", &variant(1)).status, 200);
    let second = show(&gateway)["digest"].clone();
    assert_ne!(first, second);
    for expected in [&first, &second, &first] {
        let change = rollback(&gateway);
        assert_eq!(change["outcome"], "rolled-back", "{change}");
        assert!(!steps(&change).contains(&"compiled") && !steps(&change).contains(&"linked"), "{change}");
        assert_eq!(&show(&gateway)["digest"], expected);
        is_served(&gateway);
    }
}

#[test]
fn a_removed_provider_serves_nobody_until_the_configuration_is_read_again() {
    let platform = figlet();
    let gateway = gateway(&platform, "");
    is_served(&gateway);
    let reply = gateway.admin_send("DELETE", "/providers/platform", &[], b"");
    assert_eq!((reply.status, &reply.json()["outcome"]), (200, &json!("removed")), "{}", reply.text());
    assert_eq!(gateway.get("/function/figlet").code(404), "no_provider");
    assert_eq!(gateway.admin("/providers").json(), json!([]));
    assert_eq!(gateway.admin("/providers/platform").code(404), "no_provider");
    gateway.signal(rustix::process::Signal::HUP);
    wait_until("the provider is back", || gateway.admin("/providers/platform").status == 200);
    is_served(&gateway);
}

#[test]
fn a_changed_component_is_noticed_however_it_was_written() {
    let platform = figlet();
    let config = faas_provider(&platform, "", "").replace("builtin:faas-provider", "{folder}/plugin.wasm");
    let gateway = GatewayBuilder::new(&config).file("plugin.wasm", plugin()).start();
    is_served(&gateway);
    let path = gateway.folder().join("plugin.wasm");
    let swapped = |what: &str, before: &Value| {
        wait_until(what, || show(&gateway)["digest"] != *before);
        assert_eq!(show(&gateway)["history"][0]["by"], "file");
        is_served(&gateway);
    };

    let before = show(&gateway)["digest"].clone();
    let beside = gateway.folder().join("plugin.new");
    std::fs::write(&beside, variant(1)).unwrap();
    std::fs::rename(&beside, &path).unwrap();
    swapped("a file that was renamed into its place is loaded", &before);

    let before = show(&gateway)["digest"].clone();
    std::fs::write(&path, variant(2)).unwrap();
    swapped("a file that was written in place is loaded", &before);

    // A broken one is refused once, and the next good one is taken.
    let before = show(&gateway)["digest"].clone();
    std::fs::write(&path, b"broken").unwrap();
    wait_until("the broken file is refused", || show(&gateway)["history"][0]["outcome"] == "refused");
    assert_eq!(show(&gateway)["digest"], before);
    std::fs::write(&path, variant(3)).unwrap();
    swapped("the next good file is loaded", &before);
}

#[test]
fn a_dry_run_of_the_configured_file_leaves_the_change_to_be_taken() {
    let platform = figlet();
    let config = faas_provider(&platform, "", "").replace("builtin:faas-provider", "{folder}/plugin.wasm");
    let config = format!("[reload]\nwatch = false\n{config}");
    let gateway = GatewayBuilder::new(&config).file("plugin.wasm", plugin()).start();
    let before = show(&gateway)["digest"].clone();
    std::fs::write(gateway.folder().join("plugin.wasm"), variant(1)).unwrap();
    let reply = gateway.admin_send("PUT", "/providers/platform?dry-run=true", &[], b"");
    assert_eq!(reply.json()["outcome"], "ready", "{}", reply.text());
    assert_eq!(show(&gateway)["digest"], before);
    gateway.signal(rustix::process::Signal::HUP);
    wait_until("the file is loaded", || show(&gateway)["digest"] != before);
    is_served(&gateway);
}

/// Two providers before two platforms; `limits` are of the first.
fn two(first: &Platform, second: Option<&Platform>, limits: &str) -> String {
    let mut config = format!("[reload]\nwatch = false\n{}", faas_provider(first, "", limits));
    if let Some(second) = second {
        config.push_str(
            &faas_provider(second, "", "")
                .replace("provider.platform", "provider.second")
                .replace("openfaas-fn", "second")
                .replace("default = true", "default = false"),
        );
    }
    config
}

#[test]
fn sighup_adds_changes_and_removes_providers_and_a_broken_file_changes_nothing() {
    let (platform, other) = (figlet(), Platform::start());
    other.function(json!({ "name": "cows", "namespace": "second", "replicas": 1 }));
    let gateway = Gateway::with(&two(&platform, None, ""));
    is_served(&gateway);
    let hangup = |config: &str, done: &str| {
        gateway.rewrite(config);
        let seen = gateway.output().text().matches(done).count();
        gateway.signal(rustix::process::Signal::HUP);
        wait_until(done, || gateway.output().text().matches(done).count() > seen);
    };

    hangup(&two(&platform, Some(&other), "[provider.platform.limits]\nhandles = 99\n"), "the configuration was taken");
    let log = gateway.output().text();
    assert!(log.contains("configuration: + provider.platform.limits.handles = 99"), "the difference is shown");
    assert_eq!(gateway.get("/function/cows.second").status, 200);
    is_served(&gateway);
    assert_eq!(show(&gateway)["history"][0]["by"], "sighup");
    assert_eq!(gateway.admin("/providers").json().as_array().unwrap().len(), 2);

    // All mistakes are told, and what runs goes on.
    let before = gateway.admin("/providers").json();
    hangup("[provider.platform]\ncomponent = \"builtin:nobody\"\nnamespace = [\"x\"]\n", "nothing changed");
    let log = gateway.output().text();
    assert!(log.contains("no such bundled plugin") && log.contains("namespaces"), "all mistakes are told");
    assert_eq!(gateway.admin("/providers").json(), before);

    // A refused plugin refuses the whole change.
    std::fs::write(gateway.folder().join("bad.wasm"), fixtures::component("wrong-type")).unwrap();
    let refused = two(&platform, None, "").replace("builtin:faas-provider", "{folder}/bad.wasm");
    hangup(&refused, "the configuration was not taken");
    assert_eq!(gateway.admin("/providers").json().as_array().unwrap().len(), 2);
    is_served(&gateway);

    let last = format!("[scaling]\nscale-timeout = \"30s\"\n{}", two(&platform, None, ""));
    hangup(&last, "the configuration was taken");
    assert_eq!(gateway.admin("/providers").json().as_array().unwrap().len(), 1);
    assert!(gateway.output().text().contains("scaling.scale-timeout"), "what needs a restart is named");
    assert_ne!(gateway.get("/function/cows.second").status, 200);
    is_served(&gateway);
}

#[test]
fn a_changed_configuration_file_is_noticed() {
    let (platform, other) = (figlet(), figlet());
    let gateway = gateway(&platform, "");
    is_served(&gateway);
    assert_eq!(platform.count("GET", "/function/figlet"), 1);
    gateway.rewrite(&faas_provider(&other, "", ""));
    wait_until("the other platform serves", || {
        is_served(&gateway);
        other.count("GET", "/function/figlet") > 0
    });
    assert_eq!(show(&gateway)["history"][0]["by"], "config");
}

#[test]
fn another_platform_must_have_what_was_called_and_is_warmed_up_first() {
    let (platform, other) = (figlet(), Platform::start());
    let gateway = Gateway::with(&two(&platform, None, ""));
    is_served(&gateway);
    gateway.rewrite(&two(&other, None, ""));
    gateway.signal(rustix::process::Signal::HUP);
    let refusal = gateway.output().wait_for("the configuration was not taken").unwrap();
    let history = show(&gateway)["history"][0].clone();
    assert_eq!(history["at"], "shadowed", "{refusal}: {history}");
    assert!(history["reason"].as_str().unwrap().contains("figlet.openfaas-fn"), "{history}");

    // There, but without an instance: it gets one before the swap.
    other.function(json!({ "name": "figlet", "replicas": 0, "ready_after_polls": 2 }));
    gateway.signal(rustix::process::Signal::HUP);
    gateway.output().wait_for("the configuration was taken").unwrap();
    let reply = gateway.get("/function/figlet");
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(other.count("POST", "/system/scale-function/figlet"), 1);
    assert_eq!(other.count("GET", "/function/figlet"), 1);
}

/// The command line, with its exit status and both outputs.
fn wicketgate(gateway: &Gateway, arguments: &[&str]) -> Output {
    let socket = gateway.folder().join("admin.sock");
    Command::new(env!("CARGO_BIN_EXE_wicketgate"))
        .arg("provider")
        .args(arguments)
        .args(["--socket", socket.to_str().unwrap()])
        .output()
        .unwrap()
}

#[test]
fn the_command_line_shows_and_changes_what_runs() {
    let platform = figlet();
    let gateway = gateway(&platform, "");
    let file = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = gateway.folder().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let (good, bad) = (file("good.wasm", &variant(1)), file("bad.wasm", b"bad"));
    let run = |arguments: &[&str]| {
        let output = wicketgate(&gateway, arguments);
        let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), said)
    };
    let (code, said) = run(&["list"]);
    assert!(code == 0 && said.starts_with("NAME") && said.contains("builtin:faas-provider"), "{said}");
    let (code, said) = run(&["swap", "platform", bad.to_str().unwrap()]);
    assert!(code == 1 && said.contains("refused at step compiled"), "{code}: {said}");
    let (code, said) = run(&["swap", "platform", good.to_str().unwrap(), "--dry-run"]);
    assert!(code == 0 && said.contains("was not published"), "{code}: {said}");
    let (code, said) = run(&["swap", "platform", good.to_str().unwrap()]);
    assert!(code == 0 && said.contains("serves"), "{code}: {said}");
    let (code, said) = run(&["show", "platform"]);
    assert!(code == 0 && said.contains("granted   to http://") && said.contains("uploaded"), "{said}");
    let (code, said) = run(&["rollback", "platform"]);
    assert!(code == 0 && said.contains("rolled back"), "{code}: {said}");
    let (code, said) = run(&["history", "platform"]);
    assert!(code == 0 && said.contains("refused at step compiled") && said.contains("roll-back"), "{said}");
    let (code, said) = run(&["show", "platform", "--json"]);
    assert_eq!((code, serde_json::from_str::<Value>(&said).unwrap()["name"].as_str()), (0, Some("platform")));
    let (code, said) = run(&["show", "nobody"]);
    assert!(code == 1 && said.contains("[provider.nobody]"), "{said}");
    assert_eq!(run(&["swap", "platform", "/nowhere.wasm"]).0, 64);
    assert_eq!(run(&["swop"]).0, 64);
    is_served(&gateway);
}

#[test]
fn a_plugin_that_is_refused_at_the_start_leaves_the_others_serving() {
    let platform = figlet();
    let bad = "[provider.bad]\ncomponent = \"{folder}/bad.wasm\"\nnamespaces = [\"bad\"]\n";
    let gateway = GatewayBuilder::new(&format!("{}{bad}", faas_provider(&platform, "", "")))
        .file("bad.wasm", fixtures::component("wrong-type"))
        .start();
    is_served(&gateway);
    let ready = gateway.get("/readyz");
    assert_eq!(ready.status, 200);
    assert!(ready.text().contains("provider bad has no active generation"), "{}", ready.text());
    let shown = gateway.admin("/providers/bad").json();
    assert_eq!(shown["state"], "failed");
    assert!(shown["reason"].as_str().unwrap().contains("type"), "{shown}");
    assert_eq!(gateway.get("/function/x.bad").code(503), "plugin_missing");
    assert_eq!(gateway.get("/system/functions?namespace=bad").code(503), "plugin_missing");
    let change = put(&gateway, "/providers/bad", &fixtures::component("good")).json();
    assert_eq!(change["outcome"], "published", "{change}");
    assert_eq!(gateway.get("/readyz").text(), "OK");
}
