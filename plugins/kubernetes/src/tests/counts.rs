//! Counts: read from the Deployment, set through `scale`.

use serde_json::json;
use wicketgate_sdk::{About, ErrorKind, Health, Provider, Scaling};

use super::{always, kubernetes, play, recording, sent};

#[test]
fn a_count_is_one_request_and_availability_is_the_deployments() {
    play(recording("scale-zero-to-three-to-zero"));
    let kubernetes = kubernetes();
    let read = || {
        let status = kubernetes.get_replicas("echo", "fns").unwrap();
        (status.replicas, status.available_replicas)
    };
    let at_zero = kubernetes.get_replicas("echo", "fns").unwrap();
    assert_eq!((at_zero.replicas, at_zero.available_replicas), (0, 0));
    assert_eq!(at_zero.version.as_deref(), Some("308"));
    assert!(at_zero.labels.contains(&("com.openfaas.scale.max".to_owned(), "20".to_owned())), "{:?}", at_zero.labels);
    assert!(at_zero.annotations.iter().any(|(key, _)| key == "topic"), "{:?}", at_zero.annotations);
    assert_eq!(sent(), 1);

    kubernetes.set_replicas("echo", "fns", 3).unwrap();
    assert_eq!(sent(), 2, "whether it is a function is read first");
    // Pods that were made and are not ready do not count; one of three is.
    let seen: Vec<_> = (0..5).map(|_| read()).collect();
    assert_eq!(seen, [(3, 0), (3, 0), (3, 1), (3, 3), (3, 3)]);

    kubernetes.set_replicas("echo", "fns", 0).unwrap();
    // The server's first answer still says that three are available.
    assert_eq!((read(), read()), ((0, 0), (0, 0)));
}

#[test]
fn pods_of_an_older_wish_are_not_available() {
    // Scaled to zero and at once to one: what the status tells of are the three that are being ended.
    let right_after = ["deployment right after zero"];
    let script = recording("scale-zero-to-three-to-zero").only(&right_after);
    play(script.with_text(r#""replicas":0,"selector""#, r#""replicas":1,"selector""#));
    let status = kubernetes().get_replicas("echo", "fns").unwrap();
    assert_eq!((status.replicas, status.available_replicas), (1, 0));
}

#[test]
fn ensure_reads_again_after_a_conflict() {
    // Another writer is faster at first: the recorded conflict, then what was recorded after it.
    let script = recording("scale-zero-to-three-to-zero").only(&["deployment at zero"]).then(
        recording("conflict-stale")
            .only(&["patch stale"])
            .with_body("patch stale", json!({ "metadata": { "resourceVersion": "308" }, "spec": { "replicas": 3 } })),
    );
    let script = script.then(
        recording("scale-zero-to-three-to-zero")
            .only(&["deployment at zero", "set three"])
            .with_body("set three", json!({ "metadata": { "resourceVersion": "308" }, "spec": { "replicas": 3 } })),
    );
    play(script);
    let status = kubernetes().ensure("echo", "fns", 3, Some("1")).unwrap();
    assert_eq!((status.replicas, status.available_replicas, status.version.as_deref()), (3, 0, Some("309")));
    assert_eq!(sent(), 4);
}

#[test]
fn ensure_gives_up_when_every_attempt_meets_another_writer() {
    let at_zero = || recording("scale-zero-to-three-to-zero").only(&["deployment at zero"]);
    let stale = || {
        let body = json!({ "metadata": { "resourceVersion": "308" }, "spec": { "replicas": 3 } });
        recording("conflict-stale").only(&["patch stale"]).with_body("patch stale", body)
    };
    let script = (0..4).fold(at_zero(), |script, _| script.then(stale()));
    play(script);
    let error = kubernetes().ensure("echo", "fns", 3, None).unwrap_err();
    assert_eq!((error.kind, error.platform_status), (ErrorKind::Conflict, Some(409)));
    assert_eq!(sent(), 8);
}

#[test]
fn ensure_never_lowers() {
    play(recording("scale-zero-to-three-to-zero").only(&["deployment, three ready"]));
    let status = kubernetes().ensure("echo", "fns", 1, None).unwrap();
    assert_eq!((status.replicas, status.available_replicas), (3, 3));
    assert_eq!(sent(), 1);
}

#[test]
fn a_count_beyond_the_platforms_numbers_is_not_sent() {
    play(recording("scale-zero-to-three-to-zero").only(&["deployment at zero"]));
    let error = kubernetes().set_replicas("echo", "fns", 1 << 31).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
}

#[test]
fn a_deployment_that_is_no_function_is_neither_shown_nor_scaled() {
    always(200, r#"{"metadata":{"name":"db","labels":{"app":"db"}},"spec":{"replicas":1}}"#);
    let kubernetes = kubernetes();
    assert_eq!(kubernetes.get_replicas("db", "fns").unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(kubernetes.set_replicas("db", "fns", 0).unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(sent(), 2, "nothing was written");
}

#[test]
fn a_deployment_that_is_being_deleted_is_gone() {
    play(recording("delete").only(&["still there"]));
    assert_eq!(kubernetes().get_replicas("echo", "fns").unwrap_err().kind, ErrorKind::NotFound);
}

#[test]
fn annotations_that_are_too_long_to_tell_are_left_out() {
    let long = "x".repeat(9000);
    let body = json!({ "metadata": { "labels": { "faas_function": "a" }, "annotations": { "long": long, "short": "1",
        "kubectl.kubernetes.io/last-applied-configuration": "{}" } } });
    always(200, &body.to_string());
    let status = kubernetes().get_replicas("a", "fns").unwrap();
    assert_eq!(status.annotations, [("short".to_owned(), "1".to_owned())]);
}

#[test]
fn the_platform_tells_its_version_and_whether_it_knows_us() {
    play(recording("discovery-and-version"));
    let platform = kubernetes().describe().unwrap();
    assert_eq!((platform.release.as_str(), platform.sha.as_str()), ("v1.36.2", ""));
    kubernetes().check().unwrap();

    play(recording("anonymous").only(&["discovery is not"]));
    assert_eq!(kubernetes().check().unwrap_err().kind, ErrorKind::Denied);
    always(200, r#"{"versions":[{"version":"v1beta1"}]}"#);
    assert_eq!(kubernetes().check().unwrap_err().kind, ErrorKind::Unsupported);
}
