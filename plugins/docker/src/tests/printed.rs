//! Logs in batches, from engines that tell times in nanoseconds and in whole seconds.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use wicketgate_sdk::LogRequest;
use wicketgate_sdk::Logs as _;
use wicketgate_sdk::testing::{Answer, pass, play_platform};
use wicketgate_sdk::time::format_rfc3339;

use super::{container, engine};

/// What containers printed: container, milliseconds since 1970, text.
type Printed = Rc<RefCell<Vec<(&'static str, u64, String)>>>;

/// The time of day when a test begins.
const BEGIN_MS: u64 = 1_700_000_000_000;

/// Plays an engine with the containers `a` and `b`, which tells times in whole seconds or in nanoseconds.
fn play(printed: &Printed, is_coarse: bool) {
    let printed = Rc::clone(printed);
    play_platform(move |request| {
        if !request.url.contains("/logs") {
            let all = json!([container("a", "running", json!({})), container("b", "running", json!({}))]);
            return Ok(Answer::new(200, all.to_string()));
        }
        let parameter = |key: &str| {
            let (_, query) = request.url.split_once('?').unwrap();
            query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned)
        };
        let millis = |key: &str| {
            let text = parameter(key)?;
            let (seconds, nanos) = text.split_once('.').unwrap();
            Some(seconds.parse::<u64>().unwrap() * 1000 + nanos.parse::<u64>().unwrap() / 1_000_000)
        };
        let (since, until) = (millis("since").unwrap_or(0), millis("until").unwrap_or(u64::MAX));
        let id = request.url.split('/').rev().nth(1).unwrap();
        let printed = printed.borrow();
        let own: Vec<_> = printed.iter().filter(|(container, ..)| *container == id).collect();
        // The engines cut off the end first, then look at the times; the end of a span belongs to the next.
        let tail = parameter("tail").map_or(usize::MAX, |tail| tail.parse().unwrap());
        let last = own.iter().skip(own.len().saturating_sub(tail));
        let frame = |(_, at, text): &&&(&str, u64, String)| {
            let time = format_rfc3339(*at);
            let line = if is_coarse {
                format!("{}Z {text}\n", time.split('.').next().unwrap())
            } else {
                format!("{time} {text}\n")
            };
            let length = u32::try_from(line.len()).unwrap().to_be_bytes();
            [&[1, 0, 0, 0], &length[..], line.as_bytes()].concat()
        };
        let wanted = last.filter(|(_, at, _)| (since..until).contains(at));
        Ok(Answer::new(200, wanted.collect::<Vec<_>>().iter().flat_map(frame).collect::<Vec<u8>>()))
    });
}

fn request() -> LogRequest {
    LogRequest {
        name: "echo".to_owned(),
        namespace: "fns".to_owned(),
        instance: None,
        since_ms: None,
        tail: None,
        follow: false,
    }
}

/// Reads batches of at most `limit` lines until one is empty or the last.
fn read(request: &LogRequest, cursor: &mut Option<String>, limit: u32) -> Vec<String> {
    let mut texts = Vec::new();
    loop {
        let batch = engine("").query_logs(request.clone(), cursor.as_deref(), limit, Duration::ZERO).unwrap();
        let is_over = batch.messages.is_empty() || batch.next.is_none();
        texts.extend(batch.messages.into_iter().map(|message| message.text));
        *cursor = batch.next;
        if is_over {
            return texts;
        }
    }
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

/// Prints in both containers, so that every second and every millisecond has lines of both.
fn print(printed: &Printed, from_ms: u64, names: std::ops::Range<u32>) -> Vec<String> {
    let mut all = Vec::new();
    for number in names {
        let at = BEGIN_MS + from_ms + u64::from(number % 10) * 70;
        for container in ["a", "b"] {
            let text = format!("{container}{number:03}");
            printed.borrow_mut().push((container, at, text.clone()));
            all.push(text);
        }
    }
    sorted(all)
}

#[test]
fn batches_of_a_log_neither_lose_nor_repeat_lines() {
    for is_coarse in [false, true] {
        let printed = Printed::default();
        play(&printed, is_coarse);
        let all = print(&printed, 0, 0..10);
        for limit in [1, 2, 3, 7, 19, 20, 1000] {
            assert_eq!(sorted(read(&request(), &mut None, limit)), all, "{limit} {is_coarse}");
        }
    }
}

#[test]
fn a_followed_log_goes_on_within_a_second() {
    for (is_coarse, since_ms) in [(false, None), (true, None), (false, Some(350)), (true, Some(350))] {
        let printed = Printed::default();
        play(&printed, is_coarse);
        let follow = LogRequest { follow: true, since_ms: since_ms.map(|ms| BEGIN_MS + ms), ..request() };
        let mut cursor = None;
        let first = print(&printed, 0, 0..10);
        let wanted = if since_ms.is_some() {
            first.iter().filter(|text| text.get(1..) >= Some("005")).collect()
        } else {
            first.iter().collect::<Vec<_>>()
        };
        assert_eq!(sorted(read(&follow, &mut cursor, 3)).iter().collect::<Vec<_>>(), wanted, "{is_coarse}");
        // The same second, then others.
        for (at, names) in [(700, 10..12), (900, 20..21), (2500, 30..40), (3300, 40..50)] {
            let more = print(&printed, at, names);
            assert_eq!(sorted(read(&follow, &mut cursor, 4)), more, "{is_coarse} {since_ms:?} {at}");
            assert!(read(&follow, &mut cursor, 4).is_empty(), "{is_coarse}");
        }
    }
}

#[test]
fn after_the_last_lines_come_those_that_are_new() {
    last_lines(false);
}

#[test]
fn after_the_last_lines_of_a_second_come_those_that_are_new() {
    last_lines(true);
}

fn last_lines(is_coarse: bool) {
    let printed = Printed::default();
    play(&printed, is_coarse);
    print(&printed, 0, 0..10);
    pass(Duration::from_millis(750));
    let (follow, mut cursor) = (LogRequest { follow: true, tail: Some(3), ..request() }, None);
    let last = read(&follow, &mut cursor, 10);
    assert_eq!(last.len(), 3, "{last:?}");
    assert!(last.iter().any(|text| text == "b009"), "{last:?}");
    for (at, names) in [(760, 10..11), (800, 11..13), (1900, 20..30)] {
        let more = print(&printed, at, names);
        assert_eq!(sorted(read(&follow, &mut cursor, 10)), more, "{at}");
    }
    pass(Duration::from_secs(10));
    let (none, mut cursor) = (LogRequest { tail: Some(0), ..follow }, None);
    assert_eq!(read(&none, &mut cursor, 10), Vec::<String>::new());
    let more = print(&printed, 10_900, 50..52);
    assert_eq!(sorted(read(&none, &mut cursor, 10)), more);
}

#[test]
fn what_was_delivered_uses_up_no_room() {
    let printed = Printed::default();
    play(&printed, true);
    // A second of more than a batch.
    let long = "x".repeat(60 << 10);
    let lines = (0..60).map(|number| ("a", BEGIN_MS, format!("{number:02}{long}")));
    printed.borrow_mut().extend(lines);
    let texts = read(&request(), &mut None, 1000);
    let numbers: Vec<String> = texts.iter().map(|text| text.trim_end_matches('x').to_owned()).collect();
    assert_eq!(numbers, (0..60).map(|number| format!("{number:02}")).collect::<Vec<_>>());
}
