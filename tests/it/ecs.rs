//! The bundled `ecs` plugin against moto, somebody else's implementation of AWS, with the tasks that moto lacks.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::{Gateway, GatewayBuilder, Played, target, wait_until};
use crate::plugin_check::{not_applicable, passes};

/// moto's server behind the layer of `ecs.py`, as a child process. Dropping it ends it.
struct Ecs(Played);

/// The Python of the virtual environment that `cargo xtask test` makes.
fn python() -> PathBuf {
    let python = target().join("moto/bin/python");
    assert!(python.exists(), "{} is missing: `cargo xtask test` makes it", python.display());
    python
}

impl Ecs {
    /// One that checks signatures and policies.
    fn start() -> Self {
        Self::spawn(&["--auth"])
    }

    /// One that takes whatever comes.
    fn open() -> Self {
        Self::spawn(&[])
    }

    fn spawn(arguments: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/ecs.py");
        let mut command = Command::new(python());
        command.arg("-u").arg(script).args(arguments);
        Self(Played::spawn(command, "ecs on http://"))
    }

    /// The gateway before it, which signs as who may do all of it. `more` is more of its `config`.
    fn gateway(&self, more: &str) -> Gateway {
        self.signing("gateway", None, "ecs", more)
    }

    /// The gateway that signs as a user, or with another secret, within a profile.
    fn signing(&self, user: &str, secret: Option<&str>, profile: &str, more: &str) -> Gateway {
        let auth = "auth = { aws = { region = \"eu-west-1\", service = \"ecs\", access-key-file = \"{folder}/key\", \
                    secret-key-file = \"{folder}/secret\" } }";
        let keys = &self.0.facts()[user];
        GatewayBuilder::new(&self.config(more, profile, auth))
            .file("key", keys["key"].as_str().unwrap())
            .file("secret", secret.unwrap_or(keys["secret"].as_str().unwrap()))
            .start()
    }

    fn config(&self, more: &str, profile: &str, auth: &str) -> String {
        let facts = self.0.facts();
        format!(
            "[provider.cloud]\ncomponent = \"builtin:ecs\"\nnamespaces = [\"openfaas-fn\"]\ndefault = true\n\
             [provider.cloud.config]\nclusters = {{ openfaas-fn = \"functions\" }}\nport = {}\n{more}\n\
             [provider.cloud.config.deploy]\nsubnets = {}\nsecurity-groups = {}\n\
             [provider.cloud.grant.ecs]\nconnect = \"http://{}\"\nprofile = \"{profile}\"\n{auth}\n\
             [provider.cloud.endpoints]\nallow = [\"127.0.1.0/24\"]\n",
            facts["port"],
            facts["subnets"],
            facts["groups"],
            self.0.address()
        )
    }

    fn control(&self, path: &str, body: &Value) {
        self.0.control(path, body);
    }

    /// The operations that came so far.
    fn operations(&self) -> Vec<String> {
        self.0.log().iter().map(|entry| entry["operation"].as_str().unwrap().to_owned()).collect()
    }

    fn count(&self, operation: &str) -> usize {
        self.operations().iter().filter(|name| *name == operation).count()
    }
}

fn deploy(gateway: &Gateway, name: &str) {
    let body = json!({ "service": name, "image": format!("example/{name}:1"), "labels": { "com.openfaas.scale.max": "7" },
        "annotations": { "note": "a b" }, "envVars": { "A": "1" }, "envProcess": "cat" });
    let reply = gateway.post("/system/functions", body.to_string());
    assert_eq!(reply.status, 202, "{}", reply.text());
}

fn scale(gateway: &Gateway, name: &str, count: u64) {
    let body = json!({ "serviceName": name, "replicas": count }).to_string();
    let reply = gateway.post(&format!("/system/scale-function/{name}"), body);
    assert_eq!(reply.status, 202, "{}", reply.text());
}

