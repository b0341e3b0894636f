//! Keeps the answers for functions in use fresh, behind the requests: one task for each provider.
//!
//! A request that meets an answer older than `cache-ttl` queues its function here and goes on. The
//! task asks at most `refreshes-per-second` questions; when more functions are due than that lets
//! pass (`list-above`), one list answers for all. A function that nobody asks for is never queued, but by a
//! watch's event within the time of its endpoints: a request in that time must not find those that are gone.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::endpoints::{EndpointRef, EndpointSet};
use super::episode::PROBE_SPELL;
use super::error::ScaleError;
use super::home::{Home, Turn};
use super::probe;
use super::shared::{Shared, ask};
use super::snapshot::{Snapshot, Ticket, Tracked};
use crate::name::{FunctionRef, Namespace};
use crate::query::functions::FunctionStatus;
use crate::query::{Interface, QueryError, ServiceStatus};

/// Questions under way at once, so that a slow platform is not asked by hundreds.
const AT_ONCE: usize = 8;

/// How many questions may be asked in a row after a pause. Short of `list-above` for a platform
/// with a handful of functions, it makes no request wait.
const BURST: u32 = 10;

/// How long the first function that is due waits for others, so that they share a list.
const GATHER: Duration = Duration::from_millis(2);

/// Functions in a page of a list, and pages read of one list.
const PAGE: u32 = 500;
const PAGES: usize = 40;

/// Runs until it is dropped.
pub(super) async fn run(shared: Arc<Shared>, home: Arc<Home>, mut queue: mpsc::Receiver<Turn>) {
    let mut pace = Pace::new(shared.config.refreshes_per_second);
    let mut due: VecDeque<Turn> = VecDeque::new();
    let mut asking: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
    let mut gathered_at = Instant::now();
    loop {
        let may_ask = !due.is_empty() && asking.len() < AT_ONCE;
        let turn = pace.next().max(gathered_at);
        tokio::select! {
            Some(()) = asking.next(), if !asking.is_empty() => {}
            received = queue.recv() => {
                let Some(first) = received else { return };
                if due.is_empty() {
                    gathered_at = Instant::now() + GATHER;
                }
                due.push_back(first);
            }
            () = sleep_until(turn), if may_ask => {
                pace.take();
                if let Some(batch) = take_batch(&mut due, &home, shared.config.list_above) {
                    asking.push(isolated(list(&shared, &home, batch)));
                } else if let Some(turn) = due.pop_front() {
                    asking.push(isolated(one(&shared, turn)));
                }
            }
        }
    }
}

/// A panic in a provider ends its question, not all others.
fn isolated<'a>(question: impl Future<Output = ()> + Send + 'a) -> BoxFuture<'a, ()> {
    Box::pin(AssertUnwindSafe(question).catch_unwind().map(|ended| {
        if ended.is_err() {
            tracing::error!("a refresh panicked");
        }
    }))
}

/// Takes the functions that a list can answer for, of the namespace whose turn it is, if there are
/// more than `list_above`.
fn take_batch(due: &mut VecDeque<Turn>, home: &Home, list_above: usize) -> Option<Vec<Turn>> {
    if due.len() <= list_above || !home.entry.provider.has(Interface::Functions) {
        return None;
    }
    let front = due.front()?.function.namespace.clone();
    let fits = |turn: &Turn| turn.function.namespace == front && is_answered_by_a_list(turn);
    if due.iter().filter(|turn| fits(turn)).count() <= list_above {
        return None;
    }
    let (taken, rest) = due.drain(..).partition(fits);
    *due = rest;
    Some(Vec::from(taken))
}

/// A list says how many instances there are, not where.
fn is_answered_by_a_list(tracked: &Tracked) -> bool {
    let now = Instant::now();
    tracked
        .snapshot()
        .as_ref()
        .is_some_and(|known| !known.watched && known.endpoints.as_ref().is_some_and(|set| now < set.renew()))
}

/// Asks about one function.
async fn one(shared: &Shared, turn: Turn) {
    let tracked: &Arc<Tracked> = &turn;
    let ticket = tracked.ticket();
    let known = tracked.snapshot().as_ref().map(Arc::clone);
    // Dropped meanwhile: the next request takes the cold path.
    let Some(known) = known else { return };
    let (reason, outcome) = renew(shared, tracked, ticket, &known).await;
    shared.meters.refreshes.with_label_values(&[reason, outcome]).inc();
}

