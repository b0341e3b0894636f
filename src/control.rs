//! The control plane of providers: loads, tries, publishes, takes back and removes their plugins while
//! the gateway runs.
//!
//! ```text
//!  admin socket ---+
//!  SIGHUP ---------+--> one change of a provider at a time
//!  changed files --+        fetched, verified, compiled, linked, typed, compared    (plugin::load)
//!                           probed, shadowed                                        (plugin::shadow)
//!                           [canary], published --> directory --> scaler
//!                           draining, retired                                       (the old generation)
//! ```
//!
//! A refusal names the step and the reason, and changes nothing that serves. Every change is logged,
//! counted and remembered ([`HISTORY`] of them for each provider), with who asked for it.

mod accept;
mod apply;
mod change;
mod files;
mod metrics;
mod one;
mod pipeline;
mod report;
mod retire;
mod slot;
mod together;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use accept::Acceptance;
pub use apply::Difference;
pub use change::{Asker, Change, HISTORY, Kind, Outcome, Reached, Step};
pub use files::{Seen, Watched};
pub use report::{Canary, Detail, Overview};

use crate::host::egress::EgressMetrics;
use crate::host::state::Store;
use crate::metrics::Registry;
use crate::name::{Digest, ProviderName};
use crate::plugin::{Plugins, Upload};
use crate::provider::{Directory, Listing, ProviderConfig};
use crate::query::{Interface, Provider as _};
use crate::scaler::Scaler;
use change::{Begin, Record};
use metrics::Metrics;
use pipeline::Taken;
use slot::Slot;

/// A candidate that is not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("refused at step {at}: {reason}")]
pub struct Refused {
    /// The step that was not passed, by the word that [`Step`] has for it.
    pub at: &'static str,
    /// Why, and what to do.
    pub reason: String,
}

/// Why a change did not happen.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ControlError {
    /// There is no such provider.
    #[error("there is no provider {provider}; write [provider.{provider}] into the configuration")]
    Unknown {
        /// The name that was asked for.
        provider: ProviderName,
    },
    /// Too many changes of the provider wait already.
    #[error("{limit} changes of provider {provider} are under way already; try again when they ended")]
    Busy {
        /// Whose.
        provider: ProviderName,
        /// How many may wait.
        limit: usize,
    },
    /// There is no generation before this one.
    #[error("provider {provider} has no generation before this one")]
    NothingBefore {
        /// Whose.
        provider: ProviderName,
    },
    /// What was served before is another provider's now.
    #[error("provider {provider} served {what} before, which provider {other} does now; change the configuration")]
    Taken {
        /// Who was to be rolled back.
        provider: ProviderName,
        /// The namespace, or being the default.
        what: String,
        /// Who serves it.
        other: ProviderName,
    },
    /// Nothing was refused that could be accepted.
    #[error("of provider {provider} nothing was refused at step lock since the gateway started{}", of(digest.as_ref()))]
    NothingRefused {
        /// Whose.
        provider: ProviderName,
        /// The digest that was asked for.
        digest: Option<Digest>,
    },
    /// There is no lock.
    #[error("there is no lock: it is kept beside a configuration file, unless that says lock = \"off\"")]
    NoLock,
    /// The lock cannot be read or written.
    #[error("{0}")]
    Lock(String),
    /// The gateway is ending.
    #[error("the gateway is ending")]
    Ending,
}

fn of(digest: Option<&Digest>) -> String {
    digest.map(|digest| format!(" with the digest {digest}")).unwrap_or_default()
}

/// Why a provider has no plugin at the start.
#[derive(Clone, Debug)]
pub(crate) enum StartRefusal {
    /// A grant cannot be used: a mistake in the configuration.
    Grant(Refused),
    /// The plugin was refused.
    Plugin(Refused),
}

impl StartRefusal {
    fn into_refused(self) -> Refused {
        match self {
            Self::Grant(refused) | Self::Plugin(refused) => refused,
        }
    }
}

/// Why a gateway cannot start with its providers.
#[derive(Debug, thiserror::Error)]
#[error("provider {provider}: {component} refused at step {}: {}", refused.at, refused.reason)]
pub struct ProviderFailed {
    /// Whose plugin.
    pub provider: ProviderName,
    /// What was to be loaded.
    pub component: String,
    /// Why not.
    pub refused: Refused,
}

/// What a provider's next generation is made of.
#[derive(Clone, Debug)]
pub enum Component {
    /// What the configuration names, read again.
    Configured,
    /// A file.
    File(PathBuf),
    /// What was sent. It is gone with the generation: the next start loads what the configuration names.
    Uploaded(Upload),
}

/// What the control plane works with: wired by [`app`](crate::app).
pub struct Parts {
    /// Loads plugins.
    pub plugins: Arc<Plugins>,
    /// Keeps what providers keep.
    pub store: Store,
    /// Which provider serves which namespace; written only here.
    pub directory: Arc<Directory>,
    /// Is told of every change.
    pub scaler: Arc<Scaler>,
    /// Where changes are counted.
    pub registry: Registry,
    /// Where the work is done.
    pub runtime: tokio::runtime::Handle,
    /// Providers that are loaded, tried and warmed up at once, at least one; each of them is within bounds of its own.
    pub at_once: usize,
}

