//! The test of all of it: generations are swapped every 50 ms under load, on three providers. One goes from a platform to
//! another and back; one goes to the same platform by two ways; one has a watch, and processes of its own.

mod drive;
mod record;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use self::drive::{Configuration, Driver, EVERY};
use self::record::{check_calls, check_writes, interval, lines, lives};
use crate::harness::{Gateway, Platform, faas_provider, wait_until};

/// How long the load goes on, in seconds: `WICKETGATE_SWAP_SECONDS`, or this. A fifth of it comes before the
/// measurement of what is left behind.
const SECONDS: u64 = 60;
/// Functions of each platform that are never called before the load.
const COLD: usize = 400;
/// The pause between two calls of a warm function.
const WARM_PAUSE: Duration = Duration::from_millis(8);
/// Descriptors that may be open at the end beside those of before: idle connections to a platform.
const DESCRIPTORS: usize = 8;
/// Bytes that a swap may leave behind by the slope of the second half of the load: what is kept of functions and
/// changes is bounded, and its bounds may not be reached yet.
const PER_SWAP: f64 = 4096.0;
/// Bytes by which the gateway may have grown in all: what its allocators keep.
const GROWTH: f64 = 48.0 * 1024.0 * 1024.0;

/// What tells a generation apart for those that it asks: the platform, and the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    /// `host:port` of the platform; empty for this machine.
    address: String,
    side: &'static str,
}

impl Mark {
    fn new(platform: &Platform, side: &'static str) -> Self {
        Self { address: platform.address().to_owned(), side }
    }

    /// Whether it leads to this platform by this way.
    fn is(&self, platform: &Platform, side: &str) -> bool {
        self.address == platform.address() && self.side == side
    }
}

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

/// The configuration in which the two providers lead where the marks say, and the local one.
fn config(platforms: &[&Platform], marks: &[Mark; 2]) -> String {
    let provider = |mark: &Mark, tables: &str| {
        let platform = platforms.iter().find(|platform| platform.address() == mark.address).unwrap();
        faas_provider(platform, &format!("base = \"/{}\"", mark.side), tables)
    };
    let moving = provider(&marks[0], "[provider.platform.swap]\nshadow = 8\nswap-lookback = \"2s\"\n");
    // Two ways to one platform, which the operator says: the base paths differ.
    let steady = provider(&marks[1], "[provider.platform.swap]\nshadow = 8\nplatform = \"same\"\n")
        .replace("provider.platform", "provider.steady")
        .replace("openfaas-fn", "steady")
        .replace("default = true", "default = false");
    let here = "[provider.here]\ncomponent = \"builtin:local\"\nnamespaces = [\"commands\"]\n\
                [provider.here.config]\nnamespaces = [\"commands\"]\n\
                [provider.here.endpoints]\nallow = [\"127.0.0.0/8\"]\n\
                [provider.here.command.words]\ncommand = [\"wc\", \"-w\"]\n";
    let log = "info,wicketgate::access=debug,wicketgate::egress=debug,wicketgate::invoke=debug";
    // Connections that nobody uses are closed soon, so that what is left over can be told from them.
    let pool = "[forward.pool]\nidle-timeout = \"2s\"\n";
    format!("[reload]\nwatch = false\n{pool}[log]\nlevel = \"{log}\"\n{moving}{steady}{here}")
}

/// What is done to the gateway while generations are swapped.
struct Load<'a> {
    gateway: &'a Gateway,
    configuration: &'a Configuration<'a>,
    /// Where the two providers may lead.
    marks: [&'a [Mark; 2]; 2],
    /// Calls so far, and calls of functions that may have no instance.
    calls: AtomicUsize,
    cold: AtomicUsize,
}