/// Asks how many instances there are, unless that is known, and where, if that is due.
async fn renew(
    shared: &Shared,
    tracked: &Arc<Tracked>,
    ticket: Ticket,
    known: &Snapshot,
) -> (&'static str, &'static str) {
    let now = Instant::now();
    let is_fresh = known.failures == 0 && now < known.asked + shared.config.cache_ttl;
    let (status, asked, reason) = if known.watched || is_fresh {
        (ServiceStatus::clone(&known.status), known.asked, "endpoints")
    } else {
        let reason = if known.failures > 0 { "failing" } else { "stale" };
        let home = tracked.home();
        let home = Arc::clone(&home);
        match ask(&home, home.entry.provider.get_replicas(&tracked.function)).await {
            Ok(status) => (status, now, reason),
            Err(source) => return (reason, failed(shared, tracked, ticket, source)),
        }
    };
    shared.meters.snapshot_age.observe((now - known.asked).as_secs_f64());
    let is_due = reason == "endpoints"
        || is_changed(known, &status)
        || known.endpoints.as_ref().is_none_or(|set| now >= set.renew());
    let mut endpoints = None;
    if status.available_replicas > 0 && is_due {
        match shared.locate(tracked, known.endpoints.as_deref()).await {
            // Another generation took over between the two answers.
            Ok(set) if set.is_of_another(status.generation) => return (reason, "overtaken"),
            Ok(set) => endpoints = Some(Arc::new(proven(shared, tracked, known.endpoints.as_deref(), set).await)),
            // The known ones are used to the end of their time, and the next refresh tries again.
            Err(ScaleError::ProviderFailed { source, .. }) if !source.is_not_found() => {
                return (reason, failed(shared, tracked, ticket, Arc::unwrap_or_clone(source)));
            }
            Err(error) => {
                tracing::debug!(function = %tracked.function, %error, "endpoints not renewed");
                endpoints = Some(Arc::new(EndpointSet::none(now)));
            }
        }
    }
    let is_published = tracked.publish(ticket, status, endpoints, asked, &shared.config);
    (reason, if is_published { "answered" } else { "overtaken" })
}

/// Of the endpoints that were not `known` before only those that accept a connection: an instance that just started
/// may not, and nobody's request has to find that out. If none is left the next request joins a cold start, which
/// waits for one.
async fn proven(shared: &Shared, tracked: &Tracked, known: Option<&EndpointSet>, set: EndpointSet) -> EndpointSet {
    let is_in = |set: &EndpointSet, endpoint: &EndpointRef| set.endpoints().iter().any(|one| one.is_same(endpoint));
    let is_known = |endpoint: &EndpointRef| known.is_some_and(|known| is_in(known, endpoint));
    let now = Instant::now();
    let new = set.keeping(|endpoint| !is_known(endpoint), now);
    if new.endpoints().is_empty() {
        return set;
    }
    let spell = PROBE_SPELL + shared.config.probe_linger;
    let accepting = timeout(spell, probe::accepting(&*shared.probe, &new)).await;
    let accepting = accepting.ok().and_then(Result::ok).unwrap_or_else(|| EndpointSet::none(now));
    let is_all = accepting.endpoints().len() == new.endpoints().len();
    let renew = if is_all { set.renew() } else { Instant::now() };
    let kept = set.keeping(|endpoint| is_known(endpoint) || is_in(&accepting, endpoint), renew);
    if kept.endpoints().is_empty() {
        tracked.suspect();
    }
    kept
}

/// Whether the instances may be others than before.
fn is_changed(known: &Snapshot, status: &ServiceStatus) -> bool {
    let before = &known.status;
    before.available_replicas != status.available_replicas
        || before.replicas != status.replicas
        || before.generation != status.generation
        // A list says no version.
        || before.version.is_some() && status.version.is_some() && before.version != status.version
}

