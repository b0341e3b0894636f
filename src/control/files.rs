//! The files of components and of their signatures: which there are, and whether they changed.

use std::path::PathBuf;

use super::{Control, Slot};
use crate::name::{Digest, ProviderName};
use crate::provider::{ComponentSource, ProviderConfig};
use crate::trust::signature::SignaturePolicy;

/// What a provider's files had when somebody looked. Signatures are part of it: they may be written after the
/// component, which then is tried once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The component.
    pub component: Digest,
    /// Its signatures; `None` if none are looked for.
    pub signatures: Option<Digest>,
}

impl Seen {
    pub(super) fn of(component: Option<Digest>, signatures: Option<Digest>) -> Option<Self> {
        component.map(|component| Self { component, signatures })
    }
}

/// The files of a provider that the configuration names.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Whose they are.
    pub provider: ProviderName,
    /// Its component.
    pub component: PathBuf,
    /// Whose signatures it has to have, and where they are.
    pub signature: SignaturePolicy,
    /// The most bytes of the component.
    pub component_bytes: u64,
}

/// What the signatures of the configured component are now. Reads some small files.
pub(super) async fn signatures(config: &ProviderConfig) -> Option<Digest> {
    let ComponentSource::File(path) = config.component.clone() else { return None };
    let policy = config.signature.clone();
    tokio::task::spawn_blocking(move || policy.is_on().then(|| policy.state(&path))).await.ok().flatten()
}

impl Control {
    /// The files that the configuration names.
    #[must_use]
    pub fn files(&self) -> Vec<Watched> {
        let slots: Vec<_> = self.slots().all().cloned().collect();
        slots.iter().filter_map(|slot| watched(slot)).collect()
    }

    /// Notes what the configured files have now. Whether there is something to load: another component than the
    /// one that serves, or the same with other signatures than those that it was refused with.
    #[must_use]
    pub fn look(&self, provider: &ProviderName, found: Seen) -> bool {
        let Ok(slot) = self.slot(provider) else { return false };
        let mut state = slot.state();
        let Some(before) = state.seen.replace(found) else { return true };
        let serves = state.active.as_ref().is_some_and(|active| active.digest == found.component);
        before.component != found.component || before.signatures != found.signatures && !serves
    }
}

fn watched(slot: &Slot) -> Option<Watched> {
    let state = slot.state();
    let ComponentSource::File(component) = &state.configured.component else { return None };
    let active = state.active.as_ref().map_or(&state.configured, |active| &active.config);
    Some(Watched {
        provider: slot.name.clone(),
        component: component.clone(),
        signature: state.configured.signature.clone(),
        component_bytes: active.limits.component_bytes,
    })
}