impl Load<'_> {
    /// Calls functions until it is told to stop: how many, and what did not succeed.
    fn call(&self, stop: &AtomicBool, mut next: impl FnMut() -> String) -> (usize, Vec<String>) {
        let (mut calls, mut failed) = (0, Vec::new());
        let mut connection = self.gateway.connect();
        while !stop.load(Ordering::SeqCst) {
            let function = next();
            let id = format!("live-{function}-{}", self.calls.fetch_add(1, Ordering::SeqCst));
            let reply = connection.send("POST", &format!("/function/{function}"), &[("x-call-id", &id)], b"one two");
            calls += 1;
            if reply.status != 200 || reply.text() != "2\n" {
                failed.push(format!("{id}: {} {}", reply.status, reply.text()));
            }
        }
        (calls, failed)
    }

    /// Brings the provider to the next candidate: uploaded, or by another configuration.
    fn change(&self, driver: &mut Driver, at: usize, turn: u32) {
        let configured = self.configuration.marks.lock().unwrap()[at].clone();
        driver.come_to(&configured);
        if turn.is_multiple_of(2) {
            driver.upload();
        } else {
            driver.reconfigure(self.configuration, at, self.marks[at]);
        }
    }

    /// Calls and swaps for so long; what came of each thread's calls. `sample` is asked several times a second.
    fn run(&self, drivers: &mut [Driver; 3], seconds: u64, mut sample: impl FnMut(f64)) -> Vec<(usize, Vec<String>)> {
        let stop = AtomicBool::new(false);
        let begun = Instant::now();
        let end = begun + Duration::from_secs(seconds);
        std::thread::scope(|scope| {
            let stop = &stop;
            let mut callers = Vec::new();
            for function in ["warm", "warm.steady", "words.commands"] {
                let next = || {
                    std::thread::park_timeout(WARM_PAUSE);
                    function.to_owned()
                };
                callers.push(scope.spawn(move || self.call(stop, next)));
            }
            for place in ["", ".steady"] {
                let next = move || {
                    // Spread over the whole time, whatever the machine can do.
                    std::thread::park_timeout(Duration::from_millis(SECONDS * 1000 / COLD as u64));
                    format!("cold-{}{place}", self.cold.fetch_add(1, Ordering::SeqCst) / 2 % COLD)
                };
                callers.push(scope.spawn(move || self.call(stop, next)));
            }
            let [moving, same, here] = drivers;
            let swaps = [
                scope.spawn(move || moving.run(end, |driver, turn| self.change(driver, 0, turn))),
                scope.spawn(move || same.run(end, |driver, turn| self.change(driver, 1, turn))),
                scope.spawn(move || here.run(end, |driver, _| driver.upload())),
            ];
            while swaps.iter().any(|swaps| !swaps.is_finished()) {
                sample(begun.elapsed().as_secs_f64());
                std::thread::park_timeout(Duration::from_millis(250));
            }
            stop.store(true, Ordering::SeqCst);
            callers.into_iter().map(|caller| caller.join().unwrap()).collect()
        })
    }
}

/// What the gateway holds of what it must give back.
#[derive(Clone, Copy, Debug)]
struct Held {
    descriptors: usize,
    resident: f64,
    slots: f64,
}

fn descriptors(gateway: &Gateway) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap().count()
}

fn resident(gateway: &Gateway) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<f64>().unwrap() * 1024.0
}

fn slots(gateway: &Gateway) -> f64 {
    gateway.metric("wicketgate_plugin_pool_slots{kind=\"core-instances\"}")
}

/// What is held while nobody calls. Generations that took over since the last call have no instance that waits,
/// but for the one of the watch.
fn at_rest(gateway: &Gateway, drivers: &mut [Driver; 3]) -> Held {
    for driver in drivers.iter_mut() {
        driver.roll_back();
        driver.roll_back();
    }
    wait_until("all generations but one of each provider are retired", || {
        let text = gateway.output().text();
        let count = |message: &str| text.matches(&format!("\"message\":\"{message}\"")).count();
        count("published") == count("retired") + 3
    });
    wait_until("the watch is healthy", || gateway.metric("wicketgate_watch_healthy{provider=\"here\"}") == 1.0);
    Held { descriptors: descriptors(gateway), resident: resident(gateway), slots: slots(gateway) }
}

/// The slope of the line that fits points best.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = f64::from(u32::try_from(points.len()).unwrap());
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let shared: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    shared / points.iter().map(|point| (point.0 - x).powi(2)).sum::<f64>()
}

