//! Generations: which loaded plugin answers for a provider, and which one did before.
//!
//! A call takes the active generation once and keeps it to its end, so in-flight calls finish on
//! the old plugin while new ones begin on the next. The last call's end *is* the drain; whoever
//! published waits for it through [`Retiring`].

#[macro_use]
mod ask;
mod calls;
mod canary;
mod drain;
#[cfg(test)]
pub(super) mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;

use super::clock::Moment;
use super::loaded::{Candidate, Loaded};
use super::manifest::Manifest;
use super::reach::Reach;
use super::record::Recorder;
use super::trap::history::TrapReport;
use crate::name::{Digest, FunctionRef, Generation, ProviderName};
use crate::provider::{ProviderConfig, SwapConfig};
use crate::query::{Cause, QueryError};
use crate::trust::used::Shapes;

pub use canary::CanaryVerdict;
use drain::Call;
pub use drain::{Retired, Retiring};

/// A loaded plugin with its number.
struct Published {
    number: Generation,
    plugin: Arc<Loaded>,
    generations: Arc<AtomicU64>,
    /// Counts its calls, and ends them after another generation took over.
    gate: drain::Gate,
}

impl Published {
    /// Gives a loaded plugin its number.
    fn new(plugin: Arc<Loaded>, generations: Arc<AtomicU64>) -> Self {
        let number = Generation(generations.fetch_add(1, Ordering::Relaxed) + 1);
        Self { number, plugin, generations, gate: drain::Gate::default() }
    }

    /// Tells its watch, and drops the instances that wait. Calls that run end on it.
    fn retire(&self) {
        self.gate.close();
        self.plugin.close();
    }
}

/// What the control plane knows of a provider's plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginStatus {
    /// The active generation.
    pub generation: Generation,
    /// The digest of its bytes.
    pub digest: Digest,
    /// What it says of itself.
    pub manifest: Manifest,
    /// What its bytes show of its requests.
    pub reach: Reach,
    /// What was asked of the platform so far, by all generations; nothing where that is not recorded.
    pub used: Shapes,
    /// Who vouches for it: the operator's name for the key.
    pub signer: Option<String>,
    /// When it was loaded.
    pub loaded_at: SystemTime,
    /// Whether it is stopped for a while because it kept failing.
    pub is_quarantined: bool,
    /// The last calls that ended in a trap or a broken budget, of all generations, the latest first. At most 8.
    pub traps: Vec<TrapReport>,
}

/// A provider that is carried out by plugins, one generation after the other.
pub struct PluginProvider {
    name: ProviderName,
    active: ArcSwapOption<Published>,
    /// A generation that serves a share of the functions first.
    canary: ArcSwapOption<canary::Canary>,
    /// The generation before, ready for a roll back.
    previous: Mutex<Option<Arc<Published>>>,
    /// Why there is no generation.
    reason: Mutex<String>,
    /// Those that were replaced, until somebody waits for their end.
    retiring: Mutex<Vec<Retiring>>,
    /// The last answers, to try the next generation with.
    pub(super) recorder: Recorder,
}

impl PluginProvider {
    /// A provider without a generation: it answers every question with an error until one is
    /// published.
    #[must_use]
    pub fn new(config: &ProviderConfig) -> Self {
        Self {
            name: config.name.clone(),
            active: ArcSwapOption::empty(),
            canary: ArcSwapOption::empty(),
            previous: Mutex::default(),
            reason: Mutex::new("its plugin is being loaded".into()),
            retiring: Mutex::default(),
            recorder: Recorder::new(&config.swap),
        }
    }

    /// Remembers from now on as much as these settings say ([`SwapConfig::shadow`], [`SwapConfig::functions`]), to
    /// try the next generation with.
    pub fn remember(&self, swap: &SwapConfig) {
        self.recorder.keep(swap);
    }

    /// The functions that it was asked about within `span`, and that exist; at most
    /// [`SwapConfig::functions`].
    #[must_use]
    pub fn existing(&self, span: Duration) -> Vec<FunctionRef> {
        self.recorder.existing(span)
    }

    /// Makes `next` the active generation. Calls that run end on the old one, its watch at once; it
    /// stays ready for a [roll back](Self::roll_back), and the one before it is dropped.
    pub fn publish(&self, next: Candidate) -> Generation {
        let Candidate { plugin, generations } = next;
        plugin.write_down();
        self.install(Arc::new(Published::new(plugin, generations)))
    }

    /// Makes the previous generation's plugin the active one again, under a new number. `None` if
    /// there is none. A [canary](Self::take_back_canary) is superseded by it.
    pub fn roll_back(&self) -> Option<Generation> {
        let mut previous = self.previous.lock().unwrap_or_else(PoisonError::into_inner);
        let before = previous.take()?;
        let next = Published::new(Arc::clone(&before.plugin), Arc::clone(&before.generations));
        Some(self.install_with(&mut previous, Arc::new(next)))
    }