/// All providers. Cheap to clone.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

struct Shared {
    plugins: Arc<Plugins>,
    store: Store,
    egress: EgressMetrics,
    directory: Arc<Directory>,
    scaler: Arc<Scaler>,
    metrics: Arc<Metrics>,
    runtime: tokio::runtime::Handle,
    at_once: usize,
    changes: AtomicU64,
    slots: Mutex<Slots>,
}

/// The providers, in the order of the configuration.
#[derive(Default)]
struct Slots {
    order: Vec<ProviderName>,
    by_name: BTreeMap<ProviderName, Arc<Slot>>,
}

impl Slots {
    fn all(&self) -> impl Iterator<Item = &Arc<Slot>> {
        self.order.iter().filter_map(|name| self.by_name.get(name))
    }
}

impl Control {
    /// A control plane without providers.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { plugins, store, directory, scaler, registry, runtime, at_once } = parts;
        Self {
            shared: Arc::new(Shared {
                egress: EgressMetrics::new(&registry),
                metrics: Arc::new(Metrics::new(&registry)),
                plugins,
                store,
                directory,
                scaler,
                runtime,
                // None at once would wait for ever.
                at_once: at_once.max(1),
                changes: AtomicU64::new(0),
                slots: Mutex::default(),
            }),
        }
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.shared.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, provider: &ProviderName) -> Result<Arc<Slot>, ControlError> {
        let unknown = || ControlError::Unknown { provider: provider.clone() };
        self.slots().by_name.get(provider).cloned().ok_or_else(unknown)
    }

    fn begin(&self, slot: &Slot, kind: Kind, by: Asker, config: &ProviderConfig, component: String) -> Arc<Record> {
        let begin = Begin {
            number: self.shared.changes.fetch_add(1, Ordering::Relaxed) + 1,
            provider: slot.name.clone(),
            kind,
            by,
            component,
            grants: config.grants.keys().cloned().collect(),
            previous: slot.provider.status().ok().map(|status| status.generation),
        };
        let record = Arc::new(Record::new(begin, &self.shared.metrics));
        slot.remember(&record);
        record
    }

    /// Tells the data plane what the directory is to have now.
    fn list_entries(&self) {
        let slots = self.slots();
        let entries = slots.all().filter_map(|slot| slot.state().entry.clone()).collect();
        self.shared.directory.publish(Listing::new(entries));
        // Within the lock, so that of two changes the later one's listing stays.
        self.shared.scaler.update();
        drop(slots);
    }

    /// Tells the scaler whose word its snapshots are from now on.
    fn tell_scaler(&self, slot: &Slot, taken: &Taken) {
        if taken.is_same_platform {
            self.shared.scaler.invalidate_provider(&slot.name);
        } else {
            self.shared.scaler.platform_changed(&slot.name);
        }
    }

    /// All providers, in the order of the configuration.
    #[must_use]
    pub fn list(&self) -> Vec<Overview> {
        let slots: Vec<_> = self.slots().all().cloned().collect();
        slots.iter().map(|slot| report::overview(slot)).collect()
    }

    /// Everything about one provider.
    ///
    /// # Errors
    /// There is no such provider.
    pub fn show(&self, provider: &ProviderName) -> Result<Detail, ControlError> {
        Ok(report::detail(&*self.slot(provider)?))
    }

    /// How many bytes a component of the provider may have.
    ///
    /// # Errors
    /// There is no such provider.
    pub fn component_bytes(&self, provider: &ProviderName) -> Result<u64, ControlError> {
        let slot = self.slot(provider)?;
        let state = slot.state();
        Ok(state.active.as_ref().map_or(&state.configured, |active| &active.config).limits.component_bytes)
    }

    /// Providers without a generation, with the reason of each; and whether there is one that has one.
    #[must_use]
    pub fn failing(&self) -> (Vec<String>, bool) {
        let slots: Vec<_> = self.slots().all().cloned().collect();
        let failing: Vec<String> = slots
            .iter()
            .filter_map(|slot| {
                Some(format!("provider {} has no active generation: {}", slot.name, slot.provider.status().err()?))
            })
            .collect();
        let serves = failing.len() < slots.len();
        (failing, serves)
    }

    /// What the configuration says of a provider, as far as it was taken.
    #[must_use]
    pub fn configured(&self, provider: &ProviderName) -> Option<ProviderConfig> {
        Some(self.slot(provider).ok()?.state().configured.clone())
    }

    /// Asks each platform once whether it answers and takes the credentials, for the log: a gateway
    /// starts without its platforms too.
    pub async fn check(&self) {
        let slots: Vec<_> = self.slots().all().cloned().collect();
        for slot in slots.iter().filter(|slot| slot.provider.has(Interface::Health)) {
            if let Err(error) = slot.provider.check().await {
                tracing::warn!(provider = %slot.name, %error, "the platform does not answer yet");
            }
        }
    }

    /// Stops the processes of all providers, each replica with its grace. They come back with the next
    /// start.
    pub async fn stop(&self) {
        let processes: Vec<_> = self.slots().all().filter_map(|slot| slot.state().processes.clone()).collect();
        futures_util::future::join_all(processes.iter().map(crate::host::processes::Processes::shutdown)).await;
    }
}
