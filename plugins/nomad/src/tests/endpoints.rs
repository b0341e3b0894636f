//! Addresses: of running allocations, asked for once each.

use wicketgate_sdk::testing::{Answer, play_platform, take_requests};
use wicketgate_sdk::{Endpoints, Target};

use super::{nomad, play, recording, sent};

#[test]
fn each_allocation_is_an_endpoint_and_is_asked_for_once() {
    play(recording("allocations-ports").only(&["list", "detail", "second detail"]));
    let mut endpoints = nomad().resolve("echo", "default").unwrap();
    endpoints.sort_by(|a, b| a.instance.cmp(&b.instance));
    let places: Vec<_> =
        endpoints.iter().map(|endpoint| (endpoint.target.clone(), endpoint.instance.as_str())).collect();
    assert_eq!(
        places,
        [
            (Target::Authority("127.0.0.1:24676".to_owned()), "618c4551-ba9a-ff81-b19e-3498aeabe47c"),
            (Target::Authority("127.0.0.1:20479".to_owned()), "ef9b73d9-03d2-ba04-af40-a170b22ba9a9"),
        ]
    );
    assert_eq!(sent(), 3);
    assert_eq!(nomad().resolve("echo", "default").unwrap().len(), 2);
    assert_eq!(sent(), 1, "addresses are known by now");
}

#[test]
fn allocations_that_do_not_run_are_no_endpoints() {
    play(recording("purge").only(&["allocations"]));
    assert_eq!(nomad().resolve("echo", "default").unwrap(), []);
    play(recording("unknown-job").only(&["allocations"]));
    assert_eq!(nomad().resolve("nope", "default").unwrap(), []);
}

#[test]
fn an_allocation_that_goes_meanwhile_or_has_no_such_port_is_left_out() {
    let list = |deployment: &str| {
        format!(
            r#"[{{"ID":"a","TaskGroup":"fn","ClientStatus":"running","DesiredStatus":"run","DeploymentStatus":{deployment}}}]"#
        )
    };
    for (deployment, status, detail, count) in [
        ("null", 404, "alloc not found", 0),
        ("null", 200, r#"{"AllocatedResources":{"Shared":{"Ports":[{"Label":"x"},{"Label":"y"}]}}}"#, 0),
        ("null", 200, r#"{"AllocatedResources":{"Shared":{"Ports":[{"Label":"x","HostIP":"::1","Value":7}]}}}"#, 1),
        (
            "null",
            200,
            r#"{"AllocatedResources":{"Shared":{"Ports":null},"Tasks":{"f":{"Networks":[{"IP":"::1","ReservedPorts":null,"DynamicPorts":[{"Label":"admin","Value":8},{"Label":"http","Value":7}]}]},"g":{"Networks":null}}}}"#,
            1,
        ),
        (r#"{"Healthy":false}"#, 200, "{}", 0),
    ] {
        let list = list(deployment);
        play_platform(move |request| {
            let is_list = request.url.ends_with("/allocations?namespace=default");
            Ok(if is_list { Answer::new(200, list.as_str()) } else { Answer::new(status, detail) })
        });
        let endpoints = nomad().resolve(&format!("f{status}{count}{}", detail.len()), "default").unwrap();
        assert_eq!(endpoints.len(), count, "{detail}");
        assert!(endpoints.iter().all(|endpoint| endpoint.target == Target::Authority("[::1]:7".to_owned())));
    }
    drop(take_requests());
}
