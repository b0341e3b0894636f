//! What the operator is shown of providers.

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use serde::Serialize;

use super::change::Change;
use super::slot::Slot;
use crate::name::{Generation, Namespace, ProviderName};
use crate::plugin::{Columns, Frame, HostColumns, Manifest, Reach, TrapReport};
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
    /// What is declared, detected, granted and used of each grant.
    pub grants: BTreeMap<String, Columns>,
    /// The same of the host's own interfaces.
    pub host: BTreeMap<String, HostColumns>,
    /// Its last changes, the newest first.
    pub history: Vec<Change>,
    /// The last calls, of all generations, that ended in a trap or a broken budget, the newest first.
    pub traps: Vec<Trap>,
}

/// A call that the plugin did not survive.
#[derive(Clone, Debug, Serialize)]
pub struct Trap {
    /// When it ended, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The generation that served it.
    pub generation: Generation,
    /// Which interface was called.
    pub interface: &'static str,
    /// About which function, if it was about one.
    pub function: Option<String>,
    /// For which request, if it was for one.
    pub call_id: Option<String>,
    /// What happened.
    pub message: String,
    /// Processor time that it had used, in microseconds.
    pub cpu_us: u64,
    /// Time since it began, in microseconds.
    pub wall_us: u64,
    /// Memory of its instance, in bytes.
    pub memory: usize,
    /// Requests that it had sent.
    pub requests: u32,
    /// Bytes of their bodies.
    pub request_bytes: u64,
    /// Bytes of their answers' bodies that it had read.
    pub response_bytes: u64,
    /// Resources of the host that it held.
    pub handles: usize,
    /// Lines that it had logged.
    pub log_lines: u32,
    /// Where the plugin was, the innermost frame first.
    pub frames: Vec<Frame>,
}

impl From<TrapReport> for Trap {
    fn from(report: TrapReport) -> Self {
        let TrapReport { at, generation, interface, function, call_id, message, .. } = report;
        let TrapReport { cpu, wall, memory, egress, handles, log_lines, frames, .. } = report;
        let micros = |span: std::time::Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        Self {
            at_ms: micros(at.duration_since(UNIX_EPOCH).unwrap_or_default()) / 1000,
            generation,
            interface,
            function: function.map(|function| function.to_string()),
            call_id: call_id.map(|id| id.to_string()),
            message,
            cpu_us: micros(cpu),
            wall_us: micros(wall),
            memory,
            requests: egress.requests,
            request_bytes: egress.request_bytes,
            response_bytes: egress.response_bytes,
            handles,
            log_lines,
            frames,
        }
    }
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
    let nothing = (None, Reach::default(), BTreeMap::new());
    let known = status.as_ref().map(|status| (Some(&status.manifest), &status.reach, &status.used));
    let (manifest, reach, used) = known.unwrap_or((nothing.0, &nothing.1, &nothing.2));
    let grants = Columns::of(manifest, reach, &config.grants, used);
    let host = HostColumns::of(reach, config, used);
    Detail {
        overview,
        traps: status.iter().flat_map(|status| status.traps.iter().cloned().map(Trap::from)).collect(),
        manifest: status.map(|status| status.manifest),
        loaded_ms: loaded.map(|since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
        grants,
        host,
        history: state.history.all(),
    }
}
