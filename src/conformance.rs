//! Whether a plugin does what the contract says, on its own platform and through the real host.
//!
//! The cases are data (`tests/conformance/plugins`), part of the binary. Each runs its steps with
//! reused instances and again with a fresh one for each call. Most ask the platform that the operator
//! configured; where a case wants a platform that is down, slow, or answers nonsense, the requests of
//! the plugin are led to a server of ours instead ([`platform`]), past which no case needs to know
//! what the platform's API is.
//!
//! A case that cannot be tried (the plugin lacks the interface, no function was named) is *not
//! applicable*, which is said with its reason and is never a pass.

mod case;
mod platform;
mod report;
mod run;

use std::sync::Arc;
use std::time::Duration;

pub use case::{Suite, SuiteError};
pub use report::{Outcome, Report};

use crate::host::egress::{Egress, EgressMetrics, GrantError};
use crate::host::processes::Processes;
use crate::host::state::Store;
use crate::metrics::Registry;
use crate::name::{FunctionRef, Namespace};
use crate::plugin::{EngineConfig, EngineError, HostParts, LoadError, PluginProvider, Plugins};
use crate::provider::{Limits, ProviderConfig, Reuse};
use platform::Platform;
use run::Run;

/// What is tried, and on what.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The provider, with the component that is tried.
    pub config: ProviderConfig,
    /// A function that exists and may be scaled to anything up to [`Subject::most`] and to none.
    pub function: Option<FunctionRef>,
    /// The namespace of what is asked for without a function.
    pub namespace: Namespace,
    /// The `N` of "from none to one to N". At least 2.
    pub most: u64,
    /// How many functions the platform lists at least.
    pub functions: usize,
    /// How long a scaled function may take until it is available.
    pub patience: Duration,
}

/// Why nothing was tried.
#[derive(Debug, thiserror::Error)]
pub enum ConformanceError {
    /// The engine cannot be built.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A grant cannot be used.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// The plugin was refused.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// No port or path could be had.
    #[error("the platform that fails cannot be started")]
    Platform(#[from] std::io::Error),
}

/// Runs a suite, first with reused instances and then with one for each call.
///
/// # Errors
/// See [`ConformanceError`]. What a case finds is no error but part of the report.
pub async fn run(suite: &Suite, subject: &Subject) -> Result<Report, ConformanceError> {
    let registry = Registry::new();
    let plugins = Plugins::new(&EngineConfig::default(), &registry, None)?;
    let platform = Platform::start(suite.answers()).await?;
    let metrics = EgressMetrics::new(&registry);
    let store = Store::in_memory();
    let mut report = Report::new(subject);
    for (mode, instances) in [("reused", reused(&subject.config.limits)), ("per-call", Reuse::PerCall)] {
        let mut config = subject.config.clone();
        config.limits.instances = instances;
        let egress = Arc::new(Egress::with_detour(&config, &metrics, &platform.detour())?);
        let processes = processes(&config, &store)?;
        let state = store.provider(&config.name, config.limits.state_quota);
        let parts = HostParts { egress, state, processes: processes.clone() };
        let provider = PluginProvider::new(&config);
        provider.publish(plugins.load(&config, parts).await?);
        for case in suite.cases() {
            let result = Run { provider: &provider, platform: &platform, subject }.case(case).await;
            platform.real();
            report.add(mode, case, result);
        }
        if let Some(processes) = processes {
            processes.shutdown().await;
        }
    }
    Ok(report)
}

/// What the operator configured, unless that is already a fresh instance for each call.
fn reused(limits: &Limits) -> Reuse {
    match limits.instances {
        Reuse::PerCall => Reuse::default(),
        pooled @ Reuse::Pooled { .. } => pooled,
    }
}

/// Bytes of groups that are remembered while the suite runs.
const GROUPS_QUOTA: u64 = 16 << 20;

fn processes(config: &ProviderConfig, store: &Store) -> std::io::Result<Option<Processes>> {
    if config.commands.is_empty() {
        return Ok(None);
    }
    let groups = store.host("processes", &config.name, GROUPS_QUOTA);
    Ok(Some(Processes::new(config.name.clone(), config.commands.clone(), groups, "/proc/self/exe".into())))
}
