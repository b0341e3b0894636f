//! One `get-replicas` through the whole host beside the bare wasmtime call of the same component, on a
//! reused instance and on a fresh one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Config, Enabled, Engine, PoolingAllocationConfig, Store};
use wicketgate::host::egress::{Egress, EgressMetrics};
use wicketgate::host::grant::Grant;
use wicketgate::host::state::Store as StateStore;
use wicketgate::metrics::Registry;
use wicketgate::name::FunctionRef;
use wicketgate::plugin::{EngineConfig, HostParts, PluginProvider, Plugins};
use wicketgate::provider::{ComponentSource, Limits, ProviderConfig, Reuse};
use wicketgate::query::ServiceQuery as _;

use crate::Bench;
use crate::measure::{Report, median, thread_cpu};

/// What the host may cost over the bare call.
const REUSED_LIMIT: f64 = 1.5;
const FRESH_LIMIT: f64 = 1.3;
/// Calls of one round: enough for a tenth of a second, since there are kernels that count a thread's time in ticks
/// of 4 ms.
const REUSED_CALLS: u32 = 200_000;
const FRESH_CALLS: u32 = 10_000;

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package bench:bare; world bare { export wicketgate:provider/service-query@0.1.0; }",
        exports: { default: async },
    });
}

/// The bare call's side: an engine with the host's settings, a store with nothing in it.
struct Bare {
    engine: Engine,
    pre: bindings::BarePre<()>,
}

impl Bare {
    fn new(component: &[u8]) -> wasmtime::Result<Self> {
        let mut config = Config::new();
        config.epoch_interruption(true).concurrency_support(false);
        let mut pool = PoolingAllocationConfig::new();
        // As the host does where the kernel can, or a fresh instance would look dear here.
        if PoolingAllocationConfig::is_pagemap_scan_available() {
            pool.pagemap_scan(Enabled::Yes).linear_memory_keep_resident(1 << 20).table_keep_resident(64 << 10);
        }
        config.allocation_strategy(pool);
        let engine = Engine::new(&config)?;
        let component = Component::new(&engine, component)?;
        let mut linker = Linker::new(&engine);
        linker.define_unknown_imports_as_traps(&component)?;
        let pre: InstancePre<()> = linker.instantiate_pre(&component)?;
        Ok(Self { engine, pre: bindings::BarePre::new(pre)? })
    }

    async fn instance(&self) -> wasmtime::Result<(Store<()>, bindings::Bare)> {
        let mut store = Store::new(&self.engine, ());
        store.set_epoch_deadline(u64::MAX / 2);
        let instance = self.pre.instantiate_async(&mut store).await?;
        Ok((store, instance))
    }

    /// CPU time of a call, in nanoseconds.
    async fn fresh(&self) -> wasmtime::Result<f64> {
        let begun = thread_cpu();
        for _ in 0..FRESH_CALLS {
            let (mut store, instance) = self.instance().await?;
            call(&mut store, &instance).await?;
        }
        Ok(per_call(begun, FRESH_CALLS))
    }

    async fn reused(&self) -> wasmtime::Result<f64> {
        let (mut store, instance) = self.instance().await?;
        let begun = thread_cpu();
        for _ in 0..REUSED_CALLS {
            call(&mut store, &instance).await?;
        }
        Ok(per_call(begun, REUSED_CALLS))
    }
}

async fn call(store: &mut Store<()>, instance: &bindings::Bare) -> wasmtime::Result<()> {
    let answer = instance.wicketgate_provider_service_query().call_get_replicas(store, "figlet", "dev").await?;
    match answer {
        Ok(status) => {
            std::hint::black_box(status);
            Ok(())
        }
        Err(error) => Err(wasmtime::format_err!("{}", error.message)),
    }
}

pub(crate) fn per_call(begun: Duration, calls: u32) -> f64 {
    (thread_cpu() - begun).as_secs_f64() * 1e9 / f64::from(calls)
}

