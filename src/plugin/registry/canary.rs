//! The next generation on a share of the functions first.
//!
//! Which functions is decided by a hash of their names, so that one stays where it is. Calls of both
//! generations are tallied meanwhile; a canary that fails more often, is slower or is quarantined is
//! taken back by itself, and one that was not until its time is over may take the other functions too.
//!
//! Functions that are watched, or not called, ask nothing of a plugin. So that a canary is judged all the
//! same, both generations are asked about functions that are known, as often as a judgement needs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};

use super::super::loaded::Candidate;
use super::{PluginProvider, Published};
use crate::name::{FunctionRef, Generation};
use crate::provider::CanaryConfig;
use crate::query::{Cause, ErrorKind, QueryError, ServiceQuery as _};

/// Of each generation, so many questions are under way at once while a canary is judged.
const QUESTIONS_AT_ONCE: usize = 4;
/// The shortest pause between two of them.
const QUESTION_PAUSE_MIN: Duration = Duration::from_millis(10);

/// What became of a canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CanaryVerdict {
    /// Its time is over and it was not worse: it may be [promoted](PluginProvider::promote_canary).
    Passed {
        /// Its number.
        generation: Generation,
        /// What keeps this from meaning much: too few calls.
        finding: Option<String>,
    },
    /// It was worse, and the old generation serves all functions again.
    RolledBack {
        /// Its number; no other generation will have it.
        generation: Generation,
        /// What was worse, with both figures.
        reason: String,
    },
    /// Another generation was published meanwhile, or somebody took it back.
    Superseded(Generation),
}

/// A generation that serves a share of the functions.
pub(super) struct Canary {
    pub(super) published: Arc<Published>,
    config: CanaryConfig,
    ends: Instant,
    /// Whoever made it is about to promote it, so nobody else takes it back.
    is_accepted: AtomicBool,
    new: Tally,
    old: Tally,
    /// Rung when there is something to judge.
    bell: Notify,
}

/// Calls of one generation since the canary began.
#[derive(Default)]
struct Tally {
    calls: AtomicU64,
    failed: AtomicU64,
    nanos: AtomicU64,
}

/// The same at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    calls: u64,
    failed: u64,
    nanos: u64,
}

