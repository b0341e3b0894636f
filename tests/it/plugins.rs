//! Plugins that are wrong or hostile: each failure is typed, and takes nobody else with it.

#[path = "../fixtures/fixtures.rs"]
pub mod fixtures;

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::harness::{self, Gateway, GatewayBuilder, Platform, wait_until};

/// A gateway with a provider for each fixture, each with a namespace of its name, and with `good`,
/// whose function `localhost` is answered by the platform.
fn with(platform: &Platform, names: &[&str]) -> Gateway {
    platform.rule(json!({ "path": "/", "status": 200, "body": "good" }));
    let port = platform.address().rsplit_once(':').unwrap().1;
    let mut config = String::new();
    let mut builder = GatewayBuilder::new("");
    for name in names.iter().chain(&["good"]) {
        write!(
            config,
            "[provider.{name}]\ncomponent = \"{name}.wasm\"\nnamespaces = [\"{name}\"]\n\
             [provider.{name}.endpoints]\nallow = [\"127.0.0.0/8\", \"::1\", \"localhost\"]\ntemplate = \"http://{{name}}:{port}\"\n\
             [provider.{name}.limits]\ncpu-time = \"100ms\"\ncall-timeout = \"1s\"\n"
        )
        .unwrap();
        builder = builder.file(&format!("{name}.wasm"), fixtures::component(name));
    }
    builder.config(&config).start()
}

fn is_good(gateway: &Gateway) {
    let reply = gateway.get("/function/localhost.good");
    assert_eq!((reply.status, reply.text().as_str()), (200, "good"));
}

#[test]
fn a_plugin_that_misbehaves_is_a_502_and_leaves_the_others_alone() {
    let names = [
        "trap",
        "endless-loop",
        "endless-recursion",
        "memory-bomb",
        "bad-pointer",
        "bad-utf8",
        "long-key",
        "many-labels",
        // Its reading takes more handles than it may; `handles` is about writing, which no cold start of
        // it comes to.
        "hoards",
        "loop-in-realloc",
        "trap-in-post-return",
    ];
    let platform = Platform::start();
    let gateway = with(&platform, &names);
    is_good(&gateway);
    for name in names {
        let reply = gateway.get(&format!("/function/figlet.{name}"));
        assert_eq!(reply.status, 502, "{name}: {}", reply.text());
        assert_eq!(reply.code(502), "plugin_fault", "{name}");
        assert!(!reply.text().contains("wasm"), "{name}: callers are told nothing internal: {}", reply.text());
        is_good(&gateway);
    }
    // The operator is told which plugin, which function and what to change.
    let log = gateway.output().text();
    for name in names {
        assert!(log.contains(&format!("figlet.{name}")), "{name} is not in the log");
    }
    assert!(log.contains("cpu-time"), "the setting that raises the budget is named");
}

#[test]
fn what_a_guest_says_and_what_it_was_denied_is_told_with_provider_function_and_call() {
    let (says, asks) = (harness::guest("wasip2-sockets"), harness::guest("fetch"));
    let mut config = String::new();
    for name in ["says", "asks"] {
        write!(
            config,
            "[provider.{name}]\ncomponent = \"{name}.wasm\"\nnamespaces = [\"{name}\"]\n\
             [provider.{name}.endpoints]\nallow = [\"127.0.0.0/8\"]\ntemplate = \"http://{{name}}:1\"\n"
        )
        .unwrap();
    }
    // It may ask for one thing, which is not the one that it asks for.
    config += "[provider.asks.grant.platform]\nconnect = \"http://127.0.0.1:1\"\nallow = [\"GET /nothing\"]\n";
    let gateway = GatewayBuilder::new(&config).file("says.wasm", says).file("asks.wasm", asks).start();
    let about = |name: &str, call: &str| {
        let target = format!("/system/function/says?namespace={name}");
        gateway.send("GET", &target, &[("x-call-id", call)], "").status
    };
    assert_eq!((about("says", "call-of-says"), about("asks", "call-of-asks")), (200, 502));

    for (provider, level, target, what) in [
        ("says", "WARN", "wicketgate::guest", "said to the log to=the operator"),
        ("says", "INFO", "wicketgate::guest", "said to the output"),
        ("says", "WARN", "wicketgate::guest", "said to the error"),
        ("asks", "WARN", "wicketgate::plugin::guest_log", "no rule allows this request"),
    ] {
        // What the plugin's watch is denied is about no function.
        let call = format!("\"call_id\":\"call-of-{provider}\"");
        let is_it = |line: &&str| line.contains(what) && line.contains(&call);
        wait_until(what, || gateway.output().text().lines().any(|line| is_it(&line)));
        let text = gateway.output().text();
        let line: Value = serde_json::from_str(text.lines().find(is_it).unwrap()).unwrap();
        assert_eq!((&line["level"], &line["target"]), (&json!(level), &json!(target)), "{line}");
        assert_eq!(line["provider"], provider, "{line}");
        assert!(line["generation"].as_u64().is_some_and(|generation| generation > 0), "{line}");
        assert_eq!(line["function"], format!("says.{provider}"), "{line}");
    }
}

