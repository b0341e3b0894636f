//! Cold starts.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::fake::{World, build, endpoint, function, ms, unavailable, world};
use crate::query::{Cause, ErrorKind, Fault, Interface, PluginFault, QueryError, Target};
use crate::scaler::{Config, Ready, ScaleError, labels};

async fn all(world: &World, name: &str, callers: usize) -> Vec<Result<Ready, ScaleError>> {
    let callers: Vec<_> = (0..callers).map(|_| world.caller(name)).collect();
    join_all(callers).await.into_iter().map(Result::unwrap).collect()
}

fn cold(config: Config) -> World {
    let world = world(config);
    world.provider.set("figlet", 0, 0);
    world
}

#[tokio::test(start_paused = true)]
async fn five_hundred_callers_of_a_cold_function_cause_one_scale_request() {
    let world = cold(Config::default());
    for answer in all(&world, "figlet", 500).await {
        let waited = answer.unwrap().waited.unwrap();
        assert!((ms(100)..=ms(112)).contains(&waited), "{waited:?}");
    }
    assert_eq!(world.provider.script().wishes, [1]);
    assert!(world.metric("wicketgate_cold_start_waiting 0"));
    assert!(world.metric("wicketgate_cold_starts_total{outcome=\"ready\"} 1"));
    assert!(world.scaler.warm(&function("figlet")).is_some_and(|ready| ready.waited.is_none()));
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_noticed_soon_after_it_is_ready() {
    let mut overshoots = Vec::new();
    for start in (20..400).step_by(3) {
        let world = cold(Config::default());
        world.provider.script().start_time = Some(ms(start));
        let waited = world.scaler.ready(&function("figlet")).await.unwrap().waited.unwrap();
        overshoots.push(waited.saturating_sub(ms(start)));
    }
    overshoots.sort();
    assert!(overshoots[overshoots.len() / 2] <= ms(10), "{overshoots:?}");
    assert!(overshoots[overshoots.len() * 95 / 100] <= ms(15), "{overshoots:?}");
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_takes_nobody_s_instance_with_it() {
    let world = cold(Config::default());
    let first = world.caller("figlet");
    sleep(ms(20)).await;
    let second = world.caller("figlet");
    sleep(ms(1)).await;
    first.abort();
    second.await.unwrap().unwrap();
    assert_eq!(world.provider.script().wishes, [1]);
    assert!(world.metric("wicketgate_cold_start_waiting 0"));
}

#[tokio::test(start_paused = true)]
async fn a_cold_start_goes_on_without_callers() {
    let world = cold(Config::default());
    let left = tokio::time::timeout(ms(5), world.scaler.ready(&function("figlet"))).await;
    assert!(left.is_err());
    sleep(ms(120)).await;
    assert!(world.scaler.warm(&function("figlet")).is_some());
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_never_comes_is_a_timeout_and_then_a_backoff_with_its_cause() {
    let world = cold(Config::default());
    world.provider.script().start_time = None;
    let began = Instant::now();
    let error = world.scaler.ready(&function("figlet")).await.unwrap_err();
    assert_eq!(began.elapsed().as_secs(), 60);
    assert!(matches!(error, ScaleError::Timeout { .. }), "{error}");
    assert!(error.is_retryable() && error.retry_after().is_some());

    let gets = world.provider.gets();
    let error = world.scaler.ready(&function("figlet")).await.unwrap_err();
    let ScaleError::BackingOff { source, retry_after, .. } = &error else { panic!("{error}") };
    assert!(matches!(**source, ScaleError::Timeout { .. }));
    assert!(*retry_after <= Duration::from_secs(1));
    assert_eq!(world.provider.gets(), gets, "nobody is asked while backing off");

    sleep(*retry_after).await;
    world.provider.set("figlet", 1, 1);
    world.scaler.ready(&function("figlet")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_down_fails_the_cold_start_after_some_attempts_and_is_not_a_404() {
    let world = cold(Config::default());
    world.provider.script().error = Some(unavailable());
    let began = Instant::now();
    let error = world.scaler.ready(&function("figlet")).await.unwrap_err();
    assert!(matches!(error, ScaleError::ProviderFailed { .. }), "{error}");
    assert_eq!((error.fault(), error.is_retryable()), (Fault::Platform, true));
    assert_eq!(began.elapsed(), ms(2500));
    assert_eq!(world.provider.gets(), 6);
    let again = world.scaler.ready(&function("figlet")).await.unwrap_err();
    assert!(matches!(again, ScaleError::BackingOff { .. }), "{again}");
    assert_eq!(again.query_error().unwrap().message, "connection refused");
}

#[tokio::test(start_paused = true)]
async fn an_error_that_does_not_pass_is_told_at_once() {
    let world = cold(Config::default());
    let quarantined = QueryError::new(Cause::Plugin(PluginFault::Quarantined), "it kept trapping");
    for error in [QueryError::platform(ErrorKind::Denied, "no"), quarantined] {
        world.provider.script().error = Some(error);
        world.scaler.ready(&function("figlet")).await.unwrap_err();
        sleep(Duration::from_secs(2)).await;
    }
    assert_eq!(world.provider.gets(), 2);
}

#[tokio::test(start_paused = true)]
async fn wishes_and_addresses_that_keep_failing_end_the_cold_start_too() {
    let world = cold(Config::default());
    world.provider.script().wish_error = Some(unavailable());
    let error = world.scaler.ready(&function("figlet")).await.unwrap_err();
    assert!(matches!(error, ScaleError::ProviderFailed { .. }), "{error}");
    assert_eq!(world.provider.script().wishes.len(), 6);

    let world = cold(Config::default());
    world.provider.script().resolve_error = Some(unavailable());
    let error = world.scaler.ready(&function("figlet")).await.unwrap_err();
    assert!(matches!(error, ScaleError::ProviderFailed { .. }), "{error}");
    assert_eq!(world.provider.resolves(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_asks_for_time_gets_it_and_its_callers_are_told() {
    let world = cold(Config::default());
    let busy = QueryError { retry_after: Some(Duration::from_secs(30)), ..unavailable() };
    world.provider.script().error = Some(busy);
    let error = world.scaler.ready(&function("figlet")).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(30)));
    sleep(Duration::from_secs(29)).await;
    let error = world.scaler.ready(&function("figlet")).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    assert_eq!(world.provider.gets(), 1);
}

#[tokio::test(start_paused = true)]
async fn another_writer_s_conflict_is_looked_at_and_asked_again() {
    let world = cold(Config::default());
    world.provider.script().wish_error = Some(QueryError::platform(ErrorKind::Conflict, "it changed"));
    let caller = world.caller("figlet");
    sleep(ms(35)).await;
    world.provider.script().wish_error = None;
    let waited = caller.await.unwrap().unwrap().waited.unwrap();
    assert!((ms(135)..ms(155)).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn an_instance_without_an_address_is_waited_for_and_then_named_as_the_cause() {
    let world = cold(Config { scale_timeout: Duration::from_secs(5), ..Config::default() });
    world.provider.script().resolve_error = Some(QueryError::platform(ErrorKind::NotFound, "no task yet"));
    let caller = world.caller("figlet");
    sleep(ms(300)).await;
    world.provider.script().resolve_error = None;
    caller.await.unwrap().unwrap();

    world.provider.script().endpoints.clear();
    world.scaler.invalidate(&function("figlet"));
    let error = world.scaler.ready(&function("figlet")).await.unwrap_err();
    let ScaleError::Timeout { source: Some(source), .. } = &error else { panic!("{error}") };
    assert!(source.to_string().contains("names no endpoint"), "{source}");
}

#[tokio::test(start_paused = true)]
async fn a_failure_in_the_middle_of_a_cold_start_is_outlived() {
    let world = cold(Config::default());
    world.provider.script().start_time = Some(ms(500));
    let caller = world.caller("figlet");
    sleep(ms(50)).await;
    world.provider.script().error = Some(unavailable());
    sleep(ms(250)).await;
    world.provider.script().error = None;
    caller.await.unwrap().unwrap();
    assert_eq!(world.provider.script().wishes, [1]);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_name_is_asked_for_once_in_a_while_until_something_is_deployed() {
    let world = world(Config::default());
    for _ in 0..50 {
        let error = world.scaler.ready(&function("nobody")).await.unwrap_err();
        assert!(matches!(error, ScaleError::NotFound { .. }), "{error}");
        assert_eq!(error.fault(), Fault::Caller);
    }
    assert_eq!(world.provider.gets(), 1);
    assert!(world.metric("wicketgate_functions_tracked 0"));
    sleep(Duration::from_secs(2)).await;
    world.scaler.ready(&function("nobody")).await.unwrap_err();
    assert_eq!(world.provider.gets(), 2);

    world.provider.set("nobody", 1, 1);
    world.scaler.invalidate(&function("nobody"));
    world.scaler.ready(&function("nobody")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_404_that_was_asked_before_a_deploy_does_not_outlive_it() {
    let world = world(Config::default());
    world.provider.script().delay = ms(50);
    let caller = world.caller("figlet");
    sleep(ms(10)).await;
    world.provider.set("figlet", 1, 1);
    world.scaler.invalidate(&function("figlet"));
    caller.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn names_that_were_never_seen_are_looked_up_few_at_a_time() {
    let world = world(Config { lookups: 4, ..Config::default() });
    world.provider.script().delay = ms(100);
    let callers: Vec<_> = (0..20).map(|i| world.caller(&format!("f{i}"))).collect();
    let answers: Vec<_> = join_all(callers).await.into_iter().map(Result::unwrap).collect();
    let refused = answers.iter().filter(|answer| matches!(answer, Err(ScaleError::TooManyLookups { limit: 4 })));
    assert_eq!(refused.count(), 16);
    assert_eq!(world.provider.gets(), 4);
    let later = world.scaler.ready(&function("f99")).await;
    assert!(matches!(later, Err(ScaleError::NotFound { .. })), "the places were given back");
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_for_a_function_and_for_all() {
    let world = cold(Config { waiting: 12, waiting_per_function: 10, ..Config::default() });
    world.provider.set("cows", 0, 0);
    let (figlets, cows) = tokio::join!(all(&world, "figlet", 15), all(&world, "cows", 5));
    let refused = |answers: &[Result<Ready, ScaleError>], wanted: &str| {
        answers
            .iter()
            .filter(|a| matches!(a, Err(ScaleError::TooManyWaiting { setting, .. }) if *setting == wanted))
            .count()
    };
    assert_eq!(refused(&figlets, "waiting-per-function"), 5);
    assert_eq!(refused(&cows, "waiting"), 3);
    assert!(all(&world, "figlet", 10).await.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_keeps_no_right_to_look_names_up() {
    let world = cold(Config { waiting: 1, lookups: 2, ..Config::default() });
    let caller = world.caller("figlet");
    sleep(ms(1)).await;
    for i in 0..5 {
        let refused = world.scaler.ready(&function(&format!("f{i}"))).await;
        assert!(matches!(refused, Err(ScaleError::TooManyWaiting { .. })), "{refused:?}");
    }
    caller.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_scaling_from_zero_a_sleeping_function_is_refused_and_a_running_one_served() {
    let world = cold(Config { scale_from_zero: false, ..Config::default() });
    let error = world.scaler.ready(&function("figlet")).await.unwrap_err();
    assert!(matches!(error, ScaleError::Disabled { .. }), "{error}");
    assert!(world.provider.script().wishes.is_empty());
    world.warmed("cows").await;
}

#[tokio::test(start_paused = true)]
async fn instances_that_were_asked_for_by_others_are_only_waited_for() {
    let world = cold(Config::default());
    world.provider.set("figlet", 2, 0);
    let caller = world.caller("figlet");
    sleep(ms(70)).await;
    world.provider.set("figlet", 2, 1);
    caller.await.unwrap().unwrap();
    assert!(world.provider.script().wishes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_least_number_is_asked_for_and_factor_zero_stays_invokable() {
    let world = cold(Config::default());
    world.provider.label("figlet", labels::MIN, "3");
    world.provider.label("figlet", labels::FACTOR, "0");
    world.scaler.ready(&function("figlet")).await.unwrap();
    assert_eq!(world.provider.script().wishes, [3]);
}

#[tokio::test(start_paused = true)]
async fn a_wish_that_the_platform_lost_is_repeated_after_two_seconds() {
    let world = cold(Config::default());
    world.provider.script().lost_wishes = 1;
    let waited = world.scaler.ready(&function("figlet")).await.unwrap().waited.unwrap();
    assert_eq!(world.provider.script().wishes, [1, 1]);
    assert!((ms(2100)..ms(2600)).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_does_not_accept_yet_is_waited_out() {
    let world = cold(Config::default());
    world.network.accepts_at(Instant::now() + ms(250));
    let waited = world.scaler.ready(&function("figlet")).await.unwrap().waited.unwrap();
    assert!((ms(250)..=ms(265)).contains(&waited), "{waited:?}");
    assert!(world.provider.gets() < 15, "connecting is tried without asking the platform each time");
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_never_accepts_is_named_as_the_cause() {
    let world = cold(Config { scale_timeout: Duration::from_secs(5), ..Config::default() });
    world.network.accepts_at(Instant::now() + Duration::from_secs(3600));
    let error = world.scaler.ready(&function("figlet")).await.unwrap_err();
    let ScaleError::Timeout { source: Some(source), .. } = &error else { panic!("{error}") };
    assert!(source.to_string().contains("connection refused"), "{source}");
}

#[tokio::test(start_paused = true)]
async fn only_an_instance_that_just_started_is_probed_and_a_grant_never() {
    let world = cold(Config::default());
    world.warmed("cows").await;
    assert_eq!(world.network.attempts(), 0);
    world.scaler.ready(&function("figlet")).await.unwrap();
    assert_eq!(world.network.attempts(), 1);

    world.provider.script().endpoints[0].target = Target::Grant("platform".into());
    world.provider.set("moos", 0, 0);
    world.scaler.ready(&function("moos")).await.unwrap();
    assert_eq!(world.network.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_deployed_a_moment_ago_is_waited_for_until_it_accepts() {
    let world = cold(Config::default());
    for is_known in [false, true] {
        world.provider.set("cows", 1, 1);
        world.scaler.invalidate(&function("cows"));
        world.network.accepts_at(Instant::now() + ms(300));
        let waited = world.scaler.ready(&function("cows")).await.unwrap().waited.unwrap();
        assert!((ms(300)..=ms(320)).contains(&waited), "{is_known} {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_namespace_of_nobody_and_an_address_of_nobody_are_told_apart() {
    let world = build(Config::default(), Some("10.0.0.0/8"), None, &[]);
    let mut elsewhere = function("figlet");
    elsewhere.namespace = "prod".parse().unwrap();
    let error = world.scaler.ready(&elsewhere).await.unwrap_err();
    assert!(matches!(error, ScaleError::NoProvider { .. }), "{error}");

    world.provider.set("figlet", 1, 1);
    let error = world.scaler.ready(&function("figlet")).await.unwrap_err();
    assert!(matches!(error, ScaleError::NoAddress { .. }), "{error}");
    assert!(error.to_string().contains("[provider.edge.endpoints]"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_template_stands_in_for_a_plugin_without_endpoints() {
    let world = build(Config::default(), Some("10.0.0.0/8"), Some("http://{name}.{namespace}:8080"), &[]);
    let ready = world.warmed("figlet").await;
    let pick = ready.endpoints.pick().unwrap();
    assert_eq!(pick.endpoint().target, Target::Authority("figlet.dev:8080".into()));
}

#[tokio::test(start_paused = true)]
async fn endpoints_outside_the_policy_are_refused_with_the_reason() {
    for (allow, address) in [(None, "10.0.0.1:80"), (Some("0.0.0.0/0"), "169.254.169.254:80")] {
        let world = build(Config::default(), allow, None, &[Interface::Endpoints]);
        world.provider.script().endpoints = vec![endpoint(address, 1000)];
        world.provider.set("figlet", 1, 1);
        let error = world.scaler.ready(&function("figlet")).await.unwrap_err();
        let ScaleError::EndpointRefused { source, .. } = &error else { panic!("{error}") };
        assert!(source.to_string().contains(address), "{source}");
    }
}

#[tokio::test(start_paused = true)]
async fn everything_ends_with_the_scaler() {
    let world = cold(Config::default());
    world.provider.script().start_time = None;
    let (tracked, mut joined, place) = world.scaler.join(&function("figlet")).unwrap();
    sleep(ms(50)).await;
    drop(world.scaler);
    assert!(joined.changed().await.is_err(), "the cold start ended without an outcome");
    drop((place, tracked, world.directory));
    assert_eq!(std::sync::Arc::strong_count(&world.provider), 1, "no task keeps the provider");
}