#[test]
fn a_function_is_deployed_called_from_zero_scaled_updated_and_deleted() {
    let ecs = Ecs::start();
    let gateway = ecs.gateway("");
    deploy(&gateway, "figlet");
    let shown = gateway.get("/system/function/figlet").json();
    assert_eq!((&shown["image"], &shown["envProcess"]), (&json!("example/figlet:1"), &json!("cat")), "{shown}");
    assert_eq!(
        (&shown["labels"]["com.openfaas.scale.max"], &shown["annotations"]["note"]),
        (&json!("7"), &json!("a b"))
    );
    assert_eq!(shown["envVars"]["A"], "1");

    scale(&gateway, "figlet", 0);
    let cold = gateway.post("/function/figlet", "the quick brown fox");
    assert_eq!((cold.status, cold.text().as_str()), (200, "127.0.1.1 4"));
    assert!(cold.header("server-timing").is_some_and(|timing| timing.contains("scale;dur=")));

    scale(&gateway, "figlet", 3);
    let mut seen = std::collections::BTreeSet::new();
    wait_until("three tasks answer, the one of the second page too", || {
        seen.insert(gateway.get("/function/figlet").text());
        seen.len() == 3
    });

    let taken = json!({ "service": "figlet", "image": "x" }).to_string();
    assert_eq!(gateway.post("/system/functions", &taken).code(409), "already_exists");
    let update = json!({ "service": "figlet", "image": "example/figlet:2", "labels": { "team": "a" } }).to_string();
    assert_eq!(gateway.send("PUT", "/system/functions", &[], update).status, 202);
    let shown = gateway.get("/system/function/figlet").json();
    assert_eq!((&shown["image"], &shown["labels"]), (&json!("example/figlet:2"), &json!({ "team": "a" })));
    assert_eq!(shown["replicas"], 3, "an update leaves the count alone");

    let delete = json!({ "functionName": "figlet" }).to_string();
    assert_eq!(gateway.send("DELETE", "/system/functions", &[], &delete).status, 202);
    assert_eq!(gateway.get("/system/function/figlet").code(404), "not_found");
    assert_eq!(gateway.get("/function/figlet").status, 404);
    assert_eq!(gateway.send("DELETE", "/system/functions", &[], &delete).status, 404);
}

#[test]
fn a_slow_start_is_waited_for_and_joined_by_all_callers() {
    let ecs = Ecs::start();
    let gateway = ecs.gateway("");
    deploy(&gateway, "slow");
    scale(&gateway, "slow", 0);
    ecs.control("/_slow", &json!({ "polls": 5 }));
    let before = ecs.count("UpdateService");
    std::thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(|| {
                let reply = gateway.get("/function/slow");
                assert_eq!((reply.status, reply.text().as_str()), (200, "127.0.1.1 0"), "{:?}", reply.headers);
            });
        }
    });
    assert_eq!(ecs.count("UpdateService") - before, 1, "one cold start for all");
}

#[test]
fn only_tagged_services_are_functions_and_lists_come_in_pages() {
    let ecs = Ecs::start();
    let names: Vec<String> = (0..25).map(|n| format!("fn-{n:02}")).collect();
    ecs.control("/_services", &json!({ "names": names, "function": true }));
    ecs.control("/_services", &json!({ "names": ["database"], "function": false }));
    let gateway = ecs.gateway("");
    let list = gateway.get("/system/functions").json();
    let mut listed: Vec<&str> = list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    listed.sort_unstable();
    assert_eq!(listed, names);
    assert_eq!(gateway.get("/function/database").status, 404);
    assert_eq!(gateway.get("/function/nobody").status, 404);
    let body = json!({ "serviceName": "database", "replicas": 3 }).to_string();
    assert_eq!(gateway.post("/system/scale-function/database", body).status, 404);
    assert_eq!(ecs.count("UpdateService"), 0, "what is no function is never scaled");
    let all = ecs.gateway("services = \"all\"");
    assert_eq!(all.get("/system/function/database").json()["name"], "database");
}

#[test]
fn what_the_platform_refuses_is_told_apart() {
    let ecs = Ecs::start();
    let gateway = ecs.gateway("");
    deploy(&gateway, "figlet");
    for (status, name, expected, code) in [
        (400, "ThrottlingException", 503, "rate_limited"),
        (400, "AccessDeniedException", 502, "platform_denied"),
        (403, "SignatureDoesNotMatch", 502, "platform_unauthenticated"),
        (500, "ServerException", 503, "provider_unavailable"),
    ] {
        ecs.control("/_fail", &json!({ "operation": "DescribeServices", "status": status, "type": name, "times": 1 }));
        assert_eq!(gateway.get("/system/function/figlet").code(expected), code, "{name}");
    }
    assert_eq!(gateway.get("/system/function/figlet").status, 200);
}

