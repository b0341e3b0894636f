//! Guests in text form: loaded, and called.

use super::*;

/// The limits of a guest, and what is out of the way.
struct Setup {
    limits: Limits,
    off: Option<Check>,
}

impl Setup {
    fn limits(limits: Limits) -> Self {
        Self { limits, off: None }
    }

    fn off(check: Check) -> Self {
        Self { limits: slow(), off: Some(check) }
    }
}

/// The processor time is out of the way, so the wall is what is left.
fn short_wall() -> Limits {
    Limits { cpu_time: Duration::from_secs(60), call_timeout: Duration::from_millis(300), ..limits() }
}

/// The limits of a guest.
fn within(guest: &str) -> Limits {
    match guest {
        "needs-memory" => Limits { memory: 16 << 20, ..limits() },
        "four-memories" => Limits { memory: 20 << 20, ..limits() },
        "table-bomb" => Limits { memory: 100 << 10, ..limits() },
        "endless-loop" | "fills-memory" | "loop-in-realloc" | "loop-in-post-return" | "loop-in-start" | "hoards" => {
            limits()
        }
        _ => slow(),
    }
}

/// The same guest with its limit out of the way.
fn without(guest: &str) -> Setup {
    match guest {
        "endless-loop" | "fills-memory" | "loop-in-realloc" | "loop-in-post-return" | "loop-in-start" => {
            Setup::limits(short_wall())
        }
        "needs-memory" | "four-memories" | "table-bomb" => Setup::limits(slow()),
        // More than the pool's slots have.
        "memory-bomb" | "wants-memory" => Setup::limits(Limits { memory: 2 << 30, ..slow() }),
        "hoards" => Setup::limits(Limits { handles: 1000, ..slow() }),
        "huge-string" => Setup::limits(Limits { host_call_bytes: 64 << 20, ..slow() }),
        "huge-list" => Setup::limits(Limits { host_call_bytes: 256 << 20, ..slow() }),
        "100-megabytes" => Setup::limits(Limits { component_bytes: 256 << 20, ..slow() }),
        "deep-recursion" => Setup::off(Check::Stack),
        "memory64" | "two-memories" => Setup::off(Check::Features),
        "many-memories" => Setup::off(Check::Memories),
        "unknown-import" | "wants-processes" => Setup::off(Check::Imports),
        "wrong-type" | "trap-in-start" => Setup::off(Check::Types),
        "random-bomb" => Setup::off(Check::Random),
        "long-key" | "long-value" | "many-labels" | "bad-factor" | "bad-status" => Setup::off(Check::Contract),
        _ => Setup::off(Check::Discard),
    }
}

fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        bytes.push(if number == 0 { low } else { low | 0x80 });
        if number == 0 {
            return bytes;
        }
    }
}

/// The bytes of a guest.
fn bytes(guest: &str) -> Vec<u8> {
    const SIZE: usize = 100_000_000;
    match guest {
        // A good component, and behind it a custom section without a name.
        "100-megabytes" => {
            let mut bytes = component("good");
            bytes.push(0);
            bytes.extend(leb128(SIZE));
            bytes.resize(bytes.len() + SIZE, 0);
            bytes
        }
        "a-module" => wat::parse_str("(module (func (export \"get-replicas\")))").unwrap(),
        _ => component(guest),
    }
}

/// Loads these bytes.
async fn load(bench: &Bench, bytes: &[u8], limits: Limits) -> Result<Candidate, Refusal> {
    let config = bench.config("good", limits);
    let ComponentSource::File(path) = &config.component else { panic!("a file") };
    std::fs::write(path, bytes).unwrap();
    bench.load(&config).await
}

fn publish(bench: &Bench, candidate: Candidate) -> PluginProvider {
    let provider = PluginProvider::new(&bench.config("good", limits()));
    provider.publish(candidate);
    provider
}

/// Where a plugin was refused, and which limit the refusal names.
fn refused(refusal: &Refusal) -> String {
    let text = refusal.to_string();
    let setting = text.split_once("`limits.").and_then(|(_, rest)| rest.split_once('`'));
    let naming = setting.map_or_else(String::new, |(setting, _)| format!(", naming `{setting}`"));
    format!("refuses it at step {}{naming}", refusal.step())
}

