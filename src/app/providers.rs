//! The providers of a configuration with their plugins.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::admin::socket::{PluginReport, Reports};
use crate::config::chain;
use crate::host::egress::{Egress, EgressMetrics};
use crate::host::processes::Processes;
use crate::host::state::Store;
use crate::metrics::Registry;
use crate::name::ProviderName;
use crate::plugin::{HostParts, PluginProvider, Plugins};
use crate::provider::{Directory, Entry, ProviderConfig};
use crate::query::{Interface, Provider as _};

/// Bytes of groups that are remembered for a provider: a thousand with some variables each.
const GROUPS_QUOTA: u64 = 16 << 20;

/// A provider whose plugin was refused.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ProviderFailed(String);

/// All providers, each with an active plugin.
pub(super) struct Providers {
    loaded: Vec<Arc<PluginProvider>>,
    processes: Vec<Processes>,
    components: BTreeMap<ProviderName, String>,
    /// Has the engine whose clock ends calls that run too long.
    _plugins: Arc<Plugins>,
}

impl Providers {
    /// Loads all plugins at once, and answers when all are there.
    ///
    /// # Errors
    /// All that were refused. A gateway without one of its plugins is not started: the operator who
    /// changed something stands beside it then, and nobody does later.
    pub(super) async fn load(
        configs: &[ProviderConfig],
        plugins: &Arc<Plugins>,
        store: &Store,
        registry: &Registry,
    ) -> Result<Self, super::StartError> {
        let metrics = EgressMetrics::new(registry);
        let loads: Vec<_> = configs
            .iter()
            .map(|config| {
                let (config, plugins, store, metrics) =
                    (config.clone(), Arc::clone(plugins), store.clone(), metrics.clone());
                tokio::spawn(async move { load(&config, &plugins, &store, &metrics).await })
            })
            .collect();
        let (mut loaded, mut processes, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        for load in loads {
            match load.await {
                Ok(Ok((provider, its))) => {
                    loaded.push(provider);
                    processes.extend(its);
                }
                Ok(Err(error)) => failed.push(error),
                Err(error) => failed.push(ProviderFailed(error.to_string())),
            }
        }
        if !failed.is_empty() {
            return Err(super::StartError::Providers(failed));
        }
        let components = configs.iter().map(|config| (config.name.clone(), config.component.to_string())).collect();
        Ok(Self { loaded, processes, components, _plugins: Arc::clone(plugins) })
    }

    /// Which of them serves which namespace.
    pub(super) fn directory(&self, configs: &[ProviderConfig]) -> Directory {
        let entries = self.loaded.iter().zip(configs).map(|(provider, config)| Entry {
            provider: Arc::clone(provider) as Arc<dyn crate::query::Provider>,
            endpoints: config.endpoints.clone(),
            namespaces: config.namespaces.clone(),
            is_default: config.is_default,
        });
        Directory::new(entries.collect())
    }

    /// What the admin socket shows of them.
    pub(super) fn reports(&self) -> Reports {
        let by_name: BTreeMap<_, _> =
            self.loaded.iter().map(|provider| (provider.name().clone(), Arc::clone(provider))).collect();
        let components = self.components.clone();
        Arc::new(move |name| {
            let component = components.get(name).cloned().unwrap_or_default();
            match by_name.get(name).map(|provider| provider.status()) {
                Some(Ok(status)) => PluginReport {
                    component,
                    digest: Some(status.digest),
                    state: if status.is_quarantined { "quarantined" } else { "active" }.to_owned(),
                    reason: None,
                },
                Some(Err(reason)) => {
                    PluginReport { component, digest: None, state: "failed".into(), reason: Some(reason) }
                }
                None => PluginReport { component, ..PluginReport::default() },
            }
        })
    }

    /// Stops the processes of all providers, each replica with its grace. They come back with the next
    /// start.
    pub(super) async fn stop(self) {
        futures_util::future::join_all(self.processes.iter().map(Processes::shutdown)).await;
    }

    /// Asks each platform once whether it answers and takes the credentials, for the log: a gateway
    /// starts without its platforms too.
    pub(super) fn check(&self) -> impl Future<Output = ()> + Send + 'static {
        let all = self.loaded.clone();
        async move {
            for provider in all.iter().filter(|provider| provider.has(Interface::Health)) {
                if let Err(error) = provider.check().await {
                    tracing::warn!(provider = %provider.name(), %error, "the platform does not answer yet");
                }
            }
        }
    }
}

async fn load(
    config: &ProviderConfig,
    plugins: &Plugins,
    store: &Store,
    metrics: &EgressMetrics,
) -> Result<(Arc<PluginProvider>, Option<Processes>), ProviderFailed> {
    let egress = Egress::new(config, metrics).map_err(|error| ProviderFailed(chain(&error)))?;
    let state = store.provider(&config.name, config.limits.state_quota);
    let processes = if config.commands.is_empty() { None } else { Some(processes(config, store)?) };
    let parts = HostParts { egress: Arc::new(egress), state, processes: processes.clone() };
    let candidate = plugins.load(config, parts).await.map_err(|error| ProviderFailed(chain(&error)))?;
    let provider = Arc::new(PluginProvider::new(config));
    provider.publish(candidate);
    Ok((provider, processes))
}

/// The provider's processes, with the groups that it had before this start.
fn processes(config: &ProviderConfig, store: &Store) -> Result<Processes, ProviderFailed> {
    let program = std::env::current_exe()
        .map_err(|error| ProviderFailed(format!("provider {}: this program has no path: {error}", config.name)))?;
    let groups = store.host("processes", &config.name, GROUPS_QUOTA);
    Ok(Processes::new(config.name.clone(), config.commands.clone(), groups, program))
}
