//! Counts: read from job and `scale`, set when no deployment is under way.

use std::time::Duration;

use serde_json::json;
use wicketgate_sdk::http::Request;
use wicketgate_sdk::testing::{Answer, now_ms, play_platform, set_config, take_requests};
use wicketgate_sdk::{About, ErrorKind, Health, Provider, Scaling};

use super::{always, job, no_deployment, nomad, play, recording, sent};
use crate::{MANIFEST, Nomad};

const DEFAULT: &str = "default";

#[test]
fn the_manifest_is_json() {
    let manifest: serde_json::Value = serde_json::from_str(MANIFEST).unwrap();
    assert_eq!((&manifest["name"], manifest["grants"]["nomad"].is_string()), (&"nomad".into(), true));
}

#[test]
fn availability_is_health_where_changes_are_deployments() {
    play(job().then(recording("scale-zero-to-three-to-zero").only(&[
        "scale at zero",
        "scale, first running",
        "scale, three healthy",
        "scale right after zero",
    ])));
    let nomad = nomad();
    let seen: Vec<_> = (0..4)
        .map(|_| nomad.get_replicas("echo", DEFAULT).unwrap())
        .map(|status| (status.replicas, status.available_replicas))
        .collect();
    // Three run before they are healthy; right after the wish for zero three are still healthy.
    assert_eq!(seen, [(0, 0), (3, 0), (3, 3), (0, 0)]);
    assert_eq!(sent(), 8, "two requests each");
    let status = nomad.get_replicas("echo", DEFAULT).unwrap();
    assert_eq!((status.min_replicas, status.max_replicas), (Some(0), Some(10)));
    assert!(status.labels.contains(&("com.openfaas.scale.max".to_owned(), "10".to_owned())), "{status:?}");
}

#[test]
fn availability_is_running_where_there_are_no_deployments() {
    let script = recording("scale-without-deployment");
    play(script.only(&["job at one", "scale at two"]));
    let status = nomad().get_replicas("echo", DEFAULT).unwrap();
    assert_eq!((status.replicas, status.available_replicas), (2, 2), "{status:?}");
}

#[test]
fn a_count_is_set_once_no_deployment_is_under_way() {
    let set = recording("scale-zero-to-three-to-zero").only(&["set three"]);
    play(job().then(no_deployment()).then(set));
    nomad().set_replicas("echo", DEFAULT, 3).unwrap();
    assert_eq!(sent(), 3);

    // The recorded deployment still runs: a scaling now would be refused and carried out later.
    play(job().then(recording("scale-blocked-by-deployment").only(&["deployment"])));
    let error = nomad().set_replicas("echo", DEFAULT, 1).unwrap_err();
    assert_eq!((error.kind, error.retry_after_ms), (ErrorKind::Conflict, Some(1000)));
    assert!(take_requests().iter().all(|request| request.method == "GET"), "nothing was sent");
}

#[test]
fn the_count_that_is_there_is_not_set_again() {
    // The job was read while its count was 1.
    play(job());
    nomad().set_replicas("echo", DEFAULT, 0).unwrap();
    assert_eq!(sent(), 1);
}

#[test]
fn two_scalings_of_a_job_keep_their_distance() {
    let set = |name: &str| recording("scale-zero-to-three-to-zero").only(&[name]);
    play(job().then(no_deployment()).then(set("set three")));
    nomad().set_replicas("echo", DEFAULT, 3).unwrap();
    let before = now_ms();
    play(job().then(no_deployment()).then(set("set three")));
    nomad().set_replicas("echo", DEFAULT, 3).unwrap();
    assert_eq!(now_ms() - before, 500);
    wicketgate_sdk::testing::pass(Duration::from_secs(1));
    let before = now_ms();
    play(job().then(no_deployment()).then(set("set three")));
    nomad().set_replicas("echo", DEFAULT, 3).unwrap();
    assert_eq!(now_ms() - before, 0);
}

#[test]
fn ensure_raises_and_never_lowers() {
    let counts = recording("scale-zero-to-three-to-zero").only(&["scale, three healthy"]);
    play(job().then(counts));
    let status = nomad().ensure("echo", DEFAULT, 1, None).unwrap();
    assert_eq!((status.replicas, sent()), (3, 2));
    let counts = recording("scale-zero-to-three-to-zero").only(&["scale at zero", "set three"]);
    play(job().then(no_deployment()).then(counts));
    let status = nomad().ensure("echo", DEFAULT, 3, None).unwrap();
    assert_eq!((status.replicas, status.available_replicas, sent()), (3, 0, 4));
}

#[test]
fn refusals_are_plain_text_and_have_their_kinds() {
    let scale = |name: &str| recording("scale-errors").only(&[name]);
    let over = scale("over policy maximum");
    play(job().then(no_deployment()).then(over));
    let error = nomad().set_replicas("echo", DEFAULT, 99).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.message.contains("99 > 10"), "{error:?}");

    play(recording("unknown-job").only(&["get"]));
    assert_eq!(nomad().get_replicas("nope", DEFAULT).unwrap_err().kind, ErrorKind::NotFound);
    play(recording("unknown-job").only(&["namespace absent"]));
    assert_eq!(nomad().get_replicas("echo", "nope").unwrap_err().kind, ErrorKind::NotFound);
    for (status, text, kind) in [
        (403, "Permission denied", ErrorKind::Denied),
        (403, "ACL token not found", ErrorKind::Unauthenticated),
        (500, "acl token lookup failed: index error: UUID must be 36 characters", ErrorKind::Unauthenticated),
        (500, "No cluster leader", ErrorKind::Unavailable),
        (400, "job scaling blocked due to active deployment", ErrorKind::Conflict),
        (404, "", ErrorKind::Unsupported),
        (429, "", ErrorKind::RateLimited),
        (200, "<html>", ErrorKind::Internal),
        (200, "null", ErrorKind::Internal),
        (200, "{\"ID\":\"echo\"", ErrorKind::Internal),
    ] {
        always(status, text);
        assert_eq!(nomad().get_replicas("echo", DEFAULT).unwrap_err().kind, kind, "{status} {text}");
    }
}

