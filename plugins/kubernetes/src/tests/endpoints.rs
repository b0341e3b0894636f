//! Addresses: only of pods that are ready, each with the pod's identity.

use wicketgate_sdk::testing::set_config;
use wicketgate_sdk::{Endpoint, Endpoints, Provider, Target};

use super::{always, kubernetes, play, recording, sent};
use crate::Kubernetes;

fn places(endpoints: &[Endpoint]) -> Vec<(String, &str)> {
    let place = |endpoint: &Endpoint| match &endpoint.target {
        Target::Authority(authority) => authority.clone(),
        Target::Grant(name) => panic!("no grant {name} was asked for"),
    };
    endpoints.iter().map(|endpoint| (place(endpoint), endpoint.instance.as_str())).collect()
}

#[test]
fn only_ready_pods_are_endpoints_and_each_has_its_pods_identity() {
    let slices = |name: &str| recording("scale-zero-to-three-to-zero").only(&[name]);
    let first = ("10.77.0.11:8080".to_owned(), "b75bab21-38f4-478c-b3e6-05525fe979c6");
    for (name, count) in [
        ("endpointslices at zero", 0),
        ("endpointslices, one ready one not", 1),
        ("endpointslices, three ready", 3),
        ("endpointslices, terminating", 0),
        ("endpointslices, gone", 0),
    ] {
        play(slices(name));
        let endpoints = kubernetes().resolve("echo", "fns").unwrap();
        assert_eq!(endpoints.len(), count, "{name}: {endpoints:?}");
        assert!(count == 0 || places(&endpoints).contains(&first), "{name}: {endpoints:?}");
        assert!(endpoints.iter().all(|endpoint| endpoint.ttl_ms == 3000 && !endpoint.tls));
        assert_eq!(sent(), 1);
    }
}

#[test]
fn a_function_without_a_service_has_no_endpoints() {
    play(recording("not-found").only(&["list selects nothing"]));
    assert_eq!(kubernetes().resolve("nope", "fns").unwrap(), []);
}

#[test]
fn an_address_of_each_family_is_one_endpoint_and_several_ports_need_a_name() {
    always(
        200,
        r#"{"metadata":{},"items":[
            {"addressType":"IPv6","ports":[{"port":8080}],"endpoints":[
                {"addresses":["fd00::1"],"targetRef":{"uid":"a"}},{"addresses":["fd00::2"],"targetRef":{"uid":"b"}}]},
            {"addressType":"IPv4","ports":[{"name":"metrics","port":9090},{"name":"http","port":8081}],"endpoints":[
                {"addresses":["10.0.0.1","10.0.0.9"],"conditions":{"ready":null},"targetRef":{"uid":"a"}}]},
            {"addressType":"IPv4","ports":[{"name":"x","port":1},{"name":"y","port":2}],"endpoints":[
                {"addresses":["10.0.0.3"],"targetRef":{"uid":"c"}}]},
            {"addressType":"FQDN","ports":[{"port":8080}],"endpoints":[{"addresses":["example.com"]}]}]}"#,
    );
    let endpoints = kubernetes().resolve("echo", "fns").unwrap();
    assert_eq!(places(&endpoints), [("10.0.0.1:8081".to_owned(), "a"), ("[fd00::2]:8080".to_owned(), "b")]);
}

#[test]
fn a_gateway_in_the_cluster_may_leave_the_choice_to_the_service() {
    set_config(r#"{ "endpoints": "service", "cluster-domain": "svc.cluster.local", "port": 8081 }"#);
    let endpoints = Kubernetes::open().unwrap().resolve("echo", "fns").unwrap();
    assert_eq!(places(&endpoints), [("echo.fns.svc.cluster.local:8081".to_owned(), "")]);
    assert_eq!(sent(), 0);
}
