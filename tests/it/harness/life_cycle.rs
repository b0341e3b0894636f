//! The whole life of a function, as `faas-cli` drives it; the same for every platform.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::{Gateway, wait_until};

/// The function that all platforms run: `tests/fixtures/function.rs`, one static program.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let folder = Path::new(env!("CARGO_BIN_EXE_wicketgate")).ancestors().nth(1).unwrap().join("it-function");
        std::fs::create_dir_all(&folder).unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/function.rs");
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        // Beside and then into its place, since another run may be using the one that is there.
        let (made, program) = (folder.join(format!("function.{}", std::process::id())), folder.join("function"));
        let mut compile = Command::new(rustc);
        compile.args(["--edition", "2024", "-O", "-C", "target-feature=+crt-static", "-o"]).arg(&made).arg(source);
        assert!(compile.status().unwrap().success(), "the function of the tests does not compile");
        std::fs::rename(&made, &program).unwrap();
        program
    })
}

/// Deploys a function whose answers begin with `says`; `more` are more fields.
pub fn deploy(gateway: &Gateway, image: &str, method: &str, name: &str, says: &str, more: Value) {
    let mut body = json!({ "service": name, "image": image, "envVars": { "NAME": says } });
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let reply = gateway.send(method, "/system/functions", &[], body.to_string());
    assert_eq!(reply.status, 202, "{method} {body}: {}", reply.text());
}

/// A function's `replicas` and `availableReplicas`.
pub fn counts(gateway: &Gateway, name: &str) -> (u64, u64) {
    let reply = gateway.get(&format!("/system/function/{name}"));
    assert_eq!(reply.status, 200, "{}", reply.text());
    let status = reply.json();
    (status["replicas"].as_u64().unwrap_or(0), status["availableReplicas"].as_u64().unwrap_or(0))
}

/// Asks for so many instances.
pub fn scale(gateway: &Gateway, name: &str, count: u64) {
    let body = json!({ "serviceName": name, "replicas": count }).to_string();
    let reply = gateway.post(&format!("/system/scale-function/{name}"), body);
    assert_eq!(reply.status, 202, "scale {name} to {count}: {}", reply.text());
}

/// Calls a function, which must answer, and splits its answer: what it says, and its machine's name.
pub fn call(gateway: &Gateway, name: &str, body: &str) -> (String, String) {
    let reply = gateway.post(&format!("/function/{name}/path"), body);
    assert_eq!(reply.status, 200, "{name}: {}", reply.text());
    let text = reply.text();
    let words: Vec<&str> = text.splitn(4, ' ').collect();
    assert_eq!((words[2], words[3]), ("/path", body), "{text}");
    (words[0].to_owned(), words[1].to_owned())
}

/// The texts of a function's log.
pub fn logs(gateway: &Gateway, query: &str) -> Vec<String> {
    let reply = gateway.get(&format!("/system/logs?{query}"));
    assert_eq!(reply.status, 200, "{}", reply.text());
    let line = |line: &str| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_owned();
    reply.text().lines().map(line).collect()
}

/// Deploys a function, calls it from zero, scales it to three, reads its log, changes it and deletes it.
pub fn life_cycle(gateway: &Gateway, image: &str, name: &str) {
    deploy(
        gateway,
        image,
        "POST",
        name,
        "first",
        json!({ "labels": { "team": "blue" }, "annotations": { "topic": "news" } }),
    );
    let again = gateway.post("/system/functions", json!({ "service": name, "image": image }).to_string());
    assert_eq!(again.status, 409, "{}", again.text());
    assert_eq!(call(gateway, name, "one").0, "first");

    let list = gateway.get("/system/functions").json();
    let shown = list.as_array().unwrap().iter().find(|function| function["name"] == name).unwrap();
    assert_eq!((&shown["image"], &shown["labels"]["team"]), (&json!(image), &json!("blue")), "{shown}");
    assert_eq!(
        (&shown["annotations"]["topic"], &shown["envVars"]["NAME"]),
        (&json!("news"), &json!("first")),
        "{shown}"
    );

    scale(gateway, name, 0);
    wait_until("nothing runs", || counts(gateway, name) == (0, 0));
    let woken = gateway.post(&format!("/function/{name}/path"), "two");
    assert_eq!(woken.status, 200, "{}", woken.text());
    assert!(woken.header("server-timing").is_some_and(|timing| timing.contains("scale;dur=")), "{:?}", woken.headers);

    scale(gateway, name, 3);
    wait_until("three are there", || counts(gateway, name) == (3, 3));
    let mut machines = BTreeSet::new();
    wait_until("all three answer", || {
        machines.insert(call(gateway, name, "three").1);
        machines.len() == 3
    });

    wait_until("the log tells of every call", || {
        let texts = logs(gateway, &format!("name={name}"));
        texts.iter().filter(|text| text.starts_with("first got POST /path")).count() >= 3
            && texts.iter().any(|text| text == "first is up")
    });
    assert_eq!(logs(gateway, &format!("name={name}&tail=1")).len(), 1);

    deploy(gateway, image, "PUT", name, "second", json!({ "labels": { "team": "red" } }));
    wait_until("the new one answers", || call(gateway, name, "four").0 == "second");
    let shown = gateway.get(&format!("/system/function/{name}")).json();
    assert_eq!(shown["labels"]["team"], "red", "{shown}");

    let delete = json!({ "functionName": name }).to_string();
    assert_eq!(gateway.send("DELETE", "/system/functions", &[], &delete).status, 202);
    assert_eq!(gateway.send("DELETE", "/system/functions", &[], &delete).status, 404);
    wait_until("it is forgotten", || gateway.get(&format!("/function/{name}")).status == 404);
    let update = json!({ "service": name, "image": image }).to_string();
    assert_eq!(gateway.send("PUT", "/system/functions", &[], update).status, 404);
}