/// The host's side: a provider as the gateway makes one.
pub(crate) async fn provider(
    plugins: &Plugins,
    component: &Path,
    reuse: Reuse,
    grants: BTreeMap<String, Grant>,
) -> Result<PluginProvider, String> {
    let registry = Registry::default();
    let config = ProviderConfig {
        name: "bench".parse().map_err(|_bad| "a name")?,
        component: ComponentSource::File(component.to_owned()),
        digest: None,
        signature: wicketgate::trust::signature::SignaturePolicy::default(),
        namespaces: Vec::new(),
        is_default: true,
        config: serde_json::json!({}),
        grants,
        commands: BTreeMap::new(),
        endpoints: wicketgate::provider::EndpointPolicy::default(),
        limits: Limits { instances: reuse, ..Limits::default() },
        swap: wicketgate::provider::SwapConfig::default(),
    };
    let egress = Egress::new(&config, &EgressMetrics::new(&registry)).map_err(|error| error.to_string())?;
    let parts = HostParts {
        egress: Arc::new(egress),
        state: StateStore::in_memory().provider(&config.name, config.limits.state_quota),
        processes: None,
    };
    let candidate = plugins.load(&config, parts).await.map_err(|error| format!("{error}: {}", error.refusal))?;
    let provider = PluginProvider::new(&config);
    provider.publish(candidate);
    Ok(provider)
}

/// CPU time of a question through the host, in nanoseconds.
pub(crate) async fn hosted(provider: &PluginProvider, function: &FunctionRef, calls: u32) -> Result<f64, String> {
    let begun = thread_cpu();
    for _ in 0..calls {
        std::hint::black_box(provider.get_replicas(function).await.map_err(|error| error.to_string())?);
    }
    Ok(per_call(begun, calls))
}

/// The function that every question is about.
pub(crate) fn figlet() -> Result<FunctionRef, String> {
    let name = "figlet".parse().map_err(|_bad| "a name")?;
    Ok(FunctionRef { name, namespace: "dev".parse().map_err(|_bad| "a name")? })
}

/// Runs both sides in turns on one thread.
pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<(), String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(measure(bench, report))
}

async fn measure(bench: &Bench, report: &mut Report) -> Result<(), String> {
    let text = |error: wasmtime::Error| format!("{error:#}");
    let component = bench.plugins.join("tests/constant.wasm");
    let bytes = std::fs::read(&component).map_err(|error| format!("{}: {error}", component.display()))?;
    let bare = Bare::new(&bytes).map_err(text)?;
    let plugins =
        Plugins::new(&EngineConfig::default(), &Registry::default(), None).map_err(|error| error.to_string())?;
    let pooled = provider(&plugins, &component, Reuse::default(), BTreeMap::new()).await?;
    let fresh = provider(&plugins, &component, Reuse::PerCall, BTreeMap::new()).await?;
    let function = figlet()?;
    let (mut times, mut ratios) = ([const { Vec::new() }; 4], [const { Vec::new() }; 2]);
    for _ in 0..=bench.rounds {
        let round = [
            bare.reused().await.map_err(text)?,
            hosted(&pooled, &function, REUSED_CALLS).await?,
            bare.fresh().await.map_err(text)?,
            hosted(&fresh, &function, FRESH_CALLS).await?,
        ];
        let [bare_reused, host_reused, bare_fresh, host_fresh] = round;
        for (all, one) in times.iter_mut().zip(round) {
            all.push(one);
        }
        for (all, one) in ratios.iter_mut().zip([host_reused / bare_reused, host_fresh / bare_fresh]) {
            all.push(one);
        }
    }
    let [bare_reused, host_reused, bare_fresh, host_fresh] = times.map(|all| median(&all) / 1000.0);
    report.show("plugin: get-replicas, bare, reused instance", bare_reused, "us");
    report.show("plugin: get-replicas, host, reused instance", host_reused, "us");
    report.show("plugin: get-replicas, bare, fresh instance", bare_fresh, "us");
    report.show("plugin: get-replicas, host, fresh instance", host_fresh, "us");
    let [reused, fresh] = ratios.map(|all| median(&all));
    report.hold("plugin: host over bare, reused instance (CPU)", reused, "x", REUSED_LIMIT);
    report.hold("plugin: host over bare, fresh instance (CPU)", fresh, "x", FRESH_LIMIT);
    Ok(())
}
