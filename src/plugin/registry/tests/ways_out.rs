//! A guest that attacks through its requests (`tests/guests/hostile`), against a platform that believes
//! everything. Paths, headers and credentials are tested rule by rule in `host`; here a whole plugin tries.

use super::guests::{Platform, guest};
use super::lies::{hostile, named};
use super::*;
use crate::host::grant::{Grant, Rule};

const BODY: &str = match std::str::from_utf8(&[b'x'; 1 << 20]) {
    Ok(text) => text,
    Err(_) => "",
};

fn script(_method: &str, path: &str) -> (u16, &'static str) {
    match path {
        "/redirect" => (302, ""),
        "/endless" => (200, BODY),
        _ => (200, "ok"),
    }
}

/// The guest with a grant that opens `/open`, `/endless` and `/redirect` for reading and `/open` for writing.
async fn attacker(bench: &Bench, platform: &Platform, limits: Limits) -> Option<PluginProvider> {
    guest("hostile")?;
    let mut grant = Grant::new(platform.serve(script).await.parse().unwrap());
    grant.rules = ["GET /open", "GET /endless", "GET /redirect", "POST /open"]
        .iter()
        .map(|rule| rule.parse::<Rule>().unwrap())
        .collect();
    hostile(bench, |config| {
        config.grants.insert("platform".to_owned(), grant);
        config.limits = Limits { cpu_time: Duration::from_secs(20), call_timeout: Duration::from_secs(60), ..limits };
    })
    .await
}

#[tokio::test]
async fn what_the_rules_do_not_name_never_reaches_the_platform() {
    let (bench, platform) = (Bench::new(), Platform::default());
    let Some(provider) = attacker(&bench, &platform, limits()).await else { return };
    for attack in ["paths", "query", "elsewhere", "methods", "header-bomb", "many-fields", "split-header"] {
        // Some are refused by the guest's own library, as an error; none may work.
        let worked = provider.get_replicas(&named(attack)).await.map_or(0, |status| status.replicas);
        let seen = platform.seen();
        assert!(worked == 0 && seen.is_empty(), "{attack}: {worked} worked, the platform saw {seen:?}");
    }
    let status = provider.get_replicas(&named("redirect")).await.unwrap();
    assert_eq!((status.replicas, platform.seen().len()), (0, 1), "a redirect is an answer like others");
}

#[tokio::test]
async fn fields_that_a_platform_would_believe_are_left_out() {
    let (bench, platform) = (Bench::new(), Platform::default());
    let Some(provider) = attacker(&bench, &platform, limits()).await else { return };
    let worked = provider.get_replicas(&named("smuggled-fields")).await.map_or(0, |status| status.replicas);
    assert_eq!((worked, platform.seen().len()), (1, 1), "the request itself is allowed");
    let fields = platform.fields();
    let believed = |name: &&String| {
        let name = name.as_str();
        ["impersonate", "x-", "authorization", "cookie", "proxy-"].iter().any(|prefix| name.starts_with(prefix))
    };
    assert_eq!(fields.iter().filter(believed).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[tokio::test]
async fn requests_and_bytes_are_bounded_in_a_call() {
    for (attack, tight, budget, wide) in [
        ("many-requests", limits(), Budget::Requests, Limits { requests: 1000, ..limits() }),
        (
            "large-request",
            limits(),
            Budget::RequestBytes,
            Limits { request_bytes: 64 << 20, host_call_bytes: 64 << 20, ..limits() },
        ),
        (
            "endless-response",
            Limits { response_bytes: 64 << 10, ..limits() },
            Budget::ResponseBytes,
            Limits { response_bytes: 64 << 20, ..limits() },
        ),
    ] {
        let (bench, platform) = (Bench::new(), Platform::default());
        let Some(provider) = attacker(&bench, &platform, tight).await else { return };
        let error = provider.get_replicas(&named(attack)).await.unwrap_err();
        assert_eq!(error.cause, Cause::Plugin(PluginFault::Budget(budget)), "{attack}: {error}");
        let Some(provider) = attacker(&bench, &platform, wide).await else { return };
        let worked = provider.get_replicas(&named(attack)).await.unwrap_or_else(|error| panic!("{attack}: {error}"));
        assert!(worked.replicas > 0, "{attack}: it works with the limit out of the way");
    }
}

#[tokio::test]
async fn a_candidate_that_writes_while_it_is_shadowed_is_refused() {
    let (bench, platform) = (Bench::new(), Platform::default());
    let Some(active) = attacker(&bench, &platform, limits()).await else { return };
    // Published, it may write.
    assert_eq!(active.get_replicas(&named("writes")).await.unwrap().replicas, 1);
    assert_eq!(platform.seen().len(), 1);
    let grant = Grant {
        rules: vec!["POST /open".parse().unwrap()],
        ..Grant::new(platform.serve(script).await.parse().unwrap())
    };
    let mut config = bench.config("good", Limits { cpu_time: Duration::from_secs(20), ..limits() });
    config.component = ComponentSource::File(guest("hostile").unwrap());
    config.grants.insert("platform".to_owned(), grant);
    let egress = Arc::new(Egress::new(&config, &EgressMetrics::new(&Registry::default())).unwrap());
    let parts = HostParts { egress, ..bench.parts(&config) };
    let candidate = bench.plugins.load(&config, parts).await.map_err(|error| error.refusal).unwrap();
    let report = super::super::super::shadow::shadow(&active, &candidate, &config.swap, &[]).await;
    assert!(!report.is_accepted(), "{report}");
    assert!(report.differences.iter().any(|difference| difference.field == "effect"), "{report}");
    assert_eq!(platform.seen(), [], "nothing was written");
}
