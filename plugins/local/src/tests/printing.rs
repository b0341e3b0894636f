use std::time::Duration;

use wicketgate_sdk::testing::now_ms;
use wicketgate_sdk::{ErrorKind, LogBatch, LogRequest, Logs};

use super::*;

const WAIT: Duration = Duration::from_secs(2);

fn request() -> LogRequest {
    LogRequest { name: "wordcount".to_owned(), namespace: "openfaas-fn".to_owned(), ..LogRequest::default() }
}

fn query(request: &LogRequest, cursor: Option<&str>, limit: u32) -> LogBatch {
    local().query_logs(request.clone(), cursor, limit, WAIT).unwrap()
}

fn texts(batch: &LogBatch) -> Vec<&str> {
    batch.messages.iter().map(|message| message.text.as_str()).collect()
}

/// A host with one process that printed `count` lines, a second apart, by turns of two instances.
fn printed(count: u64) -> Rc<Host> {
    let host = Host::play();
    local().set_replicas("wordcount", "openfaas-fn", 1).unwrap();
    let line =
        |n: u64| OutputLine { instance: format!("i{}", n % 2), timestamp_ms: n * 1000, text: format!("line {n}") };
    host.lines.replace((0..count).map(line).collect());
    host
}

#[test]
fn all_lines_come_once_and_the_reading_ends() {
    let _host = printed(5);
    let (mut seen, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let batch = query(&request(), cursor.as_deref(), 2);
        seen.extend(batch.messages.iter().map(|message| message.text.clone()));
        let Some(next) = batch.next else { break };
        cursor = Some(next);
    }
    assert_eq!(seen, ["line 0", "line 1", "line 2", "line 3", "line 4"]);
}

#[test]
fn the_tail_is_the_last_lines_and_following_goes_on_from_there() {
    let host = printed(2500);
    let tail = LogRequest { tail: Some(2), ..request() };
    let batch = query(&tail, None, 1000);
    assert_eq!((texts(&batch), batch.next.as_deref()), (vec!["line 2498", "line 2499"], None));

    let follow = LogRequest { follow: true, ..tail };
    let batch = query(&follow, None, 1000);
    let last = OutputLine { instance: "i0".to_owned(), timestamp_ms: 1, text: "new".to_owned() };
    host.lines.borrow_mut().push(last);
    assert_eq!(texts(&query(&follow, batch.next.as_deref(), 1000)), ["new"]);
}

#[test]
fn instance_and_time_choose_lines() {
    let _host = printed(6);
    let one = LogRequest { instance: Some("i1".to_owned()), since_ms: Some(3000), ..request() };
    let batch = query(&one, None, 1000);
    assert_eq!(texts(&batch), ["line 3", "line 5"]);
    assert_eq!(batch.messages[0].timestamp_ms, 3000);
}

#[test]
fn a_function_that_never_ran_has_no_lines_yet() {
    let _host = Host::play();
    let batch = query(&request(), None, 10);
    assert_eq!((batch.messages.len(), batch.next), (0, None));
    let before = now_ms();
    let follow = LogRequest { follow: true, ..request() };
    let batch = query(&follow, None, 10);
    assert_eq!(now_ms() - before, 2000, "it waits instead of asking again and again");
    local().set_replicas("wordcount", "openfaas-fn", 1).unwrap();
    assert!(query(&follow, batch.next.as_deref(), 10).messages.is_empty());
    let unknown = LogRequest { name: "nobody".to_owned(), ..request() };
    assert_eq!(local().query_logs(unknown, None, 10, WAIT).unwrap_err().kind, ErrorKind::NotFound);
}