fn failed(shared: &Shared, tracked: &Arc<Tracked>, ticket: Ticket, source: QueryError) -> &'static str {
    if tracked.ticket() != ticket {
        return "overtaken";
    }
    if source.is_not_found() {
        shared.forget(tracked, Arc::new(source));
        return "not-found";
    }
    tracing::debug!(function = %tracked.function, error = %source, "refresh failed");
    tracked.failed_refresh(ticket, &shared.config);
    "failed"
}

/// Asks about all known functions of a namespace at once. Those that are due and that the list does
/// not answer for are asked for one by one.
async fn list(shared: &Shared, home: &Home, due: Vec<Turn>) {
    let Some(namespace) = due.first().map(|turn| turn.function.namespace.clone()) else { return };
    // The answer is good for those too that are not yet due: they need no question of their own then.
    let mut known: HashMap<FunctionRef, (Ticket, Arc<Tracked>)> = shared
        .table
        .filter(|tracked| tracked.function.namespace == namespace && is_answered_by_a_list(tracked))
        .into_iter()
        .map(|tracked| (tracked.function.clone(), (tracked.ticket(), tracked)))
        .collect();
    let answer = pages(shared, home, &namespace, &mut known).await;
    let outcome = if answer.is_ok() { "answered" } else { "failed" };
    shared.meters.refreshes.with_label_values(&["list", outcome]).inc();
    if let Err(error) = &answer {
        tracing::debug!(%namespace, %error, "list failed");
    }
    for turn in due {
        let Some((ticket, _)) = known.get(&turn.function) else { continue };
        if answer.is_err() {
            turn.failed_refresh(*ticket, &shared.config);
        } else {
            // Maybe deleted, maybe beyond the pages that are read: the platform's own word decides.
            one(shared, turn).await;
        }
    }
}

/// Reads the pages of a list and takes out of `known` what they answer for.
async fn pages(
    shared: &Shared,
    home: &Home,
    namespace: &Namespace,
    known: &mut HashMap<FunctionRef, (Ticket, Arc<Tracked>)>,
) -> Result<(), QueryError> {
    let asked = Instant::now();
    let mut cursor: Option<String> = None;
    for _ in 0..PAGES {
        let page = ask(home, home.entry.provider.list(namespace, cursor.as_deref(), PAGE)).await?;
        for listed in page.functions {
            let Ok(name) = listed.deployment.service.parse() else { continue };
            let function = FunctionRef { name, namespace: namespace.clone() };
            let Some((ticket, tracked)) = known.remove(&function) else { continue };
            let Some(before) = tracked.snapshot().as_ref().map(Arc::clone) else { continue };
            let status = status_of(listed, &before.status, home);
            shared.meters.snapshot_age.observe(asked.duration_since(before.asked).as_secs_f64());
            let changed = is_changed(&before, &status);
            let endpoints =
                before.endpoints.as_ref().filter(|_| changed).map(|set| Arc::new(set.keeping(|_| true, asked)));
            tracked.publish(ticket, status, endpoints, asked, &shared.config);
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    Ok(())
}

/// A listed function as an answer to `get-replicas`. Lists do not say the platform's own numbers:
/// those are as they were.
fn status_of(listed: FunctionStatus, known: &ServiceStatus, home: &Home) -> ServiceStatus {
    ServiceStatus {
        replicas: listed.replicas,
        available_replicas: listed.available_replicas,
        min_replicas: known.min_replicas,
        max_replicas: known.max_replicas,
        scaling_factor: known.scaling_factor,
        labels: listed.deployment.labels.unwrap_or_default(),
        annotations: listed.deployment.annotations.unwrap_or_default(),
        // A version that a list does not say must not stand in the way of the next wish.
        version: None,
        generation: home.entry.provider.generation(),
    }
}

/// So many a second, and a few at once after a pause.
struct Pace {
    interval: Duration,
    /// When the next question would be due at a steady pace; may lie behind by the burst.
    ideal: Instant,
}

impl Pace {
    fn new(per_second: u32) -> Self {
        Self { interval: Duration::from_secs(1) / per_second.max(1), ideal: Instant::now() }
    }

    /// When the next question may be asked.
    fn next(&self) -> Instant {
        self.ideal.checked_sub(self.interval * (BURST - 1)).unwrap_or(self.ideal)
    }

    fn take(&mut self) {
        self.ideal = self.ideal.max(Instant::now()) + self.interval;
    }
}
