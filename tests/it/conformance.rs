//! Runs `tests/conformance/*.json`: wire behaviour as data, each case with the source of the rule.
//!
//! A file has `source` (where its rules are written down), `config` (tables for the gateway) and
//! `cases`. A case puts the functions of `given` into the platform, sends `request`, and compares what
//! `expect` names: `status`, `headers` (`null`: absent; `"*"`: present), `body`, `json` (a part of the
//! answer), `error` (the gateway's code), and `seen` (requests that the platform got, in this order).
//!
//! The same vectors run against another gateway: `CONFORMANCE_GATEWAY=host:port` with its provider URL
//! set to `http://127.0.0.1:$CONFORMANCE_PROVIDER_PORT/`. Cases marked `"ours": true` are left out then.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Connection, Gateway, Platform, Reply, gateway};

struct Target {
    platform: Platform,
    /// `None`: another gateway.
    gateway: Option<Gateway>,
    address: String,
}

impl Target {
    fn new(config: &str) -> Self {
        if let Ok(address) = std::env::var("CONFORMANCE_GATEWAY") {
            let port = std::env::var("CONFORMANCE_PROVIDER_PORT").expect("CONFORMANCE_PROVIDER_PORT beside it");
            return Self { platform: Platform::on_port(&port), gateway: None, address };
        }
        let platform = Platform::start();
        let gateway = gateway(&platform, config);
        // What the gateway asks by itself at its start is no case's business.
        platform.wait_for(1, "GET", "/system/info");
        Self { address: gateway.address().to_owned(), platform, gateway: Some(gateway) }
    }

    fn run(&self, case: &Value) -> Result<(), String> {
        if self.gateway.is_none() && case["ours"] == true {
            return Ok(());
        }
        for function in case["given"]["functions"].as_array().into_iter().flatten() {
            self.platform.function(function.clone());
        }
        for rule in case["given"]["rules"].as_array().into_iter().flatten() {
            self.platform.rule(rule.clone());
        }
        let before = self.platform.log().len();
        let request = &case["request"];
        let fields: Vec<(&str, &str)> =
            pairs(&request["headers"]).map(|(name, value)| (name, value.as_str().unwrap())).collect();
        let body = match &request["body"] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let method = request["method"].as_str().unwrap_or("GET");
        let reply =
            Connection::tcp(&self.address).send(method, request["target"].as_str().unwrap(), &fields, body.as_bytes());
        let seen: Vec<String> = self.platform.log().into_iter().skip(before).map(|seen| seen.line()).collect();
        self.platform.no_rules();
        compare(&case["expect"], &reply, &seen)
    }
}

fn pairs(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn compare(expect: &Value, reply: &Reply, seen: &[String]) -> Result<(), String> {
    let differ = |what: &str, expected: &Value, got: Value| {
        if *expected == got { Ok(()) } else { Err(format!("{what}: expected {expected}, got {got}")) }
    };
    differ("status", &expect["status"], json!(reply.status)).map_err(|text| format!("{text}: {}", reply.text()))?;
    for (name, value) in pairs(&expect["headers"]) {
        let got = reply.header(name);
        if value == "*" {
            if got.is_none() {
                return Err(format!("header {name} is absent: {:?}", reply.headers));
            }
        } else {
            differ(name, value, json!(got))?;
        }
    }
    if let Some(body) = expect.get("body") {
        differ("body", body, json!(reply.text()))?;
    }
    if let Some(part) = expect.get("json") {
        within("json", part, &reply.json())?;
    }
    if let Some(code) = expect.get("error") {
        differ("error", code, reply.json()["error"]["code"].clone())?;
        differ("x-wicketgate-error", code, json!(reply.header("x-wicketgate-error")))?;
    }
    if let Some(lines) = expect.get("seen") {
        let mut rest = seen.iter();
        for line in lines.as_array().unwrap() {
            let line = line.as_str().unwrap();
            if !rest.any(|seen| seen == line) {
                return Err(format!("the platform did not see {line:?} in this order: {seen:?}"));
            }
        }
        // A refresh of an earlier case's function may come late; it changes nothing.
        let asked: Vec<_> = seen.iter().filter(|line| !line.starts_with("GET /system/function/")).collect();
        if lines.as_array().unwrap().is_empty() && !asked.is_empty() {
            return Err(format!("the platform was asked: {asked:?}"));
        }
    }
    Ok(())
}

/// Whether every field of `part` is in `whole`. Lists are compared as they are.
fn within(place: &str, part: &Value, whole: &Value) -> Result<(), String> {
    match part {
        Value::Object(fields) => {
            for (name, part) in fields {
                within(&format!("{place}.{name}"), part, &whole[name])?;
            }
            Ok(())
        }
        other if other == whole => Ok(()),
        other => Err(format!("{place}: expected {other}, got {whole}")),
    }
}

fn run(file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let vectors: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
    assert!(vectors["source"].as_str().is_some_and(|source| !source.is_empty()), "{file} names no source");
    let target = Target::new(vectors["config"].as_str().unwrap_or_default());
    let mut failures = Vec::new();
    let cases = vectors["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        if let Err(failure) = target.run(case) {
            failures.push(format!("{file}: {}\n    {failure}", case["name"].as_str().unwrap()));
        }
    }
    assert!(failures.is_empty(), "{} of {} cases failed\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn routes() {
    run("routes.json");
}

#[test]
fn invocations() {
    run("invocations.json");
}

#[test]
fn system() {
    run("system.json");
}

#[test]
fn labels() {
    run("labels.json");
}

#[test]
fn every_file_is_run() {
    let here = include_str!("conformance.rs");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        // The cases for plugins are part of the binary: `plugin_check.rs`.
        if entry.file_type().unwrap().is_dir() {
            continue;
        }
        let name = entry.file_name().into_string().unwrap();
        assert!(here.contains(&format!("run(\"{name}\")")), "{name} is run by no test");
    }
}

#[test]
fn a_vector_that_differs_is_seen() {
    let reply = Reply { status: 200, headers: Vec::new(), body: br#"{"a":{"b":1}}"#.to_vec(), is_complete: true };
    let seen = ["GET /a".to_owned()];
    let check = |expect: Value| compare(&expect, &reply, &seen);
    assert_eq!(
        check(json!({ "status": 200, "json": { "a": { "b": 1 } }, "seen": ["GET /a"], "headers": { "x": null } })),
        Ok(())
    );
    for bad in [
        json!({ "status": 404 }),
        json!({ "status": 200, "json": { "a": { "b": 2 } } }),
        json!({ "status": 200, "seen": [] }),
        json!({ "status": 200, "seen": ["GET /b"] }),
        json!({ "status": 200, "headers": { "x": "*" } }),
        json!({ "status": 200, "body": "" }),
    ] {
        assert!(check(bad.clone()).is_err(), "{bad}");
    }
}
