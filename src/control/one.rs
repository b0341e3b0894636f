//! Changes of one provider: another plugin, the one before, none.

use std::sync::Arc;

use super::change::{Asker, Change, Kind, Outcome, Step};
use super::files::{Seen, signatures};
use super::pipeline::Load;
use super::slot::{Slot, Version};
use super::together::Work;
use super::{Component, Control, ControlError};
use crate::name::{Namespace, ProviderName};
use crate::provider::{ComponentSource, ProviderConfig};

/// Why a canary ended, where somebody asked for it.
const ASKED_FOR: &str = "it was asked for";

impl Control {
    /// Does the work to its end, whether or not somebody still waits for it.
    pub(super) async fn run<T: Send + 'static>(
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

    async fn swap_now(&self, slot: &Arc<Slot>, component: Component, by: Asker, dry_run: bool) -> Change {
        let (mut config, configured) = {
            let state = slot.state();
            let active = state.active.as_ref().map_or(&state.configured, |active| &active.config);
            // Whose signatures count is what the configuration says now, whatever was rolled back to.
            let signature = state.configured.signature.clone();
            (ProviderConfig { signature, ..active.clone() }, state.configured.component.clone())
        };
        let upload = match component {
            Component::Uploaded(upload) => Some(upload),
            Component::File(path) => {
                config.component = ComponentSource::File(path);
                None
            }
            Component::Configured => {
                config.component.clone_from(&configured);
                None
            }
        };
        let is_configured = upload.is_none() && config.component == configured;
        if !is_configured {
            config.signature = config.signature.beside_another();
        }
        let signatures = if is_configured { signatures(&config).await } else { None };
        let shown = if upload.is_some() { "uploaded".to_owned() } else { config.component.to_string() };
        let kind = if dry_run { Kind::DryRun } else { Kind::Swap };
        let record = self.begin(slot, kind, by, &config, shown);
        let prepared = self.prepare(slot, Load { config, upload }, &record).await;
        if dry_run {
            return record.end(prepared.err().map_or(Outcome::Ready, Outcome::from));
        }
        if is_configured {
            // Whatever becomes of it: the same bytes are not tried again by themselves.
            slot.state().seen = Seen::of(record.now().digest, signatures);
        }
        let work = Work { slot: Arc::clone(slot), record: Arc::clone(&record), prepared };
        match self.take_over(vec![work]).await {
            Ok(taken) => {
                self.list_entries();
                for taken in taken {
                    self.tell_scaler(slot, &taken);
                    self.drain(slot, &record, taken.order);
                }
                record.end(Outcome::Published)
            }
            Err(_ended) => record.now(),
        }
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
            // The change that made a canary waits for its end, so this one does not wait for its turn.
            if let Some(generation) = slot.provider.take_back_canary(ASKED_FOR) {
                let config = slot.state().configured.clone();
                let record = control.begin(&slot, Kind::RollBack, by, &config, "the canary".into());
                record.generation(generation);
                return Ok(record.end(Outcome::RolledBack { reason: None }));
            }
            let _turn = slot.turn().await?;
            control.roll_back_now(&slot, by).await
        })
        .await
    }

    async fn roll_back_now(&self, slot: &Arc<Slot>, by: Asker) -> Result<Change, ControlError> {
        let nothing = || ControlError::NothingBefore { provider: slot.name.clone() };
        let (version, is_same_platform) = {
            let state = slot.state();
            (state.previous.clone().ok_or_else(nothing)?, state.is_same_platform)
        };
        self.check_free(slot, &version)?;
        let previous = slot.provider.previous();
        self.stop_retiring(slot, |retiring| Some(retiring.generation()) == previous).await;
        let record = self.begin(slot, Kind::RollBack, by, &version.config, version.component.clone());
        record.digest(version.digest);
        record.generation(slot.provider.roll_back().ok_or_else(nothing)?);
        let taken = self.took_over(slot, version, is_same_platform, &record);
        self.list_entries();
        self.tell_scaler(slot, &taken);
        self.drain(slot, &record, taken.order);
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
            // So that the change that made it ends, and this one has its turn.
            let _active = slot.provider.take_back_canary("its provider is removed");
            let _turn = slot.turn().await?;
            Ok(control.remove_now(&slot, by))
        })
        .await
    }

    pub(super) fn remove_now(&self, slot: &Arc<Slot>, by: Asker) -> Change {
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
}
