//! The cold start of one function: one task, whatever the number of callers.
//!
//! ```text
//!          +------------------------------- wait: watch, or next poll ------------------------+
//!          v                                                                                   |
//!   how many instances? --none wanted--> ask for max(min, 1) ------------------------------> |
//!          |    \--none ready----------------------------------------------------------------> |
//!          | some ready                                                                        |
//!          v                                                                                   |
//!   where are they? --nowhere yet------------------------------------------------------------> |
//!          |                                                                                   |
//!          v                                                                                   |
//!   does one accept a connection? (only if there was none before) --no---------------------> -+
//!          |
//!          v
//!        ready
//! ```
//!
//! It lives on when its callers leave, up to `scale-timeout`: the instance that was asked for comes
//! anyway, and the next caller finds it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::endpoints::EndpointSet;
use super::error::{RETRY_AFTER_DEFAULT, ScaleError};
use super::polls::{Failures, Polls, Wish};
use super::probe;
use super::shared::{Shared, ask};
use super::snapshot::{Snapshot, Ticket, Tracked};
use crate::name::Generation;
use crate::query::{Cause, ErrorKind, QueryError, ServiceStatus};

/// How long an instance that does not accept connections is tried before the platform is asked
/// again whether it is still there.
pub(super) const PROBE_SPELL: Duration = Duration::from_millis(250);

/// The longest time that a failing platform's own `retry-after` keeps the next cold start away.
const BACKOFF_ASKED_MAX: Duration = Duration::from_secs(300);

/// Where the function's instances are.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) endpoints: Arc<EndpointSet>,
    pub(super) generation: Generation,
}

/// A cold start as its callers see it: `None` while it goes on.
pub(super) type Joined = watch::Receiver<Option<Result<Found, ScaleError>>>;

/// One cold start.
pub(super) struct Episode {
    shared: Arc<Shared>,
    tracked: Arc<Tracked>,
    /// Taken before the last question: whether its answer still counts.
    ticket: Ticket,
    /// Whether an instance that just started must show that it accepts connections.
    is_cold: bool,
    polls: Polls,
    /// Questions how many instances there are that failed in a row.
    asking: Failures,
    /// Wishes and questions where the instances are that failed in a row.
    acting: Failures,
    wish: Wish,
    /// What went wrong last; told to those whose time runs out.
    last: Option<ScaleError>,
    /// Whether the snapshot may answer the next question in the platform's place.
    trusts_watch: bool,
    /// When it began, or began again on another platform.
    began: Instant,
    /// Which beginning of the function's this is.
    beginning: u64,
}

/// What a step of a cold start leads to.
enum Step {
    Ready(Found),
    /// Ask again when something changed, or at this time.
    Wait(Instant),
    Failed(ScaleError),
}

impl Episode {
    pub(super) fn new(shared: Arc<Shared>, tracked: Arc<Tracked>) -> Self {
        let config = &shared.config;
        Self {
            ticket: tracked.ticket(),
            is_cold: tracked.take_suspect(),
            polls: Polls::new(config),
            asking: Failures::new(config),
            acting: Failures::new(config),
            wish: Wish::default(),
            last: None,
            trusts_watch: true,
            began: Instant::now(),
            beginning: tracked.beginnings(),
            shared,
            tracked,
        }
    }

    /// Runs to the end, leaves the outcome where later callers find it, and tells those who wait.
    pub(super) async fn run(mut self, outcome: watch::Sender<Option<Result<Found, ScaleError>>>) {
        let config = &Arc::clone(&self.shared).config;
        let began = Instant::now();
        let result = loop {
            match timeout_at(self.began + config.scale_timeout, self.search()).await {
                Ok(result) => break result,
                // It began again in the meantime, and has its whole time on the new platform.
                Err(_elapsed) if Instant::now() < self.began + config.scale_timeout => {}
                Err(_elapsed) => {
                    break Err(ScaleError::Timeout {
                        function: self.tracked.function.clone(),
                        limit: config.scale_timeout,
                        retry_after: config.scale_backoff.max(RETRY_AFTER_DEFAULT),
                        source: self.last.take().map(Arc::new),
                    });
                }
            }
        };
        let label = result.as_ref().err().map_or("ready", ScaleError::label);
        self.shared.meters.cold_starts.with_label_values(&[label]).inc();
        let function = &self.tracked.function;
        match &result {
            // Its callers log it where they answer it.
            Err(error) => {
                tracing::debug!(%function, %error, "cold start failed");
                self.remember(error);
            }
            Ok(_) if self.is_cold => tracing::info!(%function, took = ?began.elapsed(), "ready"),
            Ok(_) => {}
        }
        let mut control = self.tracked.control();
        control.episode = None;
        drop(control);
        outcome.send_replace(Some(result));
    }

