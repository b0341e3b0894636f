//! Refusals of the API server, and mistakes of the operator.

use wicketgate_sdk::testing::set_config;
use wicketgate_sdk::{ErrorKind, Provider};

use super::{always, kubernetes, play, recording};
use crate::{Kubernetes, MANIFEST};

#[test]
fn the_manifest_is_json() {
    let manifest: serde_json::Value = serde_json::from_str(MANIFEST).unwrap();
    assert_eq!(manifest["name"], "kubernetes");
    assert!(manifest["grants"]["kubernetes"].is_string());
}

#[test]
fn each_recorded_refusal_has_its_kind() {
    for (scenario, exchange, name, namespace, kind) in [
        ("not-found", "deployment", "nope", "fns", ErrorKind::NotFound),
        ("forbidden", "absent namespace", "echo", "nope", ErrorKind::Denied),
        ("anonymous", "deployment", "echo", "fns", ErrorKind::Denied),
        ("bad-token", "deployment", "echo", "fns", ErrorKind::Unauthenticated),
    ] {
        play(recording(scenario).only(&[exchange]));
        let error = kubernetes().get_replicas(name, namespace).unwrap_err();
        assert_eq!(error.kind, kind, "{scenario}: {error:?}");
        assert!(error.message.contains(&format!("{name}.{namespace}")), "{error:?}");
    }
}

#[test]
fn a_server_that_asks_for_patience_gets_it() {
    set_config(r#"{ "label": "" }"#);
    play(recording("throttled-429"));
    let error = Kubernetes::open().unwrap().set_replicas("echo", "fns", 1).unwrap_err();
    assert_eq!((error.kind, error.retry_after_ms), (ErrorKind::RateLimited, Some(2000)));
}

#[test]
fn a_404_of_something_else_is_no_function_that_does_not_exist() {
    for body in ["404 page not found\n", "", r#"{"error":"no route"}"#] {
        always(404, body);
        let error = kubernetes().get_replicas("echo", "fns").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported, "{body:?}");
        assert!(error.message.contains("connect"), "{error:?}");
    }
}

#[test]
fn an_answer_that_is_no_json_and_one_that_breaks_off_are_errors() {
    for body in ["<html>", r#"{"metadata":{"name":"echo""#, "[]", "null", "{}", r#"{"metadata":7}"#] {
        always(200, body);
        assert_eq!(kubernetes().get_replicas("echo", "fns").unwrap_err().kind, ErrorKind::Internal);
    }
}

#[test]
fn a_quota_that_is_used_up_is_told_from_missing_rights() {
    always(403, r#"{"kind":"Status","message":"pods \"a\" is forbidden: exceeded quota: few","reason":"Forbidden"}"#);
    assert_eq!(kubernetes().get_replicas("echo", "fns").unwrap_err().kind, ErrorKind::Quota);
}

#[test]
fn mistakes_in_the_config_are_told_with_the_right_form() {
    for (config, expected) in [
        (r#"{ "ports": 1 }"#, "ports"),
        (r#"{ "port": 0 }"#, "1 to 65535"),
        (r#"{ "endpoint-ttl-ms": 1 }"#, "100 to 60000"),
        (r#"{ "readiness": "/health" }"#, "http:/path"),
        (r#"{ "secret-label": "x" }"#, "KEY=VALUE"),
        (r#"{ "endpoints": "nodes" }"#, "nodes"),
        (r#"{ "field-manager": "" }"#, "field-manager"),
    ] {
        set_config(config);
        let error = Kubernetes::open().err().unwrap();
        assert!(error.message.contains(expected), "{config}: {error:?}");
    }
}
