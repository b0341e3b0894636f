//! The watch: a list of jobs, then the event stream.

use std::time::Duration;

use wicketgate_sdk::testing::{Answer, play_platform, take_requests};
use wicketgate_sdk::{ErrorKind, Functions, Watch};

use super::replay::Script;
use super::{nomad, play, recording, sent};

const WAIT: Duration = Duration::from_secs(20);

fn namespaces() -> [String; 1] {
    ["default".to_owned()]
}

/// The stream of allocations, asked for together with that of jobs.
fn events(index: &str) -> Script {
    let script = recording("event-stream").only(&["allocations of one job"]);
    let script = script.with_query("allocations of one job", "topic", "Allocation:* and Job:*");
    script.with_query("allocations of one job", "index", index)
}

/// Job and counts, for whoever asks.
fn state() -> Script {
    recording("scale-zero-to-three-to-zero").only(&["job", "scale, three healthy"])
}

#[test]
fn a_snapshot_and_then_the_job_that_an_event_is_about() {
    let list = recording("list-jobs").only(&["meta asked for", "meta by job"]);
    let figlet = recording("scale-zero-to-three-to-zero").only(&["scale at zero"]).elsewhere("/echo/", "/figlet/");
    let echo2 = recording("unknown-job").only(&["get"]).elsewhere("/nope", "/echo-2");
    play(list.then(figlet).then(echo2).then(state()).then(events("370")));
    let snapshot = nomad().changes(&namespaces(), None, WAIT).unwrap();
    let names: Vec<&str> = snapshot.changed.iter().map(|state| state.function.name.as_str()).collect();
    assert_eq!((names, snapshot.complete), (vec!["echo", "figlet"], true));
    assert!(snapshot.cursor.starts_with("f|"), "{}", snapshot.cursor);

    assert_eq!(sent(), 6, "the list, two for each function, one for a job that is gone");
    let news = nomad().changes(&namespaces(), Some("f|370"), WAIT).unwrap();
    assert_eq!((news.changed.len(), news.changed[0].status.available_replicas), (1, 3));
    assert_eq!((news.cursor.as_str(), sent()), ("f|387!", 3), "the stream, the job and its counts");
}

#[test]
fn a_stream_goes_on_behind_the_event_that_was_seen_and_expires_without_it() {
    play(state().then(events("375")));
    // The recording begins at 375, which is the event that was seen last: the rest is new.
    let news = nomad().changes(&namespaces(), Some("f|375!"), WAIT).unwrap();
    assert_eq!((news.changed.len(), news.cursor.as_str()), (1, "f|387!"));
    play(state().then(events("371")));
    let error = nomad().changes(&namespaces(), Some("f|371!"), WAIT).unwrap_err();
    assert_eq!(error.kind, ErrorKind::CursorExpired, "what lay between was lost");
    // All of it was seen.
    play(events("387"));
    let none = nomad().changes(&namespaces(), Some("f|387!"), WAIT).unwrap();
    assert_eq!((none.changed.len(), none.cursor.as_str()), (0, "f|387!"));
}

#[test]
fn a_job_that_is_gone_is_removed() {
    play(events("370").then(recording("unknown-job").only(&["get"]).elsewhere("/nope", "/echo")));
    let news = nomad().changes(&namespaces(), Some("f|370"), WAIT).unwrap();
    assert_eq!((news.changed.len(), news.removed[0].name.as_str()), (0, "echo"));
}

#[test]
fn many_jobs_come_in_pages() {
    // So long that a cursor does not hold all of them.
    let long = |number: u32| format!("{}{number:02}", "f".repeat(200));
    play_platform(move |request| {
        let (path, query) = request.url.strip_prefix("http://nomad/v1/").unwrap().split_once('?').unwrap();
        assert!(query.contains("namespace=default"), "{query}");
        let job = |id: String| format!(r#"{{"ID":"{id}","Type":"service","Stop":false}}"#);
        if path == "jobs" {
            let jobs: Vec<String> = (0..30).map(|number| job(long(number))).collect();
            let other = r#"{"ID":"a-batch","Type":"batch","Stop":false},{"ID":"other","Type":"service","Meta":{}}"#;
            return Ok(Answer::new(200, format!("[{other},{}]", jobs.join(","))).with_header("X-Nomad-Index", "9"));
        }
        let id = path.split('/').nth(1).unwrap();
        let group = r#"{"Name":"fn","Count":1}"#;
        Ok(Answer::new(
            200,
            match path.ends_with("/scale") {
                true => r#"{"TaskGroups":{"fn":{"Desired":1,"Running":1}}}"#.to_owned(),
                false => format!(r#"{{"ID":"{id}","Meta":{{"faas_function":"{id}"}},"TaskGroups":[{group}]}}"#),
            },
        ))
    });
    let (mut cursor, mut names, mut pages) = (None, Vec::new(), 0);
    loop {
        let page = nomad().changes(&namespaces(), cursor.as_deref(), WAIT).unwrap();
        names.extend(page.changed.into_iter().map(|state| state.function.name));
        pages += 1;
        assert!(sent() <= 32, "the requests of a call");
        cursor = Some(page.cursor);
        if page.complete {
            break;
        }
    }
    // A page ends where the jobs of its cursor do, and the list is asked for again behind them.
    assert_eq!((names.len(), pages, cursor.as_deref()), (30, 4, Some("f|9")));
    let (mut cursor, mut listed, mut lists) = (None, Vec::new(), 0);
    loop {
        let page = nomad().list_functions("default", cursor.as_deref(), 1000).unwrap();
        listed.extend(page.functions.into_iter().map(|function| function.deployment.service));
        lists += take_requests().iter().filter(|request| request.url.contains("/v1/jobs?")).count();
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(listed, names);
    assert_eq!(lists, 2, "a cursor carries the jobs of the next pages, as many as fit");
}

#[test]
fn a_cursor_of_other_namespaces_and_too_many_of_them() {
    for cursor in ["", "f|1|2", "f", "s|", "s|1|2|a", "x|1"] {
        let error = nomad().changes(&namespaces(), Some(cursor), WAIT).unwrap_err();
        assert_eq!(error.kind, ErrorKind::CursorExpired, "{cursor:?}");
    }
    let many: Vec<String> = (0..9).map(|number| format!("n{number}")).collect();
    assert_eq!(nomad().changes(&many, None, WAIT).unwrap_err().kind, ErrorKind::Unsupported);
}
