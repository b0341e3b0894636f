//! What is known of one function: an immutable snapshot that requests read without a lock, and the
//! little state that writers share.
//!
//! Every question to the platform begins with a [`Ticket`]. Whoever learns something that makes
//! answers under way worthless (an admin's write, a refused connect, a watch's event) spends all
//! tickets, so that an old answer never replaces newer knowledge.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;

use super::Config;
use super::endpoints::{EndpointRef, EndpointSet, below};
use super::episode::Joined;
use super::error::ScaleError;
use super::home::Home;
use super::labels::ScaleSettings;
use crate::name::FunctionRef;
use crate::query::ServiceStatus;

/// How far the wait between two refreshes grows while the provider fails.
const FAILING_REFRESH_MAX: Duration = Duration::from_secs(5);

/// How many different bad labels of a function are logged.
const BAD_LABELS_LOGGED: usize = 8;

/// What the platform said of a function, and until when that may be used.
#[derive(Clone)]
pub(super) struct Snapshot {
    /// The answer, without annotations.
    pub(super) status: Arc<ServiceStatus>,
    /// When the question was asked.
    pub(super) asked: Instant,
    /// Whether a healthy watch would have told of a change.
    pub(super) watched: bool,
    /// How many refreshes in a row failed since.
    pub(super) failures: u32,
    /// When the next refresh is due, if a request comes by.
    pub(super) refresh_at: Instant,
    /// Where the instances are, if that was asked.
    pub(super) endpoints: Option<Arc<EndpointSet>>,
}

impl Snapshot {
    /// The endpoints, if a request may be sent to them now.
    pub(super) fn usable(&self, now: Instant, config: &Config) -> Option<&Arc<EndpointSet>> {
        let endpoints = self.endpoints.as_ref()?;
        if self.status.available_replicas == 0 || endpoints.endpoints().is_empty() || now >= endpoints.expires() {
            return None;
        }
        let bound = if self.failures > 0 { config.stale_if_error } else { config.stale_ttl };
        (self.watched || now < self.asked + bound).then_some(endpoints)
    }
}

/// The right to publish what was asked after it was taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// One function.
pub(super) struct Tracked {
    /// Which.
    pub(super) function: FunctionRef,
    /// Its provider; another one when the directory changed.
    home: ArcSwap<Home>,
    snapshot: ArcSwapOption<Snapshot>,
    control: Mutex<Control>,
    /// Wakes the cold start when something changed; it is the only one who waits.
    pub(super) changed: Notify,
    /// Whether a refresh is queued or under way.
    pub(super) queued: AtomicBool,
    /// How many requests wait for its cold start.
    pub(super) waiting: AtomicUsize,
    used: AtomicU64,
}

/// What writers share, under the lock.
#[derive(Default)]
pub(super) struct Control {
    tickets: u64,
    /// Grows when another platform answers for the function: its cold start begins again.
    beginnings: u64,
    /// Set when nobody serves it any more.
    gone: Option<ScaleError>,
    /// The cold start under way.
    pub(super) episode: Option<Joined>,
    /// How the last one failed, and until when callers are told so.
    pub(super) failed: Option<(Instant, ScaleError)>,
    /// Whether an endpoint refused a connection since the last cold start, or may, since it just started.
    suspect: bool,
    /// Held while the platform has not yet said that the function exists.
    pub(super) lookup: Option<OwnedSemaphorePermit>,
    bad_labels: HashSet<u64>,
}

impl Tracked {
    /// A function that was never seen; `lookup` is the right to ask for it.
    pub(super) fn new(function: FunctionRef, home: Arc<Home>, lookup: OwnedSemaphorePermit) -> Self {
        Self {
            function,
            home: ArcSwap::new(home),
            snapshot: ArcSwapOption::empty(),
            control: Mutex::new(Control { lookup: Some(lookup), ..Control::default() }),
            changed: Notify::new(),
            queued: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            used: AtomicU64::new(0),
        }
    }

    /// Its provider's home, now.
    pub(super) fn home(&self) -> Guard<Arc<Home>> {
        self.home.load()
    }

    /// How often its cold start had to begin again.
    pub(super) fn beginnings(&self) -> u64 {
        self.control().beginnings
    }

    /// Why nobody serves it any more.
    pub(super) fn gone(&self) -> Option<ScaleError> {
        self.control().gone.clone()
    }

