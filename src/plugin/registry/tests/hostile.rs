//! Guests that attack their host, each with its limit and with the limit out of the way: an attack that ends
//! the same without its limit would show that something else stopped it. The table is
//! `tests/fixtures/README.md`.

use super::*;

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ended {
    /// Well.
    Fine,
    /// With an error that the guest itself answered.
    Said,
    /// With a fault of the guest.
    Fault(PluginFault),
}

fn broke(budget: Budget) -> Ended {
    Ended::Fault(PluginFault::Budget(budget))
}

async fn ended(fixture: &str, limits: Limits) -> Ended {
    let bench = Bench::new();
    let provider = bench.provider(fixture, limits).await;
    let ended = match provider.get_replicas(&figlet()).await {
        Ok(_) => Ended::Fine,
        Err(QueryError { cause: Cause::Plugin(fault), .. }) => Ended::Fault(fault),
        Err(QueryError { cause: Cause::Platform(_), .. }) => Ended::Said,
        Err(error) => panic!("{fixture}: {error}"),
    };
    // Whatever it did took its instance and nothing else: the next call works, unless its way in is the attack.
    if !fixture.ends_with("-in-realloc") {
        provider.set_replicas(&figlet(), 1).await.unwrap_or_else(|error| panic!("{fixture}: {error}"));
    }
    ended
}

