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

mod apply;
mod change;
mod metrics;
mod pipeline;
mod report;
mod slot;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use apply::Difference;
pub use change::{Asker, Change, HISTORY, Kind, Outcome, Reached, Step};
pub use report::{Canary, Detail, Granted, Overview};

use crate::host::egress::EgressMetrics;
use crate::host::state::Store;
use crate::metrics::Registry;
use crate::name::{Namespace, ProviderName};
use crate::plugin::Plugins;
use crate::provider::{ComponentSource, Directory, Listing, ProviderConfig};
use crate::query::{Interface, Provider as _};
use crate::scaler::Scaler;
use change::{Begin, Record};
use metrics::Metrics;
use pipeline::{Introduced, Load, Taken};
use slot::{Slot, Version};

/// A candidate that is not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("refused at step {at}: {reason}")]
pub struct Refused {
    /// The step.
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
    /// The gateway is ending.
    #[error("the gateway is ending")]
    Ending,
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
    /// These bytes. They are gone with the generation: the next start loads what the configuration names.
    Bytes(Vec<u8>),
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
        let Parts { plugins, store, directory, scaler, registry, runtime } = parts;
        Self {
            shared: Arc::new(Shared {
                egress: EgressMetrics::new(&registry),
                metrics: Arc::new(Metrics::new(&registry)),
                plugins,
                store,
                directory,
                scaler,
                runtime,
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
    fn tell_scaler(&self, slot: &Slot, taken: Taken) {
        if taken.is_same_platform {
            self.shared.scaler.invalidate_provider(&slot.name);
        } else {
            self.shared.scaler.platform_changed(&slot.name);
        }
    }

    /// Does the work to its end, whether or not somebody still waits for it.
    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, ControlError>> + Send + 'static,
    ) -> Result<T, ControlError> {
        self.shared.runtime.spawn(work).await.unwrap_or(Err(ControlError::Ending))
    }

    /// Replaces a provider's plugin, or tries whether it could be (`dry_run`). Answers when the change
    /// has its outcome, a refusal included; a canary is waited for.
    ///
    /// # Errors
    /// There is no such provider, or too many changes wait.
    ///
    /// # Cancel safety
    /// The change goes on without its caller.
    pub async fn swap(
        &self,
        provider: &ProviderName,
        component: Component,
        by: Asker,
        dry_run: bool,
    ) -> Result<Change, ControlError> {
        let (control, slot) = (self.clone(), self.slot(provider)?);
        self.run(async move {
            let _turn = slot.turn().await?;
            Ok(control.swap_now(&slot, component, by, dry_run).await)
        })
        .await
    }

    async fn swap_now(&self, slot: &Slot, component: Component, by: Asker, dry_run: bool) -> Change {
        let (mut config, configured) = {
            let state = slot.state();
            let active = state.active.as_ref().map_or(&state.configured, |active| &active.config);
            (active.clone(), state.configured.component.clone())
        };
        let bytes = match component {
            Component::Bytes(bytes) => Some(bytes),
            Component::File(path) => {
                config.component = ComponentSource::File(path);
                None
            }
            Component::Configured => {
                config.component.clone_from(&configured);
                None
            }
        };
        let is_configured = bytes.is_none() && config.component == configured;
        let shown = if bytes.is_some() { "uploaded".to_owned() } else { config.component.to_string() };
        let kind = if dry_run { Kind::DryRun } else { Kind::Swap };
        let record = self.begin(slot, kind, by, &config, shown);
        let prepared = self.prepare(slot, Load { config, bytes }, &record).await;
        if is_configured {
            // Whatever became of it: the same bytes are not tried again by themselves.
            slot.state().seen = record.now().digest;
        }
        let prepared = match prepared {
            Ok(_) if dry_run => return record.end(Outcome::Ready),
            Ok(prepared) => prepared,
            Err(refused) => return record.end(refused.into()),
        };
        let taken = match self.introduce(slot, prepared, &record).await {
            Ok(Introduced::Ready(prepared)) => self.publish(slot, prepared, &record),
            Ok(Introduced::Published(version)) => self.took_over(slot, version, &record),
            Ok(Introduced::TakenBack(reason)) => {
                self.shared.scaler.invalidate_provider(&slot.name);
                self.drain(slot, &record);
                return record.end(Outcome::RolledBack { reason });
            }
            Err(refused) => return record.end(refused.into()),
        };
        self.list_entries();
        self.tell_scaler(slot, taken);
        self.drain(slot, &record);
        record.end(Outcome::Published)
    }

    /// Makes the generation before the active one again, under a new number and without compiling; its
    /// grants, endpoints and namespaces come back with it. A canary is taken back instead.
    ///
    /// # Errors
    /// There is no such provider or no generation before, or another provider serves its namespaces now.
    ///
    /// # Cancel safety
    /// The change goes on without its caller.
    pub async fn roll_back(&self, provider: &ProviderName, by: Asker) -> Result<Change, ControlError> {
        let (control, slot) = (self.clone(), self.slot(provider)?);
        self.run(async move {
            if slot.provider.canary().is_some() {
                // The change that made it waits for its end, so this one does not wait for its turn.
                let config = slot.state().configured.clone();
                let record = control.begin(&slot, Kind::RollBack, by, &config, "the canary".into());
                record.generation(slot.provider.roll_back().unwrap_or_default());
                return Ok(record.end(Outcome::RolledBack { reason: None }));
            }
            let _turn = slot.turn().await?;
            control.roll_back_now(&slot, by)
        })
        .await
    }

    fn roll_back_now(&self, slot: &Slot, by: Asker) -> Result<Change, ControlError> {
        let nothing = || ControlError::NothingBefore { provider: slot.name.clone() };
        let version = slot.state().previous.clone().ok_or_else(nothing)?;
        self.check_free(slot, &version)?;
        let record = self.begin(slot, Kind::RollBack, by, &version.config, version.component.clone());
        record.digest(version.digest);
        record.generation(slot.provider.roll_back().ok_or_else(nothing)?);
        let taken = self.took_over(slot, version, &record);
        self.list_entries();
        self.tell_scaler(slot, taken);
        self.drain(slot, &record);
        Ok(record.end(Outcome::RolledBack { reason: None }))
    }

    /// Whether nobody else serves what a version would serve again.
    fn check_free(&self, slot: &Slot, version: &Version) -> Result<(), ControlError> {
        let listing = self.shared.directory.listing();
        for other in listing.entries().iter().filter(|entry| *entry.provider.name() != slot.name) {
            let claimed = |namespace: &&Namespace| other.namespaces.contains(namespace);
            let what = if let Some(namespace) = version.config.namespaces.iter().find(claimed) {
                format!("namespace {namespace}")
            } else if version.config.is_default && other.is_default {
                "the namespaces that nobody claims".to_owned()
            } else {
                continue;
            };
            let (provider, other) = (slot.name.clone(), other.provider.name().clone());
            return Err(ControlError::Taken { provider, what, other });
        }
        Ok(())
    }

    /// Removes a provider: its namespaces are nobody's (or the default provider's), its calls end, its
    /// processes are stopped. It comes back when the configuration is read again, or with the next start.
    ///
    /// # Errors
    /// There is no such provider.
    ///
    /// # Cancel safety
    /// The change goes on without its caller.
    pub async fn remove(&self, provider: &ProviderName, by: Asker) -> Result<Change, ControlError> {
        let (control, slot) = (self.clone(), self.slot(provider)?);
        self.run(async move {
            if slot.provider.canary().is_some() {
                slot.provider.roll_back();
            }
            let _turn = slot.turn().await?;
            Ok(control.remove_now(&slot, by))
        })
        .await
    }

    fn remove_now(&self, slot: &Arc<Slot>, by: Asker) -> Change {
        let config = slot.state().configured.clone();
        let record = self.begin(slot, Kind::Remove, by, &config, config.component.to_string());
        slot.remove();
        let mut slots = self.slots();
        slots.order.retain(|name| *name != slot.name);
        slots.by_name.remove(&slot.name);
        drop(slots);
        self.list_entries();
        slot.provider.withdraw("its provider was removed");
        let retiring = slot.provider.take_retiring();
        let processes = slot.state().processes.take();
        let (name, metrics) = (slot.name.clone(), Arc::clone(&self.shared.metrics));
        let drained = Arc::clone(&record);
        self.shared.runtime.spawn(async move {
            for generation in retiring {
                drained.reach(Step::Draining);
                let retired = generation.ended().await;
                metrics.overdue(&name, retired.overdue);
                tracing::info!(provider = %name, generation = retired.generation.0, overdue = retired.overdue, "retired");
                drained.reach(Step::Retired);
            }
            if let Some(processes) = processes {
                processes.shutdown().await;
                tracing::info!(provider = %name, "its processes ended");
            }
        });
        record.end(Outcome::Removed)
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

    /// The files that the configuration names as components, by provider.
    #[must_use]
    pub fn component_files(&self) -> Vec<(ProviderName, PathBuf)> {
        let slots: Vec<_> = self.slots().all().cloned().collect();
        let file = |slot: &Arc<Slot>| match &slot.state().configured.component {
            ComponentSource::File(path) => Some((slot.name.clone(), path.clone())),
            ComponentSource::Builtin(_) => None,
        };
        slots.iter().filter_map(file).collect()
    }

    /// Notes what the configured file has now; whether that is other than when it was looked at last.
    #[must_use]
    pub fn look(&self, provider: &ProviderName, digest: crate::name::Digest) -> bool {
        self.slot(provider).is_ok_and(|slot| slot.state().seen.replace(digest) != Some(digest))
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
