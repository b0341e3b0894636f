use super::*;
use crate::testing::{Answer, play_platform, take_requests};

fn get(status: u16, body: &str) -> Response {
    let answer = Answer::new(status, body).with_header("Retry-After", "2");
    play_platform(move |_| Ok(answer.clone()));
    Request::get("http://platform/things").send().unwrap()
}

#[test]
fn a_body_of_exactly_the_limit_is_read_and_a_longer_one_refused() {
    assert_eq!(get(200, "12345").bytes(5).unwrap(), b"12345");
    let error = get(200, "123456").bytes(5).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Internal);
    assert!(error.message.contains("over 5 bytes"), "{error:?}");
}

#[test]
fn a_refusal_quotes_the_beginning_of_the_answer() {
    let error = get(503, &"x".repeat(10_000)).success("things").unwrap_err();
    assert_eq!((error.kind, error.platform_status), (ErrorKind::Unavailable, Some(503)));
    assert_eq!(error.retry_after_ms, Some(2000));
    assert!(error.message.starts_with("things: GET http://platform/things answered 503: xxx"), "{error:?}");
    assert!(error.message.len() < 700, "{}", error.message.len());
}

#[test]
fn segments_and_parameters_are_escaped() {
    get(200, "");
    let _first = take_requests();
    let request = Request::post("http://platform/a/").segment("b/c").query("q", "1&2").query("r", "");
    request.json(&[1]).unwrap().send().unwrap();
    let sent = take_requests();
    assert_eq!(sent[0].url, "http://platform/a/b%2Fc?q=1%262&r=");
    assert_eq!(sent[0].body, b"[1]");
    assert_eq!(sent[0].headers, [("content-type".to_owned(), "application/json".to_owned())]);
}

#[test]
fn a_request_without_an_answer_names_what_was_asked() {
    play_platform(|_| Err(Failure { kind: ErrorKind::Timeout, text: "no answer in time".to_owned() }));
    let error = Request::get("http://platform/slow").send().unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::Timeout, "GET http://platform/slow: no answer in time")
    );
}
