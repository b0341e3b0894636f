//! The watch: snapshots in pages, changes, and how each of them ends.

use std::time::Duration;

use wicketgate_sdk::{ChangeSet, ErrorKind, Watch};

use super::replay::Script;
use super::{always, kubernetes, play, recording, sent};

const WAIT: Duration = Duration::from_secs(20);

fn changes(cursor: Option<&str>) -> ChangeSet {
    kubernetes().changes(&["fns".to_owned()], cursor, WAIT).unwrap()
}

/// `name replicas available`, for each function.
fn told(changes: &ChangeSet) -> Vec<String> {
    let one = |state: &wicketgate_sdk::FunctionState| {
        let status = &state.status;
        format!("{} {} {}", state.function.name, status.replicas, status.available_replicas)
    };
    changes.changed.iter().map(one).collect()
}

#[test]
fn a_snapshot_and_then_what_happens() {
    play(recording("watch-bookmarks").with_query("list", "limit", "250"));
    let snapshot = changes(None);
    assert_eq!(
        (told(&snapshot), snapshot.complete, snapshot.cursor.as_str()),
        (vec!["echo 0 0".into()], true, "f|1397")
    );
    assert_eq!(snapshot.changed[0].function.namespace, "fns");
    // Eleven events: one function becomes ready, another comes and goes; the last one is a bookmark.
    let news = changes(Some("f|1397"));
    assert_eq!(told(&news), ["echo 2 2"]);
    assert_eq!((news.removed.len(), news.removed[0].name.as_str()), (1, "figlet"));
    assert_eq!((news.cursor.as_str(), news.complete), ("f|1427", true));
    assert_eq!(sent(), 2);
    // From where the first function was ready, only the other one is told of.
    let rest = changes(Some("f|1421"));
    assert_eq!((told(&rest).len(), rest.removed.len()), (0, 1));
}

#[test]
fn a_function_that_is_deleted_is_removed() {
    play(recording("watch-bookmarks").only(&["watch through a delete"]));
    let news = kubernetes().changes(&["fns".to_owned()], Some("f|1434"), Duration::from_secs(8)).unwrap();
    assert_eq!((told(&news).len(), news.removed[0].name.as_str(), news.cursor.as_str()), (0, "echo", "f|1435"));
}

#[test]
fn a_snapshot_goes_through_pages_and_namespaces() {
    let pages = ["selector page 1", "selector page 2", "selector page 3"];
    let script = pages
        .iter()
        .fold(recording("list-paging").only(&pages), |script, page| script.with_query(page, "limit", "250"));
    let nothing = recording("list-paging").only(&["selector matches nothing"]).with_text("1658", "1700");
    let nothing = nothing.turned_into_read("selector matches nothing", "/apis/apps/v1/namespaces/other/deployments");
    let nothing = nothing.with_query("selector matches nothing", "labelSelector", "faas_function");
    play(script.then(nothing.with_query("selector matches nothing", "limit", "250")));
    let namespaces = ["fns".to_owned(), "other".to_owned()];
    let (mut cursor, mut names, mut calls) = (None, Vec::new(), 0);
    let last = loop {
        let page = kubernetes().changes(&namespaces, cursor.as_deref(), WAIT).unwrap();
        names.extend(page.changed.iter().map(|state| state.function.name.clone()));
        calls += 1;
        if page.complete {
            break page.cursor;
        }
        cursor = Some(page.cursor);
    };
    assert_eq!((names.len(), calls, last.as_str()), (25, 4, "f|1656|1700"));
}

#[test]
fn a_version_that_is_too_old_begins_again() {
    let watch = || recording("watch-too-old").only(&["watch from 1"]);
    let asked = |script: Script| script.with_query("watch from 1", "labelSelector", "faas_function");
    play(asked(watch()));
    let error = kubernetes().changes(&["fns".to_owned()], Some("f|1"), Duration::from_secs(10)).unwrap_err();
    assert_eq!((error.kind, error.platform_status), (ErrorKind::CursorExpired, Some(410)));
    let page = recording("watch-too-old").only(&["list page 2, continue expired"]);
    let token = "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MTMyNiwic3RhcnQiOiJlY2hvLTBcdTAwMDAifQ";
    let page = page.with_query("list page 2, continue expired", "labelSelector", "faas_function");
    play(page.with_query("list page 2, continue expired", "limit", "250"));
    let cursor = format!("s|{token}|1326");
    let error = kubernetes().changes(&["fns".to_owned()], Some(&cursor), WAIT).unwrap_err();
    assert_eq!(error.kind, ErrorKind::CursorExpired, "a snapshot is of one moment");
}

#[test]
fn refusals_that_come_as_events_are_errors() {
    always(
        200,
        "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"message\":\"Timeout: Too large resource version\",\"reason\":\"Timeout\",\"details\":{\"retryAfterSeconds\":1},\"code\":504}}\n",
    );
    let error = kubernetes().changes(&["fns".to_owned()], Some("f|9"), WAIT).unwrap_err();
    assert_eq!((error.kind, error.retry_after_ms), (ErrorKind::Timeout, Some(1000)));
    play(recording("throttled-429").only(&["watch"]).with_query("watch", "labelSelector", "faas_function").with_query(
        "watch",
        "allowWatchBookmarks",
        "true",
    ));
    let error = kubernetes().changes(&["fns".to_owned()], Some("f|0"), Duration::from_millis(900)).unwrap_err();
    assert_eq!((error.kind, error.retry_after_ms), (ErrorKind::RateLimited, Some(2000)));
}

#[test]
fn an_event_that_was_cut_is_not_half_told() {
    let line = |version: u32| {
        format!(
            "{{\"type\":\"MODIFIED\",\"object\":{{\"metadata\":{{\"name\":\"a\",\"resourceVersion\":\"{version}\"}}}}}}\n"
        )
    };
    let whole = format!("{}\n{}", line(5), line(6));
    always(200, whole.get(..whole.len() - 3).unwrap());
    let news = changes(Some("f|4"));
    assert_eq!((told(&news).len(), news.cursor.as_str()), (1, "f|5"));
    always(200, "nonsense\n");
    let error = kubernetes().changes(&["fns".to_owned()], Some("f|4"), WAIT).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Internal);
}

#[test]
fn a_cursor_of_other_namespaces_and_too_many_of_them() {
    for cursor in ["", "f|1|2", "f", "s|x", "s|x|1|2", "x|1"] {
        let error = kubernetes().changes(&["fns".to_owned()], Some(cursor), WAIT).unwrap_err();
        assert_eq!(error.kind, ErrorKind::CursorExpired, "{cursor:?}");
    }
    let many: Vec<String> = (0..17).map(|number| format!("n{number}")).collect();
    assert_eq!(kubernetes().changes(&many, None, WAIT).unwrap_err().kind, ErrorKind::Unsupported);
    assert_eq!(sent(), 0);
}
