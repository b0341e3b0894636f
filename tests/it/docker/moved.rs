//! A namespace that goes from one platform to another under load, and several platforms behind one gateway.

use super::{
    Engine, IMAGE, counts, deploy, engine, gateway, json, provider, swarm, under_load, wait_until, with_engine,
};
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

        under_load(&gateway, "moving", |only| {
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
        });
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
