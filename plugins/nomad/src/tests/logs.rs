//! Logs: frames, cut into lines.

use std::time::Duration;

use wicketgate_sdk::testing::now_ms;
use wicketgate_sdk::{LogBatch, LogRequest, Logs};

use super::replay::Script;
use super::{job, nomad, play, recording};

const ALLOCATION: &str = "f92ee312-0318-3d1c-9158-42e25110bc3c";

/// One allocation; its standard output in frames (`"stdout as frames"` or `"follow, frames"`), and no
/// standard error.
fn logs(frames: &str) -> Script {
    let list =
        recording("allocations-ports").only(&["list"]).with_text("618c4551-ba9a-ff81-b19e-3498aeabe47c", ALLOCATION);
    let list = list.with_text("ef9b73d9-03d2-ba04-af40-a170b22ba9a9", "00000000-0000-0000-0000-000000000000");
    let window =
        |script: Script, name: &str| script.with_query(name, "origin", "end").with_query(name, "offset", "65536");
    let mut stdout = window(recording("logs").only(&[frames]), frames);
    if frames.starts_with("follow") {
        stdout = stdout.without_query(frames, "follow");
    }
    let none = |kind: &str, allocation: &str| {
        let absent = recording("logs").only(&["unknown allocation"]).without_query("unknown allocation", "plain");
        let absent = window(absent.with_query("unknown allocation", "type", kind), "unknown allocation");
        absent.elsewhere("00000000-0000-0000-0000-000000000000", allocation)
    };
    let other = "00000000-0000-0000-0000-000000000000";
    job()
        .then(list)
        .then(stdout)
        .then(none("stderr", ALLOCATION))
        .then(none("stdout", other))
        .then(none("stderr", other))
}

fn query(change: impl FnOnce(&mut LogRequest), cursor: Option<&str>, limit: u32) -> LogBatch {
    let mut request = LogRequest { name: "echo".to_owned(), namespace: "default".to_owned(), ..LogRequest::default() };
    change(&mut request);
    nomad().query_logs(request, cursor, limit, Duration::from_secs(2)).unwrap()
}

fn texts(batch: &LogBatch) -> Vec<&str> {
    batch.messages.iter().map(|line| line.text.as_str()).collect()
}

#[test]
fn frames_become_lines_and_a_batch_goes_on_where_the_one_before_ended() {
    play(logs("stdout as frames"));
    let first = query(|_| (), None, 5);
    assert_eq!(texts(&first), ["line 0", "line 1", "line 2", "line 3", "line 4"]);
    assert!(first.messages.iter().all(|line| line.instance == ALLOCATION));
    let rest = query(|_| (), first.next.as_deref(), 5);
    assert_eq!((texts(&rest), &rest.next), (vec!["line 5", "line 6", "line 7"], &None));
}

#[test]
fn following_tells_what_came_since_and_waits_when_nothing_did() {
    play(logs("stdout as frames"));
    let first = query(|request| (request.follow, request.tail) = (true, Some(2)), None, 1000);
    assert_eq!(texts(&first), ["line 6", "line 7"]);
    // Some seconds later: nine frames, heartbeats among them.
    play(logs("follow, frames"));
    let more = query(|request| request.follow = true, first.next.as_deref(), 1000);
    assert_eq!((texts(&more)[0], more.messages.len()), ("line 8", 8));
    let before = now_ms();
    let none = query(|request| request.follow = true, more.next.as_deref(), 1000);
    assert_eq!((none.messages.len(), &none.next, now_ms() - before), (0, &more.next, 1000));
}
