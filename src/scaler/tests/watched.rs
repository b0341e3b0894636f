//! Providers whose plugin watches.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::fake::{World, build, changes, function, ms, unavailable};
use crate::query::{ErrorKind, Interface, QueryError};
use crate::scaler::{Config, ScaleError};

const SECOND: Duration = Duration::from_secs(1);
const HEALTHY: &str = "wicketgate_watch_healthy{provider=\"edge\"} 1";
const UNHEALTHY: &str = "wicketgate_watch_healthy{provider=\"edge\"} 0";

/// A provider whose watch has just begun with a complete snapshot.
async fn watched() -> World {
    let world = build(Config::default(), Some("10.0.0.0/8"), None, &[Interface::Endpoints, Interface::Watch]);
    world.provider.happens(Ok(changes(&[], &[], "one")));
    sleep(ms(10)).await;
    assert!(world.metric(HEALTHY));
    world
}

#[tokio::test(start_paused = true)]
async fn a_healthy_watch_suspends_polling() {
    let world = watched().await;
    world.warmed("figlet").await;
    let (_, misses) = world.load("figlet", 120 * SECOND, ms(100)).await;
    assert_eq!(misses, 0);
    assert_eq!((world.provider.gets(), world.provider.resolves()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_event_wakes_the_cold_start_at_once() {
    let world = watched().await;
    world.provider.set("figlet", 0, 0);
    let caller = world.caller("figlet");
    sleep(ms(137)).await;
    let gets = world.provider.gets();
    world.provider.set("figlet", 1, 1);
    world.provider.happens(Ok(changes(&[("figlet", 1)], &[], "two")));
    let waited = caller.await.unwrap().unwrap().waited.unwrap();
    assert!((ms(137)..=ms(139)).contains(&waited), "{waited:?}");
    assert_eq!((gets, world.provider.gets()), (1, 1), "nobody polled");
    assert_eq!(world.provider.script().wishes, [1]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_loses_an_event_costs_a_second_and_not_the_timeout() {
    let world = watched().await;
    world.provider.set("figlet", 0, 0);
    let waited = world.scaler.ready(&function("figlet")).await.unwrap().waited.unwrap();
    assert!((ms(1000)..=ms(1010)).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn an_event_replaces_what_is_known() {
    let world = watched().await;
    world.warmed("figlet").await;
    world.warmed("cows").await;
    world.provider.happens(Ok(changes(&[("figlet", 0)], &["cows"], "two")));
    sleep(ms(5)).await;
    assert!(world.scaler.warm(&function("figlet")).is_none());
    let gets = world.provider.gets();
    let error = world.scaler.ready(&function("cows")).await.unwrap_err();
    assert!(matches!(error, ScaleError::NotFound { .. }), "{error}");
    assert_eq!(world.provider.gets(), gets);
    world.provider.happens(Ok(changes(&[("cows", 1)], &[], "three")));
    sleep(ms(5)).await;
    world.scaler.ready(&function("cows")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn another_number_of_instances_renews_the_endpoints_behind_the_requests() {
    let world = watched().await;
    world.warmed("figlet").await;
    world.provider.happens(Ok(changes(&[("figlet", 3)], &[], "two")));
    sleep(ms(5)).await;
    let (_, misses) = world.load("figlet", 5 * SECOND, ms(5)).await;
    assert_eq!(misses, 0);
    assert_eq!((world.provider.gets(), world.provider.resolves()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn an_event_renews_the_endpoints_before_the_next_request() {
    let world = watched().await;
    world.warmed("figlet").await;
    let mut other = world.provider.script().endpoints[0].clone();
    other.instance = "another".into();
    world.provider.script().endpoints = vec![other.clone()];
    // One instance took another's place: the number is the same.
    world.provider.happens(Ok(changes(&[("figlet", 1)], &[], "two")));
    sleep(ms(10)).await;
    let ready = world.scaler.warm(&function("figlet")).unwrap();
    assert_eq!(ready.endpoints.endpoints()[0].endpoint().instance, other.instance);
    // Nobody asks for what may not be used any more.
    let resolves = world.provider.resolves();
    sleep(other.ttl).await;
    world.provider.happens(Ok(changes(&[("figlet", 1)], &[], "three")));
    sleep(ms(10)).await;
    assert_eq!(world.provider.resolves(), resolves);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_joins_is_called_once_it_accepts() {
    let world = watched().await;
    world.warmed("figlet").await;
    let first = world.provider.script().endpoints[0].clone();
    let mut second = first.clone();
    second.instance = "second".into();
    world.provider.script().endpoints.push(second.clone());
    world.network.accepts_at(Instant::now() + ms(2000));
    world.provider.happens(Ok(changes(&[("figlet", 2)], &[], "two")));
    let instances = |world: &World| {
        let ready = world.scaler.warm(&function("figlet")).unwrap();
        ready.endpoints.endpoints().iter().map(|one| one.endpoint().instance.to_string()).collect::<Vec<_>>()
    };
    let (_, misses) = world.load("figlet", ms(1900), ms(5)).await;
    assert_eq!((misses, instances(&world)), (0, vec![first.instance.to_string()]));
    let (_, misses) = world.load("figlet", ms(1000), ms(5)).await;
    assert_eq!((misses, instances(&world)), (0, vec![first.instance.to_string(), second.instance.to_string()]));

    // All of them are replaced by one that is not ready: the next request waits for it.
    let mut third = second;
    third.instance = "third".into();
    world.provider.script().endpoints = vec![third.clone()];
    world.network.accepts_at(Instant::now() + ms(2000));
    world.provider.happens(Ok(changes(&[("figlet", 1)], &[], "three")));
    sleep(ms(500)).await;
    assert!(world.scaler.warm(&function("figlet")).is_none());
    world.scaler.ready(&function("figlet")).await.unwrap();
    assert_eq!(instances(&world), [third.instance.to_string()]);
}

#[tokio::test(start_paused = true)]
async fn when_the_watch_fails_polling_is_back_and_ends_when_it_recovers() {
    let world = watched().await;
    world.warmed("figlet").await;
    world.provider.happens(Err(unavailable()));
    for _ in 0..3 {
        world.provider.happens(Err(unavailable()));
    }
    sleep(ms(5)).await;
    assert!(world.metric(UNHEALTHY));
    let (_, misses) = world.load("figlet", ms(900), ms(5)).await;
    assert_eq!(misses, 0);
    let polled = world.provider.gets();
    assert!((3..=5).contains(&polled), "{polled}");
    world.provider.happens(Ok(changes(&[("figlet", 1)], &[], "two")));
    world.load("figlet", 5 * SECOND, ms(5)).await;
    assert!(world.metric(HEALTHY));
    let gets = world.provider.gets();
    world.load("figlet", 10 * SECOND, ms(5)).await;
    assert_eq!(world.provider.gets(), gets);
}

#[tokio::test(start_paused = true)]
async fn what_a_watch_vouched_for_ages_from_the_moment_it_ended() {
    let world = watched().await;
    world.warmed("figlet").await;
    sleep(60 * SECOND).await;
    world.provider.script().delay = 3600 * SECOND;
    world.provider.happens(Err(unavailable()));
    world.provider.script().interfaces = vec![Interface::Endpoints];
    sleep(ms(5)).await;
    assert!(world.metric(UNHEALTHY));
    let (hits, _) = world.load("figlet", 20 * SECOND, ms(100)).await;
    assert_eq!(hits, 100, "stale-ttl");
}

#[tokio::test(start_paused = true)]
async fn an_expired_cursor_begins_a_new_snapshot_at_once() {
    let world = watched().await;
    world.provider.happens(Err(QueryError::platform(ErrorKind::CursorExpired, "too old")));
    sleep(ms(1)).await;
    let cursors = world.provider.script().cursors.clone();
    assert_eq!(cursors, [None, Some("one".to_owned()), None]);
}

#[tokio::test(start_paused = true)]
async fn what_no_page_of_a_complete_snapshot_names_does_not_exist() {
    let world = watched().await;
    world.warmed("figlet").await;
    world.warmed("cows").await;
    world.provider.happens(Err(QueryError::platform(ErrorKind::CursorExpired, "too old")));
    let mut first = changes(&[("figlet", 1)], &[], "page");
    first.complete = false;
    world.provider.happens(Ok(first));
    sleep(ms(5)).await;
    assert!(world.scaler.warm(&function("cows")).is_some(), "the snapshot is not complete");
    world.provider.happens(Ok(changes(&[], &[], "two")));
    sleep(ms(5)).await;
    assert!(world.scaler.warm(&function("figlet")).is_some());
    assert!(matches!(world.scaler.ready(&function("cows")).await, Err(ScaleError::NotFound { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_does_not_wait_does_not_spin() {
    let world = watched().await;
    world.provider.script().restless = true;
    world.provider.happens(Ok(changes(&[], &[], "two")));
    let calls = world.provider.script().cursors.len();
    sleep(10 * SECOND).await;
    let calls = world.provider.script().cursors.len() - calls;
    assert!(calls < 30, "{calls} calls in 10 s");
}

#[tokio::test(start_paused = true)]
async fn a_plugin_speaks_only_for_its_own_namespaces() {
    let world = watched().await;
    let mut event = changes(&[], &[], "two");
    let mut foreign = function("figlet");
    foreign.namespace = "prod".parse().unwrap();
    event.removed.push(foreign);
    world.warmed("figlet").await;
    world.provider.happens(Ok(event));
    sleep(ms(5)).await;
    assert!(world.scaler.warm(&function("figlet")).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_swap_begins_the_watch_again_and_a_plugin_without_one_is_polled() {
    let world = watched().await;
    world.warmed("figlet").await;
    world.provider.script().generation = 2;
    world.provider.script().interfaces = vec![Interface::Endpoints];
    world.scaler.invalidate_provider(&"edge".parse().unwrap());
    sleep(ms(5)).await;
    assert!(world.metric(UNHEALTHY));
    let gets = world.provider.gets();
    world.load("figlet", 2 * SECOND, ms(5)).await;
    assert!((6..=9).contains(&(world.provider.gets() - gets)));
    world.provider.script().interfaces = vec![Interface::Endpoints, Interface::Watch];
    world.scaler.invalidate_provider(&"edge".parse().unwrap());
    world.provider.happens(Ok(changes(&[("figlet", 1)], &[], "again")));
    sleep(ms(5)).await;
    assert!(world.metric(HEALTHY));
}
