//! Candidates in text form (`tests/fixtures/*.wat`) against an active generation.

use super::super::loaded::HostParts;
use super::super::registry::tests::{Bench, figlet, limits};
use super::*;
use crate::host::state::Store;
use crate::provider::{Limits, Reuse};
use crate::query::{ErrorKind, QueryError};

/// An active generation of `fixture` that was asked about `figlet`.
async fn active(bench: &Bench, fixture: &str) -> PluginProvider {
    let provider = bench.provider(fixture, limits()).await;
    let _asked = provider.get_replicas(&figlet()).await;
    provider
}

async fn candidate(bench: &Bench, fixture: &str) -> Candidate {
    bench.load(&bench.config(fixture, limits())).await.unwrap()
}

async fn report(active_fixture: &str, fixture: &str, config: &SwapConfig) -> ShadowReport {
    let bench = Bench::new();
    shadow(&active(&bench, active_fixture).await, &candidate(&bench, fixture).await, config, &[]).await
}

#[tokio::test]
async fn a_candidate_that_answers_the_same_is_accepted() {
    let report = report("good", "good", &SwapConfig::default()).await;
    assert_eq!((report.is_accepted(), report.asked, report.is_same_platform), (true, 1, true), "{report}");
}

#[tokio::test]
async fn a_difference_refuses_and_names_function_field_old_and_new() {
    let found = report("good", "five", &SwapConfig::default()).await;
    assert!(!found.is_accepted());
    let text = found.to_string();
    assert!(text.contains("figlet.dev: replicas: was 2, is 5"), "{text}");
    assert!(text.contains(r#"figlet.dev: labels.com.openfaas.scale.zero: was "1", is "0""#), "{text}");
    assert!(text.contains("swap.tolerance"), "what to do: {text}");

    let ignore = vec!["labels.com.openfaas.scale.zero".to_owned()];
    let lenient = SwapConfig { tolerance: 3, ignore, ..SwapConfig::default() };
    assert!(report("good", "five", &lenient).await.is_accepted());
    let off = SwapConfig { shadow: 0, ..SwapConfig::default() };
    assert_eq!(report("good", "five", &off).await.asked, 0);
}

#[tokio::test]
async fn a_candidate_that_finds_no_function_or_traps_is_refused() {
    for (fixture, says) in [("not-found", "no such function"), ("trap", "unreachable"), ("endless-loop", "cpu-time")] {
        let report = report("good", fixture, &SwapConfig::default()).await;
        assert!(!report.is_accepted() && report.to_string().contains(says), "{fixture}: {report}");
    }
    // Both say that it does not exist.
    assert!(report("not-found", "not-found", &SwapConfig::default()).await.is_accepted());
}

#[tokio::test]
async fn a_broken_generation_can_be_replaced() {
    let report = report("trap", "good", &SwapConfig::default()).await;
    assert!(report.is_accepted(), "{report}");
    let bench = Bench::new();
    // Known only from its callers, since the active generation never answered.
    let report =
        shadow(&active(&bench, "trap").await, &candidate(&bench, "good").await, &SwapConfig::default(), &[figlet()])
            .await;
    assert_eq!((report.is_accepted(), report.not_compared), (true, 1), "{report}");
}

#[tokio::test]
async fn a_platform_that_moved_since_is_asked_again_before_a_difference_counts() {
    let bench = Bench::new();
    let provider = active(&bench, "good").await;
    let moved = ServiceStatus { replicas: 40, ..ServiceStatus::default() };
    provider.recorder.note(&figlet(), &Ok(moved));
    let candidate = candidate(&bench, "good").await;
    let report = shadow(&provider, &candidate, &SwapConfig::default(), &[]).await;
    assert!(report.is_accepted(), "{report}");
    provider.recorder.note(&figlet(), &Err(QueryError::platform(ErrorKind::NotFound, "deleted meanwhile")));
    assert!(shadow(&provider, &candidate, &SwapConfig::default(), &[]).await.is_accepted());
}

#[tokio::test]
async fn what_a_candidate_puts_into_its_state_is_thrown_away() {
    let bench = Bench::new();
    let provider = active(&bench, "good").await;
    let config = bench.config("writes-state", limits());
    let state = Store::in_memory().provider(&config.name, config.limits.state_quota);
    let parts = HostParts { state: state.clone(), ..bench.parts(&config) };
    let candidate = bench.plugins.load(&config, parts).await.unwrap();
    let ignore = SwapConfig { ignore: vec!["labels".into()], ..SwapConfig::default() };
    let report = shadow(&provider, &candidate, &ignore, &[]).await;
    assert_eq!((report.asked, report.is_accepted()), (1, true), "{report}");
    assert_eq!(state.get("left-behind").unwrap(), None);
    // The very same guest writes as soon as it is published.
    provider.publish(candidate);
    provider.get_replicas(&figlet()).await.unwrap();
    assert!(state.get("left-behind").unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_candidate_that_does_not_answer_in_time_is_refused() {
    let bench = Bench::new();
    let provider = active(&bench, "good").await;
    let config = SwapConfig { shadow_timeout: Duration::from_secs(1), ..SwapConfig::default() };
    let report = shadow(&provider, &candidate(&bench, "sleeps").await, &config, &[]).await;
    assert_eq!(report.out_of_time, Some(Duration::from_secs(1)));
    assert!(!report.is_accepted() && report.to_string().contains("shadow-timeout"), "{report}");
}

#[tokio::test]
async fn another_platform_must_have_what_was_called() {
    let bench = Bench::new();
    let provider = active(&bench, "good").await;
    let mut config = bench.config("not-found", limits());
    // Another address is another platform.
    config.grants.insert("api".into(), crate::host::grant::Grant::new("http://127.0.0.1:9".parse().unwrap()));
    let candidate = bench.load(&config).await.unwrap();
    let report = shadow(&provider, &candidate, &SwapConfig::default(), &[]).await;
    assert_eq!((report.is_same_platform, report.missing.as_slice()), (false, [figlet()].as_slice()));
    assert!(report.to_string().contains("figlet.dev: called within swap.swap-lookback"), "{report}");
    let long_ago = SwapConfig { swap_lookback: Duration::ZERO, ..SwapConfig::default() };
    tokio::time::timeout(Duration::from_secs(10), async {
        while !provider.recorder.existing(Duration::ZERO).is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert!(shadow(&provider, &candidate, &long_ago, &[]).await.is_accepted());
    // Whoever else knows that it was called says so.
    assert!(!shadow(&provider, &candidate, &long_ago, &[figlet()]).await.is_accepted());
}

#[tokio::test]
async fn functions_with_instances_are_warmed_up_on_another_platform() {
    let bench = Bench::new();
    let provider = active(&bench, "good").await;
    let mut config = bench.config("wakes", limits());
    config.grants.insert("api".into(), crate::host::grant::Grant::new("http://127.0.0.1:9".parse().unwrap()));
    let candidate = bench.load(&config).await.unwrap();
    let report = shadow(&provider, &candidate, &SwapConfig::default(), &[]).await;
    assert!(report.is_accepted(), "{report}");
    assert_eq!(report.to_warm, [figlet()]);
    assert_eq!(warm_up(&candidate, &report.to_warm, Duration::from_secs(60)).await, []);
    // It is warm now.
    assert_eq!(shadow(&provider, &candidate, &SwapConfig::default(), &[]).await.to_warm, []);
}

#[tokio::test(start_paused = true)]
async fn what_stays_cold_is_named_with_the_reason() {
    let bench = Bench::new();
    let candidate = candidate(&bench, "not-found").await;
    let cold = warm_up(&candidate, &[figlet()], Duration::from_secs(1)).await;
    assert_eq!(cold.iter().map(ToString::to_string).collect::<Vec<_>>(), ["figlet.dev: no such function"]);
}

#[tokio::test]
async fn a_candidate_is_asked_beside_the_active_generations_turns() {
    let bench = Bench::new();
    let one = Limits { instances: Reuse::PerCall, ..limits() };
    let provider = bench.provider("good", one).await;
    provider.get_replicas(&figlet()).await.unwrap();
    for _ in 0..10 {
        shadow(&provider, &candidate(&bench, "trap").await, &SwapConfig::default(), &[]).await;
    }
    assert!(!provider.status().unwrap().is_quarantined);
    let calls = r#"wicketgate_plugin_calls_total{interface="service-query",outcome="trap",provider="edge"}"#;
    assert!(!bench.exposes(&format!("{calls} 10")), "a trial counts for nobody");
    assert!(bench.exposes(r#"wicketgate_plugin_instances{provider="edge"} 0"#), "and leaves no instance");
}
