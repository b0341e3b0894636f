//! Several providers at once: the first start, and a configuration that changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use tokio::sync::OwnedSemaphorePermit;

use super::change::{Asker, Change, Kind, Outcome, Record, Step};
use super::files::{Seen, signatures};
use super::pipeline::Load;
use super::slot::{Slot, entry_of};
use super::together::Work;
use super::{Control, ControlError, ProviderFailed, Refused, StartRefusal};
use crate::name::{Digest, ProviderName};
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

impl Difference {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
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
                Err(panicked) => {
                    Some(StartRefusal::Plugin(Refused { at: Step::Published.as_str(), reason: panicked.to_string() }))
                }
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
        let signatures = signatures(&config).await;
        let loaded = self.load(slot, Load { config, upload: None }, &record).await;
        slot.state().seen = Seen::of(record.now().digest, signatures);
        match loaded {
            Ok(prepared) => {
                let version = self.version(slot, &prepared);
                self.publish(slot, prepared.candidate, &record);
                self.took_over(slot, version, true, &record);
                record.end(Outcome::Published);
                Ok(())
            }
            Err(refusal) => {
                record.end(refusal.clone().into_refused().into());
                Err(refusal)
            }
        }
    }

    /// What the providers lack, compared with a new configuration: with what each of them was configured to
    /// be, whatever was uploaded or rolled back since. Commands stay what they are, where there are some:
    /// processes belong to the provider and outlive its generations.
    #[must_use]
    pub fn difference(&self, wanted: &[ProviderConfig]) -> Difference {
        let order = wanted.iter().map(|config| config.name.clone()).collect();
        let mut difference = Difference { order, ..Difference::default() };
        for config in wanted {
            let Some(configured) = self.configured(&config.name) else {
                difference.added.push(config.clone());
                continue;
            };
            let mut config = config.clone();
            if !configured.commands.is_empty() {
                config.commands.clone_from(&configured.commands);
            }
            if config != configured {
                difference.changed.push(config);
            }
        }
        let running: Vec<ProviderName> = self.slots().by_name.keys().cloned().collect();
        difference.removed = running.into_iter().filter(|name| !difference.order.contains(name)).collect();
        difference
    }

    /// Brings the providers to a new configuration: as a whole, or not at all. Whatever has to be loaded is
    /// loaded, tried, warmed up and, where that is configured, put to the proof as a canary first; if one
    /// fails, nothing changes. Then all are published, listed and told of together. Answers with all changes.
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
        let mut slots: BTreeMap<ProviderName, (Arc<Slot>, Option<ProviderConfig>)> = BTreeMap::new();
        for config in added {
            slots.insert(config.name.clone(), (Arc::new(Slot::new(&config)), Some(config)));
        }
        for config in changed {
            slots.insert(config.name.clone(), (self.slot(&config.name)?, Some(config)));
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
                Some(config) => works.push(self.work(slot, config, by)),
                None => gone.push(slot),
            }
        }
        let works: Vec<_> = stream::iter(works).buffered(self.shared.at_once).collect().await;
        let (works, signatures): (Vec<Work>, Vec<_>) = works.into_iter().unzip();
        let changing: Vec<_> = works.iter().map(|work| (Arc::clone(&work.slot), Arc::clone(&work.record))).collect();
        Ok(match self.take_over(works).await {
            Ok(taken) => {
                self.settle(&changing, &signatures, &gone, order);
                for ((slot, record), taken) in changing.iter().zip(taken) {
                    self.tell_scaler(slot, &taken);
                    self.drain(slot, record, taken.order);
                }
                let mut changes: Vec<_> = changing.iter().map(|(_, record)| record.end(Outcome::Published)).collect();
                changes.extend(gone.iter().map(|slot| self.remove_now(slot, by)));
                changes
            }
            Err(ended) => ended,
        })
    }

    /// Answers also with what the signatures were before they were checked.
    async fn work(&self, slot: Arc<Slot>, config: ProviderConfig, by: Asker) -> (Work, Option<Digest>) {
        let record = self.begin(&slot, Kind::Configure, by, &config, config.component.to_string());
        let signatures = signatures(&config).await;
        let prepared = self.prepare(&slot, Load { config, upload: None }, &record).await;
        (Work { slot, record, prepared }, signatures)
    }

    /// Writes down what was taken, and lists it.
    fn settle(
        &self,
        changing: &[(Arc<Slot>, Arc<Record>)],
        signatures: &[Option<Digest>],
        gone: &[Arc<Slot>],
        order: Vec<ProviderName>,
    ) {
        for ((slot, record), signatures) in changing.iter().zip(signatures) {
            let mut state = slot.state();
            if let Some(config) = state.active.as_ref().map(|active| active.config.clone()) {
                state.configured = config;
            }
            state.seen = Seen::of(record.now().digest, *signatures);
        }
        let mut slots = self.slots();
        for (slot, _) in changing {
            slots.by_name.insert(slot.name.clone(), Arc::clone(slot));
        }
        // Whoever is to go stays until the namespaces have their new providers.
        let leaving: Vec<_> =
            slots.order.iter().filter(|name| gone.iter().any(|slot| slot.name == **name)).cloned().collect();
        slots.order = order.into_iter().chain(leaving).collect();
        drop(slots);
        for slot in gone {
            // So that no namespace is listed twice.
            slot.state().entry = None;
        }
        self.list_entries();
    }
}
