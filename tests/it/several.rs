//! Several providers at once: each serves its namespaces, and one that is down takes nobody with it.

use serde_json::json;

use crate::harness::{Gateway, Platform};

fn faas(name: &str, namespace: &str, platform: &Platform) -> String {
    format!(
        "[provider.{name}]\ncomponent = \"builtin:faas-provider\"\nnamespaces = [\"{namespace}\"]\n\
         [provider.{name}.grant.provider]\nconnect = \"http://{}\"\nprofile = \"faas-provider\"\n",
        platform.address()
    )
}

/// A provider of this machine's commands.
pub(crate) const LOCAL: &str = "[provider.here]\ncomponent = \"builtin:local\"\nnamespaces = [\"commands\"]\n\
                     [provider.here.config]\nnamespaces = [\"commands\"]\n\
                     [provider.here.endpoints]\nallow = [\"127.0.0.0/8\"]\n\
                     [provider.here.command.upper]\ncommand = [\"tr\", \"a-z\", \"A-Z\"]\n";

/// The functions of a list, as `name.namespace`, and what the list says that it lacks.
pub(crate) fn listed(gateway: &Gateway) -> (Vec<String>, Option<String>) {
    let reply = gateway.get("/system/functions");
    assert_eq!(reply.status, 200, "{}", reply.text());
    let list = reply.json();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let mut names: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|function| format!("{}.{}", text(&function["name"]), text(&function["namespace"])))
        .collect();
    names.sort();
    (names, reply.header("x-wicketgate-partial").map(str::to_owned))
}

#[test]
fn three_platforms_are_one_list_and_the_one_that_is_down_is_named() {
    let (first, second) = (Platform::start(), Platform::start());
    first.function(json!({ "name": "one", "namespace": "dev", "replicas": 1 }));
    second.function(json!({ "name": "two", "namespace": "staging", "replicas": 1 }));
    let gateway =
        Gateway::with(&format!("{}{}{LOCAL}", faas("first", "dev", &first), faas("second", "staging", &second)));
    assert_eq!(listed(&gateway), (vec!["one.dev".into(), "two.staging".into(), "upper.commands".into()], None));
    assert_eq!(gateway.post("/function/one.dev", "x").status, 200);
    assert_eq!(gateway.post("/function/two.staging", "x").status, 200);
    assert_eq!(gateway.post("/function/upper.commands", "abc").text(), "ABC");

    drop(second);
    let (names, missing) = listed(&gateway);
    assert_eq!(names, ["one.dev", "upper.commands"]);
    assert_eq!(missing.as_deref(), Some("second/staging"));
    let line = gateway.output().wait_for("not listed").expect("the log says so too");
    assert!(line.contains("second") && line.contains("staging"), "{line}");
    let refused = gateway.get("/system/functions?namespace=staging");
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    // The others are as they were.
    assert_eq!(gateway.post("/function/one.dev", "x").status, 200);
    assert_eq!(gateway.post("/function/upper.commands", "abc").text(), "ABC");
}