#[test]
fn a_stopped_job_and_one_that_is_no_function_are_not_there() {
    play(recording("stopped-job").only(&["get"]));
    assert_eq!(nomad().get_replicas("echo", DEFAULT).unwrap_err().kind, ErrorKind::NotFound);
    always(200, r#"{"ID":"db","Meta":{"team":"a"},"TaskGroups":[{"Name":"fn"}]}"#);
    assert_eq!(nomad().set_replicas("db", DEFAULT, 0).unwrap_err().kind, ErrorKind::NotFound);
    always(200, r#"{"ID":"a","Meta":{"faas_function":"a"},"TaskGroups":[{"Name":"web"}]}"#);
    let error = nomad().get_replicas("a", DEFAULT).unwrap_err();
    assert!(error.message.contains("config.group"), "{error:?}");
}

#[test]
fn a_prefix_and_a_namespace_are_part_of_the_request() {
    set_config(r#"{ "job-prefix": "fn-" }"#);
    always(404, "job not found");
    Nomad::open().unwrap().get_replicas("echo", "edge").unwrap_err();
    assert_eq!(take_requests()[0].url, "http://nomad/v1/job/fn-echo?namespace=edge");
}

#[test]
fn a_group_may_have_the_functions_name() {
    set_config(r#"{ "group": "{name}" }"#);
    always(200, r#"{"ID":"a","Meta":{"faas_function":"a"},"TaskGroups":[{"Name":"a"}]}"#);
    // The group was found: what is missing is its counts.
    let error = Nomad::open().unwrap().get_replicas("a", DEFAULT).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Internal, "{error:?}");
}

#[test]
fn labels_that_another_provider_gave_the_container_are_the_functions() {
    let job = |meta: &str| {
        format!(
            r#"{{"ID":"a","Meta":{meta},"TaskGroups":[{{"Name":"a","Tasks":[{{"Config":{{"labels":[{{"team":"b","x":1}},{{"topic":"c"}}]}}}}]}}],"JobModifyIndex":7}}"#
        )
    };
    for (meta, labels) in [
        (r#"{"topic":"news"}"#, vec![("topic", "news"), ("team", "b")]),
        ("null", vec![("team", "b"), ("topic", "c")]),
        // What was deployed here has its labels in Meta; those of the container are the template's.
        (r#"{"faas_function":"a"}"#, vec![("faas_function", "a")]),
    ] {
        let (job, counts) = (job(meta), r#"{"TaskGroups":{"a":{"Desired":1,"Running":1}}}"#);
        play_platform(move |request: &Request| {
            Ok(Answer::new(200, if request.url.contains("/scale") { counts.to_owned() } else { job.clone() }))
        });
        set_config(r#"{ "group": "{name}", "label": "" }"#);
        let status = Nomad::open().unwrap().get_replicas("a", DEFAULT).unwrap();
        let found: Vec<_> = status.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(found, labels, "{meta}");
    }
}

#[test]
fn the_platform_is_healthy_with_a_leader_and_a_token_that_may_do_something() {
    play(recording("status").only(&["leader"]).then(recording("namespaces").only(&["list"])));
    nomad().check().unwrap();
    let unknown = recording("acl").only(&["unknown token: scale"]).without_query("unknown token: scale", "namespace");
    let unknown = unknown.elsewhere("/v1/job/echo/scale", "/v1/namespaces");
    play(recording("status").only(&["leader"]).then(unknown));
    assert_eq!(nomad().check().unwrap_err().kind, ErrorKind::Unauthenticated);
    always(200, r#""""#);
    assert_eq!(nomad().check().unwrap_err().kind, ErrorKind::Unavailable);
}

#[test]
fn the_release_is_that_of_the_servers_and_left_out_where_the_token_may_not_see_them() {
    let server = |status: &str, build: &str| json!({ "Status": status, "Tags": { "role": "nomad", "build": build } });
    let members = json!({
        "ServerName": "a",
        "Members": [server("alive", "1.1.2"), server("left", "0.9.0"), server("alive", "1.2.0"), server("alive", "1.1.2")],
    });
    for (status, body, release) in [(200, members.to_string(), "1.1.2"), (403, "Permission denied".to_owned(), "")] {
        play_platform(move |request: &Request| {
            Ok(match request.url.strip_prefix("http://nomad/v1/").unwrap() {
                "status/leader" => Answer::new(200, r#""127.0.0.1:4647""#),
                "namespaces" => Answer::new(200, r#"[{"Name":"default"}]"#),
                "agent/members" => Answer::new(status, body.clone()),
                other => panic!("{other}"),
            })
        });
        let platform = nomad().describe().unwrap();
        assert_eq!((platform.name.as_str(), platform.release.as_str()), ("nomad", release));
    }
}

#[test]
fn mistakes_in_the_config_are_told_with_the_right_form() {
    for (config, expected) in [
        (r#"{ "groups": 1 }"#, "groups"),
        (r#"{ "group": "" }"#, "\"fn\""),
        (r#"{ "endpoint-ttl-ms": 1 }"#, "100 to 60000"),
        (r#"{ "template": 7 }"#, "config.template"),
    ] {
        set_config(config);
        let error = Nomad::open().err().unwrap();
        assert!(error.message.contains(expected), "{config}: {error:?}");
    }
}