#[test]
fn generations_swapped_under_load_fail_no_request_and_leave_nothing_behind() {
    let seconds = std::env::var("WICKETGATE_SWAP_SECONDS").map_or(SECONDS, |text| text.parse().unwrap());
    let (first, second, steady) = (platform("openfaas-fn"), platform("openfaas-fn"), platform("steady"));
    let platforms = [&first, &second, &steady];
    let moving_marks = [Mark::new(&first, "side-a"), Mark::new(&second, "side-b")];
    let steady_marks = [Mark::new(&steady, "side-a"), Mark::new(&steady, "side-b")];
    let begin = [moving_marks[0].clone(), steady_marks[0].clone()];
    let text = |marks: &[Mark; 2]| config(&platforms, marks);
    let gateway = Gateway::with(&text(&begin));
    for function in ["warm", "warm.steady", "words.commands"] {
        let reply = gateway.post(&format!("/function/{function}"), "one two");
        assert_eq!((reply.status, reply.text().as_str()), (200, "2\n"), "{function}");
    }
    let own = Mark { address: String::new(), side: "" };
    let mut drivers = [
        Driver::new(&gateway, "platform", "faas-provider", moving_marks[0].clone()),
        Driver::new(&gateway, "steady", "faas-provider", steady_marks[0].clone()),
        Driver::new(&gateway, "here", "local", own),
    ];
    let configuration = Configuration { text: &text, marks: Mutex::new(begin) };
    drivers[0].reconfigure(&configuration, 0, &moving_marks);
    drivers[1].reconfigure(&configuration, 1, &steady_marks);
    drivers[2].upload();

    let load = Load {
        gateway: &gateway,
        configuration: &configuration,
        marks: [&moving_marks, &steady_marks],
        calls: AtomicUsize::new(0),
        cold: AtomicUsize::new(0),
    };
    let mut results = load.run(&mut drivers, seconds / 5, |_| {});
    let before = at_rest(&gateway, &mut drivers);
    let swaps_before = drivers.iter().map(|driver| driver.marks.len()).sum::<usize>();
    let mut memory: Vec<(f64, f64)> = Vec::new();
    results.extend(load.run(&mut drivers, seconds - seconds / 5, |at| memory.push((at, resident(&gateway)))));
    let after = at_rest(&gateway, &mut drivers);

    let failed: Vec<&String> = results.iter().flat_map(|(_, failed)| failed).collect();
    assert!(failed.is_empty(), "{} requests failed: {failed:#?}", failed.len());
    assert!(results.iter().all(|(calls, _)| *calls > 5), "{results:?}");

    let log = lines(&gateway);
    let [moving, same, here] = &drivers;
    for driver in &drivers {
        let lives = lives(&log, driver.provider);
        assert_eq!(
            lives.keys().collect::<Vec<_>>(),
            driver.marks.keys().collect::<Vec<_>>(),
            "{}: every generation has one line",
            driver.provider
        );
        let middle = interval(&lives);
        eprintln!("{}: {} generations, one every {middle:.3} s, {} loads", driver.provider, lives.len(), driver.loads);
        assert!(middle <= 2.0 * EVERY.as_secs_f64(), "{}: a swap every {middle} s", driver.provider);
        assert!(driver.loads >= 4, "{}: {} candidates went the whole way", driver.provider, driver.loads);
    }
    let (moved, warmed) = check_writes(&log, "platform", &[&first, &second], &moving.marks);
    let (scaled, never) = check_writes(&log, "steady", &[&steady], &same.marks);
    eprintln!("{moved} and {scaled} scale requests, {warmed} by candidates");
    assert!(moved > 20 && scaled > 20 && never == 0, "{moved} {warmed} {scaled} {never}");
    for (namespace, platforms, driver) in
        [("", &platforms[..2], moving), ("steady", &platforms[2..], same), ("commands", &[], here)]
    {
        let is_own = |id: &str| {
            let function = id.strip_prefix("live-").and_then(|rest| rest.rsplit_once('-')).map(|pair| pair.0);
            function.is_some_and(|function| function.split_once('.').map_or("", |pair| pair.1) == namespace)
        };
        let calls = check_calls(&log, is_own, platforms, &driver.marks);
        assert!(calls > 50, "{} has {calls} calls", driver.provider);
    }

    // Nothing is left behind.
    let failures = gateway.metric("wicketgate_watch_calls_total{outcome=\"failed\",provider=\"here\"}");
    assert_eq!(failures, 0.0, "watches failed");
    assert_eq!(after.slots, before.slots, "{before:?} {after:?}");
    wait_until("no descriptor is left over", || descriptors(&gateway) <= before.descriptors + DESCRIPTORS);
    let swaps = drivers.iter().map(|driver| driver.marks.len()).sum::<usize>() - swaps_before;
    let half = &memory[memory.len() / 2..];
    let span = memory.last().unwrap().0;
    let per_swap = slope(half) * span / f64::from(u32::try_from(swaps).unwrap());
    eprintln!("{swaps} swaps, {before:?}, {after:?}, {per_swap:.0} bytes a swap in the second half");
    assert!(per_swap <= PER_SWAP, "{per_swap} bytes a swap: {half:?}");
    assert!(after.resident - before.resident <= GROWTH, "{before:?} {after:?}");
}
