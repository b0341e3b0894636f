//! What the operator is shown of providers.

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use serde::Serialize;

use super::change::Change;
use super::slot::Slot;
use crate::name::{Generation, Namespace, ProviderName};
use crate::plugin::Manifest;
use crate::query::{Interface, Provider as _};

/// A provider in a line.
#[derive(Clone, Debug, Serialize)]
pub struct Overview {
    /// Its name.
    pub name: ProviderName,
    /// What is loaded: `builtin:NAME`, a path, or `uploaded`.
    pub component: String,
    /// The digest of its bytes; none if nothing is loaded.
    pub digest: Option<String>,
    /// The generation that serves; 0 is none.
    pub generation: Generation,
    /// One word: `active`, `quarantined`, or `failed` where there is no generation.
    pub state: &'static str,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The optional interfaces that it has.
    pub interfaces: Vec<&'static str>,
    /// The namespaces that it claims.
    pub namespaces: Vec<Namespace>,
    /// Whether it serves the namespaces that nobody claims.
    pub default: bool,
    /// The generation that a roll back would bring back.
    pub previous: Option<Generation>,
    /// A generation that serves a share of the functions first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// The step that a change under way reached last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changing: Option<&'static str>,
}

/// A canary.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Canary {
    /// Its generation.
    pub generation: Generation,
    /// Percent of the functions.
    pub share: u8,
}

/// Everything about one provider.
#[derive(Clone, Debug, Serialize)]
pub struct Detail {
    /// The line.
    #[serde(flatten)]
    pub overview: Overview,
    /// What the plugin says of itself.
    pub manifest: Option<Manifest>,
    /// When it was loaded, in milliseconds since the Unix epoch.
    pub loaded_ms: Option<u64>,
    /// What it was granted: the rules of each grant and where it leads.
    pub grants: BTreeMap<String, Granted>,
    /// Its last changes, the newest first.
    pub history: Vec<Change>,
}

/// One grant.
#[derive(Clone, Debug, Serialize)]
pub struct Granted {
    /// Where requests go.
    pub connect: String,
    /// What is allowed.
    pub rules: Vec<String>,
}

pub(super) fn overview(slot: &Slot) -> Overview {
    let state = slot.state();
    let active = state.active.as_ref();
    let config = active.map_or(&state.configured, |active| &active.config);
    let (word, reason, digest) = match slot.provider.status() {
        Ok(status) if status.is_quarantined => ("quarantined", None, Some(status.digest)),
        Ok(status) => ("active", None, Some(status.digest)),
        Err(reason) => ("failed", Some(reason), None),
    };
    let interfaces = Interface::ALL.into_iter().filter(|&interface| slot.provider.has(interface));
    Overview {
        name: slot.name.clone(),
        component: active.map_or_else(|| config.component.to_string(), |active| active.component.clone()),
        digest: digest.map(|digest| digest.to_string()),
        generation: slot.provider.generation(),
        state: word,
        reason,
        interfaces: interfaces.map(Interface::as_str).collect(),
        namespaces: config.namespaces.clone(),
        default: config.is_default,
        previous: slot.provider.previous(),
        canary: slot.provider.canary().map(|(generation, share)| Canary { generation, share }),
        changing: state.history.under_way(),
    }
}

pub(super) fn detail(slot: &Slot) -> Detail {
    let overview = overview(slot);
    let status = slot.provider.status().ok();
    let loaded = status.as_ref().map(|status| status.loaded_at.duration_since(UNIX_EPOCH).unwrap_or_default());
    let state = slot.state();
    let config = state.active.as_ref().map_or(&state.configured, |active| &active.config);
    let granted = config.grants.iter().map(|(name, grant)| {
        let rules = grant.rules.iter().map(ToString::to_string).collect();
        (name.clone(), Granted { connect: grant.connect.to_string(), rules })
    });
    Detail {
        overview,
        manifest: status.map(|status| status.manifest),
        loaded_ms: loaded.map(|since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
        grants: granted.collect(),
        history: state.history.all(),
    }
}
