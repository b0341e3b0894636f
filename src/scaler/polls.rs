//! When to ask next: the steps between two polls, between two attempts after failures, and between
//! two requests for an instance.

use std::time::Duration;

use tokio::time::Instant;

use super::Config;
use crate::query::{Budget, Cause, PluginFault, QueryError};

/// The longest wait after a failed question.
const FAILURE_WAIT_MAX: Duration = Duration::from_secs(1);

/// How long callers are kept waiting for a platform that asks for time; beyond it they are told.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a platform that took a wish may go on saying that no instance is wanted, before it is
/// asked again. Doubles each time.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// Attempts at a question that the plugin itself failed: what traps once does so again, and whoever waits
/// learns of it at once.
const PLUGIN_ATTEMPTS: u32 = 2;

/// Steady polls first, then ever fewer.
pub(super) struct Polls {
    begun: Option<Instant>,
    interval: Duration,
    steady: Duration,
    most: Duration,
}

impl Polls {
    pub(super) fn new(config: &Config) -> Self {
        Self { begun: None, interval: config.poll_interval, steady: config.poll_steady, most: config.poll_interval_max }
    }

    /// When to ask next, after a question that was asked at `asked`. A slow answer uses the wait up,
    /// so that slow platforms are not asked less often than the steps say.
    pub(super) fn next(&mut self, asked: Instant) -> Instant {
        let begun = *self.begun.get_or_insert(asked);
        if asked.duration_since(begun) >= self.steady {
            self.interval = self.interval.mul_f32(1.5).min(self.most);
        }
        asked + self.interval
    }
}

/// How often in a row the provider failed.
pub(super) struct Failures {
    count: u32,
    most: u32,
    wait: Duration,
}

impl Failures {
    pub(super) fn new(config: &Config) -> Self {
        Self { count: 0, most: config.query_attempts, wait: config.query_backoff }
    }

    pub(super) fn none(&mut self) {
        self.count = 0;
    }

    /// How long to wait before the next attempt; `None` when there were enough, or when the platform
    /// asked for more time than callers should be kept waiting for.
    pub(super) fn another(&mut self, error: &QueryError) -> Option<Duration> {
        self.count += 1;
        let most = if is_plugins_own(error) { self.most.min(PLUGIN_ATTEMPTS) } else { self.most };
        let doubled = self.wait * 2_u32.saturating_pow((self.count - 1).min(16));
        let asked_for = error.retry_after.unwrap_or_default();
        let is_worth_it = self.count < most && asked_for <= PATIENCE;
        is_worth_it.then(|| doubled.min(FAILURE_WAIT_MAX).max(asked_for))
    }
}

/// Whether the plugin failed rather than its platform, which a slow call may be about.
fn is_plugins_own(error: &QueryError) -> bool {
    match &error.cause {
        Cause::Plugin(PluginFault::Trap | PluginFault::BadOutput(_)) => true,
        Cause::Plugin(PluginFault::Budget(budget)) => *budget != Budget::Wall,
        Cause::Plugin(PluginFault::Quarantined | PluginFault::Busy)
        | Cause::Platform(_)
        | Cause::NotExported(_)
        | Cause::NoProvider
        | Cause::NoPlugin
        | Cause::Gateway => false,
    }
}

/// Whether to ask for an instance: once, and again only if the platform seems to have lost it.
#[derive(Default)]
pub(super) struct Wish {
    again_at: Option<Instant>,
    wait: Duration,
}

impl Wish {
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.again_at.is_none_or(|at| now >= at)
    }

    /// The platform took it.
    pub(super) fn taken(&mut self, now: Instant) {
        self.wait = if self.wait.is_zero() { ASK_AGAIN } else { self.wait * 2 };
        self.again_at = Some(now + self.wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::ErrorKind;

    #[tokio::test(start_paused = true)]
    async fn polls_are_steady_first_and_then_grow_by_half_up_to_a_bound() {
        let mut polls = Polls::new(&Config::default());
        let start = Instant::now();
        let mut at = start;
        let mut steps = Vec::new();
        while steps.len() < 70 {
            let next = polls.next(at);
            steps.push((next - at).as_millis());
            at = next;
        }
        assert!(steps[..50].iter().all(|step| *step == 10), "{steps:?}");
        assert_eq!(steps[50..54], [15, 22, 33, 50], "{steps:?}");
        assert_eq!(steps[69], 250);
    }

    fn down(retry_after: Option<Duration>) -> QueryError {
        QueryError { retry_after, ..QueryError::platform(ErrorKind::Unavailable, "down") }
    }

    #[test]
    fn waits_after_failures_double_and_end() {
        let mut failures = Failures::new(&Config::default());
        let waits: Vec<_> = std::iter::from_fn(|| failures.another(&down(None))).map(|wait| wait.as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1000]);
        failures.none();
        assert_eq!(failures.another(&down(Some(Duration::from_secs(3)))), Some(Duration::from_secs(3)));
        assert_eq!(failures.another(&down(Some(Duration::from_secs(30)))), None);
    }

    #[test]
    fn a_plugin_that_fails_gets_one_more_chance() {
        for (fault, attempts) in [
            (PluginFault::Trap, 2),
            (PluginFault::Budget(Budget::Cpu), 2),
            (PluginFault::Budget(Budget::Wall), 6),
            (PluginFault::Busy, 6),
        ] {
            let mut failures = Failures::new(&Config::default());
            let error = QueryError::new(Cause::Plugin(fault.clone()), "it failed");
            let again = std::iter::from_fn(|| failures.another(&error)).count();
            assert_eq!(again + 1, attempts, "{fault:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wish_is_repeated_only_after_a_growing_while() {
        let mut wish = Wish::default();
        assert!(wish.is_due(Instant::now()));
        wish.taken(Instant::now());
        assert!(!wish.is_due(Instant::now()));
        tokio::time::advance(ASK_AGAIN).await;
        assert!(wish.is_due(Instant::now()));
        wish.taken(Instant::now());
        tokio::time::advance(ASK_AGAIN).await;
        assert!(!wish.is_due(Instant::now()));
    }
}
