//! Functions that have instances: snapshots, refreshes, endpoints.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::fake::{World, build, endpoint, function, ms, unavailable, world};
use crate::query::Interface;
use crate::scaler::{Config, ScaleError};

const SECOND: Duration = Duration::from_secs(1);

async fn warm() -> World {
    let world = world(Config::default());
    world.warmed("figlet").await;
    world
}

#[tokio::test(start_paused = true)]
async fn a_fresh_answer_is_used_without_asking_anybody() {
    let world = warm().await;
    let (hits, misses) = world.load("figlet", ms(249), ms(1)).await;
    assert_eq!((hits, misses), (249, 0));
    assert_eq!((world.provider.gets(), world.provider.resolves()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_busy_function_is_asked_for_at_most_four_times_a_second_and_an_idle_one_never() {
    let world = warm().await;
    let (_, misses) = world.load("figlet", 10 * SECOND, ms(1)).await;
    // The last request may have asked for one more refresh.
    sleep(SECOND).await;
    let gets = world.provider.gets();
    assert_eq!(misses, 0, "no request waited");
    assert!((30..=41).contains(&gets), "{gets}");
    sleep(600 * SECOND).await;
    assert_eq!(world.provider.gets(), gets, "idle");
    assert_eq!(world.provider.resolves(), 1, "the endpoints had not changed");
}

#[tokio::test(start_paused = true)]
async fn requests_go_on_while_a_refresh_is_slow_but_only_up_to_the_stale_ttl() {
    let world = warm().await;
    world.provider.script().delay = 3600 * SECOND;
    let (hits, misses) = world.load("figlet", 20 * SECOND, ms(100)).await;
    assert_eq!((hits, misses), (100, 100));
    assert_eq!(world.provider.gets(), 2, "one refresh at a time");
}

#[tokio::test(start_paused = true)]
async fn while_the_provider_fails_the_last_answer_serves_longer() {
    let world = warm().await;
    world.provider.script().error = Some(unavailable());
    let (_, misses) = world.load("figlet", 60 * SECOND, ms(50)).await;
    assert_eq!(misses, 0);
    let gets = world.provider.gets();
    assert!(gets < 30, "a failing provider is asked ever less: {gets}");

    // An idle while later the first caller waits for one failed question, the others for none.
    sleep(60 * SECOND).await;
    world.scaler.ready(&function("figlet")).await.unwrap();
    assert!(world.scaler.warm(&function("figlet")).is_some());

    sleep(Config::default().stale_if_error).await;
    let error = world.scaler.ready(&function("figlet")).await.unwrap_err();
    assert!(matches!(error, ScaleError::ProviderFailed { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_too_old_after_an_idle_while_is_asked_for_again_and_serves_if_the_provider_fails() {
    let world = warm().await;
    sleep(11 * SECOND).await;
    assert!(world.scaler.warm(&function("figlet")).is_none());
    world.provider.script().error = Some(unavailable());
    let began = Instant::now();
    world.scaler.ready(&function("figlet")).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn endpoints_are_renewed_before_their_time_ends() {
    let world = world(Config::default());
    world.provider.script().endpoints = vec![endpoint("10.0.0.1:80", 2000)];
    world.warmed("figlet").await;
    let (_, misses) = world.load("figlet", 20 * SECOND, ms(10)).await;
    assert_eq!(misses, 0);
    let resolves = world.provider.resolves();
    assert!((10..=20).contains(&resolves), "{resolves}");
}

#[tokio::test(start_paused = true)]
async fn the_time_to_live_of_an_endpoint_is_a_hard_bound() {
    let world = world(Config::default());
    world.provider.script().endpoints = vec![endpoint("10.0.0.1:80", 2000)];
    world.warmed("figlet").await;
    world.provider.script().error = Some(unavailable());
    let (hits, _) = world.load("figlet", 5 * SECOND, ms(10)).await;
    assert_eq!(hits, 200);
    world.scaler.ready(&function("figlet")).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_time_to_live_shorter_than_a_refresh_still_serves() {
    let world = world(Config::default());
    world.provider.script().endpoints = vec![endpoint("10.0.0.1:80", 50)];
    world.warmed("figlet").await;
    sleep(ms(60)).await;
    assert!(world.scaler.warm(&function("figlet")).is_none());
    world.scaler.ready(&function("figlet")).await.unwrap();
    assert_eq!(world.provider.gets(), 1, "how many there are was known");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_refused_is_dropped_and_with_the_last_one_the_snapshot() {
    let world = world(Config::default());
    world.provider.script().endpoints = vec![endpoint("10.0.0.1:80", 60_000), endpoint("10.0.0.2:80", 60_000)];
    let ready = world.warmed("figlet").await;
    let [first, second] = ready.endpoints.endpoints() else { panic!() };
    world.scaler.refused(&function("figlet"), first);
    let rest = world.scaler.warm(&function("figlet")).unwrap();
    assert!(rest.endpoints.endpoints().iter().all(|endpoint| endpoint.is_same(second)));
    assert_eq!(rest.endpoints.endpoints().len(), 1);
    world.scaler.refused(&function("figlet"), second);
    assert!(world.scaler.warm(&function("figlet")).is_none());
}

#[tokio::test(start_paused = true)]
async fn after_a_refused_connect_the_cold_path_waits_until_an_instance_accepts() {
    let world = warm().await;
    let ready = world.scaler.warm(&function("figlet")).unwrap();
    world.network.accepts_at(Instant::now() + ms(120));
    for _ in 0..10 {
        world.scaler.refused(&function("figlet"), &ready.endpoints.endpoints()[0]);
    }
    let waited = world.scaler.ready(&function("figlet")).await.unwrap().waited.unwrap();
    assert!((ms(120)..=ms(135)).contains(&waited), "{waited:?}");
    assert!(world.provider.script().wishes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_answer_under_way_when_an_endpoint_refused_does_not_bring_it_back() {
    let world = warm().await;
    world.provider.script().delay = ms(100);
    sleep(ms(320)).await;
    let ready = world.scaler.warm(&function("figlet")).unwrap();
    sleep(ms(50)).await;
    assert_eq!(world.provider.gets(), 2, "a refresh is under way");
    world.scaler.refused(&function("figlet"), &ready.endpoints.endpoints()[0]);
    sleep(ms(500)).await;
    assert!(world.scaler.warm(&function("figlet")).is_none());
}

#[tokio::test(start_paused = true)]
async fn an_answer_under_way_when_an_admin_wrote_is_worth_nothing() {
    let world = warm().await;
    world.provider.script().delay = ms(100);
    sleep(ms(320)).await;
    assert!(world.scaler.warm(&function("figlet")).is_some());
    sleep(ms(50)).await;
    assert_eq!(world.provider.gets(), 2, "a refresh is under way");
    world.provider.set("figlet", 0, 0);
    world.scaler.invalidate(&function("figlet"));
    sleep(ms(60)).await;
    world.scaler.ready(&function("figlet")).await.unwrap();
    assert_eq!(world.provider.script().wishes, [1]);
}

#[tokio::test(start_paused = true)]
async fn a_function_that_was_scaled_to_zero_or_deleted_is_noticed_by_the_refresh() {
    let world = warm().await;
    world.provider.set("figlet", 0, 0);
    sleep(ms(320)).await;
    assert!(world.scaler.warm(&function("figlet")).is_some());
    sleep(ms(10)).await;
    assert!(world.scaler.warm(&function("figlet")).is_none());
    world.scaler.ready(&function("figlet")).await.unwrap();
    assert_eq!(world.provider.script().wishes, [1]);

    world.provider.script().services.clear();
    sleep(ms(320)).await;
    assert!(world.scaler.warm(&function("figlet")).is_some());
    sleep(ms(10)).await;
    let gets = world.provider.gets();
    assert!(matches!(world.scaler.ready(&function("figlet")).await, Err(ScaleError::NotFound { .. })));
    assert_eq!(world.provider.gets(), gets, "the refresh had said so");
}

#[tokio::test(start_paused = true)]
async fn an_admin_s_write_makes_the_next_request_ask() {
    let world = warm().await;
    world.provider.set("figlet", 0, 0);
    world.scaler.invalidate(&function("figlet"));
    assert!(world.scaler.warm(&function("figlet")).is_none());
    world.scaler.ready(&function("figlet")).await.unwrap();
    assert_eq!(world.provider.script().wishes, [1]);
}

#[tokio::test(start_paused = true)]
async fn after_a_swap_requests_go_on_and_the_new_generation_is_asked_behind_them() {
    let world = warm().await;
    world.provider.script().generation = 2;
    world.scaler.invalidate_provider(&"edge".parse().unwrap());
    assert_eq!(world.scaler.warm(&function("figlet")).unwrap().generation.0, 1);
    sleep(ms(300)).await;
    assert_eq!(world.scaler.warm(&function("figlet")).unwrap().generation.0, 1);
    sleep(ms(10)).await;
    assert_eq!(world.scaler.warm(&function("figlet")).unwrap().generation.0, 2);
    assert_eq!(world.provider.resolves(), 3);
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_are_gone_send_the_next_request_to_the_cold_path() {
    let world = warm().await;
    for (replicas, answer) in [(2, Vec::new()), (3, vec![endpoint("192.0.2.1:80", 1000)])] {
        world.provider.script().endpoints = answer;
        world.provider.set("figlet", replicas, 1);
        sleep(ms(320)).await;
        assert!(world.scaler.warm(&function("figlet")).is_some());
        sleep(ms(10)).await;
        assert!(world.scaler.warm(&function("figlet")).is_none());
        world.provider.script().endpoints = vec![endpoint("10.0.0.1:80", 60_000)];
        world.warmed("figlet").await;
    }
}

async fn many(world: &World, count: usize) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|i| format!("f{i}")).collect();
    for name in &names {
        world.warmed(name).await;
    }
    names
}

#[tokio::test(start_paused = true)]
async fn many_functions_share_one_list() {
    let world = build(Config::default(), Some("10.0.0.0/8"), None, &[Interface::Endpoints, Interface::Functions]);
    let names = many(&world, 100).await;
    let gets = world.provider.gets();
    let end = Instant::now() + 10 * SECOND;
    while Instant::now() < end {
        for name in &names {
            assert!(world.scaler.warm(&function(name)).is_some(), "{name}");
        }
        sleep(ms(5)).await;
    }
    let script = world.provider.script();
    assert!((20..=80).contains(&script.lists), "{} lists", script.lists);
    assert!(script.gets - gets < 400, "{} questions for single functions", script.gets - gets);
}

#[tokio::test(start_paused = true)]
async fn a_provider_is_asked_at_most_so_often_a_second() {
    let world = world(Config { refreshes_per_second: 20, ..Config::default() });
    let names = many(&world, 100).await;
    let gets = world.provider.gets();
    let end = Instant::now() + 10 * SECOND;
    while Instant::now() < end {
        for name in &names {
            drop(world.scaler.warm(&function(name)));
        }
        sleep(ms(5)).await;
    }
    let asked = world.provider.gets() - gets;
    assert!((190..=212).contains(&asked), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn the_number_of_functions_is_bounded_and_the_longest_unused_makes_room() {
    let world = world(Config { functions: 64, stale_ttl: 3600 * SECOND, ..Config::default() });
    world.warmed("used").await;
    for i in 0..500 {
        sleep(SECOND).await;
        world.warmed(&format!("f{i}")).await;
        assert!(world.scaler.warm(&function("used")).is_some(), "after {i}");
    }
    assert!(world.scaler.tracked() <= 64);
    assert!(world.scaler.warm(&function("f0")).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_panics_ends_no_other_refresh() {
    let world = warm().await;
    world.provider.script().panics = true;
    let (_, misses) = world.load("figlet", 2 * SECOND, ms(50)).await;
    assert_eq!(misses, 0);
    world.provider.script().panics = false;
    let gets = world.provider.gets();
    world.load("figlet", 10 * SECOND, ms(50)).await;
    assert!(world.provider.gets() > gets + 20);
}
