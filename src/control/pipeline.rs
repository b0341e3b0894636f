//! The way of a candidate: loaded, probed, shadowed, warmed up, published, and the old one drained.
//!
//! Up to the publish nothing that serves is touched, and a candidate may only read.

use std::sync::Arc;

use super::change::{Outcome, Record, Step, chain};
use super::retire::Order;
use super::slot::{Slot, Version};
use super::{Control, Refused, StartRefusal};
use crate::host::egress::Egress;
use crate::host::processes::Processes;
use crate::plugin::shadow::{self, ShadowReport};
use crate::plugin::{Candidate, HostParts, Upload};
use crate::provider::ProviderConfig;

/// Bytes of groups that are remembered for a provider: a thousand with some variables each.
const GROUPS_QUOTA: u64 = 16 << 20;

/// A candidate that passed everything, and what it was tried with.
pub(super) struct Prepared {
    pub(super) config: ProviderConfig,
    pub(super) component: String,
    pub(super) candidate: Candidate,
    pub(super) report: ShadowReport,
}

/// What is to be loaded.
pub(super) struct Load {
    pub(super) config: ProviderConfig,
    /// What was handed over, in place of what the configuration names.
    pub(super) upload: Option<Upload>,
}

/// What did not pass a step.
fn refused(step: &Step) -> impl FnOnce(String) -> Refused + use<> {
    let at = step.as_str();
    move |reason| Refused { at, reason }
}

impl Control {
    /// Loads a candidate, as far as that goes without asking a platform.
    pub(super) async fn load(&self, slot: &Slot, load: Load, record: &Record) -> Result<Prepared, StartRefusal> {
        let Load { config, upload } = load;
        let component = if upload.is_some() { "uploaded".to_owned() } else { config.component.to_string() };
        let (shared, egress) = (&self.shared, config.clone());
        let metrics = shared.egress.clone();
        // Reads the files of credentials.
        let egress = tokio::task::spawn_blocking(move || Egress::new(&egress, &metrics)).await;
        let egress = match egress {
            Ok(Ok(egress)) => egress,
            Ok(Err(error)) => return Err(StartRefusal::Grant(refused(&Step::Granted)(chain(&error)))),
            Err(panicked) => return Err(StartRefusal::Grant(refused(&Step::Granted)(panicked.to_string()))),
        };
        record.reach(Step::Granted);
        let state = shared.store.provider(&config.name, config.limits.state_quota);
        let processes = self.processes(slot, &config).map_err(StartRefusal::Grant)?;
        let parts = HostParts { egress: Arc::new(egress), state, processes };
        let loaded = shared.plugins.load_from(&config, upload, parts, &|step| record.loaded(step)).await;
        let candidate = loaded.map_err(|error| {
            StartRefusal::Plugin(Refused { at: error.refusal.step(), reason: chain(&error.refusal) })
        })?;
        let report = ShadowReport { is_same_platform: true, ..ShadowReport::default() };
        Ok(Prepared { config, component, candidate, report })
    }

    /// Loads a candidate and tries it, without changing anything.
    pub(super) async fn prepare(&self, slot: &Slot, load: Load, record: &Record) -> Result<Prepared, Refused> {
        let mut prepared = self.load(slot, load, record).await.map_err(StartRefusal::into_refused)?;
        if !record.is_dry_run() {
            // Before it is looked at: what is there must not go away afterwards.
            self.stop_retiring(slot, |retiring| retiring.is_on_platform_of(&prepared.candidate)).await;
        }
        let has_active = slot.provider.status().is_ok();
        match prepared.candidate.try_check().await {
            // Without a generation there is nothing to lose, and a platform may come later than its gateway.
            Some(Err(error)) if !has_active => record.find(format!("the platform does not answer yet: {error}")),
            Some(Err(error)) => {
                return Err(refused(&Step::Probed)(format!("the platform does not answer the candidate: {error}")));
            }
            Some(Ok(())) | None => {}
        }
        record.reach(Step::Probed);
        let swap = &prepared.config.swap;
        let called = self.shared.scaler.called_within(&slot.name, swap.swap_lookback);
        let report = shadow::shadow(&slot.provider, &prepared.candidate, swap, &called).await;
        if has_active {
            record.shadow(&report);
        }
        if !report.is_accepted() {
            return Err(refused(&Step::Shadowed)(report.to_string()));
        }
        record.reach(Step::Shadowed);
        prepared.report = report;
        Ok(prepared)
    }

    /// The provider's processes, if it has commands. They begin with the first publish.
    fn processes(&self, slot: &Slot, config: &ProviderConfig) -> Result<Option<Processes>, Refused> {
        let mut state = slot.state();
        if config.commands.is_empty() {
            return Ok(None);
        }
        if let Some(processes) = &state.processes {
            return Ok(Some(processes.clone()));
        }
        // By this name a binary that was replaced on disk still starts its own version's watchdogs.
        let program = "/proc/self/exe".into();
        let groups = self.shared.store.host("processes", &config.name, GROUPS_QUOTA);
        let processes = Processes::new(config.name.clone(), config.commands.clone(), groups, program);
        state.processes = Some(processes.clone());
        Ok(Some(processes))
    }

    /// Gets instances for the functions that need one on another platform.
    pub(super) async fn warm(&self, prepared: &Prepared, record: &Record) -> Result<(), Refused> {
        if prepared.report.to_warm.is_empty() {
            return Ok(());
        }
        let timeout = prepared.config.swap.warm_timeout;
        let cold = shadow::warm_up(&prepared.candidate, &prepared.report.to_warm, timeout).await;
        if cold.is_empty() {
            record.reach(Step::WarmedUp);
            return Ok(());
        }
        let cold: Vec<String> = cold.iter().map(ToString::to_string).collect();
        Err(refused(&Step::WarmedUp)(format!(
            "these functions got no instance on the other platform within swap.warm-timeout: {}",
            cold.join("; ")
        )))
    }

    /// What is published together with a candidate.
    pub(super) fn version(&self, slot: &Slot, prepared: &Prepared) -> Version {
        let kept = slot.state().entry.clone();
        Version::new(
            prepared.config.clone(),
            prepared.candidate.digest(),
            prepared.component.clone(),
            &slot.provider,
            kept.as_ref(),
        )
    }

    /// Makes a candidate the active generation.
    pub(super) fn publish(&self, slot: &Slot, candidate: Candidate, record: &Record) {
        let processes = slot.state().processes.clone();
        if let Some(processes) = processes {
            // With the groups that they had before.
            processes.begin();
        }
        record.generation(slot.provider.publish(candidate));
    }

    /// Writes down that a version is the active one now.
    pub(super) fn took_over(&self, slot: &Slot, version: Version, is_same_platform: bool, record: &Record) -> Taken {
        record.reach(Step::Published);
        let order = self.order(slot, &version, is_same_platform);
        slot.provider.remember(&version.config.swap);
        let mut state = slot.state();
        state.entry = Some(Arc::clone(&version.entry));
        state.is_same_platform = is_same_platform;
        state.previous = state.active.replace(version);
        drop(state);
        Taken { is_same_platform, order }
    }
}

/// What is to be done after a publish.
pub(super) struct Taken {
    /// Whether what the scaler knows still holds.
    pub(super) is_same_platform: bool,
    /// What becomes of the platform that was left.
    pub(super) order: Option<Order>,
}

impl From<Refused> for Outcome {
    fn from(refused: Refused) -> Self {
        Self::Refused { at: refused.at, reason: refused.reason }
    }
}
