//! What the gateway's log and the platforms' records say of generations, and whether they agree.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Mark;
use crate::harness::platform::Seen;
use crate::harness::{Gateway, Platform};

/// Lines have microseconds, cut off.
const ROUNDED: f64 = 2e-6;

/// One line of the gateway's log.
pub(super) struct Line {
    /// When it was written, in seconds of its day.
    pub(super) at: f64,
    pub(super) fields: Value,
}

impl Line {
    fn text(&self, field: &str) -> Option<&str> {
        self.fields[field].as_str()
    }

    fn generation(&self) -> Option<u64> {
        self.fields["generation"].as_u64()
    }
}

/// Seconds of a time such as `2026-01-02T03:04:05.678901Z` within its day, which no test outlives twice.
fn seconds(text: &str) -> f64 {
    let time = text.split_once('T').unwrap().1.trim_end_matches('Z');
    let mut parts = time.split(':').map(|part| part.parse::<f64>().unwrap());
    let (hours, minutes, seconds) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    hours * 3600.0 + minutes * 60.0 + seconds
}

/// The same of a platform's time, which counts from 1970.
fn of_day(since_1970: f64) -> f64 {
    since_1970 % 86_400.0
}

pub(super) fn lines(gateway: &Gateway) -> Vec<Line> {
    let text = gateway.output().text();
    let parsed = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    parsed.map(|fields| Line { at: seconds(fields["timestamp"].as_str().unwrap()), fields }).collect()
}

/// When each generation of a provider was published, and when it was retired.
pub(super) fn lives(lines: &[Line], provider: &str) -> BTreeMap<u64, (f64, f64)> {
    let mut lives = BTreeMap::new();
    for line in lines.iter().filter(|line| line.text("provider") == Some(provider)) {
        let Some(generation) = line.generation() else { continue };
        match line.text("message") {
            Some("published") => drop(lives.insert(generation, (line.at, f64::MAX))),
            Some("retired") => lives.get_mut(&generation).unwrap().1 = line.at,
            _ => {}
        }
    }
    lives
}

/// The middle of the times between two publishes of a provider, in seconds.
pub(super) fn interval(lives: &BTreeMap<u64, (f64, f64)>) -> f64 {
    let published: Vec<f64> = lives.values().map(|(published, _)| *published).collect();
    let mut between: Vec<f64> = published.windows(2).map(|pair| pair[1] - pair[0]).collect();
    between.sort_by(f64::total_cmp);
    between[between.len() / 2]
}

/// Every scale request that a platform got belongs to one line of the log, whose generation is one that leads to
/// this platform by this way and that was not retired yet. No two of a function ran at once. Answers how many there
/// were, and how many of them a candidate made before it was published.
pub(super) fn check_writes(
    log: &[Line],
    provider: &str,
    platforms: &[&Platform],
    marks: &BTreeMap<u64, Mark>,
) -> (usize, usize) {
    let lives = lives(log, provider);
    let is_write = |line: &&Line| {
        line.text("message") == Some("asked the platform")
            && line.text("provider") == Some(provider)
            && line.text("method") == Some("POST")
    };
    let mut told: Vec<Option<&Line>> = log.iter().filter(is_write).map(Some).collect();
    let (mut count, mut warmed) = (0, 0);
    for platform in platforms {
        for seen in platform.log().into_iter().filter(|seen| seen.text("path").contains("/scale-function/")) {
            assert_eq!(seen.number("writing"), 1, "two scale requests for a function at once: {seen:?}");
            assert_eq!(seen.json()["replicas"], 1, "{seen:?}");
            let (began, done) = (of_day(seen.at()), of_day(seen.done().expect("it was carried out")));
            // The platform was done before the gateway could tell of it.
            let is_it = |line: &Line| {
                let is_marked = match line.generation().unwrap() {
                    0 => true,
                    generation => marks[&generation].is(platform, seen.text("side")),
                };
                is_marked
                    && line.text("path") == Some(seen.text("path"))
                    && line.at + ROUNDED >= done
                    && line.at - line.fields["seconds"].as_f64().unwrap() <= began + ROUNDED
            };
            let found = told.iter_mut().find(|line| line.is_some_and(is_it)).and_then(Option::take);
            let line = found.unwrap_or_else(|| panic!("no generation says that it asked for this: {seen:?}"));
            count += 1;
            match line.generation().unwrap() {
                0 => warmed += 1,
                generation => {
                    let (_, retired) = lives[&generation];
                    assert!(done <= retired + ROUNDED, "generation {generation} wrote after it was retired: {seen:?}");
                }
            }
        }
    }
    let left: Vec<&Value> = told.iter().flatten().map(|line| &line.fields).collect();
    assert!(left.is_empty(), "the log tells of scale requests that no platform got: {left:#?}");
    (count, warmed)
}

/// Every line about one of the calls names a generation; the one of its end leads to the platform that answered, by the
/// way that it came. Answers how many calls there were.
pub(super) fn check_calls(
    log: &[Line],
    is_own: impl Fn(&str) -> bool,
    platforms: &[&Platform],
    marks: &BTreeMap<u64, Mark>,
) -> usize {
    let mut answered: BTreeMap<String, (usize, Seen)> = BTreeMap::new();
    for (at, platform) in platforms.iter().enumerate() {
        for seen in platform.log().into_iter().filter(|seen| seen.text("path").starts_with("/function/")) {
            let id = seen.header("x-call-id").unwrap().to_owned();
            // A call that was sent again was answered by whoever got it last.
            if answered.get(&id).is_none_or(|(_, before)| before.at() < seen.at()) {
                answered.insert(id, (at, seen));
            }
        }
    }
    let mut calls = 0;
    for line in log {
        let Some(id) = line.text("call_id").filter(|id| is_own(id)) else { continue };
        let generation = line.generation().unwrap_or_else(|| panic!("no generation: {}", line.fields));
        let mark = marks.get(&generation).unwrap_or_else(|| panic!("there was no such generation: {}", line.fields));
        if line.text("message") != Some("invoked") {
            continue;
        }
        calls += 1;
        if !platforms.is_empty() {
            let (at, seen) = answered.get(id).unwrap_or_else(|| panic!("no platform answered: {}", line.fields));
            assert!(mark.is(platforms[*at], seen.text("side")), "{mark:?}, and not {}: {seen:?}", line.fields);
        }
    }
    calls
}
