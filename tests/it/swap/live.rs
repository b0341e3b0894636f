//! The test of all of it: generations are swapped every 50 ms under load, on two providers, of which one
//! goes from a platform to another and back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::variant;
use crate::harness::{Gateway, Platform, faas_provider, wait_until};

/// How long the load goes on: 60 s if `WICKETGATE_SWAP_SECONDS` says so.
const SECONDS: u64 = 20;
/// The time between two swaps.
const EVERY: Duration = Duration::from_millis(50);
/// Functions that are never called before the load.
const COLD: usize = 400;
/// Bytes by which the gateway may have grown: allocators keep some, and connections have buffers.
const GROWTH: u64 = 96 << 20;

/// A platform with a warm function and many cold ones, whose scale requests take a moment.
fn platform(namespace: &str) -> Platform {
    let platform = Platform::start();
    platform.function(json!({ "name": "warm", "namespace": namespace, "replicas": 1, "run": "count" }));
    for number in 0..COLD {
        platform.function(json!({
            "name": format!("cold-{number}"), "namespace": namespace, "replicas": 0, "scale_ms": 15,
            "ready_after_polls": 1, "run": "count",
        }));
    }
    platform
}

fn config(moving: &Platform, steady: &Platform) -> String {
    let tables = "[provider.platform.swap]\nshadow = 8\n";
    let moving = faas_provider(moving, "", tables);
    let steady = faas_provider(steady, "", "")
        .replace("provider.platform", "provider.steady")
        .replace("openfaas-fn", "steady")
        .replace("default = true", "default = false");
    format!("[reload]\nwatch = false\n[log]\nlevel = \"info,wicketgate::access=debug\"\n{moving}{steady}")
}

/// Calls functions until it is told to stop; what did not succeed, and how many did.
fn load(gateway: &Gateway, stop: &AtomicBool, mut next: impl FnMut() -> Option<String>) -> (usize, Vec<String>) {
    let (mut calls, mut failed) = (0, Vec::new());
    let mut connection = gateway.connect();
    while !stop.load(Ordering::SeqCst) {
        let Some(function) = next() else { break };
        let reply = connection.send("POST", &format!("/function/{function}"), &[], b"one two");
        calls += 1;
        if reply.status != 200 || reply.text() != "2\n" {
            failed.push(format!("{function}: {} {}", reply.status, reply.text()));
        }
    }
    (calls, failed)
}

fn rollback(gateway: &Gateway, provider: &str) {
    let reply = gateway.admin_send("POST", &format!("/providers/{provider}/rollback"), &[], b"");
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// One line of the gateway's log.
struct Line {
    at: f64,
    fields: Value,
}

/// Seconds of a time such as `2026-01-02T03:04:05.678901Z` within its day, which no test outlives twice.
fn seconds(text: &str) -> f64 {
    let time = text.split_once('T').unwrap().1.trim_end_matches('Z');
    let mut parts = time.split(':').map(|part| part.parse::<f64>().unwrap());
    let (hours, minutes, seconds) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    hours * 3600.0 + minutes * 60.0 + seconds
}

fn lines(gateway: &Gateway) -> Vec<Line> {
    let text = gateway.output().text();
    let parsed = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    parsed.map(|fields| Line { at: seconds(fields["timestamp"].as_str().unwrap()), fields }).collect()
}

/// When each generation of a provider was published and retired.
fn lives(lines: &[Line], provider: &str) -> BTreeMap<u64, (f64, f64)> {
    let mut lives = BTreeMap::new();
    for line in lines.iter().filter(|line| line.fields["provider"] == provider) {
        let Some(generation) = line.fields["generation"].as_u64() else { continue };
        match line.fields["message"].as_str() {
            Some("published") => drop(lives.insert(generation, (line.at, f64::MAX))),
            Some("retired") => lives.get_mut(&generation).unwrap().1 = line.at,
            _ => {}
        }
    }
    lives
}

fn descriptors(gateway: &Gateway) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap().count()
}

fn resident(gateway: &Gateway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() << 10
}

fn slots(gateway: &Gateway) -> f64 {
    gateway.metric("wicketgate_plugin_pool_slots{kind=\"core-instances\"}")
}

