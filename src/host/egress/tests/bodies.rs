//! Rules that look into bodies: what passes, what never reaches the platform, and what is bounded.

use super::server::Server;
use super::*;
use crate::host::grant::{BodySpec, Mode, RuleSpec};

fn rule(path: &str, body: BodySpec) -> Rule {
    let spec = RuleSpec { method: "POST".into(), path: path.into(), body: Some(body), ..RuleSpec::default() };
    Rule::from_spec(&spec).unwrap()
}

fn places(places: &[&str]) -> Vec<String> {
    places.iter().map(|place| (*place).to_owned()).collect()
}

fn create() -> Rule {
    rule("/create", BodySpec { forbid: places(&["/HostConfig/Binds"]), ..BodySpec::default() })
}

#[tokio::test]
async fn a_body_that_a_rule_refuses_never_reaches_the_platform() {
    let server = Server::start().await;
    let mut granted = grant(server.port, &[]);
    granted.rules.push(create());
    let edge = Edge::new(granted);
    let refused = edge.send(post("/create", "{\"HostConfig\":{\"Binds\":[\"/TOP-SECRET:/x\"]}}")).await.unwrap_err();
    assert_eq!((refused.denial(), refused.outcome(), refused.is_retryable()), (Some("body"), "denied", false));
    let said = said(&refused);
    assert!(said.contains("\"POST /create (body checked)\" refuses this request"), "{said}");
    assert!(said.contains("its body has \"/HostConfig/Binds\", which is forbidden"), "{said}");
    assert!(!said.contains("TOP-SECRET"), "{said}");
    for no in ["", "binds", "{\"a\":1"] {
        assert_eq!(edge.send(post("/create", no)).await.unwrap_err().denial(), Some("body"), "{no}");
    }
    assert_eq!(server.connections(), 0);
    assert!(edge.metrics().contains("wicketgate_egress_denied_total{provider=\"edge\",reason=\"body\"} 4"));

    assert_eq!(text(edge.send(post("/create", "{\"Image\":\"f\"}")).await.unwrap()).await, "ok");
    assert_eq!(server.only().body, "{\"Image\":\"f\"}");
    assert_eq!(server.only().field("content-length"), Some("13"));
}

#[tokio::test]
async fn a_later_rule_may_pass_what_an_earlier_one_refused() {
    let server = Server::start().await;
    let mut granted = grant(server.port, &[]);
    let own = BodySpec { only: places(&["/HostConfig/Binds/*=/data:*", "/Image"]), ..BodySpec::default() };
    granted.rules.extend([create(), rule("/create", own)]);
    let edge = Edge::new(granted);
    let with = |bind: &'static str| edge.send(post("/create", bind));
    assert!(with("{\"HostConfig\":{\"Binds\":[\"/data:/x\"]}}").await.is_ok());
    assert!(with("{\"HostConfig\":{\"Binds\":[\"/:/x\"]}}").await.is_err());
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn an_update_has_to_be_what_the_platform_holds_but_for_the_exception() {
    let server = Server::start().await;
    let mut granted = grant(server.port, &[]);
    let body = BodySpec { unchanged: Some("/Spec".into()), except: places(&["/Replicas"]), ..BodySpec::default() };
    granted.rules.push(rule("/services/*/update", body));
    let edge = Edge::new(granted);
    let scaled = edge.send(post("/services/abc/update", "{\"Image\":\"f\",\"Replicas\":3}")).await.unwrap();
    assert_eq!(text(scaled).await, "ok");
    let targets: Vec<String> = server.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, ["/services/abc", "/services/abc/update"]);

    let error = edge.send(post("/services/abc/update", "{\"Image\":\"evil\",\"Replicas\":3}")).await.unwrap_err();
    assert!(said(&error).contains("differs from what the platform holds at \"/Image\""), "{}", said(&error));
    // Of another service the platform holds nothing that can be compared: fail closed.
    let error = edge.send(post("/services/other/update", "{\"Image\":\"f\",\"Replicas\":3}")).await.unwrap_err();
    assert!(said(&error).contains("was not read: the answer is not JSON"), "{}", said(&error));
    let updates = server.seen().iter().filter(|seen| seen.target.ends_with("/update")).count();
    assert_eq!(updates, 1);
    // What the gateway asked for itself is not the plugin's request, but its bytes are.
    assert_eq!(edge.meter.usage().requests, 3);
    assert!(edge.meter.usage().response_bytes > 60);
}

#[tokio::test]
async fn a_body_that_is_held_whole_has_a_bound() {
    let server = Server::start().await;
    let mut granted = grant(server.port, &[]);
    granted.rules.push(create());
    granted.limits.buffered_bytes = 16;
    let edge = Edge::new(granted);
    let error = edge.send(post("/create", "{\"Image\":\"12345678\"}")).await.unwrap_err();
    assert_eq!((error.denial(), error.outcome()), (None, "limit"));
    assert!(said(&error).contains("raise `buffered-bytes` under [provider.edge.grant.platform.limits]"), "{error}");

    // Of unknown length: read up to the bound and no further.
    let frames = futures_util::stream::repeat_with(|| {
        Ok::<_, super::super::BoxError>(http_body::Frame::data(Bytes::from_static(b"        ")))
    });
    let endless = Request::post("http://platform/create").body(http_body_util::StreamBody::new(frames)).unwrap();
    let error = edge.egress.send(endless, Access::Full, &edge.meter, Timeouts::default()).await.unwrap_err();
    assert!(matches!(error, EgressError::BodyTooLarge { limit: 16, .. }), "{error}");
    assert!(edge.meter.usage().request_bytes <= 16 + 8 + 8);
    assert!(edge.send(post("/create", "{\"Image\":\"1234\"}")).await.is_ok());
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_dry_run_passes_what_a_body_would_be_refused_for() {
    let server = Server::start().await;
    let mut granted = Grant { mode: Mode::DryRun, ..grant(server.port, &[]) };
    granted.rules.push(create());
    let edge = Edge::new(granted);
    let body = "{\"HostConfig\":{\"Binds\":[\"/:/x\"]}}";
    assert_eq!(text(edge.send(post("/create", body)).await.unwrap()).await, "ok");
    assert_eq!(server.only().body, body);
    assert!(edge.metrics().contains("wicketgate_egress_denied_total{provider=\"edge\",reason=\"dry-run\"} 1"));
    let held_to_it = edge.egress.send(post("/create", body), Access::ReadOnly, &edge.meter, Timeouts::default()).await;
    assert_eq!(held_to_it.unwrap_err().denial(), Some("read-only"));
}
