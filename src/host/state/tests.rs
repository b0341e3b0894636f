use super::*;

fn state(quota: u64) -> ProviderState {
    Store::in_memory().provider(&"edge".parse().unwrap(), quota)
}

#[test]
fn a_write_happens_only_if_its_expectation_holds() {
    let state = state(1000);
    let first = state.put("a", b"1", Expectation::Absent).unwrap();
    assert_eq!(state.put("a", b"2", Expectation::Absent), Err(StateError::Conflict));
    let second = state.put("a", b"2", Expectation::Version(first)).unwrap();
    assert!(second > first);
    assert_eq!(state.put("a", b"3", Expectation::Version(first)), Err(StateError::Conflict));
    assert_eq!(state.delete("a", Expectation::Version(first)), Err(StateError::Conflict));
    state.delete("a", Expectation::Version(second)).unwrap();
    assert_eq!(state.get("a").unwrap(), None);
    state.delete("a", Expectation::Anything).unwrap();
}

#[test]
fn the_quota_counts_keys_and_values_and_gives_back_what_is_replaced() {
    let state = state(10);
    state.put("key", b"1234567", Expectation::Anything).unwrap();
    state.put("key", b"7654321", Expectation::Anything).unwrap();
    let refused = state.put("k", b"", Expectation::Anything);
    assert_eq!(refused, Err(StateError::Quota { needed: 11, quota: 10 }));
    state.delete("key", Expectation::Anything).unwrap();
    state.put("k", b"123456789", Expectation::Anything).unwrap();
}

#[test]
fn keys_and_values_are_bounded() {
    let state = state(u64::MAX);
    assert!(matches!(state.get(""), Err(StateError::Invalid(_))));
    assert!(matches!(state.get(&"k".repeat(KEY_MAX_BYTES + 1)), Err(StateError::Invalid(_))));
    let long = vec![0; VALUE_MAX_BYTES + 1];
    assert!(matches!(state.put("k", &long, Expectation::Anything), Err(StateError::Invalid(_))));
}

#[test]
fn a_list_comes_in_pages_and_only_of_the_prefix() {
    let state = state(1000);
    for key in ["a", "f/1", "f/2", "f/3", "g"] {
        state.put(key, b"", Expectation::Anything).unwrap();
    }
    let first = state.list("f/", None, 2);
    assert_eq!(first.keys, ["f/1", "f/2"]);
    let second = state.list("f/", first.next.as_deref(), 2);
    assert_eq!((second.keys, second.next), (vec!["f/3".to_owned()], None));
}

#[test]
fn what_was_written_is_there_after_a_restart_and_versions_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deeper/state.redb");
    let edge = "edge".parse().unwrap();
    let store = Store::open(&path);
    let state = store.provider(&edge, 1000);
    state.put("kept", b"value", Expectation::Anything).unwrap();
    state.put("gone", b"value", Expectation::Anything).unwrap();
    store.flush();
    state.delete("gone", Expectation::Anything).unwrap();
    let last = state.put("last", b"", Expectation::Anything).unwrap();
    state.delete("last", Expectation::Anything).unwrap();
    store.host("processes", &edge, 1000).put("kept", b"other", Expectation::Anything).unwrap();
    drop((store, state));

    let store = Store::open(&path);
    let state = store.provider(&edge, 1000);
    assert_eq!(&*state.get("kept").unwrap().unwrap().value, b"value");
    assert_eq!(state.get("gone").unwrap(), None);
    assert_eq!(&*store.host("processes", &edge, 1000).get("kept").unwrap().unwrap().value, b"other");
    assert!(state.put("new", b"", Expectation::Anything).unwrap() > last);
}

#[test]
fn a_store_that_cannot_be_opened_refuses_writes_and_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let store = Store::open(&file.join("state.redb"));
    assert!(store.trouble().unwrap().contains("state.redb"));
    let state = store.provider(&"edge".parse().unwrap(), 1000);
    assert_eq!(state.get("a").unwrap(), None);
    assert!(matches!(state.put("a", b"", Expectation::Anything), Err(StateError::Unavailable(_))));
}

#[test]
fn writes_to_an_overlay_are_thrown_away() {
    let state = state(1000);
    state.put("a", b"1", Expectation::Anything).unwrap();
    let overlay = state.overlay();
    overlay.put("a", b"2", Expectation::Anything).unwrap();
    assert_eq!(&*overlay.get("a").unwrap().unwrap().value, b"2");
    assert_eq!(&*state.get("a").unwrap().unwrap().value, b"1");
}

#[test]
fn a_store_that_could_not_be_written_recovers() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let store = Store::open(&file.join("state.redb"));
    let state = store.provider(&"edge".parse().unwrap(), 1000);
    assert!(matches!(state.put("a", b"", Expectation::Anything), Err(StateError::Unavailable(_))));
    std::fs::remove_file(&file).unwrap();
    store.flush();
    state.put("a", b"", Expectation::Anything).unwrap();
}

#[test]
fn two_gateways_do_not_share_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    let _first = Store::open(&path);
    assert!(Store::open(&path).trouble().unwrap().contains("in use by another gateway"));
}
