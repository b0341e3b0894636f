//! `wicketgate plugin check`: the conformance suite of `tests/conformance/plugins`, for each bundled plugin
//! and for plugins that are wrong.

use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{LOCAL, Platform, Played, faas_provider};

/// A name with every character that a name may have.
const EVERY_CHARACTER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ-abcdefghijklmnopqrstuvwxyz_0123456789.z";

/// Runs it: the exit status, what it printed, and what it complained of.
fn check(config: &str, file: &str, arguments: &[&str]) -> (i32, String, String) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("wicketgate.toml");
    std::fs::write(&path, config).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_wicketgate"))
        .args(["plugin", "check", file, "--config", path.to_str().unwrap()])
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A whole run as JSON; every case that could be tried has to have passed, in both ways.
pub(crate) fn passes(config: &str, file: &str, arguments: &[&str]) -> Value {
    let (status, out, complaints) = check(config, file, &[arguments, &["--json"]].concat());
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{complaints}"));
    let failed: Vec<_> =
        report["cases"].as_array().unwrap().iter().filter(|case| case["verdict"] == "failed").collect();
    assert!(failed.is_empty(), "{}", serde_json::to_string_pretty(&failed).unwrap());
    assert_eq!(status, 0);
    report
}

/// The cases that could not be tried, each once.
pub(crate) fn not_applicable(report: &Value) -> Vec<String> {
    let cases = report["cases"].as_array().unwrap();
    let mut names: Vec<_> = cases
        .iter()
        .filter(|case| case["verdict"] == "not-applicable")
        .map(|case| case["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The faas-provider's settings, with little patience for a platform that is silent.
fn impatient(platform: &Platform) -> String {
    faas_provider(platform, "", "[provider.platform.limits]\ncall-timeout = \"1s\"")
}

#[test]
fn faas_provider_does_what_the_contract_says() {
    let platform = Platform::start();
    for number in 0..1000 {
        platform.function(json!({ "name": format!("function-{number}"), "replicas": 1 }));
    }
    platform.function(json!({ "name": EVERY_CHARACTER, "replicas": 0, "ready_after_polls": 2 }));
    let function = format!("{EVERY_CHARACTER}.openfaas-fn");
    let report = passes(
        &impatient(&platform),
        "builtin:faas-provider",
        &["--function", &function, "--functions", "1001", "--most", "4"],
    );
    assert_eq!(not_applicable(&report), ["a watch begins with all functions"]);
    let ways: std::collections::BTreeSet<_> =
        report["cases"].as_array().unwrap().iter().map(|case| case["instances"].as_str().unwrap()).collect();
    assert_eq!(ways.into_iter().collect::<Vec<_>>(), ["per-call", "reused"]);
}

#[test]
fn local_does_what_the_contract_says() {
    let config = format!("{LOCAL}[provider.local.command.wordcount]\ncommand = [\"wc\", \"-w\"]\n");
    let report = passes(&config, "builtin:local", &["--function", "wordcount", "--functions", "1"]);
    // It asks no platform over a network, so none can fail.
    let failing = include_str!("../conformance/plugins/failing.json");
    let failing: Value = serde_json::from_str(failing).unwrap();
    let mut failing: Vec<_> =
        failing["cases"].as_array().unwrap().iter().map(|case| case["name"].as_str().unwrap().to_owned()).collect();
    failing.sort();
    assert_eq!(not_applicable(&report), failing);
}

#[test]
fn nomad_does_what_the_contract_says() {
    let nomad = Played::nomad(&[]);
    let names: Vec<String> = (0..1000).map(|number| format!("function-{number}")).collect();
    nomad.control("/_jobs", &json!({ "names": names }));
    let config = format!(
        "[provider.cluster]\ncomponent = \"builtin:nomad\"\nnamespaces = [\"default\"]\ndefault = true\n\
         [provider.cluster.grant.nomad]\nconnect = \"http://{}\"\nprofile = \"nomad\"\n\
         [provider.cluster.endpoints]\nallow = [\"127.0.0.1/32\"]\n\
         [provider.cluster.limits]\ncall-timeout = \"5s\"\n",
        nomad.address()
    );
    let arguments = ["--function", "function-7.default", "--functions", "1000"];
    assert_eq!(not_applicable(&passes(&config, "builtin:nomad", &arguments)), [""; 0]);
}

#[test]
fn kubernetes_does_what_the_contract_says() {
    let cluster = Played::kubernetes(&[]);
    let names: Vec<String> = (0..1000).map(|number| format!("function-{number}")).collect();
    cluster.control("/_deployments", &json!({ "names": names }));
    let config = format!(
        "[provider.cluster]\ncomponent = \"builtin:kubernetes\"\nnamespaces = [\"fns\"]\ndefault = true\n\
         config = {{ port = {} }}\n\
         [provider.cluster.grant.kubernetes]\nconnect = \"http://{}\"\nprofile = \"kubernetes\"\n\
         [provider.cluster.endpoints]\nallow = [\"127.0.3.0/24\"]\n\
         [provider.cluster.limits]\ncall-timeout = \"5s\"\n",
        cluster.facts()["port"],
        cluster.address()
    );
    let arguments = ["--function", "function-7.fns", "--functions", "1000"];
    assert_eq!(not_applicable(&passes(&config, "builtin:kubernetes", &arguments)), [""; 0]);
}

#[test]
fn a_conflict_that_says_how_long_to_wait_is_asked_again_within_the_patience() {
    let platform = Platform::start();
    let config = impatient(&platform);
    platform.function(json!({ "name": "figlet", "replicas": 0 }));
    let busy = |times: u32| {
        let rule = json!({ "method": "POST", "path": "/system/scale-function/figlet", "status": 409,
            "headers": { "retry-after": "1" }, "times": times });
        platform.rule(rule);
    };
    busy(1);
    passes(&config, "builtin:faas-provider", &["--function", "figlet"]);
    // For ever: what comes back in the end is the conflict.
    busy(0);
    let arguments = ["--function", "figlet", "--patience", "100ms"];
    let (status, page, _) = check(&config, "builtin:faas-provider", &arguments);
    assert_eq!(status, 1, "{page}");
    assert!(page.contains("set-replicas: conflict, where an answer had to come back"), "{page}");
}

#[test]
fn a_plugin_that_differs_is_told_which_step_differs_and_how() {
    let platform = Platform::start();
    platform.function(json!({ "name": "figlet", "replicas": 0 }));
    // A platform that takes the wish and does nothing about it.
    platform.rule(json!({ "method": "POST", "path": "/system/scale-function/figlet", "status": 202 }));
    let arguments = ["--function", "figlet", "--patience", "100ms"];
    let (status, page, _) = check(&impatient(&platform), "builtin:faas-provider", &arguments);
    assert_eq!(status, 1, "{page}");
    let lines: Vec<_> = page.lines().collect();
    let failed = lines.iter().position(|line| line.contains("FAILED") && line.contains("from none to one")).unwrap();
    assert!(lines[failed + 1].contains("step 4, get-replicas: 0 replicas, where 1 were to be"), "{page}");
    assert!(lines.last().unwrap().contains("passed") && !lines.last().unwrap().contains(" 0 failed"), "{page}");
}

#[test]
fn an_author_says_what_the_platform_answers_otherwise() {
    let platform = Platform::start();
    platform.function(json!({ "name": "figlet", "replicas": 0 }));
    let folder = TempDir::new().unwrap();
    let answers = folder.path().join("answers.json");
    // This plugin cannot know that 418 means a conflict.
    std::fs::write(&answers, r#"{"conflict":{"to":"writes","status":418}}"#).unwrap();
    let arguments = ["--function", "figlet", "--answers", answers.to_str().unwrap()];
    let (status, page, _) = check(&impatient(&platform), "builtin:faas-provider", &arguments);
    assert_eq!(status, 1, "{page}");
    let failed: Vec<_> = page.lines().filter(|line| line.contains("FAILED")).collect();
    assert!(failed.iter().all(|line| line.contains("another writer")) && failed.len() == 2, "{page}");
}

#[test]
fn mistakes_of_the_command_line_are_told() {
    let platform = Platform::start();
    let config = impatient(&platform);
    let (status, _, complaint) = check(&config, "builtin:faas-provider", &["--function", "a/b"]);
    assert_eq!(status, 64, "{complaint}");
    assert!(complaint.contains("--function a/b"), "{complaint}");
    let (status, _, complaint) = check(&config, "builtin:faas-provider", &["--answers", "/nowhere.json"]);
    assert_eq!(status, 64, "{complaint}");
    assert!(complaint.contains("/nowhere.json"), "{complaint}");
    let (status, _, complaint) = check(&config, "builtin:none", &[]);
    assert_eq!(status, 1, "{complaint}");
}
