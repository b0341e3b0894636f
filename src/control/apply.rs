//! Several providers at once: the first start, and a configuration that changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::change::{Asker, Change, Kind, Outcome, Record};
use super::pipeline::{Introduced, Load, Prepared};
use super::slot::{Slot, entry_of};
use super::{Control, ControlError, ProviderFailed, Refused, StartRefusal};
use crate::name::ProviderName;
use crate::provider::ProviderConfig;

/// What is different in a new configuration.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    /// Providers that are new.
    pub added: Vec<ProviderConfig>,
    /// Providers that are there and say something else.
    pub changed: Vec<ProviderConfig>,
    /// Providers that are gone.
    pub removed: Vec<ProviderName>,
    /// All providers, in the order of the new configuration.
    pub order: Vec<ProviderName>,
}

/// What a provider is to be: its configuration, and whether it is new.
type Wanted = (ProviderConfig, bool);

/// A provider on its way to a new configuration.
struct Work {
    slot: Arc<Slot>,
    record: Arc<Record>,
    is_new: bool,
    prepared: Result<Prepared, Refused>,
}

impl Control {
    /// Loads the providers of the first configuration, all at once. A plugin that is refused leaves its
    /// provider without a generation, as long as another one has one.
    ///
    /// # Errors
    /// All that failed, if nothing could be loaded, or if a grant cannot be used.
    pub async fn start(&self, configs: &[ProviderConfig]) -> Result<(), Vec<ProviderFailed>> {
        let loads: Vec<_> = configs
            .iter()
            .map(|config| {
                let (control, config, slot) = (self.clone(), config.clone(), Arc::new(Slot::new(config)));
                let started = Arc::clone(&slot);
                let task = self.shared.runtime.spawn(async move { control.start_one(&started, config).await });
                (slot, task)
            })
            .collect();
        let (mut failed, mut is_mistake, mut serving) = (Vec::new(), false, 0);
        for (slot, task) in loads {
            let config = slot.state().configured.clone();
            let refusal = match task.await {
                Ok(Ok(())) => {
                    serving += 1;
                    None
                }
                Ok(Err(refusal)) => Some(refusal),
                Err(panicked) => Some(StartRefusal::Plugin(Refused { at: "load", reason: panicked.to_string() })),
            };
            if let Some(refusal) = refusal {
                is_mistake |= matches!(refusal, StartRefusal::Grant(_));
                let refused = refusal.into_refused();
                slot.provider.explain(refused.to_string());
                // Its namespaces are its own: whoever calls is told what is wrong.
                slot.state().entry = Some(Arc::new(entry_of(&config, &slot.provider)));
                let (provider, component) = (config.name.clone(), config.component.to_string());
                failed.push(ProviderFailed { provider, component, refused });
            }
            let mut slots = self.slots();
            slots.order.push(slot.name.clone());
            slots.by_name.insert(slot.name.clone(), slot);
        }
        if is_mistake || serving == 0 && !failed.is_empty() {
            return Err(failed);
        }
        for failure in &failed {
            tracing::error!(provider = %failure.provider, error = %failure, "no plugin answers for this provider");
        }
        self.list_entries();
        Ok(())
    }

    async fn start_one(&self, slot: &Slot, config: ProviderConfig) -> Result<(), StartRefusal> {
        let record = self.begin(slot, Kind::Configure, Asker::Start, &config, config.component.to_string());
        let loaded = self.load(slot, Load { config, bytes: None }, &record).await;
        slot.state().seen = record.now().digest;
        match loaded {
            Ok(prepared) => {
                self.publish(slot, prepared, &record);
                record.end(Outcome::Published);
                Ok(())
            }
            Err(refusal) => {
                record.end(refusal.clone().into_refused().into());
                Err(refusal)
            }
        }
    }

    /// Brings the providers to a new configuration: as a whole, or not at all. Whatever has to be loaded
    /// is loaded and tried first; if one is refused, nothing changes. Answers with all changes.
    ///
    /// # Errors
    /// Too many changes of a provider wait.
    ///
    /// # Cancel safety
    /// The change goes on without its caller.
    pub async fn apply(&self, difference: Difference, by: Asker) -> Result<Vec<Change>, ControlError> {
        let control = self.clone();
        self.run(async move { control.apply_now(difference, by).await }).await
    }