    /// Makes a generation the active one, for all functions.
    fn install(&self, next: Arc<Published>) -> Generation {
        let mut previous = self.previous.lock().unwrap_or_else(PoisonError::into_inner);
        self.install_with(&mut previous, next)
    }

    /// The same for whoever holds the writers' lock.
    fn install_with(&self, previous: &mut Option<Arc<Published>>, next: Arc<Published>) -> Generation {
        let number = next.number;
        next.plugin.open();
        next.plugin.shared.metrics.generation.set(i64::try_from(number.0).unwrap_or(i64::MAX));
        let retired = self.active.swap(Some(next));
        let provider = &self.name;
        tracing::info!(%provider, generation = number.0, previous = retired.as_ref().map(|old| old.number.0), "published");
        // A canary that became the active generation is none any more; any other is superseded.
        if self.canary.load().as_ref().is_some_and(|canary| canary.published.number == number) {
            self.canary.store(None);
        } else {
            self.end_canary(None);
        }
        if let Some(old) = &retired {
            self.retire(old);
        }
        *previous = retired;
        number
    }

    /// Ends a generation, and keeps it for whoever waits for its end.
    fn retire(&self, old: &Arc<Published>) {
        old.retire();
        let mut retiring = self.retiring.lock().unwrap_or_else(PoisonError::into_inner);
        // Where nobody waits, those whose calls ended are let go here.
        retiring.retain(|other| other.calls() > 0);
        retiring.push(Retiring(Arc::clone(old)));
    }

    /// The generations that were replaced since this was asked last.
    #[must_use]
    pub fn take_retiring(&self) -> Vec<Retiring> {
        std::mem::take(&mut *self.retiring.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends the active generation without another one; from now on every question is answered with
    /// `reason`. There is nothing to roll back to afterwards.
    pub fn withdraw(&self, reason: impl Into<String>) {
        let mut previous = self.previous.lock().unwrap_or_else(PoisonError::into_inner);
        self.explain(reason);
        self.end_canary(Some("its provider was removed"));
        if let Some(old) = self.active.swap(None) {
            self.retire(&old);
        }
        *previous = None;
    }

    /// The generation that a [roll back](Self::roll_back) would bring back.
    #[must_use]
    pub fn previous(&self) -> Option<Generation> {
        self.previous.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|previous| previous.number)
    }

    /// Says why there is no generation, for those who ask meanwhile. No effect on an active one.
    pub fn explain(&self, reason: impl Into<String>) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason.into();
    }

    /// What is known of the active generation; without one, why.
    ///
    /// # Errors
    /// The reason that [`explain`](Self::explain) was given.
    pub fn status(&self) -> Result<PluginStatus, String> {
        let active = self.active.load();
        let Some(active) = active.as_ref() else {
            return Err(self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone());
        };
        let plugin = &active.plugin;
        Ok(PluginStatus {
            generation: active.number,
            digest: plugin.digest,
            manifest: plugin.manifest.clone(),
            reach: plugin.reach.clone(),
            used: plugin.shared.used.as_ref().map(|used| used.shapes()).unwrap_or_default(),
            signer: plugin.signer.as_ref().map(ToString::to_string),
            loaded_at: plugin.loaded_at,
            is_quarantined: plugin.quarantine.is_active(),
            traps: plugin.history.all(),
        })
    }

    /// The plugin of the active generation.
    pub(super) fn active_plugin(&self) -> Option<Arc<Loaded>> {
        self.active.load().as_ref().map(|active| Arc::clone(&active.plugin))
    }

    /// The generation that answers for a function, the canary or the active one; or for what concerns no single
    /// function.
    fn serving(&self, function: Option<&FunctionRef>) -> Result<Call, QueryError> {
        let canary = self.canary.load();
        let chosen = canary.as_ref().filter(|canary| function.is_some_and(|function| canary.serves(function)));
        // One that was taken back this moment takes no more calls.
        let mut call = match chosen.and_then(|canary| Call::begin(Arc::clone(&canary.published))) {
            Some(call) => call,
            None => self.active()?,
        };
        call.begun = canary.is_some().then(Moment::now);
        Ok(call)
    }

    fn active(&self) -> Result<Call, QueryError> {
        // A generation closes after the next one is there, so this goes round once at most for each publish.
        while let Some(active) = self.active.load_full() {
            if let Some(call) = Call::begin(active) {
                return Ok(call);
            }
        }
        let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Err(QueryError::new(Cause::NoPlugin, format!("provider {}: no plugin answers: {reason}", self.name)))
    }
}
