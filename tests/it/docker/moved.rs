//! A namespace that goes from one platform to another under load, and several platforms behind one gateway.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Engine, IMAGE, Over, counts, deploy, engine, gateway, json, provider, swarm, wait_until, with_engine};
use crate::harness::replay::Replay;
use crate::harness::{GatewayBuilder, life_cycle};
use crate::{kubernetes, several};

const SCALING: &str = "[reload]\nwatch = false\n[scaling]\nprobe-linger = \"100ms\"\n";

/// The provider on this machine: its function `moving` is the program that the others have as an image.
fn here() -> String {
    format!(
        "[provider.moving]\ncomponent = \"builtin:local\"\nnamespaces = [\"openfaas-fn\", \"dev\"]\ndefault = true\n\
         [provider.moving.config]\nnamespaces = [\"openfaas-fn\", \"dev\"]\n\
         [provider.moving.endpoints]\nallow = [\"127.0.0.0/8\"]\n\
         [provider.moving.command.moving]\ncommand = [\"/usr/bin/env\", \"NAME=local\", \"{}\"]\nmode = \"http\"\n",
        life_cycle::program().display()
    )
}

/// Puts the function on a platform, with one instance.
fn prepare(engine: &Engine, config: &str, profile: &str, says: &str) {
    let gateway = gateway(engine, config, profile);
    deploy(&gateway, "POST", "moving", says, json!({}));
    wait_until("it runs", || counts(&gateway, "moving") == (1, 1));
}

#[test]
fn a_namespace_moves_from_this_machine_to_a_swarm_and_to_containers_and_no_request_fails() {
    with_engine(|engine| {
        prepare(engine, swarm::CONFIG, "docker-swarm", "swarm");
        prepare(engine, &engine::config("stop"), "docker", "engine");
        let to = |config: &str, profile: &str| format!("{}{SCALING}", provider("moving", engine, config, profile));
        let gateway = crate::harness::Gateway::with(&format!("{}{SCALING}", here()));
        assert_eq!(life_cycle::call(&gateway, "moving", "x").0, "local");

        // Who answered, in order; and what went wrong.
        let (is_over, answers) = (AtomicBool::new(false), Mutex::new(Vec::<String>::new()));
        let failed = Mutex::new(Vec::<String>::new());
        std::thread::scope(|scope| {
            let over = Over(&is_over);
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut connection = gateway.connect();
                    while !is_over.load(Ordering::Relaxed) {
                        let reply = connection.send("POST", "/function/moving/path", &[], b"body");
                        let text = reply.text();
                        if reply.status == 200 && text.ends_with(" /path body") {
                            answers.lock().unwrap().push(text.split(' ').next().unwrap().to_owned());
                        } else {
                            failed.lock().unwrap().push(format!("{} {text}", reply.status));
                        }
                    }
                });
            }
            let only = |who: &str| {
                wait_until(&format!("{who} answers and nobody else"), || {
                    let answers = answers.lock().unwrap();
                    answers.len() > 200 && answers.iter().rev().take(200).all(|answer| answer == who)
                });
            };
            only("local");
            let taken = || gateway.output().text().matches("the configuration was taken").count();
            for (config, who) in [
                (to(swarm::CONFIG, "docker-swarm"), "swarm"),
                (to(&engine::config("stop"), "docker"), "engine"),
                (to(swarm::CONFIG, "docker-swarm-scale-only"), "swarm"),
            ] {
                let before = taken();
                gateway.rewrite(&config);
                gateway.signal(rustix::process::Signal::HUP);
                wait_until(&format!("the configuration for {who} was taken"), || {
                    let shown = gateway.admin("/providers/moving").json();
                    assert_ne!(shown["history"][0]["outcome"], "refused", "{shown}");
                    taken() > before
                });
                only(who);
            }
            drop(over);
        });
        let failed = failed.into_inner().unwrap();
        assert!(failed.is_empty(), "{} requests failed: {failed:#?}", failed.len());
        let mut who = answers.into_inner().unwrap();
        who.dedup();
        eprintln!("answered: {}", who.join(", "));
    });
}

#[test]
fn one_gateway_serves_this_machine_a_swarm_and_a_cluster_and_says_which_one_is_missing() {
    with_engine(|engine| {
        let operator = swarm::swarm(engine);
        deploy(&operator, "POST", "several", "several", json!({ "namespace": "dev" }));
        let replay = Replay::start(kubernetes::healthy().then(kubernetes::quiet_watch()));
        let cluster = kubernetes::provider(&replay, "").replace("default = true\n", "");
        let on_swarm =
            provider("swarm", engine, &swarm::CONFIG.replace("mode", "max-replicas = 5\nmode"), "docker-swarm");
        let gateway =
            GatewayBuilder::new(&format!("{on_swarm}{cluster}{}{SCALING}watch-wait = \"20s\"\n", several::LOCAL))
                .file("token", "serviceaccount")
                .start();
        let (names, missing) = several::listed(&gateway);
        for name in ["several.dev", "upper.commands", "echo.fns"] {
            assert!(names.iter().any(|listed| listed == name), "{name}: {names:?}");
        }
        assert_eq!(missing, None);
        let serves = || {
            assert_eq!(life_cycle::call(&gateway, "several.dev", "x").0, "several");
            assert_eq!(gateway.post("/function/upper.commands", "abc").text(), "ABC");
        };
        serves();
        replay.check();

        drop(replay);
        let (names, missing) = several::listed(&gateway);
        assert!(names.iter().any(|name| name == "several.dev") && names.iter().any(|name| name == "upper.commands"));
        assert!(names.iter().all(|name| !name.ends_with(".fns")), "{names:?}");
        assert_eq!(missing.as_deref(), Some("kubernetes/fns"));
        serves();
        assert!(engine.get("/services/dev_several")["Spec"]["TaskTemplate"].to_string().contains(IMAGE));
    });
}
