//! Providers that come, go, and are replaced while functions are called.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::fake::{World, build, changes, endpoint, entry, fake, function, ms, world};
use crate::name::FunctionRef;
use crate::query::Interface;
use crate::scaler::{Config, ScaleError};

const ALLOW: Option<&str> = Some("10.0.0.0/8");

fn in_prod(name: &str) -> FunctionRef {
    FunctionRef { name: name.parse().unwrap(), namespace: "prod".parse().unwrap() }
}

fn target(world: &World, name: &str) -> Option<String> {
    let ready = world.scaler.warm(&function(name))?;
    Some(format!("{:?}", ready.endpoints.endpoints()[0].endpoint().target))
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_was_added_serves_and_one_that_was_removed_does_not() {
    let world = world(Config::default());
    world.warmed("figlet").await;
    let error = world.scaler.ready(&in_prod("cows")).await.unwrap_err();
    assert!(matches!(error, ScaleError::NoProvider { .. }), "{error}");

    let second = fake("second", &[Interface::Endpoints]);
    second.set("cows", 1, 1);
    world.publish(vec![entry(&world.provider, "dev", ALLOW, None), entry(&second, "prod", ALLOW, None)]);
    world.scaler.ready(&in_prod("cows")).await.unwrap();
    assert!(world.scaler.warm(&function("figlet")).is_some(), "the first provider's functions are as they were");

    world.publish(vec![entry(&second, "prod", ALLOW, None)]);
    assert!(world.scaler.warm(&function("figlet")).is_none());
    let error = world.scaler.ready(&function("figlet")).await.unwrap_err();
    assert!(matches!(error, ScaleError::NoProvider { .. }), "{error}");
    assert_eq!(world.scaler.tracked(), 1);
    assert!(world.scaler.warm(&in_prod("cows")).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_removed_providers_background_work_ends() {
    let world = build(Config::default(), ALLOW, None, &[Interface::Endpoints, Interface::Watch]);
    world.provider.happens(Ok(changes(&[], &[], "one")));
    world.warmed("figlet").await;
    let held = Arc::strong_count(&world.provider);
    world.publish(Vec::new());
    // The tasks are gone when the runtime ran once more.
    sleep(ms(1)).await;
    let (before, asked) = (held, world.provider.script().cursors.len());
    assert!(Arc::strong_count(&world.provider) < before);
    sleep(Duration::from_secs(120)).await;
    assert_eq!(world.provider.script().cursors.len(), asked, "nobody watches it any more");
    assert!(!world.metric("wicketgate_watch_healthy{provider=\"edge\"} 1"));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_function_of_a_removed_provider_is_told_at_once() {
    let world = world(Config::default());
    world.provider.script().start_time = None;
    world.provider.set("figlet", 0, 0);
    let caller = world.caller("figlet");
    sleep(ms(50)).await;
    world.publish(Vec::new());
    let error = tokio::time::timeout(ms(50), caller).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(error, ScaleError::NoProvider { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_cold_start_begins_again_on_the_provider_that_took_over() {
    let world = world(Config::default());
    world.provider.script().start_time = None;
    world.provider.set("figlet", 0, 0);
    let caller = world.caller("figlet");
    sleep(Duration::from_secs(59)).await;
    assert_eq!(world.provider.script().wishes, [1]);

    // Under the same name, as after a changed configuration.
    let next = fake("edge", &[Interface::Endpoints]);
    next.set("figlet", 0, 0);
    next.script().endpoints = vec![endpoint("10.0.0.9:80", 600_000)];
    next.script().start_time = Some(Duration::from_secs(5));
    world.publish(vec![entry(&next, "dev", ALLOW, None)]);
    let ready = caller.await.unwrap().unwrap();
    assert_eq!(next.script().wishes, [1], "asked for there, though it was asked for before elsewhere");
    assert!(ready.waited.unwrap() > Duration::from_secs(60), "its time began again: {:?}", ready.waited);
    assert!(target(&world, "figlet").unwrap().contains("10.0.0.9"), "{ready:?}");
    let gets = world.provider.gets();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.provider.gets(), gets, "the old one is not asked any more");
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_took_over_within_a_provider_is_asked_anew_and_nobody_is_failed() {
    let world = world(Config::default());
    world.warmed("cows").await;
    world.provider.script().start_time = None;
    world.provider.set("figlet", 0, 0);
    let caller = world.caller("figlet");
    sleep(ms(300)).await;
    {
        let mut script = world.provider.script();
        script.generation = 2;
        script.start_time = Some(ms(100));
        script.endpoints = vec![endpoint("10.0.0.9:80", 600_000)];
    }
    world.provider.set("figlet", 0, 0);
    world.scaler.platform_changed(&"edge".parse().unwrap());
    assert!(world.scaler.warm(&function("cows")).is_none(), "what the old platform said is forgotten");
    let ready = caller.await.unwrap().unwrap();
    assert_eq!(ready.generation.0, 2);
    assert_eq!(world.provider.script().wishes, [1, 1], "once on each platform");
    assert!(ready.waited.unwrap() < Duration::from_secs(1), "the old wish is not waited for: {:?}", ready.waited);
}

#[tokio::test(start_paused = true)]
async fn what_a_platform_says_that_no_longer_answers_fails_nobody() {
    let world = world(Config::default());
    world.provider.set("figlet", 0, 0);
    world.provider.script().delay = Duration::from_secs(2);
    world.provider.script().services.clear();
    let caller = world.caller("figlet");
    sleep(Duration::from_secs(1)).await;
    // The old platform's "no such service" is under way; the new one has the function.
    world.provider.set("figlet", 1, 1);
    world.scaler.platform_changed(&"edge".parse().unwrap());
    caller.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_changed_endpoint_policy_holds_for_functions_that_are_warm() {
    let world = world(Config::default());
    world.warmed("figlet").await;
    world.publish(vec![entry(&world.provider, "dev", ALLOW, None)]);
    assert!(world.scaler.warm(&function("figlet")).is_some(), "the same policy: nobody waits");
    world.publish(vec![entry(&world.provider, "dev", Some("192.168.0.0/16"), None)]);
    assert!(world.scaler.warm(&function("figlet")).is_none());
    let error = world.scaler.ready(&function("figlet")).await.unwrap_err();
    assert!(matches!(error, ScaleError::EndpointRefused { .. }), "{error}");
}
