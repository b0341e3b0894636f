//! What the control plane keeps for each provider.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ControlError;
use super::change::{History, Record};
use super::files::Seen;
use super::retire::Retirement;
use crate::host::processes::Processes;
use crate::name::{Digest, ProviderName};
use crate::plugin::PluginProvider;
use crate::provider::{Entry, ProviderConfig};

/// Changes of one provider that may wait for their turn; more are refused.
const WAITING_MAX: usize = 8;

/// A plugin with everything that was published together with it.
#[derive(Clone)]
pub(super) struct Version {
    pub(super) config: ProviderConfig,
    pub(super) digest: Digest,
    /// What was loaded, for people.
    pub(super) component: String,
    pub(super) entry: Arc<Entry>,
}

impl Version {
    /// `kept` is what the directory has of the provider; it stays if it says the same.
    pub(super) fn new(
        config: ProviderConfig,
        digest: Digest,
        component: String,
        provider: &Arc<PluginProvider>,
        kept: Option<&Arc<Entry>>,
    ) -> Self {
        let says_the_same = |entry: &&Arc<Entry>| {
            entry.endpoints == config.endpoints
                && entry.namespaces == config.namespaces
                && entry.is_default == config.is_default
        };
        let entry = kept.filter(says_the_same).cloned();
        let entry = entry.unwrap_or_else(|| Arc::new(entry_of(&config, provider)));
        Self { config, digest, component, entry }
    }
}

/// What the data plane must know of a provider.
pub(super) fn entry_of(config: &ProviderConfig, provider: &Arc<PluginProvider>) -> Entry {
    Entry {
        provider: Arc::clone(provider) as Arc<dyn crate::query::Provider>,
        endpoints: config.endpoints.clone(),
        namespaces: config.namespaces.clone(),
        is_default: config.is_default,
    }
}

/// One provider.
pub(super) struct Slot {
    pub(super) name: ProviderName,
    pub(super) provider: Arc<PluginProvider>,
    /// Changes happen one after the other.
    lane: Arc<Semaphore>,
    waiting: AtomicUsize,
    is_removed: AtomicBool,
    state: Mutex<State>,
}

/// What changes of a slot.
pub(super) struct State {
    /// What the configuration says, as far as it was taken.
    pub(super) configured: ProviderConfig,
    pub(super) active: Option<Version>,
    pub(super) previous: Option<Version>,
    /// Whether the one before speaks to the platform of the active one.
    pub(super) is_same_platform: bool,
    /// What the directory has of it; there is none until a first generation was published, unless the
    /// gateway started without one.
    pub(super) entry: Option<Arc<Entry>>,
    /// What the configured files had when they were looked at last.
    pub(super) seen: Option<Seen>,
    pub(super) processes: Option<Processes>,
    /// Platforms whose functions are being set to no instances.
    pub(super) retirements: Vec<Retirement>,
    pub(super) history: History,
}

impl Slot {
    pub(super) fn new(config: &ProviderConfig) -> Self {
        Self {
            name: config.name.clone(),
            provider: Arc::new(PluginProvider::new(config)),
            lane: Arc::new(Semaphore::new(1)),
            waiting: AtomicUsize::new(0),
            is_removed: AtomicBool::new(false),
            state: Mutex::new(State {
                configured: config.clone(),
                active: None,
                previous: None,
                is_same_platform: true,
                entry: None,
                seen: None,
                processes: None,
                retirements: Vec::new(),
                history: History::default(),
            }),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn of a change.
    ///
    /// # Errors
    /// Too many wait already, or the provider is gone.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, ControlError> {
        let waiting = self.waiting.fetch_add(1, Ordering::SeqCst);
        let turn = if waiting < WAITING_MAX { Arc::clone(&self.lane).acquire_owned().await.ok() } else { None };
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        let turn = turn.ok_or_else(|| ControlError::Busy { provider: self.name.clone(), limit: WAITING_MAX })?;
        if self.is_removed() {
            return Err(ControlError::Unknown { provider: self.name.clone() });
        }
        Ok(turn)
    }

    /// Whoever waits for a turn finds the provider gone.
    pub(super) fn remove(&self) {
        self.is_removed.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::SeqCst)
    }

    pub(super) fn remember(&self, record: &Arc<Record>) {
        self.state().history.push(record);
    }
}
