//! The end of a generation: calls that run go on, for a while, and are counted out.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::super::clock::Moment;
use super::super::lease::Turn;
use super::super::loaded::{Candidate, Loaded};
use super::Published;
use crate::name::Generation;
use crate::query::{ErrorKind, QueryError};

/// Where a generation is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    /// No call begins on it.
    Draining,
    /// Questions under way are given up.
    Cut,
}

/// A generation's calls, and whether it takes more.
pub(super) struct Gate {
    phase: watch::Sender<Phase>,
    /// Whether the phase is a later one than [`Phase::Serving`]: calls look here, where no lock is.
    is_closed: AtomicBool,
    calls: AtomicUsize,
    idle: Notify,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            phase: watch::Sender::new(Phase::Serving),
            is_closed: AtomicBool::new(false),
            calls: AtomicUsize::new(0),
            idle: Notify::new(),
        }
    }
}

impl Gate {
    /// From now on no call begins.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.phase.send_if_modified(|phase| {
            let is_open = *phase == Phase::Serving;
            if is_open {
                *phase = Phase::Draining;
            }
            is_open
        });
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// Waits until the generation takes no more calls.
    pub(super) async fn closed(&self) {
        self.reach(Phase::Draining).await;
    }

    /// Waits until questions are given up; for ever for what must not be cut half-way.
    pub(super) async fn cut(&self, turn: Turn) {
        match turn {
            Turn::Any | Turn::Poll | Turn::Watch => self.reach(Phase::Cut).await,
            Turn::Write | Turn::Long => std::future::pending().await,
        }
    }

    async fn reach(&self, phase: Phase) {
        // The sender lives in `self`, so it is not gone.
        drop(self.phase.subscribe().wait_for(|now| *now >= phase).await);
    }

    /// Waits until no call runs, which only a generation that was closed is asked for.
    async fn idle(&self) {
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            // Registered before the count is read, so that no end falls in between.
            idle.as_mut().enable();
            if self.calls.load(Ordering::SeqCst) == 0 {
                return;
            }
            idle.await;
        }
    }
}

/// A call that runs on a generation, until this is dropped.
pub(super) struct Call {
    published: Arc<Published>,
    /// When it began, while there is a canary: only then generations are compared by their times.
    pub(super) begun: Option<Moment>,
}

impl Call {
    /// Begins a call; `None` if the generation takes no more.
    pub(super) fn begin(published: Arc<Published>) -> Option<Self> {
        // Counted first and looked at second, and the other way round in `close` and `idle`: a call that
        // is let in is always waited for.
        published.gate.calls.fetch_add(1, Ordering::SeqCst);
        let call = Self { published, begun: None };
        (!call.gate.is_closed()).then_some(call)
    }
}

impl Deref for Call {
    type Target = Published;

    fn deref(&self) -> &Published {
        &self.published
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let gate = &self.gate;
        if gate.calls.fetch_sub(1, Ordering::SeqCst) == 1 && gate.is_closed() {
            gate.idle.notify_waiters();
        }
    }
}

/// What a caller is told whose question was cut; another attempt reaches the next generation.
pub(super) fn cut() -> QueryError {
    let message =
        "another generation of the plugin took over, and this call was not done within `limits.drain-timeout`";
    QueryError::platform(ErrorKind::Unavailable, message)
}

/// A generation that was replaced and whose calls may still run. Clones are the same one.
#[derive(Clone)]
pub struct Retiring(pub(super) Arc<Published>);

/// How a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retired {
    /// Which one.
    pub generation: Generation,
    /// How many calls still ran when `limits.drain-timeout` was over; of those only writes went on.
    pub overdue: usize,
}