impl Tally {
    fn add(&self, is_failure: bool, took: Duration) -> u64 {
        if is_failure {
            self.failed.fetch_add(1, Ordering::Relaxed);
        } else {
            self.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        self.calls.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn read(&self) -> Counts {
        Counts {
            calls: self.calls.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            nanos: self.nanos.load(Ordering::Relaxed),
        }
    }
}

impl Counts {
    /// Failed calls in ten-thousandths of all.
    fn failure_rate(self) -> u64 {
        self.failed.saturating_mul(10_000).checked_div(self.calls).unwrap_or(0)
    }

    /// The mean time of those that succeeded.
    fn mean(self) -> Option<Duration> {
        self.nanos.checked_div(self.calls.saturating_sub(self.failed)).map(Duration::from_nanos)
    }
}

/// What is worse about the new generation, if something is.
fn worse(new: Counts, old: Counts, config: CanaryConfig) -> Option<String> {
    if new.calls < u64::from(config.calls) {
        return None;
    }
    let (rate, old_rate) = (new.failure_rate(), old.failure_rate());
    if rate > old_rate + u64::from(config.errors) * 100 {
        return Some(format!(
            "{} of its {} calls failed, and {} of {} of the old generation's (`canary.errors` allows {} points more)",
            new.failed, new.calls, old.failed, old.calls, config.errors
        ));
    }
    // What the old one did once or twice is no measure.
    if old.calls < u64::from(config.calls) {
        return None;
    }
    let (mean, old_mean) = (new.mean()?, old.mean()?);
    let allowed = (old_mean * config.slower / 100).max(old_mean + config.slack);
    (mean > allowed).then(|| {
        format!("its calls took {mean:?}, the old generation's {old_mean:?} (`canary.slower` and `canary.slack` allow {allowed:?})")
    })
}

/// Whether an error says something bad of the plugin that it came from.
fn is_failure(error: &QueryError) -> bool {
    match &error.cause {
        Cause::Plugin(_) => true,
        Cause::Platform(kind) => match kind {
            ErrorKind::Unauthenticated
            | ErrorKind::Denied
            | ErrorKind::RateLimited
            | ErrorKind::Unavailable
            | ErrorKind::Timeout
            | ErrorKind::Quota
            | ErrorKind::Internal => true,
            ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::Invalid
            | ErrorKind::Conflict
            | ErrorKind::CursorExpired
            | ErrorKind::Unsupported => false,
        },
        Cause::NotExported(_) | Cause::NoProvider | Cause::NoPlugin | Cause::Gateway => false,
    }
}

/// Where a function is among all, 0 to 99: FNV-1a over its name and namespace, the same in every process.
fn bucket(function: &FunctionRef) -> u64 {
    let bytes = function.namespace.as_str().bytes().chain([b'/']).chain(function.name.as_str().bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    // The low bits of this hash are the least mixed ones.
    (hash >> 32) % 100
}

impl Canary {
    /// Whether it serves a function.
    pub(super) fn serves(&self, function: &FunctionRef) -> bool {
        bucket(function) < u64::from(self.config.share)
    }

    /// Counts a call of one of the two generations.
    pub(super) fn count<T>(&self, generation: Generation, answer: &Result<T, QueryError>, took: Duration) {
        let is_failure = answer.as_ref().err().is_some_and(is_failure);
        if generation == self.published.number {
            let calls = self.new.add(is_failure, took);
            if calls >= u64::from(self.config.calls) || self.published.plugin.quarantine.is_active() {
                self.bell.notify_one();
            }
        } else {
            self.old.add(is_failure, took);
        }
    }

    /// Counts that nothing answered at an endpoint of a function, for the generation that serves it.
    pub(super) fn unreachable(&self, function: &FunctionRef) {
        if self.serves(function) {
            self.new.add(true, Duration::ZERO);
            self.bell.notify_one();
        } else {
            self.old.add(true, Duration::ZERO);
        }
    }

    /// What keeps the judgement from meaning much.
    fn finding(&self) -> Option<String> {
        let (calls, wanted) = (self.new.read().calls, self.config.calls);
        (calls < u64::from(wanted)).then(|| {
            format!(
                "generation {} had {calls} calls as a canary, and a judgement needs {wanted} (`canary.calls`): it took over without one",
                self.published.number
            )
        })
    }

    fn is_worse(&self) -> Option<String> {
        if self.published.plugin.quarantine.is_active() {
            return Some("it kept failing and was stopped".into());
        }
        worse(self.new.read(), self.old.read(), self.config)
    }
}

impl PluginProvider {
    /// Gives a share of the functions to `next`; [`judge_canary`](Self::judge_canary) decides on the
    /// others. A canary that is there already is taken back. Without an active generation, or with a share
    /// of 0, `next` is published at once.
    pub fn publish_canary(&self, next: Candidate, config: CanaryConfig) -> Generation {
        if config.share == 0 || self.active.load().is_none() {
            return self.publish(next);
        }
        let Candidate { plugin, generations } = next;
        let published = Arc::new(Published::new(plugin, generations));
        published.plugin.open();
        let number = published.number;
        let provider = &self.name;
        tracing::info!(%provider, generation = number.0, share = config.share, time = ?config.time, "canary begins");
        let _writer = self.previous.lock().unwrap_or_else(PoisonError::into_inner);
        self.end_canary(None);
        self.canary.store(Some(Arc::new(Canary {
            published,
            config,
            ends: Instant::now() + config.time,
            is_accepted: AtomicBool::new(false),
            new: Tally::default(),
            old: Tally::default(),
            bell: Notify::new(),
        })));
        number
    }

    /// Waits until the canary is worse than the old generation, and takes it back; or until its time is
    /// over. `None` if there is no canary. Meanwhile both generations are asked how many instances the functions
    /// have that are `known`.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the canary as it is; it can be judged again.
    pub async fn judge_canary(&self, known: &[FunctionRef]) -> Option<CanaryVerdict> {
        let canary = self.canary.load_full()?;
        tokio::select! {
            verdict = self.verdict(&canary) => Some(verdict),
            () = self.question(&canary, known) => None,
        }
    }

    /// Asks for ever, twice as often as a judgement needs.
    async fn question(&self, canary: &Canary, known: &[FunctionRef]) {
        let (new, old): (Vec<&FunctionRef>, Vec<&FunctionRef>) =
            known.iter().partition(|function| canary.serves(function));
        let pause = (canary.config.time / canary.config.calls.max(1) / 2).max(QUESTION_PAUSE_MIN);
        let mut interval = tokio::time::interval(pause);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ticks = stream::unfold((interval, 0_usize), |(mut interval, number)| async move {
            interval.tick().await;
            Some((number, (interval, number.wrapping_add(1))))
        });
        let ask = |functions: &[&FunctionRef], number: usize| {
            let function = number.checked_rem(functions.len()).and_then(|place| functions.get(place).copied().cloned());
            async move {
                if let Some(function) = function {
                    // Its tally has the answer.
                    let _counted = self.get_replicas(&function).await;
                }
            }
        };
        ticks
            .for_each_concurrent(QUESTIONS_AT_ONCE, |number| {
                let (new, old) = (ask(&new, number), ask(&old, number));
                async move {
                    tokio::join!(new, old);
                }
            })
            .await;
    }

    async fn verdict(&self, canary: &Arc<Canary>) -> CanaryVerdict {
        let generation = canary.published.number;
        loop {
            let is_over = tokio::time::timeout_at(canary.ends, canary.bell.notified()).await.is_err();
            let _writer = self.previous.lock().unwrap_or_else(PoisonError::into_inner);
            let is_current = self.canary.load().as_ref().is_some_and(|current| Arc::ptr_eq(current, canary));
            if !is_current {
                return CanaryVerdict::Superseded(generation);
            }
            if let Some(reason) = canary.is_worse() {
                self.end_canary(Some(&reason));
                return CanaryVerdict::RolledBack { generation, reason };
            }
            if is_over {
                return CanaryVerdict::Passed { generation, finding: canary.finding() };
            }
        }
    }

    /// From now on only whoever made the canary decides about it: [`take_back_canary`](Self::take_back_canary)
    /// finds none. `false` if there is none any more.
    pub fn accept_canary(&self) -> bool {
        let _writer = self.previous.lock().unwrap_or_else(PoisonError::into_inner);
        let canary = self.canary.load();
        canary.as_ref().is_some_and(|canary| {
            canary.is_accepted.store(true, Ordering::Relaxed);
            true
        })
    }

    /// Makes the canary the active generation, for all functions. `None` if there is none any more.
    pub fn promote_canary(&self) -> Option<Generation> {
        let mut previous = self.previous.lock().unwrap_or_else(PoisonError::into_inner);
        let published = Arc::clone(&self.canary.load().as_ref()?.published);
        published.plugin.write_down();
        Some(self.install_with(&mut previous, published))
    }

    /// Takes the canary back, for somebody who asks for it: the active generation goes on, and its number is
    /// answered. `None` if there is no canary, or if it is being promoted: then nothing changed.
    pub fn take_back_canary(&self, reason: &str) -> Option<Generation> {
        let _writer = self.previous.lock().unwrap_or_else(PoisonError::into_inner);
        let is_accepted = self.canary.load().as_ref()?.is_accepted.load(Ordering::Relaxed);
        if is_accepted {
            return None;
        }
        self.end_canary(Some(reason));
        self.active.load().as_ref().map(|active| active.number)
    }

    /// Takes the canary back, for whoever made it, an accepted one too.
    pub fn drop_canary(&self, reason: &str) {
        let _writer = self.previous.lock().unwrap_or_else(PoisonError::into_inner);
        self.end_canary(Some(reason));
    }

    /// The generation that serves a share of the functions, and the percentage.
    #[must_use]
    pub fn canary(&self) -> Option<(Generation, u8)> {
        self.canary.load().as_ref().map(|canary| (canary.published.number, canary.config.share))
    }

    /// Takes the canary back, if there is one. The caller holds the writers' lock.
    pub(super) fn end_canary(&self, reason: Option<&str>) {
        let Some(canary) = self.canary.swap(None) else { return };
        canary.bell.notify_one();
        self.retire(&canary.published);
        let (provider, generation) = (&self.name, canary.published.number.0);
        match reason {
            Some(reason) => tracing::warn!(%provider, generation, reason, "canary rolled back"),
            None => tracing::info!(%provider, generation, "canary superseded"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Bench, figlet, limits};
    use super::*;
    use crate::query::Provider as _;
    use crate::trust::lock::{Keeper, Mode};

    fn function(number: u32) -> FunctionRef {
        FunctionRef { name: format!("f{number}").parse().unwrap(), ..figlet() }
    }

    fn config() -> CanaryConfig {
        CanaryConfig { share: 30, calls: 10, ..CanaryConfig::default() }
    }

    #[test]
    fn a_share_of_the_functions_is_about_that_share() {
        let chosen = (0..10_000).filter(|number| bucket(&function(*number)) < 30).count();
        assert!((2_700..3_300).contains(&chosen), "{chosen}");
    }

    #[test]
    fn worse_is_more_failures_or_more_time_and_nothing_is_judged_by_a_few_calls() {
        let counts =
            |calls, failed, millis: u64| Counts { calls, failed, nanos: (calls - failed) * millis * 1_000_000 };
        let judge = |new, old| worse(new, old, config()).map(|reason| reason.contains("failed"));
        assert_eq!(judge(counts(9, 9, 1), counts(100, 0, 1)), None, "too few calls");
        assert_eq!(judge(counts(100, 5, 1), counts(100, 0, 1)), None, "within the five points");
        assert_eq!(judge(counts(100, 6, 1), counts(100, 0, 1)), Some(true));
        assert_eq!(judge(counts(100, 60, 1), counts(100, 58, 1)), None, "the platform is down for both");
        assert_eq!(judge(counts(100, 0, 25), counts(100, 0, 10)), None, "within the slack");
        assert_eq!(judge(counts(100, 0, 50), counts(100, 0, 10)), Some(false));
        assert_eq!(judge(counts(100, 0, 190), counts(100, 0, 100)), None, "within the factor");
        assert_eq!(judge(counts(100, 0, 50), counts(2, 0, 10)), None, "nothing to compare with");
    }

    /// A provider whose active generation is `good`, with `fixture` as its canary.
    async fn with_canary(bench: &Bench, fixture: &str) -> PluginProvider {
        let provider = bench.provider("good", limits()).await;
        let next = bench.load(&bench.config(fixture, limits())).await.unwrap();
        assert_eq!(provider.publish_canary(next, config()).0, provider.generation().0 + 1);
        provider
    }

    #[tokio::test(start_paused = true)]
    async fn a_good_canary_serves_its_share_and_takes_over_when_its_time_is_over() {
        let bench = Bench::new();
        let provider = with_canary(&bench, "good").await;
        for number in 0..100 {
            let generation = provider.get_replicas(&function(number)).await.unwrap().generation;
            let expected = if bucket(&function(number)) < 30 { Generation(2) } else { Generation(1) };
            assert_eq!(generation, expected, "f{number}");
        }
        assert_eq!(provider.canary(), Some((Generation(2), 30)));
        let passed = CanaryVerdict::Passed { generation: Generation(2), finding: None };
        assert_eq!(provider.judge_canary(&[]).await, Some(passed));
        assert!(provider.accept_canary());
        // Whoever asks for a roll back now comes too late for the canary, and changes nothing.
        assert_eq!(provider.take_back_canary("it was asked for"), None);
        assert_eq!(provider.promote_canary(), Some(Generation(2)));
        assert_eq!(provider.take_back_canary("it was asked for"), None);
        assert_eq!(provider.get_replicas(&function(0)).await.unwrap().generation, Generation(2));
        assert_eq!(provider.canary(), None);
        // The old one is kept for a roll back.
        assert!(provider.roll_back().is_some());
    }

    #[tokio::test]
    async fn a_canary_that_fails_is_taken_back_by_itself() {
        for fixture in ["trap", "long-key"] {
            let bench = Bench::new();
            let provider = with_canary(&bench, fixture).await;
            let judged = provider.judge_canary(&[]);
            let load = async {
                for number in 0..100 {
                    let failed = provider.get_replicas(&function(number)).await.is_err();
                    assert!(!failed || bucket(&function(number)) < 30, "f{number} is not the canary's");
                    tokio::task::yield_now().await;
                }
            };
            let (verdict, ()) = tokio::join!(judged, load);
            assert!(
                matches!(verdict, Some(CanaryVerdict::RolledBack { generation: Generation(2), .. })),
                "{verdict:?}"
            );
            for number in 0..100 {
                let status = provider.get_replicas(&function(number)).await.unwrap();
                assert_eq!(status.generation, Generation(1), "{fixture}: f{number}");
            }
        }
    }

    #[tokio::test]
    async fn a_publish_takes_a_canary_back() {
        let bench = Bench::new();
        let provider = with_canary(&bench, "trap").await;
        let next = bench.load(&bench.config("good", limits())).await.unwrap();
        let (verdict, generation) = tokio::join!(provider.judge_canary(&[]), async { provider.publish(next) });
        assert_eq!((verdict, generation), (Some(CanaryVerdict::Superseded(Generation(2))), Generation(3)));
        provider.get_replicas(&function(1)).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_canary_that_nobody_calls_is_asked_about_what_is_known() {
        let bench = Bench::new();
        let known: Vec<FunctionRef> = (0..20).map(function).collect();
        let provider = with_canary(&bench, "long-key").await;
        let verdict = provider.judge_canary(&known).await;
        assert!(matches!(verdict, Some(CanaryVerdict::RolledBack { .. })), "{verdict:?}");

        let provider = with_canary(&bench, "good").await;
        let generation = provider.canary().unwrap().0;
        let verdict = provider.judge_canary(&known).await;
        assert_eq!(verdict, Some(CanaryVerdict::Passed { generation, finding: None }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_canary_that_no_call_is_needed_of_is_asked_all_the_same() {
        let bench = Bench::new();
        let provider = bench.provider("good", limits()).await;
        let next = bench.load(&bench.config("long-key", limits())).await.unwrap();
        provider.publish_canary(next, CanaryConfig { calls: 0, ..config() });
        let known: Vec<FunctionRef> = (0..20).map(function).collect();
        let verdict = provider.judge_canary(&known).await;
        assert!(matches!(verdict, Some(CanaryVerdict::RolledBack { .. })), "{verdict:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_canary_of_which_nothing_is_known_passes_and_that_is_said() {
        let bench = Bench::new();
        let provider = with_canary(&bench, "trap").await;
        let Some(CanaryVerdict::Passed { finding: Some(finding), .. }) = provider.judge_canary(&[]).await else {
            panic!("nothing was found against it, and nothing for it");
        };
        assert!(finding.contains("had 0 calls") && finding.contains("canary.calls"), "{finding}");
    }

    #[tokio::test(start_paused = true)]
    async fn endpoints_where_nothing_answers_count_against_whoever_named_them() {
        let bench = Bench::new();
        let provider = with_canary(&bench, "good").await;
        let ours = |is_canary: bool| (0..).map(function).find(|function| (bucket(function) < 30) == is_canary).unwrap();
        for _ in 0..5 {
            provider.unreachable(&ours(false));
            provider.unreachable(&ours(true));
        }
        assert_eq!(provider.canary.load().as_ref().unwrap().is_worse(), None, "too few");
        for _ in 0..20 {
            provider.unreachable(&ours(true));
            provider.get_replicas(&ours(false)).await.unwrap();
        }
        let verdict = provider.judge_canary(&[]).await;
        let Some(CanaryVerdict::RolledBack { reason, .. }) = verdict else { panic!("{verdict:?}") };
        assert!(reason.contains("25 of its 25 calls failed"), "{reason}");
    }

    #[tokio::test]
    async fn a_canary_that_is_taken_back_is_not_promoted() {
        let bench = Bench::new();
        let provider = with_canary(&bench, "good").await;
        assert_eq!(provider.take_back_canary("it was asked for"), Some(Generation(1)));
        assert!(!provider.accept_canary());
        assert_eq!(provider.promote_canary(), None);
        assert_eq!(provider.generation(), Generation(1));
        // One that was accepted is still its maker's to take back.
        let next = bench.load(&bench.config("good", limits())).await.unwrap();
        assert_eq!(provider.publish_canary(next, config()), Generation(3));
        assert!(provider.accept_canary());
        provider.drop_canary("another one failed");
        assert_eq!((provider.canary(), provider.promote_canary()), (None, None));
    }

    #[tokio::test]
    async fn a_promotion_is_written_into_the_lock_and_a_canary_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wicketgate.lock");
        let keeper = Arc::new(Keeper::new(path.clone(), Mode::Enforce));
        let bench = Bench::new().with_lock(keeper);
        let provider = bench.provider("good", limits()).await;
        let next = bench.load(&bench.config("five", limits())).await.unwrap();
        let digest = next.digest().to_string();
        let is_written = || std::fs::read_to_string(&path).is_ok_and(|text| text.contains(&digest));
        provider.publish_canary(next, config());
        assert!(provider.accept_canary() && !is_written());
        provider.promote_canary().unwrap();
        // It is written behind the promotion.
        tokio::time::timeout(Duration::from_secs(10), async {
            while !is_written() {
                tokio::task::yield_now().await;
                std::thread::yield_now();
            }
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn without_an_old_generation_there_is_no_canary() {
        let bench = Bench::new();
        let config = bench.config("good", limits());
        let provider = PluginProvider::new(&config);
        provider.publish_canary(bench.load(&config).await.unwrap(), self::config());
        assert_eq!(provider.judge_canary(&[]).await, None);
        provider.get_replicas(&figlet()).await.unwrap();
    }
}
