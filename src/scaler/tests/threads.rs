//! The same on several threads and in real time: nothing waits for itself, nothing is lost.

use std::sync::Arc;
use std::time::Duration;

use super::fake::{function, world};
use crate::scaler::Config;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_refusals_and_writes_at_once_end_and_leave_nobody_waiting() {
    let world = world(Config::default());
    world.provider.script().start_time = Some(Duration::ZERO);
    let names: Vec<String> = (0..4).map(|i| format!("f{i}")).collect();
    for name in &names {
        world.provider.set(name, 1, 1);
    }
    let callers = (0..8).map(|caller| {
        let (scaler, names) = (Arc::clone(&world.scaler), names.clone());
        tokio::spawn(async move {
            for round in 0..100 {
                let asked = function(&names[(caller + round) % names.len()]);
                let ready = match scaler.warm(&asked) {
                    Some(ready) => ready,
                    None => scaler.ready(&asked).await.unwrap(),
                };
                let pick = ready.endpoints.pick().unwrap();
                match (caller + round) % 7 {
                    0 => scaler.refused(&asked, &pick),
                    1 => scaler.invalidate(&asked),
                    2 => scaler.invalidate_provider(ready.entry.provider.name()),
                    _ => {}
                }
            }
        })
    });
    let all = futures_util::future::join_all(callers.collect::<Vec<_>>());
    for ended in tokio::time::timeout(Duration::from_secs(60), all).await.unwrap() {
        ended.unwrap();
    }
    assert!(world.metric("wicketgate_cold_start_waiting 0"));
    assert!(world.provider.script().wishes.is_empty(), "no instance was asked for");
}