    /// Keeps the cause for `scale-backoff`: at the function if it exists, else beside the unknown
    /// names, so that names nobody has do not fill the table.
    fn remember(&self, error: &ScaleError) {
        if matches!(error, ScaleError::NotFound { .. }) {
            return;
        }
        // A platform that asks for more time than that gets it, within reason.
        let asked_for = error.query_error().and_then(|error| error.retry_after).unwrap_or_default();
        let until = Instant::now() + self.shared.config.scale_backoff.max(asked_for.min(BACKOFF_ASKED_MAX));
        let is_unseen = self.tracked.control().lookup.is_some();
        if is_unseen {
            self.shared.negative.insert(self.tracked.function.clone(), until, error.clone());
            self.shared.drop_tracked(&self.tracked);
        } else {
            self.tracked.control().failed = Some((until, error.clone()));
        }
    }

    async fn search(&mut self) -> Result<Found, ScaleError> {
        loop {
            self.begin_again_if_moved();
            if let Some(gone) = self.tracked.gone() {
                return Err(gone);
            }
            match self.step().await {
                Step::Ready(found) => return Ok(found),
                // What a platform said that no longer answers for the function fails nobody.
                Step::Failed(_) if self.tracked.beginnings() != self.beginning => {}
                Step::Failed(error) => return Err(error),
                Step::Wait(until) => {
                    tokio::select! {
                        () = sleep_until(until) => self.trusts_watch = false,
                        () = self.tracked.changed.notified() => self.trusts_watch = true,
                    }
                }
            }
        }
    }

    /// Another platform answers for the function now: everything that this cold start knows is worthless.
    fn begin_again_if_moved(&mut self) {
        let beginning = self.tracked.beginnings();
        if beginning == self.beginning {
            return;
        }
        let config = &self.shared.config;
        tracing::info!(function = %self.tracked.function, "the cold start begins again on another platform");
        self.beginning = beginning;
        self.began = Instant::now();
        self.polls = Polls::new(config);
        self.asking = Failures::new(config);
        self.acting = Failures::new(config);
        self.wish = Wish::default();
        self.last = None;
    }

    async fn step(&mut self) -> Step {
        let asked = Instant::now();
        self.ticket = self.tracked.ticket();
        let status = match self.status(asked).await {
            Ok(Some(status)) => status,
            // Something changed while the platform answered: ask again, after a breath.
            Ok(None) => return Step::Wait(self.polls.next(asked)),
            Err(source) => return self.failed(source, |episode| &mut episode.asking),
        };
        self.asking.none();
        if status.available_replicas > 0 {
            return self.connect(&status, asked).await;
        }
        self.is_cold = true;
        if status.replicas > 0 || !self.wish.is_due(asked) {
            return Step::Wait(self.next_question(asked));
        }
        if !self.shared.config.scale_from_zero {
            return Step::Failed(ScaleError::Disabled { function: self.tracked.function.clone() });
        }
        self.ask_for_one(asked, &status).await
    }

    /// How many instances there are: what the watch said, or what the platform answers. `None` if the
    /// answer is overtaken by events.
    async fn status(&self, asked: Instant) -> Result<Option<Arc<ServiceStatus>>, QueryError> {
        let config = &self.shared.config;
        let is_recent = |snapshot: &Snapshot| {
            snapshot.watched || snapshot.failures == 0 && asked < snapshot.asked + config.cache_ttl
        };
        if self.trusts_watch
            && let Some(snapshot) = self.tracked.snapshot().as_ref().filter(|snapshot| is_recent(snapshot))
        {
            return Ok(Some(Arc::clone(&snapshot.status)));
        }
        let home = &Arc::clone(&self.tracked.home());
        let status = ask(home, home.entry.provider.get_replicas(&self.tracked.function)).await?;
        let kept = Arc::new(status.clone());
        Ok(self.tracked.publish(self.ticket, status, None, asked, config).then_some(kept))
    }

    async fn ask_for_one(&mut self, asked: Instant, status: &ServiceStatus) -> Step {
        let home = Arc::clone(&self.tracked.home());
        self.ticket = self.tracked.ticket();
        let count = super::labels::ScaleSettings::of(status).0.wake();
        let function = &self.tracked.function;
        let answer = ask(&home, home.entry.provider.ensure(function, count, status.version.as_deref())).await;
        let outcome = if answer.is_ok() { "taken" } else { "failed" };
        self.shared.meters.scale_requests.with_label_values(&[outcome]).inc();
        match answer {
            Ok(now) => {
                tracing::debug!(%function, count, "asked for an instance");
                self.wish.taken(Instant::now());
                self.acting.none();
                if let Some(status) = now {
                    // Overtaken by a watch's event: that one wakes the wait below at once.
                    self.tracked.publish(self.ticket, status.clone(), None, asked, &self.shared.config);
                    if status.available_replicas > 0 {
                        return self.connect(&status, asked).await;
                    }
                }
                Step::Wait(self.next_question(Instant::now()))
            }
            // Another writer was faster, which is all we wanted: look at what they left.
            Err(error) if error.cause == Cause::Platform(ErrorKind::Conflict) => {
                self.last = Some(self.provider_failed(error));
                Step::Wait(self.polls.next(asked))
            }
            Err(error) => self.failed(error, |episode| &mut episode.acting),
        }
    }