#[test]
fn generations_swapped_under_load_fail_no_request_and_leave_nothing_behind() {
    let seconds = std::env::var("WICKETGATE_SWAP_SECONDS").map_or(SECONDS, |text| text.parse().unwrap());
    let (first, second, steady) = (platform("openfaas-fn"), platform("openfaas-fn"), platform("steady"));
    let gateway = Gateway::with(&config(&first, &steady));
    for function in ["warm", "warm.steady"] {
        assert_eq!(gateway.get(&format!("/function/{function}")).status, 200);
    }
    // The generations that are swapped: two platforms of one provider, two components of the other.
    gateway.rewrite(&config(&second, &steady));
    gateway.signal(rustix::process::Signal::HUP);
    gateway.output().wait_for("the configuration was taken").unwrap();
    assert_eq!(gateway.admin_send("PUT", "/providers/steady", &[], &variant(1)).status, 200);
    let before = (descriptors(&gateway), resident(&gateway));

    let (stop, cold) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut swaps = 0_u32;
    let results: Vec<(usize, Vec<String>)> = std::thread::scope(|scope| {
        let (gateway, stop, cold) = (&gateway, &stop, &cold);
        let mut threads = Vec::new();
        for function in ["warm", "warm.steady"] {
            threads.push(scope.spawn(move || load(gateway, stop, || Some(function.to_owned()))));
        }
        for place in ["", ".steady"] {
            threads.push(scope.spawn(move || {
                load(gateway, stop, || {
                    let number = cold.fetch_add(1, Ordering::SeqCst) / 2;
                    // Spread over the whole time, whatever the machine can do.
                    std::thread::park_timeout(Duration::from_millis(seconds * 1000 / COLD as u64));
                    Some(format!("cold-{}{place}", number % COLD))
                })
            }));
        }
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end {
            let begun = Instant::now();
            rollback(gateway, "platform");
            rollback(gateway, "steady");
            swaps += 1;
            std::thread::park_timeout(EVERY.saturating_sub(begun.elapsed()));
        }
        stop.store(true, Ordering::SeqCst);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let failed: Vec<&String> = results.iter().flat_map(|(_, failed)| failed).collect();
    assert!(failed.is_empty(), "{} of {swaps} swaps' requests failed: {failed:#?}", failed.len());
    assert!(swaps > 50, "{swaps} swaps");
    assert!(results.iter().all(|(calls, _)| *calls > 20), "{results:?}");

    // Everything that was replaced ends.
    for provider in ["platform", "steady"] {
        wait_until("all generations but one of each provider retired", || {
            lives(&lines(&gateway), provider).values().filter(|(_, retired)| *retired == f64::MAX).count() == 1
        });
    }
    let log = lines(&gateway);
    let moving = lives(&log, "platform");

    // Who served: the first platform had the odd publishes of the provider, the second the even ones.
    let spans = |which: usize| -> Vec<(f64, f64)> {
        moving.values().enumerate().filter(|(index, _)| index % 2 == which).map(|(_, span)| *span).collect()
    };
    for (which, platform) in [&first, &second].into_iter().enumerate() {
        let spans = spans(which);
        let scaled: Vec<_> =
            platform.log().into_iter().filter(|seen| seen.text("path").contains("/scale-function/")).collect();
        assert!(!scaled.is_empty(), "platform {which} was never asked for an instance");
        for seen in &scaled {
            assert_eq!(seen.number("writing"), 1, "two scale requests at once: {seen:?}");
            let at = seen.at() % 86_400.0;
            // Both lines are written a moment after what they say.
            let is_within = spans.iter().any(|(published, retired)| *published - 0.25 <= at && at <= *retired + 0.001);
            assert!(is_within, "a generation wrote after its end, at {at}: {seen:?}");
        }
    }

    // Each line of a request names a generation that there was.
    let known: Vec<u64> = moving.keys().chain(lives(&log, "steady").keys()).copied().collect();
    let invoked: Vec<_> = log.iter().filter(|line| line.fields["message"] == "invoked").collect();
    assert!(invoked.len() > 100, "{} lines", invoked.len());
    for line in invoked {
        let generation = line.fields["generation"].as_u64();
        assert!(generation.is_some_and(|generation| known.contains(&generation)), "{}", line.fields);
    }

    // Nothing is left behind: instances of two generations that are idle, and what was there before.
    let most = gateway.metric("wicketgate_plugin_instances{provider=\"platform\"}")
        + gateway.metric("wicketgate_plugin_instances{provider=\"steady\"}");
    assert!(most <= 34.0, "{most} instances");
    assert!(slots(&gateway) <= 2.0 * most + 8.0, "{} slots for {most} instances", slots(&gateway));
    let (files, memory) = before;
    wait_until("no descriptor is left over", || descriptors(&gateway) <= files + 24);
    let grown = resident(&gateway).saturating_sub(memory);
    assert!(grown <= GROWTH, "{} MiB more than before {swaps} swaps", grown >> 20);
}