async fn called(guest: &str, half: Half) -> String {
    let Setup { limits, off } = match half {
        Half::Within => Setup::limits(within(guest)),
        Half::Without => without(guest),
    };
    let _off = off.map(Off::of);
    let bench = Bench::new();
    match load(&bench, &bytes(guest), limits).await {
        Err(refusal) => refused(&refusal),
        Ok(candidate) => {
            let provider = publish(&bench, candidate);
            let answer = provider.get_replicas(&figlet()).await;
            let is_kept = bench.exposes(r#"wicketgate_plugin_instances{provider="edge"} 1"#);
            let next = provider.set_replicas(&named("other"), 1).await;
            let is_trap = matches!(&answer, Err(error) if error.cause == Cause::Plugin(PluginFault::Trap));
            let told = told_with_next(&answer, &next);
            if is_trap && is_kept && next.is_ok() { format!("{told}, and keeps the instance") } else { told }
        }
    }
}

#[tokio::test]
async fn calls_meet_their_limits_and_nothing_else() {
    run("calls", called).await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_meets_the_wall() {
    run("waits", async |guest, half| {
        let long = Duration::from_secs(24 * 3600);
        let limits = match half {
            Half::Within => limits(),
            Half::Without => Limits { call_timeout: long, ..limits() },
        };
        let bench = Bench::new();
        if guest == "hang" {
            let provider = lies::hostile(&bench, |config| config.limits = limits).await;
            let dev = figlet().namespace;
            let watch = provider.changes(std::slice::from_ref(&dev), Some("hang"), Duration::from_secs(5)).await;
            let next = provider.get_replicas(&named("good")).await;
            return told_with_next(&watch, &next);
        }
        let provider = bench.provider(guest, limits).await;
        let answer = provider.get_replicas(&figlet()).await;
        told_with_next(&answer, &provider.set_replicas(&figlet(), 1).await)
    })
    .await;
}

#[tokio::test]
async fn used_up_instances_are_not_used_again() {
    run("reuse", async |guest, half| {
        let mut limits = slow();
        let mut off = None;
        if half == Half::Without {
            match guest {
                "swells" => {
                    let Reuse::Pooled { calls, age, .. } = limits.instances else { panic!("instances are kept") };
                    limits.instances = Reuse::Pooled { calls, age, recycle_above: 64 << 20 };
                }
                _ => off = Some(Off::of(Check::Leftovers)),
            }
        }
        let bench = Bench::new();
        let provider = bench.provider(guest, limits).await;
        let mut calls = 0;
        for _ in 0..3 {
            calls = provider.get_replicas(&figlet()).await.unwrap().replicas;
        }
        drop(off);
        if calls == 1 { "drops the instance" } else { "uses the instance again" }.to_owned()
    })
    .await;
}

#[tokio::test]
async fn who_keeps_trapping_is_stopped() {
    run("strikes", async |guest, half| {
        let _off = (half == Half::Without).then(|| Off::of(Check::Quarantine));
        let bench = Bench::new();
        let provider = bench.provider(guest, limits()).await;
        for _ in 0..STRIKES {
            assert_eq!(fault_of(&provider).await, PluginFault::Trap);
        }
        told(&provider.get_replicas(&figlet()).await)
    })
    .await;
}

#[tokio::test]
async fn what_is_kept_and_written_is_bounded() {
    run("counts", async |guest, half| {
        let bench = Bench::new();
        let is_within = half == Half::Within;
        match guest {
            "state-flood" => {
                let limits = Limits { state_quota: if is_within { 100 << 10 } else { 64 << 20 }, ..slow() };
                let kept = bench.provider(guest, limits).await.get_replicas(&figlet()).await.unwrap().replicas;
                // Two thousand values of 4 KiB.
                match kept {
                    1..=25 => "keeps no more than `state-quota`".to_owned(),
                    2000 => "keeps all".to_owned(),
                    _ => format!("keeps {kept}"),
                }
            }
            "log-flood" => {
                let (log_lines, log_rate) = if is_within { (64, 100_000) } else { (10_000, 100_000) };
                let provider = bench.provider(guest, Limits { log_lines, log_rate, ..slow() }).await;
                provider.get_replicas(&figlet()).await.unwrap();
                let dropped = |count: u32| format!(r#"wicketgate_plugin_log_dropped_total{{provider="edge"}} {count}"#);
                if bench.exposes(&dropped(936)) {
                    "drops those over `log-lines`".to_owned()
                } else if bench.exposes(&dropped(0)) {
                    "logs all".to_owned()
                } else {
                    "drops others".to_owned()
                }
            }
            "writes-state" => {
                let _off = (!is_within).then(|| Off::of(Check::Overlay));
                let config = bench.config(guest, limits());
                let state = Store::in_memory().provider(&config.name, config.limits.state_quota);
                let parts = HostParts { state: state.clone(), ..bench.parts(&config) };
                let candidate = bench.plugins.load(&config, parts).await.map_err(|error| error.refusal).unwrap();
                candidate.try_replicas(&figlet()).await.answer.unwrap();
                let is_kept = state.get("left-behind").unwrap().is_some();
                if is_kept { "keeps it" } else { "throws it away" }.to_owned()
            }
            other => format!("knows no {other}"),
        }
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_lines_is_bounded_in_a_second_too() {
    let bench = Bench::new();
    let provider = bench.provider("log-flood", Limits { log_lines: 10_000, log_rate: 100, ..slow() }).await;
    provider.get_replicas(&figlet()).await.unwrap();
    let dropped = |count: u32| format!(r#"wicketgate_plugin_log_dropped_total{{provider="edge"}} {count}"#);
    // The thousand lines may fall into two seconds, and then two hundred are written.
    assert!(bench.exposes(&dropped(900)) || bench.exposes(&dropped(800)));
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
                let provider = publish(&bench, candidate);
                let _answered_or_not = provider.get_replicas(&figlet()).await;
                loaded += 1;
            }
        }
    }
    assert!(refused > 0 && refused + loaded >= 60, "{refused} refused, {loaded} loaded");
}

#[tokio::test]
async fn a_module_is_called_one() {
    let refusal = load(&Bench::new(), &bytes("a-module"), limits()).await.err().unwrap();
    assert!(refusal.to_string().contains("module"), "{refusal}");
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

#[tokio::test]
async fn counts_at_the_end_of_their_range_are_taken_as_they_are() {
    let bench = Bench::new();
    let status = bench.provider("most-replicas", limits()).await.get_replicas(&figlet()).await.unwrap();
    assert_eq!((status.replicas, status.available_replicas), (u64::MAX, u64::MAX));
    assert_eq!((status.min_replicas, status.max_replicas), (Some(u64::MAX), Some(0)));
}
