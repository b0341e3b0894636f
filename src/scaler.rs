//! Is an instance ready? Answers from memory where it can, and otherwise waits for the function's
//! one cold start.
//!
//! [`Scaler::warm`] is asked for every request and never waits; [`Scaler::ready`] is asked when it
//! has no answer.
//!
//! ```text
//!   warm: table -> snapshot --usable--> endpoints          (older than cache-ttl: queue a refresh)
//!                     |  not usable: none ready, endpoints expired, older than stale-ttl
//!                     v
//!   ready: negative? -> place in the queue -> join or begin the episode -> endpoints or the cause
//!
//!   behind them, one task each for every provider: refresh (bounded, lists), watching (no polls)
//! ```
//!
//! One snapshot is immutable and read without a lock; whoever replaces it holds a ticket that newer
//! knowledge makes worthless (`snapshot`). Everything that grows has a bound in [`Config`].

mod config;
pub mod endpoints;
mod episode;
mod error;
mod home;
mod homes;
pub mod labels;
mod meters;
mod negative;
pub mod policy;
mod polls;
mod probe;
mod refresh;
mod shared;
mod snapshot;
mod table;
mod tasks;
mod template;
mod waiters;
mod watching;
mod written;

pub use config::Config;
pub use endpoints::{EndpointRef, EndpointSet, Pick};
pub use error::{RETRY_AFTER_DEFAULT, ScaleError};
pub use labels::ScaleSettings;
pub use policy::{AddressPolicy, AddressRefused, OwnListeners};
pub use template::{BadTemplate, Template};

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::metrics::Registry;
use crate::name::{FunctionRef, Generation, ProviderName};
use crate::provider::{Directory, Entry};
use crate::query::caller;
use episode::{Episode, Found, Joined};
use home::Home;
use homes::Homes;
use meters::Meters;
use negative::Negative;
use probe::{Probe, TcpProbe};
use shared::Shared;
use snapshot::Tracked;
use table::Table;
use tasks::Tasks;
use waiters::Place;
use written::Written;

/// A function that has an instance.
#[derive(Clone)]
pub struct Ready {
    /// Its provider.
    pub entry: Arc<Entry>,
    /// Its endpoints. Never empty, and not expired when this was made.
    pub endpoints: Arc<EndpointSet>,
    /// How long the caller waited; `None` on the warm path.
    pub waited: Option<Duration>,
    /// Which generation of the provider's plugin said so.
    pub generation: Generation,
    /// When this was made.
    pub at: Instant,
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready")
            .field("provider", self.entry.provider.name())
            .field("endpoints", &self.endpoints)
            .field("waited", &self.waited)
            .field("generation", &self.generation)
            .finish()
    }
}

/// Knows which functions have instances, and starts the first one of those that have none.
///
/// Everything that it runs in the background ends when it is dropped; callers that wait then get
/// [`ScaleError::ShuttingDown`].
pub struct Scaler {
    shared: Arc<Shared>,
    homes: Homes,
    own: Arc<OwnListeners>,
    tasks: Tasks,
}

impl Scaler {
    /// A scaler for the functions of `directory`. To be called inside the runtime that shall run its
    /// background work; requests may be served by others.
    #[must_use]
    pub fn new(config: Config, directory: Arc<Directory>, registry: &Registry) -> Self {
        let probe = TcpProbe { timeout: config.probe_timeout, linger: config.probe_linger };
        Self::with_probe(config, directory, registry, Box::new(probe))
    }

    fn with_probe(config: Config, directory: Arc<Directory>, registry: &Registry, probe: Box<dyn Probe>) -> Self {
        let mut config = config.clamped();
        let own = Arc::new(OwnListeners::default());
        own.set(std::mem::take(&mut config.own_listeners));
        let shared = Arc::new(Shared {
            meters: Meters::new(registry),
            table: Table::new(config.functions),
            negative: Negative::new(config.negative_entries),
            written: Written::new(config.functions),
            probe,
            waiting: AtomicUsize::new(0),
            lookups: Arc::new(Semaphore::new(config.lookups)),
            began: Instant::now(),
            config,
        });
        let scaler = Self { shared, homes: Homes::new(directory), own, tasks: Tasks::new() };
        scaler.update();
        scaler
    }

    /// How many functions are remembered at most.
    #[must_use]
    pub fn functions(&self) -> usize {
        self.shared.config.functions
    }

    /// The endpoints of a function that is known to have an instance. Never waits and asks nobody:
    /// when what is known is growing old, a refresh is queued for the background.
    #[must_use]
    pub fn warm(&self, function: &FunctionRef) -> Option<Ready> {
        let now = Instant::now();
        self.shared.table.with(function, |tracked| self.warm_at(tracked, now)).flatten()
    }