#[test]
fn an_address_that_a_task_gave_up_gets_no_request_any_more() {
    let ecs = Ecs::start();
    let gateway = ecs.gateway("");
    deploy(&gateway, "first");
    assert_eq!(gateway.get("/function/first").text(), "127.0.1.1 0");
    ecs.control("/_recycle", &json!({ "service": "first" }));
    let recycled = Instant::now();
    // The plugin's time for a task's address, and what asking for the new one may take on a machine under load.
    let window = Duration::from_secs(2) + Duration::from_secs(1);
    let (mut late, mut fresh) = (Vec::new(), 0);
    std::thread::scope(|threads| {
        // Several callers at once: the address is given up because its time is over, not because nobody calls.
        let callers: Vec<_> = (0..4)
            .map(|_| {
                threads.spawn(|| {
                    let mut seen = Vec::new();
                    while recycled.elapsed() < window + Duration::from_secs(1) {
                        let begun = recycled.elapsed();
                        seen.push((begun, gateway.get("/function/first").text()));
                    }
                    seen
                })
            })
            .collect();
        for (begun, text) in callers.into_iter().flat_map(|caller| caller.join().unwrap()) {
            match text.as_str() {
                "127.0.1.11 0" => fresh += 1,
                "127.0.1.1 0" if begun <= window => {}
                _ => late.push((begun, text)),
            }
        }
    });
    assert!(late.is_empty(), "the old address answers for somebody else: {late:?}");
    assert!(fresh > 100, "{fresh} answers of the new one");
}

#[test]
fn every_request_is_signed_and_what_the_policy_refuses_is_the_platforms_word() {
    let ecs = Ecs::start();
    let gateway = ecs.gateway("");
    deploy(&gateway, "figlet");
    scale(&gateway, "figlet", 0);
    let cold = gateway.post("/function/figlet", "the quick brown fox");
    assert_eq!((cold.status, cold.text().as_str()), (200, "127.0.1.1 4"));
    assert_eq!(gateway.get("/system/functions").json()[0]["name"], "figlet");

    let reader = ecs.signing("reader", None, "ecs", "");
    assert_eq!(reader.get("/system/function/figlet").json()["replicas"], 1);
    let body = json!({ "serviceName": "figlet", "replicas": 5 }).to_string();
    assert_eq!(reader.post("/system/scale-function/figlet", body).code(502), "platform_denied");

    // What scaling needs is enough for it, and for nothing else.
    let scaler = ecs.signing("scaler", None, "ecs-scale-only", "");
    scale(&scaler, "figlet", 0);
    assert_eq!(scaler.post("/function/figlet", "a b").text(), "127.0.1.1 2");
    let bold = ecs.signing("scaler", None, "ecs", "");
    let new = json!({ "service": "other", "image": "example/other:1" }).to_string();
    assert_eq!(bold.post("/system/functions", new).code(502), "platform_denied");

    let forger = ecs.signing("gateway", Some("not the secret"), "ecs", "");
    assert_eq!(forger.get("/system/function/figlet").code(502), "platform_unauthenticated");

    let update = json!({ "service": "figlet", "image": "example/figlet:2" }).to_string();
    assert_eq!(gateway.send("PUT", "/system/functions", &[], update).status, 202);
    let delete = json!({ "functionName": "figlet" }).to_string();
    assert_eq!(gateway.send("DELETE", "/system/functions", &[], delete).status, 202);
    assert_eq!(gateway.get("/function/figlet").status, 404);
}

#[test]
fn it_does_what_the_contract_says() {
    let ecs = Ecs::open();
    let names: Vec<String> = (0..120).map(|number| format!("fn-{number}")).collect();
    ecs.control("/_services", &json!({ "names": names, "function": true }));
    let config = ecs.config("", "ecs", "") + "[provider.cloud.limits]\ncall-timeout = \"5s\"\n";
    // The service says with 400 and a name what others say with 409.
    let answers = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/plugins/answers-ecs.json");
    let arguments = ["--function", "fn-7", "--functions", "120", "--answers", answers];
    let report = passes(&config, "builtin:ecs", &arguments);
    assert_eq!(not_applicable(&report), ["a watch begins with all functions"]);
}
