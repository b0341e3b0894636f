//! Bounds: of a call, of a grant, of time.

use std::num::NonZeroU32;
use std::time::Duration;

use super::server::Server;
use super::*;
use crate::query::Budget;

async fn read(response: Response<EgressBody>) -> Result<Bytes, EgressError> {
    response.into_body().collect().await.map(http_body_util::Collected::to_bytes)
}

#[tokio::test]
async fn the_requests_of_a_call_are_counted_denied_ones_included() {
    let server = Server::start().await;
    let edge = Edge::new(grant(server.port, &["GET /x"])).limited(EgressLimits { requests: 3, ..limits() });
    text(edge.get("/x").await.unwrap()).await;
    assert!(edge.get("/denied").await.unwrap_err().denial().is_some());
    let nowhere = Request::get("http://nowhere/").body(Full::default()).unwrap();
    assert!(edge.send(nowhere).await.unwrap_err().denial().is_some());
    let error = edge.get("/x").await.unwrap_err();
    assert_eq!(error.budget(), Some(Budget::Requests));
    assert!(said(&error).contains("over the limit of 3 for one call; raise `requests`"), "{error}");
    assert_eq!(edge.meter.exceeded(), Some(Budget::Requests));
    edge.meter.rearm();
    text(edge.get("/x").await.unwrap()).await;
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_body_that_is_known_to_be_too_long_is_not_begun() {
    let server = Server::start().await;
    let edge = Edge::new(grant(server.port, &["POST /x"])).limited(EgressLimits { request_bytes: 6, ..limits() });
    let error = edge.send(post("/x", "1234567")).await.unwrap_err();
    assert_eq!(error.budget(), Some(Budget::RequestBytes));
    assert_eq!(server.connections(), 0);
    edge.meter.rearm();
    text(edge.send(post("/x", "1234")).await.unwrap()).await;
    assert_eq!(edge.send(post("/x", "123")).await.unwrap_err().budget(), Some(Budget::RequestBytes));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_body_that_turns_out_to_be_too_long_is_broken_off() {
    let server = Server::start().await;
    let edge = Edge::new(grant(server.port, &["POST /x"])).limited(EgressLimits { request_bytes: 6, ..limits() });
    let chunk = || Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::from_static(b"1234")));
    let body = http_body_util::StreamBody::new(futures_util::stream::iter([chunk(), chunk()]));
    let request = Request::post("http://platform/x").body(body).unwrap();
    let error = edge.egress.send(request, Access::Full, &edge.meter, Timeouts::default()).await.unwrap_err();
    assert_eq!(error.budget(), Some(Budget::RequestBytes), "{}", said(&error));
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn the_bytes_of_responses_are_counted_while_they_are_read() {
    let server = Server::start().await;
    let edge = Edge::new(grant(server.port, &["GET /large", "GET /x"]))
        .limited(EgressLimits { response_bytes: (64 << 10) + 1, ..limits() });
    assert_eq!(read(edge.get("/large").await.unwrap()).await.unwrap().len(), 64 << 10);
    let error = read(edge.get("/large").await.unwrap()).await.unwrap_err();
    assert_eq!(error.budget(), Some(Budget::ResponseBytes));
    assert_eq!(edge.meter.exceeded(), Some(Budget::ResponseBytes));
    assert!(edge.metrics().contains("outcome=\"cut-limit\""), "{}", edge.metrics());
}

#[tokio::test]
async fn a_grant_bounds_each_response() {
    let server = Server::start().await;
    let mut granted = grant(server.port, &["GET /large", "GET /x"]);
    granted.limits.response_bytes = Some(1000);
    let edge = Edge::new(granted);
    assert_eq!(read(edge.get("/x").await.unwrap()).await.unwrap(), "ok");
    let error = read(edge.get("/large").await.unwrap()).await.unwrap_err();
    assert!(said(&error).contains("more than 1000 bytes; raise `response-bytes`"), "{error}");
    assert_eq!(edge.meter.exceeded(), None);
}

#[tokio::test]
async fn header_sections_are_bounded_both_ways() {
    let server = Server::start().await;
    let edge = Edge::new(grant(server.port, &["GET /x?a=*", "GET /long-header"]))
        .limited(EgressLimits { header_bytes: 1000, ..limits() });
    let error = edge.get(&format!("/x?a={}", "b".repeat(1000))).await.unwrap_err();
    assert!(said(&error).contains("of the request has"), "{error}");
    let mut request = get("/x");
    request.headers_mut().insert("x-left-out", "a".repeat(1000).parse().unwrap());
    assert!(matches!(edge.send(request).await, Err(EgressError::HeaderTooLarge { direction: "request", .. })));
    assert!(server.seen().is_empty());
    let error = edge.get("/long-header").await.unwrap_err();
    assert!(matches!(error, EgressError::HeaderTooLarge { direction: "response", limit: 1000, .. }), "{error:?}");
}

#[tokio::test]
async fn places_in_flight_are_bounded_until_the_body_was_read() {
    let server = Server::start().await;
    let mut granted = grant(server.port, &["GET /silent", "GET /x"]);
    granted.limits.in_flight = NonZeroU32::MIN;
    let edge = Edge::new(granted);
    let open = edge.get("/silent").await.unwrap();
    let soon = Timeouts { first_byte: Some(Duration::from_millis(20)), ..Timeouts::default() };
    let error = edge.egress.send(get("/x"), Access::Full, &edge.meter, soon).await.unwrap_err();
    assert!(said(&error).contains("1 requests are in flight"), "{error}");
    assert!(error.is_retryable() && error.is_timeout());
    drop(open);
    // A response that was read to its end has no claim, even while it is held.
    let held = edge.get("/x").await.unwrap();
    let (_head, mut body) = held.into_parts();
    while body.frame().await.is_some() {}
    assert_eq!(text(edge.get("/x").await.unwrap()).await, "ok");
    drop(body);
}

#[tokio::test]
async fn silence_within_a_body_has_a_bound() {
    let server = Server::start().await;
    let edge = Edge::new(grant(server.port, &["GET /silent"]));
    let soon = Timeouts { between_bytes: Some(Duration::from_millis(20)), ..Timeouts::default() };
    let response = edge.egress.send(get("/silent"), Access::Full, &edge.meter, soon).await.unwrap();
    let error = read(response).await.unwrap_err();
    assert!(matches!(error, EgressError::Silent { .. }), "{error:?}");
    assert!(error.is_timeout());
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_a_timeout() {
    let server = Server::start().await;
    let mut granted = grant(server.port, &["GET /hold"]);
    granted.limits.first_byte_timeout = Duration::from_millis(20);
    let edge = Edge::new(granted);
    // The guest may wait for less, never for more.
    let long = Timeouts { first_byte: Some(Duration::from_secs(3600)), ..Timeouts::default() };
    let error = edge.egress.send(get("/hold"), Access::Full, &edge.meter, long).await.unwrap_err();
    assert!(error.is_timeout() && error.is_retryable(), "{error:?}");
    assert_eq!(error.outcome(), "timeout");
}

#[tokio::test]
async fn a_held_answer_comes_when_it_comes() {
    let server = Server::start().await;
    let edge = Edge::new(grant(server.port, &["GET /hold"]));
    let (response, ()) = tokio::join!(edge.get("/hold"), async { server.gate.notify_one() });
    assert_eq!(text(response.unwrap()).await, "held");
}