#[test]
fn a_plugin_that_traps_is_asked_twice_and_no_more() {
    let platform = Platform::start();
    let gateway = with(&platform, &["trap"]);
    assert_eq!(gateway.get("/function/figlet.trap").status, 502);
    let trapped = r#"wicketgate_plugin_calls_total{interface="service-query",outcome="trap",provider="trap"}"#;
    assert!((gateway.metric(trapped) - 2.0).abs() < 0.5, "the caller need not wait for more");
    let shown = gateway.admin("/providers/trap").json();
    let traps = shown["traps"].as_array().unwrap();
    assert_eq!(traps.len(), 2, "{shown}");
    assert_eq!(traps[0]["function"], "figlet.trap");
    assert!(traps[0]["call_id"].as_str().is_some_and(|id| !id.is_empty()), "{shown}");
}

#[test]
fn an_instance_that_never_becomes_available_is_no_fault_of_the_plugin() {
    let platform = Platform::start();
    let port = platform.address().rsplit_once(':').unwrap().1.to_owned();
    let config = format!(
        "[scaling]\nscale-timeout = \"1s\"\n[provider.slow]\ncomponent = \"handles.wasm\"\nnamespaces = [\"slow\"]\n\
         [provider.slow.endpoints]\nallow = [\"127.0.0.0/8\"]\ntemplate = \"http://{{name}}:{port}\"\n"
    );
    let gateway = GatewayBuilder::new(&config).file("handles.wasm", fixtures::component("handles")).start();
    // It answers each question, and says each time that its one instance is not available.
    assert_eq!(gateway.get("/function/figlet.slow").code(504), "scale_timeout");
}

#[test]
fn a_plugin_that_waits_for_ever_is_a_504_at_its_call_timeout() {
    let platform = Platform::start();
    let gateway = with(&platform, &["sleeps"]);
    let reply = gateway.get("/function/figlet.sleeps");
    assert_eq!(reply.code(504), "provider_timeout");
    assert!(reply.header("retry-after").is_some());
    assert!(gateway.output().wait_for("call-timeout").is_some(), "the setting that raises the budget is named");
    is_good(&gateway);
}

#[test]
fn plugins_that_hang_at_once_hold_up_nobody() {
    let platform = Platform::start();
    let gateway = with(&platform, &["endless-loop", "sleeps"]);
    is_good(&gateway);
    std::thread::scope(|scope| {
        for name in ["endless-loop", "sleeps"] {
            for number in 0..8 {
                let gateway = &gateway;
                scope.spawn(move || assert!(gateway.get(&format!("/function/f{number}.{name}")).status >= 500));
            }
        }
        for _ in 0..50 {
            is_good(&gateway);
        }
    });
}

#[test]
fn a_plugin_that_keeps_trapping_is_stopped_for_a_while() {
    let platform = Platform::start();
    let gateway = with(&platform, &["trap"]);
    wait_until("the plugin is in quarantine", || {
        let reply = gateway.get("/function/figlet.trap");
        assert!(matches!(reply.status, 502 | 503), "{}", reply.text());
        reply.status == 503 && reply.header("retry-after").is_some() && {
            let providers = gateway.admin("/providers").json();
            providers
                .as_array()
                .unwrap()
                .iter()
                .any(|provider| provider["name"] == "trap" && provider["state"] == "quarantined")
        }
    });
    is_good(&gateway);
}

#[test]
fn what_a_plugin_does_not_export_is_a_501_that_names_it() {
    let platform = Platform::start();
    let gateway = with(&platform, &[]);
    for (method, target, body, interface) in [
        ("GET", "/system/functions?namespace=good", "", "functions"),
        ("POST", "/system/functions", r#"{"service":"a","image":"b","namespace":"good"}"#, "functions"),
        ("GET", "/system/secrets?namespace=good", "", "secrets"),
        ("GET", "/system/logs?name=a&namespace=good", "", "logs"),
        ("GET", "/system/namespace/good", "", "namespaces"),
    ] {
        let reply = gateway.send(method, target, &[], body);
        assert_eq!(reply.code(501), "not_exported", "{target}");
        assert!(reply.text().contains(interface), "{target}: {}", reply.text());
    }
    // What it does export is enough to look at a function and to scale it.
    assert_eq!(gateway.get("/system/function/localhost?namespace=good").json()["replicas"], 2);
    let scale = r#"{"replicas":3,"namespace":"good"}"#;
    assert_eq!(gateway.post("/system/scale-function/localhost", scale).status, 202);
    assert_eq!(gateway.get("/system/namespaces").json(), json!(["good"]));
}

#[test]
fn a_platforms_not_found_is_the_one_404() {
    let platform = Platform::start();
    let gateway = with(&platform, &["not-found"]);
    let reply = gateway.get("/function/figlet.not-found");
    assert_eq!(reply.code(404), "function_not_found");
    assert!(reply.text().contains("no such function"), "{}", reply.text());
    assert_eq!(gateway.get("/function/figlet.nobody").code(404), "no_provider");
}

#[test]
fn a_component_that_is_no_plugin_is_refused_with_a_reason() {
    for (name, reason) in [
        ("no-service-query", "service-query"),
        ("missing-function", "set-replicas"),
        ("wrong-type", "service-query"),
        ("unknown-import", "import"),
        ("wants-processes", "processes"),
    ] {
        let builder =
            GatewayBuilder::new(&format!("[provider.bad]\ncomponent = \"{name}.wasm\"\nnamespaces = [\"bad\"]\n"))
                .file(&format!("{name}.wasm"), fixtures::component(name));
        let (status, said) = builder.run("serve");
        assert!(!status.success(), "{name} was accepted");
        assert!(said.contains(reason), "{name}: {reason:?} is not in\n{said}");
    }
}
