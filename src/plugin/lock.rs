//! A plugin against `wicketgate.lock`: compared when it is loaded, written down when it is published.

use std::sync::Arc;

use wasmtime::component::Component;

use super::inspect::Inspection;
use super::manifest::Manifest;
use super::refuse::Refusal;
use crate::name::{Digest, ProviderName};
use crate::provider::{ComponentSource, ProviderConfig};
use crate::trust::lock::{Declared, Entry, Keeper};
use crate::trust::signature::Signer;

/// What is to be written when a plugin is published.
pub(super) struct Locked {
    keeper: Arc<Keeper>,
    provider: ProviderName,
    entry: Entry,
}

impl Locked {
    /// Compares a plugin that was linked with what the lock holds.
    pub(super) async fn check(
        keeper: &Arc<Keeper>,
        config: &ProviderConfig,
        facts: Facts<'_>,
    ) -> Result<Self, Refusal> {
        let names = facts.component.component_type();
        let entry = Entry {
            is_bundled: facts.is_bundled,
            ..Entry::new(
                config,
                facts.digest,
                declared(Some(facts.manifest)),
                facts.signer.map(ToString::to_string),
                names.imports(facts.engine).map(|(name, _)| name.to_owned()),
                names.exports(facts.engine).map(|(name, _)| name.to_owned()),
            )
        };
        let locked = Self { keeper: Arc::clone(keeper), provider: config.name.clone(), entry };
        let check = move || locked.keeper.check(&locked.provider, &locked.entry).map(|()| locked);
        let checked = tokio::task::spawn_blocking(check).await.map_err(|_panicked| Refusal::CompilerPanicked)?;
        checked.map_err(Refusal::Lock)
    }

    /// Writes it down, behind whoever publishes: a slow disk holds up no swap.
    pub(super) fn record(&self) {
        let (keeper, provider, entry) = (Arc::clone(&self.keeper), self.provider.clone(), self.entry.clone());
        let record = move || keeper.record(&provider, &entry);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(record)),
            Err(_no_runtime) => record(),
        }
    }
}

/// What is known of a plugin after it was linked.
pub(super) struct Facts<'f> {
    pub(super) digest: Digest,
    pub(super) manifest: &'f Manifest,
    pub(super) signer: Option<&'f Signer>,
    pub(super) component: &'f Component,
    pub(super) engine: &'f wasmtime::Engine,
    /// Whether it is part of the binary.
    pub(super) is_bundled: bool,
}

/// What the lock would hold of a component that was only inspected.
#[must_use]
pub fn lock_entry(config: &ProviderConfig, inspection: &Inspection, signer: Option<&Signer>) -> Entry {
    Entry {
        is_bundled: matches!(config.component, ComponentSource::Builtin(_)),
        ..Entry::new(
            config,
            inspection.digest,
            declared(inspection.manifest.as_ref()),
            signer.map(ToString::to_string),
            inspection.imports.iter().map(|import| import.name.clone()),
            inspection.exports.iter().map(|export| export.name.clone()),
        )
    }
}

fn declared(manifest: Option<&Manifest>) -> Declared {
    manifest.map_or_else(Declared::default, |manifest| Declared {
        version: manifest.version.clone(),
        grants: manifest.grants.keys().cloned().collect(),
        config: manifest.config.keys().cloned().collect(),
    })
}