    /// Finds the instances of a function that has some, and publishes them.
    async fn connect(&mut self, status: &ServiceStatus, asked: Instant) -> Step {
        self.ticket = self.tracked.ticket();
        let previous = self.tracked.snapshot().as_ref().and_then(|snapshot| snapshot.endpoints.clone());
        let mut set = match self.shared.locate(&self.tracked, previous.as_deref()).await {
            Ok(set) => set,
            // An instance that the platform counts and cannot find is on its way.
            Err(ScaleError::ProviderFailed { source, .. }) if source.is_not_found() => EndpointSet::none(asked),
            Err(ScaleError::ProviderFailed { source, .. }) => {
                return self.failed(Arc::unwrap_or_clone(source), |episode| &mut episode.acting);
            }
            Err(error) => return Step::Failed(error),
        };
        self.acting.none();
        if set.is_of_another(status.generation) {
            // Another generation took over between the two answers: ask it both.
            return Step::Wait(self.polls.next(asked));
        }
        if set.endpoints().is_empty() {
            self.not_accepting("the provider names no endpoint".into());
            return Step::Wait(self.next_question(asked));
        }
        if self.is_cold {
            match self.probed(&set).await {
                Some(accepting) => set = accepting,
                None => return Step::Wait(Instant::now()),
            }
        }
        let found = Found { endpoints: Arc::new(set), generation: status.generation };
        let endpoints = Some(Arc::clone(&found.endpoints));
        if self.tracked.publish(self.ticket, status.clone(), endpoints, asked, &self.shared.config) {
            Step::Ready(found)
        } else {
            // Refused, written to or told otherwise by the watch since: ask again, after a breath.
            Step::Wait(self.polls.next(asked))
        }
    }

    /// Tries to connect for a spell. `None` if nobody accepts.
    async fn probed(&mut self, set: &EndpointSet) -> Option<EndpointSet> {
        let until = (Instant::now() + PROBE_SPELL).min(set.expires());
        loop {
            let tried = Instant::now();
            match probe::accepting(&*self.shared.probe, set).await {
                Ok(accepting) => return Some(accepting),
                Err(reason) => self.not_accepting(reason),
            }
            let next = self.polls.next(tried).max(Instant::now());
            sleep_until(next.min(until)).await;
            if Instant::now() >= until {
                return None;
            }
        }
    }

    /// When to ask next, if no watch says anything before.
    fn next_question(&mut self, asked: Instant) -> Instant {
        if self.tracked.home().is_watching(&self.tracked.function.namespace) {
            asked + self.shared.config.poll_interval_watched
        } else {
            self.polls.next(asked)
        }
    }

    fn not_accepting(&mut self, reason: Arc<str>) {
        self.last = Some(ScaleError::NotAccepting { function: self.tracked.function.clone(), reason });
    }

    fn provider_failed(&self, source: QueryError) -> ScaleError {
        let provider = &Arc::clone(&self.tracked.home()).entry.provider;
        let source = source.of(provider.name(), provider.generation()).about(&self.tracked.function);
        ScaleError::ProviderFailed { function: self.tracked.function.clone(), source: Arc::new(source) }
    }

    /// What to do after the provider failed, counted by `counter`.
    fn failed(&mut self, source: QueryError, counter: fn(&mut Self) -> &mut Failures) -> Step {
        if source.is_not_found() {
            if self.tracked.ticket() != self.ticket {
                // Deployed or seen by the watch since it was asked: that is no word on it now.
                return Step::Wait(self.polls.next(Instant::now()));
            }
            let provider = &Arc::clone(&self.tracked.home()).entry.provider;
            let source = source.of(provider.name(), provider.generation()).about(&self.tracked.function);
            return Step::Failed(self.shared.forget(&self.tracked, Arc::new(source)));
        }
        let again = source.is_retryable().then(|| counter(self).another(&source)).flatten();
        let error = self.provider_failed(source);
        if let Some(found) = self.kept() {
            return Step::Ready(found);
        }
        self.last = Some(error.clone());
        match again {
            Some(wait) => Step::Wait(Instant::now() + wait),
            None => Step::Failed(error),
        }
    }

    /// The endpoints that were known before the provider failed (`stale-if-error`).
    fn kept(&self) -> Option<Found> {
        if self.is_cold {
            return None;
        }
        let config = &self.shared.config;
        self.tracked.failed_refresh(self.tracked.ticket(), config);
        let snapshot = self.tracked.snapshot();
        let snapshot = snapshot.as_ref()?;
        let endpoints = Arc::clone(snapshot.usable(Instant::now(), config)?);
        Some(Found { endpoints, generation: snapshot.status.generation })
    }
}