    async fn apply_now(&self, difference: Difference, by: Asker) -> Result<Vec<Change>, ControlError> {
        let Difference { added, changed, removed, order } = difference;
        // In the order of names, so that two changes never wait for each other.
        let mut slots: BTreeMap<ProviderName, (Arc<Slot>, Option<Wanted>)> = BTreeMap::new();
        for config in added {
            let slot = Arc::new(Slot::new(&config));
            slots.insert(config.name.clone(), (slot, Some((config, true))));
        }
        for config in changed {
            slots.insert(config.name.clone(), (self.slot(&config.name)?, Some((config, false))));
        }
        for name in removed {
            let slot = self.slot(&name)?;
            slots.insert(name, (slot, None));
        }
        let mut turns: Vec<OwnedSemaphorePermit> = Vec::with_capacity(slots.len());
        let (mut works, mut gone) = (Vec::new(), Vec::new());
        for (slot, change) in slots.into_values() {
            turns.push(slot.turn().await?);
            match change {
                Some((config, is_new)) => works.push(self.work(slot, config, is_new, by)),
                None => gone.push(slot),
            }
        }
        let works = futures_util::future::join_all(works).await;
        let refused: Vec<_> =
            works.iter().filter(|work| work.prepared.is_err()).map(|work| work.slot.name.clone()).collect();
        if !refused.is_empty() {
            return Ok(self.abandon(works, &refused).await);
        }
        Ok(self.carry_out(works, gone, order, by).await)
    }

    async fn work(&self, slot: Arc<Slot>, config: ProviderConfig, is_new: bool, by: Asker) -> Work {
        let record = self.begin(&slot, Kind::Configure, by, &config, config.component.to_string());
        let prepared = self.prepare(&slot, Load { config, bytes: None }, &record).await;
        Work { slot, record, is_new, prepared }
    }

    /// Nothing changes, since one was refused.
    async fn abandon(&self, works: Vec<Work>, refused: &[ProviderName]) -> Vec<Change> {
        let names = refused.iter().map(ProviderName::as_str).collect::<Vec<_>>().join(", ");
        let mut changes = Vec::with_capacity(works.len());
        for Work { slot, record, is_new, prepared } in works {
            let outcome = match prepared {
                Err(refused) => refused.into(),
                Ok(_) => Refused { at: "publish", reason: format!("the same change was refused for {names}") }.into(),
            };
            changes.push(record.end(outcome));
            if is_new {
                // A provider that never was keeps no processes.
                let processes = slot.state().processes.take();
                if let Some(processes) = processes {
                    processes.shutdown().await;
                }
            }
        }
        changes
    }

    async fn carry_out(
        &self,
        works: Vec<Work>,
        gone: Vec<Arc<Slot>>,
        order: Vec<ProviderName>,
        by: Asker,
    ) -> Vec<Change> {
        let (mut changes, mut published) = (Vec::new(), Vec::new());
        for Work { slot, record, is_new, prepared } in works {
            let Ok(prepared) = prepared else { continue };
            let config = prepared.config.clone();
            let taken = match self.introduce(&slot, prepared, &record).await {
                Ok(Introduced::Ready(prepared)) => self.publish(&slot, prepared, &record),
                Ok(Introduced::Published(version)) => self.took_over(&slot, version, &record),
                Ok(Introduced::TakenBack(reason)) => {
                    self.shared.scaler.invalidate_provider(&slot.name);
                    self.drain(&slot, &record);
                    changes.push(record.end(Outcome::RolledBack { reason }));
                    continue;
                }
                Err(refused) => {
                    changes.push(record.end(refused.into()));
                    continue;
                }
            };
            let mut state = slot.state();
            state.configured = config;
            state.seen = record.now().digest;
            drop(state);
            if is_new {
                self.slots().by_name.insert(slot.name.clone(), Arc::clone(&slot));
            }
            published.push((slot, record, taken));
        }
        let mut names = self.slots();
        // Whoever is to go stays until the namespaces have their new providers.
        let leaving = names.order.iter().filter(|name| gone.iter().any(|slot| slot.name == **name)).cloned();
        let order = order.into_iter().chain(leaving.collect::<Vec<_>>()).collect();
        names.order = order;
        drop(names);
        for slot in &gone {
            // So that no namespace is listed twice.
            slot.state().entry = None;
        }
        self.list_entries();
        for (slot, record, taken) in published {
            self.tell_scaler(&slot, taken);
            self.drain(&slot, &record);
            changes.push(record.end(Outcome::Published));
        }
        changes.extend(gone.iter().map(|slot| self.remove_now(slot, by)));
        changes
    }
}
