//! Logs: pods' lines, merged by time. The API server's recording has none, for want of a kubelet; what a
//! kubelet answers to `timestamps=true` is a line's time, a space and the line.

use std::time::Duration;

use wicketgate_sdk::http::Request;
use wicketgate_sdk::testing::{Answer, now_ms, play_platform, take_requests};
use wicketgate_sdk::{ErrorKind, LogBatch, LogRequest, Logs};

use super::kubernetes;

const DEPLOYMENT: &str = r#"{"metadata":{"name":"echo","labels":{"faas_function":"echo"}},"spec":{
    "selector":{"matchLabels":{"faas_function":"echo"}},
    "template":{"spec":{"containers":[{"name":"proxy"},{"name":"echo"}]}}}}"#;

const PODS: &str = r#"{"metadata":{},"items":[
    {"metadata":{"name":"echo-b","uid":"bbb","creationTimestamp":"2026-11-23T18:00:01Z"}},
    {"metadata":{"name":"echo-a","uid":"aaa","creationTimestamp":"2026-11-23T18:00:00Z"}}]}"#;

/// Two pods that printed this; a text that begins with a status is refused with it.
fn with_logs(a: &'static str, b: &'static str) {
    play_platform(move |request: &Request| {
        let path = request.url.split('?').next().unwrap();
        let text = match path.rsplit("/fns/").next().unwrap() {
            "deployments/echo" => DEPLOYMENT,
            "pods" => PODS,
            "pods/echo-a/log" => a,
            "pods/echo-b/log" => b,
            other => panic!("{other} was asked for"),
        };
        Ok(match text.split_once('!') {
            Some((status, body)) => Answer::new(status.parse().unwrap(), body),
            None => Answer::new(200, text),
        })
    });
}

fn query(change: impl FnOnce(&mut LogRequest), cursor: Option<&str>, limit: u32) -> LogBatch {
    let mut request = LogRequest { name: "echo".to_owned(), namespace: "fns".to_owned(), ..LogRequest::default() };
    change(&mut request);
    kubernetes().query_logs(request, cursor, limit, Duration::from_secs(2)).unwrap()
}

fn texts(batch: &LogBatch) -> Vec<String> {
    batch.messages.iter().map(|line| format!("{} {}", line.instance, line.text)).collect()
}

const A: &str =
    "2026-11-23T18:00:01.1Z one\n2026-11-23T18:00:01.300000001Z three\n2026-11-23T18:00:01.300000001Z four\n";
const B: &str = "2026-11-23T18:00:01.200000000Z two\n2026-11-23T18:00:02Z five\n";

#[test]
fn lines_of_all_pods_are_merged_by_time() {
    with_logs(A, B);
    let batch = query(|_| (), None, 1000);
    assert_eq!(texts(&batch), ["echo-a one", "echo-b two", "echo-a three", "echo-a four", "echo-b five"]);
    assert_eq!((batch.messages[0].timestamp_ms % 100_000, batch.next), (1_100, None));
    let requests = take_requests();
    assert_eq!(requests.len(), 4);
    assert!(requests[1].url.ends_with("/pods?labelSelector=faas_function%3Decho"), "{}", requests[1].url);
    assert!(requests[2].url.contains("container=echo&timestamps=true"), "{}", requests[2].url);
}

#[test]
fn a_batch_goes_on_where_the_one_before_ended() {
    with_logs(A, B);
    let (mut cursor, mut all) = (None, Vec::new());
    loop {
        let batch = query(|_| (), cursor.as_deref(), 2);
        assert!(batch.messages.len() <= 2);
        all.extend(texts(&batch));
        cursor = batch.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(all, ["echo-a one", "echo-b two", "echo-a three", "echo-a four", "echo-b five"]);
    let later = take_requests().into_iter().map(|request| request.url).filter(|url| url.contains("sinceTime"));
    assert!(later.into_iter().all(|url| url.contains("sinceTime=2026-11-23T18%3A00%3A0")), "whole seconds");
}

#[test]
fn the_tail_is_of_all_pods_together_and_followed_by_nothing_older() {
    with_logs(A, B);
    let batch = query(|request| (request.tail, request.follow) = (Some(2), true), None, 1000);
    assert_eq!(texts(&batch), ["echo-a four", "echo-b five"]);
    with_logs(A, "2026-11-23T18:00:02Z five\n2026-11-23T18:00:03Z six\n");
    let before = now_ms();
    let more = query(|request| (request.tail, request.follow) = (Some(2), true), batch.next.as_deref(), 1000);
    assert_eq!((texts(&more), now_ms()), (vec!["echo-b six".to_owned()], before));
    let none = query(|request| request.follow = true, more.next.as_deref(), 1000);
    assert_eq!((none.messages.len(), now_ms() - before), (0, 1000));
    assert!(none.next.is_some());
}

#[test]
fn one_pod_only_and_nothing_older_than_asked_for() {
    with_logs(A, B);
    let second = 1_795_456_802_000;
    let batch =
        query(|request| (request.instance, request.since_ms) = (Some("echo-b".to_owned()), Some(second)), None, 9);
    assert_eq!(texts(&batch), ["echo-b five"]);
}

#[test]
fn pods_without_a_log_are_passed_over_and_missing_rights_are_told() {
    let waiting = r#"400!{"kind":"Status","reason":"BadRequest","message":"container is waiting to start"}"#;
    with_logs(waiting, B);
    assert_eq!(query(|_| (), None, 1000).messages.len(), 2);
    with_logs(r#"403!{"kind":"Status","reason":"Forbidden","message":"cannot get resource \"pods/log\""}"#, B);
    let request = LogRequest { name: "echo".to_owned(), namespace: "fns".to_owned(), ..LogRequest::default() };
    let error = kubernetes().query_logs(request.clone(), None, 9, Duration::ZERO).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
    let error = kubernetes().query_logs(request, Some("x"), 9, Duration::ZERO).unwrap_err();
    assert_eq!(error.kind, ErrorKind::CursorExpired);
}
