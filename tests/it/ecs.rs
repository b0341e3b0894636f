//! The bundled `ecs` plugin against moto, somebody else's implementation of AWS, with the tasks that moto lacks.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Connection, Gateway, GatewayBuilder, Output, wait_until};

/// moto's server behind the layer of `ecs.py`, as a child process. Dropping it ends it.
struct Ecs {
    child: Child,
    address: String,
    facts: Value,
}

/// The Python of the virtual environment that `cargo xtask test` makes.
fn python() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    let python = target.join("moto/bin/python");
    assert!(python.exists(), "{} is missing: `cargo xtask test` makes it", python.display());
    python
}

impl Ecs {
    /// One that takes whatever comes.
    fn start() -> Self {
        Self::spawn(&[])
    }

    /// One that checks signatures and policies.
    fn with_checks() -> Self {
        Self::spawn(&["--auth"])
    }

    fn spawn(arguments: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/ecs.py");
        let mut command = Command::new(python());
        command
            .arg("-u")
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (output, errors) = (Output::default(), Output::default());
        output.drain(child.stdout.take().unwrap());
        errors.drain(child.stderr.take().unwrap());
        let line =
            output.wait_for("ecs on http://").unwrap_or_else(|| panic!("moto did not start:\n{}", errors.text()));
        let (address, facts) = line.split_once(' ').unwrap();
        Self { child, address: address.to_owned(), facts: serde_json::from_str(facts).unwrap() }
    }

    /// The gateway before it. `more` is more of its `config`.
    fn gateway(&self, more: &str) -> Gateway {
        Gateway::with(&self.config(more, ""))
    }

    /// The gateway that signs as a user, or with another secret.
    fn signing_gateway(&self, user: &str, secret: Option<&str>) -> Gateway {
        let auth = "auth = { aws = { region = \"eu-west-1\", service = \"ecs\", access-key-file = \"{folder}/key\", \
                    secret-key-file = \"{folder}/secret\" } }";
        let keys = &self.facts[user];
        GatewayBuilder::new(&self.config("", auth))
            .file("key", keys["key"].as_str().unwrap())
            .file("secret", secret.unwrap_or(keys["secret"].as_str().unwrap()))
            .start()
    }

    fn config(&self, more: &str, auth: &str) -> String {
        format!(
            "[provider.cloud]\ncomponent = \"builtin:ecs\"\nnamespaces = [\"openfaas-fn\"]\ndefault = true\n\
             [provider.cloud.config]\nclusters = {{ openfaas-fn = \"functions\" }}\nport = {}\n{more}\n\
             [provider.cloud.config.deploy]\nsubnets = {}\nsecurity-groups = {}\n\
             [provider.cloud.grant.ecs]\nconnect = \"http://{}\"\nprofile = \"ecs\"\n{auth}\n\
             [provider.cloud.endpoints]\nallow = [\"127.0.1.0/24\"]\n",
            self.facts["port"], self.facts["subnets"], self.facts["groups"], self.address
        )
    }

    fn control(&self, path: &str, body: &Value) {
        let reply = Connection::tcp(&self.address).send("POST", path, &[], body.to_string().as_bytes());
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    }

    /// The operations that came so far.
    fn operations(&self) -> Vec<String> {
        let log = Connection::tcp(&self.address).send("GET", "/_log", &[], b"").json();
        log.as_array().unwrap().iter().map(|entry| entry["operation"].as_str().unwrap().to_owned()).collect()
    }

    fn count(&self, operation: &str) -> usize {
        self.operations().iter().filter(|name| *name == operation).count()
    }
}

impl Drop for Ecs {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
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
    // Under load: what is asked for again is asked for because its time is over, not because nobody calls.
    wait_until("the new address is known", || gateway.get("/function/first").text() == "127.0.1.11 0");
    for _ in 0..100 {
        assert_eq!(
            gateway.get("/function/first").text(),
            "127.0.1.11 0",
            "the old address answers for somebody else now"
        );
    }
}

#[test]
fn every_request_is_signed_and_what_the_policy_refuses_is_the_platforms_word() {
    let ecs = Ecs::with_checks();
    let gateway = ecs.signing_gateway("gateway", None);
    deploy(&gateway, "figlet");
    scale(&gateway, "figlet", 0);
    let cold = gateway.post("/function/figlet", "the quick brown fox");
    assert_eq!((cold.status, cold.text().as_str()), (200, "127.0.1.1 4"));
    assert_eq!(gateway.get("/system/functions").json()[0]["name"], "figlet");

    let reader = ecs.signing_gateway("reader", None);
    assert_eq!(reader.get("/system/function/figlet").json()["replicas"], 1);
    let body = json!({ "serviceName": "figlet", "replicas": 5 }).to_string();
    assert_eq!(reader.post("/system/scale-function/figlet", body).code(502), "platform_denied");

    let forger = ecs.signing_gateway("gateway", Some("not the secret"));
    assert_eq!(forger.get("/system/function/figlet").code(502), "platform_unauthenticated");

    let update = json!({ "service": "figlet", "image": "example/figlet:2" }).to_string();
    assert_eq!(gateway.send("PUT", "/system/functions", &[], update).status, 202);
    let delete = json!({ "functionName": "figlet" }).to_string();
    assert_eq!(gateway.send("DELETE", "/system/functions", &[], delete).status, 202);
    assert_eq!(gateway.get("/function/figlet").status, 404);
}
