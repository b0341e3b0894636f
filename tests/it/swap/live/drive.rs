//! Changes of one provider, one after the other, and what each of its generations is.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::super::variant_of;
use super::Mark;
use crate::harness::{Gateway, wait_until};

/// The time between two swaps.
pub(super) const EVERY: Duration = Duration::from_millis(50);

/// Swaps by roll back between two candidates that go the whole way.
const BETWEEN_LOADS: u32 = 50;

/// What the configuration file says now; whoever changes it waits until it was taken.
pub(super) struct Configuration<'a> {
    /// The text for the marks of the two providers that move.
    pub(super) text: &'a (dyn Fn(&[Mark; 2]) -> String + Sync),
    pub(super) marks: Mutex<[Mark; 2]>,
}

/// Whoever changes a provider; nobody else does.
pub(super) struct Driver<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) provider: &'static str,
    /// The name of its bundled plugin.
    plugin: &'static str,
    active: u64,
    before: u64,
    /// What each generation is, by its number.
    pub(super) marks: BTreeMap<u64, Mark>,
    /// Candidates that went the whole way.
    pub(super) loads: u32,
}

impl<'a> Driver<'a> {
    /// For a provider whose first generation is `mark`.
    pub(super) fn new(gateway: &'a Gateway, provider: &'static str, plugin: &'static str, mark: Mark) -> Self {
        let active = generation(gateway, provider);
        Self { gateway, provider, plugin, active, before: 0, marks: BTreeMap::from([(active, mark)]), loads: 0 }
    }

    fn published(&mut self, generation: u64, mark: Mark) {
        assert!(generation > self.active, "generation {generation} after {}", self.active);
        self.marks.insert(generation, mark);
        self.before = std::mem::replace(&mut self.active, generation);
    }

    pub(super) fn roll_back(&mut self) {
        let target = format!("/providers/{}/rollback", self.provider);
        let reply = self.gateway.admin_send("POST", &target, &[], b"");
        assert_eq!(reply.status, 200, "{}", reply.text());
        let mark = self.marks[&self.before].clone();
        self.published(reply.json()["generation"].as_u64().unwrap(), mark);
    }

    /// Uploads the plugin with other bytes: compiled or found in the cache, tried, published.
    pub(super) fn upload(&mut self) {
        self.loads += 1;
        let bytes = variant_of(self.plugin, u8::try_from(self.loads % 2).unwrap());
        let target = format!("/providers/{}", self.provider);
        let reply = self.gateway.admin_send("PUT", &target, &[("content-type", "application/wasm")], &bytes);
        assert_eq!(reply.status, 200, "{}", reply.text());
        let mark = self.marks[&self.active].clone();
        self.published(reply.json()["generation"].as_u64().unwrap(), mark);
    }

    /// Leads the provider elsewhere by the configuration: to `to`, or back if it is there.
    pub(super) fn reconfigure(&mut self, configuration: &Configuration, at: usize, others: &[Mark; 2]) {
        self.loads += 1;
        let mut marks = configuration.marks.lock().unwrap();
        let to = others.iter().find(|mark| **mark != marks[at]).unwrap().clone();
        marks[at] = to.clone();
        self.gateway.rewrite(&(configuration.text)(&marks));
        self.gateway.signal(rustix::process::Signal::HUP);
        let mut generation = self.active;
        wait_until("the configuration was taken", || {
            let shown = self.gateway.admin(&format!("/providers/{}", self.provider)).json();
            let last = &shown["history"][0];
            assert_ne!(last["outcome"], "refused", "{last}");
            generation = shown["generation"].as_u64().unwrap();
            generation != self.active && last["outcome"] == "published"
        });
        drop(marks);
        self.published(generation, to);
    }

    /// Swaps until it is time, every 50 ms. Now and then a candidate goes the whole way, by `load`: which of them it
    /// is to be is its second argument.
    pub(super) fn run(&mut self, end: Instant, mut load: impl FnMut(&mut Self, u32)) {
        let mut turn = 0_u32;
        while Instant::now() < end {
            let begun = Instant::now();
            self.roll_back();
            turn += 1;
            if turn.is_multiple_of(BETWEEN_LOADS) {
                load(self, turn / BETWEEN_LOADS);
            }
            std::thread::park_timeout(EVERY.saturating_sub(begun.elapsed()));
        }
    }

    /// Rolls back if that is what it takes to serve by the configuration that the file has.
    pub(super) fn come_to(&mut self, mark: &Mark) {
        if self.marks[&self.active] != *mark {
            self.roll_back();
        }
        assert_eq!(self.marks[&self.active], *mark);
    }
}

pub(super) fn generation(gateway: &Gateway, provider: &str) -> u64 {
    let shown: Value = gateway.admin(&format!("/providers/{provider}")).json();
    shown["generation"].as_u64().unwrap()
}