    fn warm_at(&self, tracked: &Arc<Tracked>, now: Instant) -> Option<Ready> {
        let snapshot = tracked.snapshot();
        let snapshot = snapshot.as_ref()?;
        let endpoints = snapshot.usable(now, &self.shared.config)?;
        tracked.touch((now - self.shared.began).as_secs());
        if now >= snapshot.refresh_at {
            Home::refresh(tracked);
        }
        Some(Ready {
            entry: Arc::clone(&tracked.home().entry),
            endpoints: Arc::clone(endpoints),
            waited: None,
            generation: snapshot.status.generation,
            at: now,
        })
    }

    /// The endpoints of a function; starts its first instance if it has none, together with all
    /// others who wait for it.
    ///
    /// # Errors
    /// Why there is none; see [`ScaleError`].
    ///
    /// # Cancel safety
    /// Dropping it leaves the queue. The cold start goes on, up to `scale-timeout`.
    pub async fn ready(&self, function: &FunctionRef) -> Result<Ready, ScaleError> {
        let began = Instant::now();
        if let Some(ready) = self.warm(function) {
            return Ok(ready);
        }
        let (tracked, mut joined, _place) = self.join(function)?;
        let outcome = match joined.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_ended) => None,
        };
        let at = Instant::now();
        let waited = at - began;
        self.shared.meters.waits.observe(waited.as_secs_f64());
        let Found { endpoints, generation } = outcome.unwrap_or(Err(ScaleError::ShuttingDown))?;
        Ok(Ready { entry: Arc::clone(&tracked.home().entry), endpoints, waited: Some(waited), generation, at })
    }

    /// Joins the cold start of a function, or begins it.
    fn join(&self, function: &FunctionRef) -> Result<(Arc<Tracked>, Joined, Place), ScaleError> {
        let shared = &self.shared;
        if let Some((until, error)) = shared.negative.get(function) {
            let is_unknown = matches!(error, ScaleError::NotFound { .. });
            return Err(if is_unknown { error } else { backing_off(function, until, error) });
        }
        let tracked = shared.table.get_or_insert(function, || {
            let home = self.homes.of(function);
            let home = home.ok_or_else(|| ScaleError::NoProvider { function: function.clone() })?;
            let permit = Arc::clone(&shared.lookups).try_acquire_owned().map_err(|_none_left| {
                shared.meters.refused.with_label_values(&["lookups"]).inc();
                ScaleError::TooManyLookups { limit: shared.config.lookups }
            })?;
            let tracked = Tracked::new(function.clone(), home, permit);
            if shared.written.take(function) {
                tracked.suspect();
            }
            Ok(Arc::new(tracked))
        })?;
        // An update that began since has not seen it.
        if !self.settle(&tracked) {
            return Err(ScaleError::NoProvider { function: function.clone() });
        }
        shared.count_tracked();
        tracked.touch(shared.began.elapsed().as_secs());
        let place = Place::take(shared, &tracked).inspect_err(|_full| {
            // Nobody would ever ask for it, and it would keep its right to be asked for.
            let control = tracked.control();
            let is_idle = control.lookup.is_some() && control.episode.is_none();
            drop(control);
            if is_idle {
                shared.drop_tracked(&tracked);
            }
        })?;
        let mut control = tracked.control();
        match &control.failed {
            Some((until, error)) if *until > Instant::now() => {
                return Err(backing_off(function, *until, error.clone()));
            }
            Some(_over) => control.failed = None,
            None => {}
        }
        // A cold start that panicked left its channel closed, and counts as none.
        let running = control.episode.clone().filter(|joined| joined.has_changed().is_ok());
        let joined = running.unwrap_or_else(|| {
            let (outcome, joined) = watch::channel(None);
            control.episode = Some(joined.clone());
            let (shared, tracked) = (Arc::clone(shared), Arc::clone(&tracked));
            // Whoever begins it stands for all who join.
            let episode = async move { Episode::new(shared, tracked).run(outcome).await };
            let episode = caller::on_behalf_of(caller::current(), episode);
            let _owned = self.tasks.spawn(episode);
            joined
        });
        drop(control);
        Ok((tracked, joined, place))
    }

    /// Nothing accepted a connection at `endpoint`: it is not used again until the provider was asked.
    pub fn refused(&self, function: &FunctionRef, endpoint: &EndpointRef) {
        let dropped = self.shared.table.with(function, |tracked| tracked.refused(endpoint).then(|| tracked.home()));
        if let Some(home) = dropped.flatten() {
            home.entry.provider.unreachable(function);
            tracing::info!(%function, ?endpoint, "endpoint refused a connection");
        }
    }

    /// Forgets what is known of a function, after it was deployed, updated, scaled or deleted.
    pub fn invalidate(&self, function: &FunctionRef) {
        self.shared.negative.remove(function);
        match self.shared.table.get(function) {
            Some(tracked) => {
                tracked.invalidate();
                // Its instances may have started this very moment.
                tracked.suspect();
            }
            None => self.shared.written.add(function),
        }
    }

    /// Asks again about all functions of a provider, after its plugin was swapped. What is known is
    /// used until the answers are there.
    pub fn invalidate_provider(&self, provider: &ProviderName) {
        self.swapped(provider, Tracked::expire);
    }

    /// Forgets what is known of a provider's functions, after another platform took over. Cold starts
    /// under way begin again on the new one, and nobody who waits for them is failed.
    pub fn platform_changed(&self, provider: &ProviderName) {
        self.swapped(provider, Tracked::begin_again);
    }

    fn swapped(&self, provider: &ProviderName, tell: impl Fn(&Tracked)) {
        let Some(home) = self.homes.named(provider) else { return };
        home.swapped.notify_one();
        self.shared.negative.remove_of(|namespace| self.homes.serves(&home, namespace));
        for tracked in self.shared.table.filter(|tracked| Arc::ptr_eq(&tracked.home(), &home)) {
            tell(&tracked);
        }
    }

    /// Follows the directory after it was published: providers that are new get their background work,
    /// that of providers that are gone ends, and functions whose provider is another now move to it. A
    /// provider with the same endpoint policy keeps what is known of its functions. Callers who wait for
    /// a function that nobody serves any more get [`ScaleError::NoProvider`]; the others wait on.
    pub fn update(&self) {
        let open = |entry: &Arc<Entry>| {
            let (home, queue) = Home::new(entry, &self.own);
            let refresh = self.tasks.spawn(refresh::run(Arc::clone(&self.shared), Arc::clone(&home), queue));
            let watch = self.tasks.spawn(watching::run(Arc::clone(&self.shared), Arc::clone(&home)));
            home.works([refresh, watch]);
            home
        };
        let Some(ended) = self.homes.follow(open) else { return };
        for home in &ended {
            home.end();
            let name = home.entry.provider.name();
            let healthy = &self.shared.meters.watching;
            if self.homes.named(name).is_none() && healthy.remove_label_values(&[name.as_str()]).is_err() {
                tracing::debug!(provider = %name, "it had no watch");
            }
        }
        // Whatever was said of a name may have been another provider's word.
        self.shared.negative.remove_of(|_all| true);
        for tracked in self.shared.table.filter(|_all| true) {
            self.settle(&tracked);
        }
        self.shared.count_tracked();
    }

    /// Moves a function to the home that it has now; `false` if it has none. An update may begin at any
    /// moment, so it looks again until nothing changed.
    fn settle(&self, tracked: &Arc<Tracked>) -> bool {
        loop {
            let seen = self.homes.mark();
            let home = self.homes.of(&tracked.function);
            if let Some(home) = &home {
                tracked.move_to(home, &self.shared.config);
            } else {
                tracked.leave(ScaleError::NoProvider { function: tracked.function.clone() });
                self.shared.table.remove(tracked);
            }
            if self.homes.mark() == seen {
                return home.is_some();
            }
        }
    }

    /// The functions of a provider that were called within `span`.
    #[must_use]
    pub fn called_within(&self, provider: &ProviderName, span: Duration) -> Vec<FunctionRef> {
        let Some(home) = self.homes.named(provider) else { return Vec::new() };
        let since = self.shared.began.elapsed().saturating_sub(span).as_secs();
        let is_called = |tracked: &Tracked| {
            tracked.used() >= since && Arc::ptr_eq(&tracked.home(), &home) && tracked.control().lookup.is_none()
        };
        self.shared.table.filter(is_called).iter().map(|tracked| tracked.function.clone()).collect()
    }

    /// How many functions are known.
    #[must_use]
    pub fn tracked(&self) -> usize {
        self.shared.table.len()
    }

    /// How many instances each known function was asked for, for `gateway_service_count`.
    #[must_use]
    pub fn counts(&self) -> Vec<(FunctionRef, u64)> {
        let tracked = self.shared.table.filter(|_all| true);
        let count = |tracked: &Arc<Tracked>| {
            let snapshot = tracked.snapshot();
            snapshot.as_ref().map(|snapshot| (tracked.function.clone(), snapshot.status.replicas))
        };
        tracked.iter().filter_map(count).collect()
    }

    /// Says which addresses the gateway listens on, once that is known; they are never dialled.
    pub fn set_own_listeners(&self, addresses: Vec<SocketAddr>) {
        self.own.set(addresses);
    }
}

fn backing_off(function: &FunctionRef, until: Instant, failed: ScaleError) -> ScaleError {
    let retry_after = until.duration_since(Instant::now());
    ScaleError::BackingOff { function: function.clone(), retry_after, source: Arc::new(failed) }
}

#[cfg(test)]
mod tests;