impl Retiring {
    /// Which generation it is.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.0.number
    }

    /// Whether a candidate would speak to the platform of this one.
    #[must_use]
    pub fn is_on_platform_of(&self, candidate: &Candidate) -> bool {
        candidate.plugin.platform.is_same_as(&self.0.plugin.platform)
    }

    pub(in crate::plugin) fn plugin(&self) -> &Loaded {
        &self.0.plugin
    }

    /// How many calls run on it now.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.0.gate.calls.load(Ordering::SeqCst)
    }

    /// How long its questions may go on.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.0.plugin.shared.limits.drain_timeout
    }

    /// Waits until its last call ended, cuts its questions when their time is over, and lets writes end.
    /// Nothing is asked of the platform by this generation afterwards, but for
    /// [`scale_to_zero`](Self::scale_to_zero).
    ///
    /// # Cancel safety
    /// Dropping the future leaves the calls as they are; it can be waited for again.
    pub async fn ended(&self) -> Retired {
        let gate = &self.0.gate;
        let mut overdue = 0;
        if tokio::time::timeout(self.timeout(), gate.idle()).await.is_err() {
            overdue = self.calls();
            gate.phase.send_replace(Phase::Cut);
            gate.idle().await;
        }
        Retired { generation: self.0.number, overdue }
    }
}

#[cfg(test)]
mod tests {
    use super::super::PluginProvider;
    use super::super::tests::{Bench, figlet, limits};
    use super::*;
    use crate::provider::Limits;
    use crate::query::ServiceQuery as _;

    const DRAIN: Duration = Duration::from_millis(700);

    /// A provider whose first generation sleeps in a question, with the second one published.
    async fn replaced(bench: &Bench, provider: &PluginProvider) -> Retiring {
        provider.publish(bench.load(&bench.config("good", limits())).await.unwrap());
        let mut retiring = provider.take_retiring();
        assert!(provider.take_retiring().is_empty(), "each is handed out once");
        retiring.pop().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_generation_without_calls_ends_at_once() {
        let bench = Bench::new();
        let provider = bench.provider("good", limits()).await;
        provider.get_replicas(&figlet()).await.unwrap();
        let retired = replaced(&bench, &provider).await.ended().await;
        assert_eq!(retired, Retired { generation: Generation(1), overdue: 0 });
        assert_eq!(provider.get_replicas(&figlet()).await.unwrap().generation, Generation(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_goes_on_until_the_drain_timeout_and_is_cut_then() {
        let bench = Bench::new();
        let provider = bench.provider("sleeps", Limits { drain_timeout: DRAIN, ..limits() }).await;
        let function = figlet();
        let begun = tokio::time::Instant::now();
        let replace = async {
            let retiring = replaced(&bench, &provider).await;
            assert_eq!(retiring.calls(), 1);
            retiring.ended().await
        };
        let (answer, retired) = tokio::join!(provider.get_replicas(&function), replace);
        let error = answer.unwrap_err();
        assert!(error.is_retryable() && error.message.contains("drain-timeout"), "{error}");
        assert_eq!(retired, Retired { generation: Generation(1), overdue: 1 });
        assert!(begun.elapsed() >= DRAIN, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_is_never_cut_and_its_generation_ends_after_it() {
        let bench = Bench::new();
        let provider = bench.provider("good", Limits { drain_timeout: DRAIN, ..limits() }).await;
        let write = provider.active().unwrap();
        let retiring = replaced(&bench, &provider).await;
        let is_cut = tokio::select! {
            () = write.gate.cut(Turn::Write) => true,
            _ended = retiring.ended() => panic!("a call runs"),
            () = tokio::time::sleep(10 * DRAIN) => false,
        };
        assert!(!is_cut);
        drop(write);
        assert_eq!(retiring.ended().await.generation, Generation(1));
    }

    #[tokio::test]
    async fn a_closed_generation_takes_no_call_and_a_withdrawn_provider_says_why() {
        let bench = Bench::new();
        let provider = bench.provider("good", limits()).await;
        let old = provider.active.load_full().unwrap();
        provider.withdraw("it was removed");
        assert!(Call::begin(old).is_none());
        let error = provider.get_replicas(&figlet()).await.unwrap_err();
        assert!(error.message.contains("it was removed"), "{error}");
        assert_eq!((provider.roll_back(), provider.previous()), (None, None));
        assert_eq!(provider.take_retiring().len(), 1);
    }
}