/// `(fixture, within its limit, the limit out of the way, what came of it then)`.
type Attack = (&'static str, Limits, Ended, Limits, Ended);

fn short_wall() -> Limits {
    // The processor time is out of the way, so the wall is what is left.
    Limits { cpu_time: Duration::from_secs(60), call_timeout: Duration::from_millis(300), ..limits() }
}

#[tokio::test]
async fn each_attack_meets_its_limit_and_nothing_else() {
    let wall = broke(Budget::Wall);
    let attacks: [Attack; 13] = [
        ("endless-loop", limits(), broke(Budget::Cpu), short_wall(), wall.clone()),
        ("fills-memory", limits(), broke(Budget::Cpu), short_wall(), wall.clone()),
        ("loop-in-realloc", limits(), broke(Budget::Cpu), short_wall(), wall.clone()),
        ("loop-in-post-return", limits(), broke(Budget::Cpu), short_wall(), wall.clone()),
        ("needs-memory", Limits { memory: 16 << 20, ..limits() }, broke(Budget::Memory), limits(), Ended::Fine),
        ("four-memories", Limits { memory: 20 << 20, ..limits() }, broke(Budget::Memory), limits(), Ended::Fine),
        ("hoards", limits(), broke(Budget::Handles), Limits { handles: 1000, ..limits() }, Ended::Fine),
        (
            "huge-string",
            limits(),
            broke(Budget::HostCallBytes),
            Limits { host_call_bytes: 64 << 20, ..slow() },
            Ended::Said,
        ),
        (
            "huge-list",
            limits(),
            broke(Budget::HostCallBytes),
            Limits { host_call_bytes: 256 << 20, ..slow() },
            Ended::Fault(PluginFault::BadOutput("labels")),
        ),
        ("swells", Limits { memory: 128 << 20, ..limits() }, Ended::Fine, limits(), Ended::Fine),
        ("most-replicas", limits(), Ended::Fine, slow(), Ended::Fine),
        ("not-found", limits(), Ended::Said, slow(), Ended::Said),
        ("sleeps", Limits { call_timeout: Duration::from_millis(50), ..limits() }, wall.clone(), short_wall(), wall),
    ];
    for (fixture, tight, stopped, wide, without) in attacks {
        assert_eq!(ended(fixture, tight).await, stopped, "{fixture} within its limit");
        assert_eq!(ended(fixture, wide).await, without, "{fixture} with its limit out of the way");
    }
}

/// Enough processor time for a debug build that copies megabytes.
fn slow() -> Limits {
    Limits { cpu_time: Duration::from_secs(30), call_timeout: Duration::from_secs(60), ..limits() }
}

#[tokio::test]
async fn what_no_setting_allows_is_a_trap_or_a_bad_answer() {
    let bad = |field| Ended::Fault(PluginFault::BadOutput(field));
    let trap = Ended::Fault(PluginFault::Trap);
    for (fixture, expected) in [
        ("endless-recursion", trap.clone()),
        ("trap-in-realloc", trap.clone()),
        ("bad-in-realloc", trap.clone()),
        ("trap-in-post-return", trap.clone()),
        ("endless-list", trap.clone()),
        ("bad-pointer", trap.clone()),
        ("bad-utf8", trap.clone()),
        ("bad-case", trap.clone()),
        ("random-bomb", trap),
        ("long-key", bad("labels")),
        ("long-value", bad("labels")),
        ("many-labels", bad("labels")),
        ("bad-factor", bad("scaling-factor")),
        ("bad-status", bad("platform-status")),
    ] {
        assert_eq!(ended(fixture, slow()).await, expected, "{fixture}");
    }
}

#[tokio::test]
async fn tables_are_bounded_with_the_memory() {
    let fault = ended("table-bomb", Limits { memory: 100 << 10, ..limits() }).await;
    assert_eq!(fault, broke(Budget::Memory));
    // Without our bound the pool's own ends it, and nothing says which setting would help.
    assert_eq!(ended("table-bomb", limits()).await, Ended::Fault(PluginFault::Trap));
}

#[tokio::test]
async fn a_state_holds_no_more_than_its_quota() {
    let bench = Bench::new();
    let taken = async |quota: u64| {
        let limits = Limits { state_quota: quota, ..slow() };
        bench.provider("state-flood", limits).await.get_replicas(&figlet()).await.unwrap().replicas
    };
    let (few, all) = (taken(100 << 10).await, taken(64 << 20).await);
    assert!((1..=25).contains(&few), "{few} values of 4 KiB in 100 KiB");
    assert_eq!(all, 2000);
}

#[tokio::test]
async fn a_flood_of_lines_is_bounded_in_a_call_and_in_a_second() {
    for (lines, rate, dropped) in [(64, 100_000, 936), (10_000, 100, 900), (10_000, 100_000, 0)] {
        let bench = Bench::new();
        let provider = bench.provider("log-flood", Limits { log_lines: lines, log_rate: rate, ..slow() }).await;
        provider.get_replicas(&figlet()).await.unwrap();
        let text = String::from_utf8(bench.registry.exposition()).unwrap();
        let line =
            text.lines().find_map(|line| line.strip_prefix(r#"wicketgate_plugin_log_dropped_total{provider="edge"} "#));
        let counted: u32 = line.map_or(0, |count| count.parse().unwrap());
        // The thousand lines may fall into two seconds, and then two hundred are written.
        assert!(
            counted == dropped || rate == 100 && counted == 800,
            "{lines} lines, {rate} a second: {counted} dropped"
        );
    }
}

#[tokio::test]
async fn what_is_no_plugin_is_refused_before_it_runs() {
    let bench = Bench::new();
    for (fixture, step) in [
        ("many-memories", "compile"),
        ("memory64", "compile"),
        ("two-memories", "compile"),
        ("wants-memory", "type"),
        ("trap-in-start", "type"),
        ("loop-in-start", "type"),
        ("wrong-type", "type"),
        ("missing-function", "type"),
        ("unknown-import", "link"),
        ("wants-processes", "link"),
        ("no-service-query", "link"),
    ] {
        assert_eq!(bench.refusal(fixture).await.step(), step, "{fixture}");
    }
}

/// Loads these bytes.
async fn load(bench: &Bench, bytes: &[u8], limits: Limits) -> Result<Candidate, Refusal> {
    let config = bench.config("good", limits);
    let ComponentSource::File(path) = &config.component else { panic!("a file") };
    std::fs::write(path, bytes).unwrap();
    bench.load(&config).await
}

#[tokio::test]
async fn a_component_that_is_too_large_is_not_even_read_to_its_end() {
    let bench = Bench::new();
    // A custom section of 100 MB behind a good component.
    let mut bytes = component("good");
    bytes.push(0);
    bytes.extend([0x80, 0xe1, 0xeb, 0x2f]); // 100 000 000 + the name's byte, LEB128, below
    let good = bytes.len();
    bytes.resize(good + 100_000_000, 0);
    let refusal = load(&bench, &bytes, limits()).await.err().unwrap();
    assert!(matches!(refusal, Refusal::TooLarge { .. }), "{refusal}");
    // With the limit raised it is what it says that it is, or nothing: in no case it is too large.
    let wide = load(&bench, &bytes, Limits { component_bytes: 256 << 20, ..limits() }).await;
    assert!(!matches!(wide, Err(Refusal::TooLarge { .. })));
}

#[tokio::test]
async fn bytes_that_were_cut_or_flipped_are_refused_or_harmless() {
    let bench = Bench::new();
    let whole = component("good");
    for length in (0..whole.len()).step_by(whole.len() / 40) {
        let refusal = load(&bench, &whole[..length], limits()).await.err();
        assert!(refusal.is_some(), "the first {length} of {} bytes were loaded", whole.len());
    }
    let (mut refused, mut loaded) = (0, 0);
    for at in (0..whole.len()).step_by(whole.len() / 60) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        match load(&bench, &flipped, limits()).await {
            Err(_) => refused += 1,
            // Such a bit is in a name or a number: it runs, within its budget.
            Ok(candidate) => {
                let provider = PluginProvider::new(&bench.config("good", limits()));
                provider.publish(candidate);
                let _answered_or_not = provider.get_replicas(&figlet()).await;
                loaded += 1;
            }
        }
    }
    assert!(refused > 0 && refused + loaded >= 60, "{refused} refused, {loaded} loaded");
}

#[tokio::test]
async fn a_module_is_no_component() {
    let bench = Bench::new();
    let module = wat::parse_str("(module (func (export \"get-replicas\")))").unwrap();
    let refusal = load(&bench, &module, limits()).await.err().unwrap();
    assert!(refusal.to_string().contains("module"), "{refusal}");
    let nested = format!("{}{}", "(component ".repeat(90), ")".repeat(90));
    let deep = wat::parse_str(&nested).unwrap();
    assert!(load(&bench, &deep, limits()).await.is_err());
}

#[tokio::test]
async fn a_trap_is_told_with_function_call_and_frames() {
    let bench = Bench::new();
    let provider = bench.provider("deep-trap", limits()).await;
    let function = figlet();
    let asked = crate::query::caller::on_behalf_of(Some("call-7".into()), provider.get_replicas(&function));
    let error = asked.await.unwrap_err();
    assert!(error.message.contains("in find_service < get-replicas"), "{}", error.message);
    for _ in 0..20 {
        let _trap = provider.get_replicas(&function).await;
    }
    let traps = provider.status().unwrap().traps;
    assert_eq!(traps.len(), usize::try_from(STRIKES).unwrap().min(8), "no call in quarantine is a trap");
    let first = traps.last().unwrap();
    assert_eq!((first.interface, first.function.as_ref()), ("service-query", Some(&function)));
    assert_eq!((first.call_id.as_deref(), traps[0].call_id.as_deref()), (Some("call-7"), None));
    assert_eq!(first.frames[0].function, "find_service");
    assert!(first.memory >= 65_536 && first.frames[0].offset.is_some(), "{first:?}");
}
