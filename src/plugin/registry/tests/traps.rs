//! What is known of a plugin afterwards: its traps, and what it called of the host.

use super::super::super::trap::symbols::tests::{dwarf, with_custom_sections};
use super::*;

#[tokio::test]
async fn a_trap_is_told_with_file_and_line() {
    let bench = Bench::new();
    let (whole, dwarf) = (component("deep-trap"), dwarf());
    let stripped = with_custom_sections(&whole, &[]);
    let with_dwarf = with_custom_sections(&whole, &dwarf);
    // DWARF in the component, in a file beside it, and in one of another build.
    for (bytes, debug, expected) in [
        (&with_dwarf, None, true),
        (&stripped, Some(with_dwarf.clone()), true),
        (&stripped, Some(component("good")), false),
        (&stripped, None, false),
    ] {
        let config = bench.config("deep-trap", limits());
        let ComponentSource::File(path) = &config.component else { panic!("a file") };
        std::fs::write(path, bytes).unwrap();
        let debug_file = path.with_extension("debug.wasm");
        match &debug {
            Some(debug) => std::fs::write(&debug_file, debug).unwrap(),
            None => drop(std::fs::remove_file(&debug_file)),
        }
        let provider = PluginProvider::new(&config);
        provider.publish(bench.load(&config).await.unwrap());
        let _trap = provider.get_replicas(&figlet()).await.unwrap_err();
        let source = || provider.status().unwrap().traps[0].frames[0].source.clone();
        if expected {
            // A debug file is read behind the call.
            let end = tokio::time::Instant::now() + Duration::from_secs(60);
            while source().is_none() && tokio::time::Instant::now() < end {
                tokio::task::yield_now().await;
            }
            let trap = provider.status().unwrap().traps.remove(0);
            assert_eq!(trap.frames[0].function, "acme::find");
            assert!(trap.frames[0].source.as_deref().is_some_and(|source| source.ends_with("find.rs:7")), "{trap:?}");
        } else {
            assert_eq!(source(), None);
        }
    }
}

#[tokio::test]
async fn traps_outlive_their_generation() {
    let bench = Bench::new();
    let config = bench.config("deep-trap", limits());
    let provider = PluginProvider::new(&config);
    let first = provider.publish(bench.load(&config).await.unwrap());
    let _trap = provider.get_replicas(&figlet()).await.unwrap_err();
    let good = bench.config("good", limits());
    let second = provider.publish(bench.load(&good).await.unwrap());
    provider.get_replicas(&figlet()).await.unwrap();
    let generations = || provider.status().unwrap().traps.iter().map(|trap| trap.generation).collect::<Vec<_>>();
    assert_eq!(generations(), [first], "{second} has none of its own");
    let third = provider.roll_back().unwrap();
    let _trap = provider.get_replicas(&figlet()).await.unwrap_err();
    assert_eq!(generations(), [third, first]);
}

#[tokio::test]
async fn what_is_called_of_the_host_is_recorded() {
    let mut bench = Bench::new();
    let folder = tempfile::tempdir().unwrap();
    bench.plugins = bench.plugins.recording(crate::trust::used::Use::new(folder.path()));
    let config = bench.config("log-flood", limits());
    let provider = PluginProvider::new(&config);
    provider.publish(bench.load(&config).await.unwrap());
    let columns = || {
        let status = provider.status().unwrap();
        super::super::super::HostColumns::of(&status.reach, &config, &status.used)
    };
    assert!(columns()["log"].detected && columns()["log"].used.is_empty(), "{:?}", columns());
    provider.get_replicas(&figlet()).await.unwrap();
    assert_eq!(columns()["log"].used, ["write"]);
    assert!(!columns()["state"].detected && columns()["state"].granted && !columns()["processes"].granted);
}

#[tokio::test]
async fn a_broken_budget_is_told_with_what_was_used() {
    let bench = Bench::new();
    let provider = bench.provider("hoards", limits()).await;
    let _broken = provider.get_replicas(&figlet()).await.unwrap_err();
    let trap = provider.status().unwrap().traps.remove(0);
    assert!(trap.handles > 100, "{trap:?}");
    assert!(trap.memory >= 65_536, "{trap:?}");
}
