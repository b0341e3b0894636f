//! `builtin:docker` against a real Docker Engine: swarm services, and plain containers.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::harness::contest::Over;
use crate::harness::docker::{Engine, IMAGE, with_engine};
use crate::harness::life_cycle::{call, counts, scale};
use crate::harness::{Gateway, life_cycle, wait_until};
use crate::plugin_check::passes;

mod addresses;
pub(crate) mod engine;
mod moved;
mod recycled;
mod swarm;

/// A gateway before the engine. `config` is the plugin's, `profile` the grant's.
pub(crate) fn gateway(engine: &Engine, config: &str, profile: &str) -> Gateway {
    gateway_with(engine, config, profile, "[scaling]\nprobe-linger = \"100ms\"\n")
}

/// The same with more tables.
pub(crate) fn gateway_with(engine: &Engine, config: &str, profile: &str, tables: &str) -> Gateway {
    Gateway::with(&format!("{}{tables}\n", provider("docker", engine, config, profile)))
}

/// The lines of a provider on the engine.
pub(crate) fn provider(name: &str, engine: &Engine, config: &str, profile: &str) -> String {
    format!(
        "[provider.{name}]\ncomponent = \"builtin:docker\"\nnamespaces = [\"openfaas-fn\", \"dev\"]\ndefault = true\n\
         [provider.{name}.config]\nnamespaces = [\"openfaas-fn\", \"dev\"]\n{config}\n\
         [provider.{name}.grant.docker]\nconnect = \"unix:{}\"\nbase = \"/v1.41\"\nprofile = \"{profile}\"\n\
         [provider.{name}.endpoints]\nallow = [\"127.0.0.0/8\"]\n\
         [provider.{name}.limits]\ncall-timeout = \"30s\"\ndeploy-timeout = \"60s\"\n",
        engine.socket().display(),
    )
}

/// Deploys a function whose answers begin with `says`.
pub(crate) fn deploy(gateway: &Gateway, method: &str, name: &str, says: &str, more: Value) {
    life_cycle::deploy(gateway, IMAGE, method, name, says, more);
}

/// The whole life of a function.
pub(crate) fn life_cycle(gateway: &Gateway, name: &str) {
    life_cycle::life_cycle(gateway, IMAGE, name);
}

/// Asks a function all the time while `work` goes on, which waits, by what it is given, until one platform's or
/// version's instances answer and nobody else. No request may fail.
fn under_load(gateway: &Gateway, function: &str, work: impl FnOnce(&dyn Fn(&str))) {
    let (is_over, answers, failed) = (AtomicBool::new(false), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let target = format!("/function/{function}/path");
    std::thread::scope(|scope| {
        let over = Over(&is_over);
        for _ in 0..4 {
            scope.spawn(|| {
                let mut connection = gateway.connect();
                while !is_over.load(Ordering::Relaxed) {
                    let reply = connection.send("POST", &target, &[], b"body");
                    let text = reply.text();
                    if reply.status == 200 && text.ends_with(" /path body") {
                        answers.lock().unwrap().push(text.split(' ').next().unwrap().to_owned());
                    } else {
                        failed.lock().unwrap().push(format!("{} {text}", reply.status));
                    }
                }
            });
        }
        work(&|who| {
            wait_until(&format!("{who} answers and nobody else"), || {
                let answers = answers.lock().unwrap();
                answers.len() > 200 && answers.iter().rev().take(200).all(|answer| answer == who)
            });
        });
        drop(over);
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} requests failed: {failed:#?}", failed.len());
}

#[test]
fn it_does_what_the_contract_says_in_both_modes() {
    with_engine(|engine| {
        let swarm = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/plugins/answers-swarm.json");
        let engine_config = "mode = \"engine\"";
        for (config, profile, name, answers) in [
            (engine_config, "docker", "check-engine", &[][..]),
            (swarm::CONFIG, "docker-swarm", "check-swarm", &["--answers", swarm][..]),
        ] {
            let text = provider("docker", engine, config, profile);
            let gateway = Gateway::with(&text);
            deploy(&gateway, "POST", name, "checked", json!({}));
            drop(gateway);
            // The engine of a loaded machine takes its time; a silent platform is waited for as long.
            let text = text.replace("call-timeout = \"30s\"", "call-timeout = \"10s\"");
            passes(&text, "builtin:docker", &[&["--function", name, "--most", "3"], answers].concat());
        }
    });
}

#[test]
fn the_platform_says_what_it_is() {
    with_engine(|engine| {
        for (mode, orchestration) in [("swarm", "swarm"), ("engine", "docker")] {
            let gateway = gateway(engine, &format!("mode = \"{mode}\""), "docker-swarm-scale-only");
            let info = gateway.get("/system/info").json();
            assert_eq!(info["provider"]["orchestration"], orchestration, "{info}");
            assert_eq!(gateway.get("/healthz").status, 200);
        }
    });
}

#[test]
fn a_version_of_the_api_that_the_engine_does_not_speak_is_told_with_what_to_write() {
    with_engine(|engine| {
        let lines = provider("docker", engine, "mode = \"engine\"", "docker").replace("/v1.41", "/v1.99");
        let reply = Gateway::with(&lines).get("/system/functions");
        assert!(reply.status >= 400, "{}", reply.text());
        assert!(
            reply.text().contains("API version is 1.") && reply.text().contains("write that version"),
            "{}",
            reply.text()
        );
    });
}

#[test]
fn an_event_ends_a_cold_start_and_a_followed_log_goes_on_in_each_mode() {
    with_engine(|engine| {
        wakes_by_an_event(engine, "event-swarm", swarm::CONFIG, "docker-swarm");
        wakes_by_an_event(engine, "event-stop", &engine::config("stop"), "docker");
        wakes_by_an_event(engine, "event-pause", &engine::config("pause"), "docker");
    });
}

/// A function that is woken as soon as the engine tells of it, and whose log is followed meanwhile.
pub(crate) fn wakes_by_an_event(engine: &Engine, name: &str, config: &str, profile: &str) {
    // Whoever is not told by an event asks again after a minute.
    let tables = "[scaling]\nprobe-linger = \"100ms\"\npoll-interval-watched = \"60s\"\nscale-timeout = \"50s\"\n";
    let gateway = gateway_with(engine, config, profile, tables);
    wait_until("the watch is healthy", || gateway.metric("wicketgate_watch_healthy{provider=\"docker\"}") == 1.0);
    deploy(&gateway, "POST", name, "told", json!({}));
    call(&gateway, name, "x");
    for _ in 0..2 {
        scale(&gateway, name, 0);
        wait_until("nothing runs", || counts(&gateway, name) == (0, 0));
        assert_eq!(call(&gateway, name, "y").0, "told");
    }
    assert_eq!(gateway.metric("wicketgate_watch_healthy{provider=\"docker\"}"), 1.0, "{name}");

    let mut follower = gateway.connect();
    follower.begin("GET", &format!("/system/logs?name={name}&follow=true"), &[], b"");
    assert_eq!(follower.head().0, 200);
    let mut seen = String::new();
    let mut read_until = |text: &str| {
        while !seen.contains(text) {
            seen.push_str(&String::from_utf8(follower.chunk().expect("the stream goes on")).unwrap());
        }
    };
    read_until("told got POST /path");
    for turn in 0..3 {
        assert_eq!(gateway.post(&format!("/function/{name}/turn-{turn}"), "z").status, 200);
        read_until(&format!("told got POST /turn-{turn}"));
    }
    for turn in 0..3 {
        assert_eq!(seen.matches(&format!("told got POST /turn-{turn}")).count(), 1, "{name}: {seen}");
    }
}