    /// The snapshot; valid also when it is replaced meanwhile.
    pub(super) fn snapshot(&self) -> Guard<Option<Arc<Snapshot>>> {
        self.snapshot.load()
    }

    pub(super) fn control(&self) -> MutexGuard<'_, Control> {
        // A panic elsewhere leaves nothing half-written that is worse than an old snapshot.
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a use, in `seconds` since the scaler began. Written only when it changes, so that cores
    /// do not fight over the line.
    pub(super) fn touch(&self, seconds: u64) {
        if self.used.load(Ordering::Relaxed) != seconds {
            self.used.store(seconds, Ordering::Relaxed);
        }
    }

    /// When it was last used, in seconds since the scaler began.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn ticket(&self) -> Ticket {
        Ticket(self.control().tickets)
    }

    /// Publishes an answer. `endpoints: None` keeps the known ones while the function has instances.
    /// `false` if something happened since the ticket was taken: ask again.
    pub(super) fn publish(
        &self,
        ticket: Ticket,
        status: ServiceStatus,
        endpoints: Option<Arc<EndpointSet>>,
        asked: Instant,
        config: &Config,
    ) -> bool {
        let mut control = self.control();
        if Ticket(control.tickets) != ticket {
            return false;
        }
        self.store(&mut control, status, endpoints, asked, config);
        true
    }

    /// Publishes a watch's event, which is newer than every answer under way.
    pub(super) fn observe(&self, status: ServiceStatus, config: &Config) {
        let mut control = self.control();
        control.tickets += 1;
        self.store(&mut control, status, None, Instant::now(), config);
        if let Some(snapshot) = &*self.snapshot.load()
            && snapshot.status.available_replicas > 0
        {
            // Which instances there are may have changed too: ask when the next request comes by.
            self.snapshot.store(Some(Arc::new(Snapshot { refresh_at: Instant::now(), ..Snapshot::clone(snapshot) })));
        }
        drop(control);
        self.changed.notify_one();
    }

    /// Whether there are endpoints whose time is not over.
    pub(super) fn has_endpoints(&self, now: Instant) -> bool {
        let snapshot = self.snapshot.load();
        let known = snapshot.as_ref().and_then(|snapshot| snapshot.endpoints.as_ref());
        known.is_some_and(|set| !set.endpoints().is_empty() && now < set.expires())
    }

    fn store(
        &self,
        control: &mut Control,
        mut status: ServiceStatus,
        endpoints: Option<Arc<EndpointSet>>,
        asked: Instant,
        config: &Config,
    ) {
        control.lookup = None;
        let (_, bad) = ScaleSettings::of(&status);
        for label in bad {
            let mut hasher = DefaultHasher::new();
            label.hash(&mut hasher);
            if control.bad_labels.len() < BAD_LABELS_LOGGED && control.bad_labels.insert(hasher.finish()) {
                tracing::warn!(function = %self.function, "{label}");
            }
        }
        status.annotations.clear();
        let known = || self.snapshot.load().as_ref().and_then(|snapshot| snapshot.endpoints.clone());
        let endpoints = if status.available_replicas == 0 { None } else { endpoints.or_else(known) };
        let watched = self.home().is_watching(&self.function.namespace);
        let stale = (!watched).then(|| asked + config.cache_ttl + jitter(config.cache_ttl));
        // However short their time to live is, endpoints are not asked for more often than counts.
        let renew = endpoints.as_ref().map(|set| set.renew().max(Instant::now() + config.cache_ttl));
        // Watched and nothing to renew: nothing is due.
        let refresh_at = [stale, renew].into_iter().flatten().min().unwrap_or(asked + config.stale_if_error);
        let status = Arc::new(status);
        self.snapshot.store(Some(Arc::new(Snapshot { status, asked, watched, failures: 0, refresh_at, endpoints })));
    }

    /// Notes that a refresh failed: the snapshot may now be used up to `stale-if-error`, and the next
    /// attempt waits longer each time. `false` if there is nothing to keep.
    pub(super) fn failed_refresh(&self, ticket: Ticket, config: &Config) -> bool {
        let control = self.control();
        let snapshot = self.snapshot.load_full();
        let Some(snapshot) = snapshot.filter(|_| Ticket(control.tickets) == ticket) else { return false };
        let failures = snapshot.failures.saturating_add(1);
        let wait = (config.cache_ttl * 2_u32.saturating_pow(failures.min(8))).min(FAILING_REFRESH_MAX);
        let refresh_at = Instant::now() + wait + jitter(wait);
        self.snapshot.store(Some(Arc::new(Snapshot { failures, refresh_at, ..Snapshot::clone(&snapshot) })));
        true
    }

    /// Spends all tickets and forgets the snapshot. A cold start under way asks again.
    pub(super) fn invalidate(&self) {
        let mut control = self.control();
        control.tickets += 1;
        control.failed = None;
        self.snapshot.store(None);
        drop(control);
        self.changed.notify_one();
    }

    /// Forgets everything, since another platform answers from now on. A cold start under way begins
    /// again there.
    pub(super) fn begin_again(&self) {
        let mut control = self.control();
        control.tickets += 1;
        control.beginnings += 1;
        control.failed = None;
        control.suspect = false;
        self.snapshot.store(None);
        drop(control);
        self.changed.notify_one();
    }

    /// Makes `home` its home. What is known of it stays if it is the same provider under the same
    /// policy; otherwise it is forgotten.
    pub(super) fn move_to(&self, home: &Arc<Home>, config: &Config) {
        let before = self.home.load_full();
        if Arc::ptr_eq(&before, home) {
            return;
        }
        self.home.store(Arc::clone(home));
        let is_same = before.entry.provider.name() == home.entry.provider.name()
            && before.entry.endpoints == home.entry.endpoints
            && Arc::ptr_eq(&before.entry.provider, &home.entry.provider);
        if is_same {
            // Answers under way were asked for in the same place, but no watch vouches for them now.
            self.rewatch(config);
            self.expire();
            self.changed.notify_one();
        } else {
            self.begin_again();
        }
    }

    /// Nobody serves it any more: its cold start ends with `reason`.
    pub(super) fn leave(&self, reason: ScaleError) {
        self.control().gone = Some(reason);
        self.begin_again();
    }

    /// Drops an endpoint that refused a connection, and with the last one the snapshot. `false` if it
    /// was dropped before.
    pub(super) fn refused(&self, gone: &EndpointRef) -> bool {
        let now = Instant::now();
        let mut control = self.control();
        let Some(snapshot) = self.snapshot.load_full() else { return false };
        let Some(set) = snapshot.endpoints.as_ref().filter(|set| set.endpoints().iter().any(|e| e.is_same(gone)))
        else {
            return false;
        };
        control.tickets += 1;
        control.suspect = true;
        let rest = set.without(gone, now);
        if rest.endpoints().is_empty() {
            self.snapshot.store(None);
        } else {
            let endpoints = Some(Arc::new(rest));
            self.snapshot.store(Some(Arc::new(Snapshot { endpoints, refresh_at: now, ..Snapshot::clone(&snapshot) })));
        }
        drop(control);
        self.changed.notify_one();
        true
    }

    /// Makes the next cold start try whether an instance accepts connections.
    pub(super) fn suspect(&self) {
        self.control().suspect = true;
    }

    /// Whether an endpoint refused a connection since this was asked last, or may.
    pub(super) fn take_suspect(&self) -> bool {
        std::mem::take(&mut self.control().suspect)
    }

    /// Makes the next request ask again in the background, and ends a backoff.
    pub(super) fn expire(&self) {
        let now = Instant::now();
        let mut control = self.control();
        control.failed = None;
        if let Some(snapshot) = self.snapshot.load_full() {
            self.snapshot.store(Some(Arc::new(Snapshot { refresh_at: now, ..Snapshot::clone(&snapshot) })));
        }
    }

    /// Brings the snapshot in line with whether its provider's watch is healthy now.
    pub(super) fn rewatch(&self, config: &Config) {
        let now = Instant::now();
        let control = self.control();
        let watched = self.home().is_watching(&self.function.namespace);
        if let Some(snapshot) = self.snapshot.load_full().filter(|snapshot| snapshot.watched != watched) {
            let refresh_at = if watched {
                snapshot.endpoints.as_ref().map_or(now + config.stale_if_error, |set| set.renew())
            } else {
                now + jitter(config.cache_ttl)
            };
            // A watch that just ended vouched for the snapshot up to now.
            let asked = if watched { snapshot.asked } else { now };
            self.snapshot.store(Some(Arc::new(Snapshot { watched, refresh_at, asked, ..Snapshot::clone(&snapshot) })));
        }
        drop(control);
    }
}

/// Up to a fifth of `span`, at random: functions that were asked together drift apart.
fn jitter(span: Duration) -> Duration {
    span / 1000 * u32::try_from(below(200)).unwrap_or(0)
}
