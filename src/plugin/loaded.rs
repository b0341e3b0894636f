//! A plugin that was loaded: what its instances share, and what is known of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use tokio::sync::OnceCell;
use wasmtime::component::{Component, InstancePre};

use super::convert::Foreign;
use super::engine::Engine;
use super::guest_log::LogRate;
use super::imports::HostState;
use super::instance::Idle;
use super::interfaces::Exports;
use super::lease::{Turn, Turns};
use super::lock::Locked;
use super::manifest::Manifest;
use super::metrics::ProviderMetrics;
use super::platform::Platform;
use super::quarantine::Quarantine;
use super::reach::Reach;
use super::trap::history::History;
use super::trap::symbols::Symbols;
use crate::host::egress::Egress;
use crate::host::processes::Processes;
use crate::host::state::ProviderState;
use crate::name::{Digest, Namespace, ProviderName};
use crate::provider::Limits;
use crate::query::{Cause, QueryError};
use crate::trust::signature::Signer;
use crate::trust::used::Recorder;

/// What of the machine a plugin gets: the parts that its imports are carried out by.
#[derive(Clone)]
pub struct HostParts {
    /// Requests to the platform, through the provider's grants.
    pub egress: Arc<Egress>,
    /// What the provider keeps.
    pub state: ProviderState,
    /// The provider's processes, if the operator declared commands.
    pub processes: Option<Processes>,
}

/// What all instances of a generation share.
pub(super) struct Shared {
    /// Keeps the engine's clock ticking for as long as a plugin can run.
    pub(super) engine: Arc<Engine>,
    pub(super) name: ProviderName,
    /// What of the platform it answers for.
    pub(super) namespaces: Vec<Namespace>,
    pub(super) is_default: bool,
    pub(super) limits: Limits,
    pub(super) config: serde_json::Value,
    /// The same as text.
    pub(super) document: String,
    pub(super) parts: HostParts,
    pub(super) metrics: ProviderMetrics,
    pub(super) log_rate: Arc<LogRate>,
    pub(super) told_of_foreign: AtomicBool,
    /// What its provider asked the platform and the host for, if that is recorded.
    pub(super) used: Option<Arc<Recorder>>,
}

impl Shared {
    /// Whether a namespace is this provider's to answer for. Who claims what the default provider may
    /// serve too, the directory knows.
    ///
    /// # Errors
    /// It is not.
    pub(super) fn confine(&self, namespace: &impl AsRef<str>) -> Result<(), QueryError> {
        let namespace = namespace.as_ref();
        if self.is_default || self.namespaces.iter().any(|own| own.as_str() == namespace) {
            return Ok(());
        }
        let message = format!("namespace {namespace:?} is none of its own; claim it in [provider.{}]", self.name);
        Err(QueryError::new(Cause::NoProvider, message))
    }

    /// Notes that the guest called a function of the host.
    pub(super) fn uses(&self, function: &'static str) {
        if let Some(used) = &self.used {
            used.note_host(function);
        }
    }

    /// Counts entries of an answer that were left out, and says so once.
    pub(super) fn left_out(&self, foreign: &Foreign) {
        if foreign.0 == 0 {
            return;
        }
        self.metrics.foreign.inc_by(foreign.0 as u64);
        if !self.told_of_foreign.swap(true, Ordering::Relaxed) {
            let (provider, entries) = (&self.name, foreign.0);
            tracing::warn!(%provider, entries, "the plugin answered for namespaces that are not its own: left out, and counted from now on");
        }
    }
}

/// A plugin that was loaded, with its grants and limits. Immutable but for its instances.
pub(super) struct Loaded {
    pub(super) shared: Arc<Shared>,
    pub(super) pre: InstancePre<HostState>,
    pub(super) exports: Exports,
    pub(super) digest: Digest,
    pub(super) manifest: Manifest,
    /// What its bytes show of its requests.
    pub(super) reach: Reach,
    pub(super) signer: Option<Signer>,
    /// What the lock is to say of it once it is published.
    pub(super) locked: Option<Locked>,
    pub(super) loaded_at: SystemTime,
    pub(super) turns: Turns,
    pub(super) quarantine: Quarantine,
    /// Its provider's, over all generations.
    pub(super) history: Arc<History>,
    /// Where names of its functions may be, beside its file.
    pub(super) symbols: Option<Arc<Symbols>>,
    /// Which platform it speaks to.
    pub(super) platform: Platform,
    pub(super) idle: Idle,
    pub(super) idle_watch: Idle,
    /// Keeps the compiled component findable for other providers for as long as somebody uses it.
    pub(super) _compiled: Compiled,
}

impl Loaded {
    /// The instances that wait for a call of this kind.
    pub(super) fn idle(&self, turn: Turn) -> &Idle {
        match turn {
            Turn::Any | Turn::Write | Turn::Long | Turn::Poll => &self.idle,
            Turn::Watch => &self.idle_watch,
        }
    }

    /// Drops the instances that wait, and keeps none from now on.
    pub(super) fn close(&self) {
        self.idle.close();
        self.idle_watch.close();
    }

    /// Has the lock say what it is now, since it is published.
    pub(super) fn write_down(&self) {
        if let Some(locked) = &self.locked {
            locked.record();
        }
    }

    /// Keeps instances again.
    pub(super) fn open(&self) {
        self.idle.open();
        self.idle_watch.open();
    }
}

/// A component that is being compiled, or was.
pub(super) type Compiled = Arc<OnceCell<Component>>;

/// A loaded plugin that nobody uses yet.
pub struct Candidate {
    pub(super) plugin: Arc<Loaded>,
    pub(super) generations: Arc<AtomicU64>,
}

impl Candidate {
    /// What the plugin says of itself; empty if it has no manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.plugin.manifest
    }

    /// Who vouches for it; `None` if nobody was asked for.
    #[must_use]
    pub fn signer(&self) -> Option<&Signer> {
        self.plugin.signer.as_ref()
    }

    /// The digest of its bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.plugin.digest
    }
}
