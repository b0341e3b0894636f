//! What a guest may call: the generated host traits, carried out by `host`.
//!
//! WASI 0.2 is linked in full so that guests of any toolchain load, against a context that is
//! empty: no files, environment, arguments, sockets or names. What a guest prints goes to the log.
//! `wasi:http` sends through the provider's grants only (the stock client is compiled out).

mod processes;
mod state;

use std::sync::Arc;

use tracing::Level;
use wasmtime::component::{HasSelf, Linker, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::bindings::host;
use super::egress::Hooks;
use super::guest_log::{GuestLog, LogStream, Stream};
use super::instance::Stage;
use super::limits::MemoryLimit;
use super::loaded::Shared;
use crate::host::processes::Processes;
use crate::host::state::ProviderState;
#[cfg(test)]
use crate::provider::switches::{Check, is_off};

/// Random bytes that a guest gets in one call of `wasi:random`.
const RANDOM_MAX_BYTES: u64 = 64 << 10;

/// Everything that belongs to one instance on the host's side.
pub(super) struct HostState {
    pub(super) table: ResourceTable,
    pub(super) memory: MemoryLimit,
    pub(super) log: Arc<GuestLog>,
    pub(super) hooks: Hooks,
    state: ProviderState,
    processes: Option<Processes>,
    pub(super) shared: Arc<Shared>,
    wasi: WasiCtx,
    http: WasiHttpCtx,
}

impl HostState {
    pub(super) fn new(shared: Arc<Shared>, log: Arc<GuestLog>, stage: Stage) -> Self {
        let hooks = Hooks::new(Arc::clone(&shared.parts.egress), stage, &shared.limits, Arc::clone(&log));
        let parts = &shared.parts;
        let (state, processes) = match stage {
            #[cfg(test)]
            Stage::Candidate if is_off(Check::Overlay) => (parts.state.clone(), None),
            Stage::Candidate => (parts.state.overlay(), parts.processes.as_ref().map(Processes::read_only)),
            Stage::Published => (parts.state.clone(), parts.processes.clone()),
        };
        let mut table = ResourceTable::new();
        table.set_max_capacity(shared.limits.handles as usize);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(shared.limits.header_bytes);
        Self {
            table,
            memory: MemoryLimit::new(shared.limits.memory),
            wasi: empty_wasi(&log),
            http,
            log,
            hooks,
            state,
            processes,
            shared,
        }
    }
}

impl HostState {
    /// Begins the next call.
    pub(super) fn rearm(&mut self) {
        self.hooks.rearm();
    }
}

/// A context in which nothing exists. Nothing is inherited, and what denies by default is denied
/// here once more, so that a changed default of the crate opens nothing.
fn empty_wasi(log: &Arc<GuestLog>) -> WasiCtx {
    let mut builder = WasiCtx::builder();
    builder
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .max_random_size(RANDOM_MAX_BYTES)
        .stdout(LogStream::new(Arc::clone(log), Stream::Output))
        .stderr(LogStream::new(Arc::clone(log), Stream::Error));
    #[cfg(test)]
    if is_off(Check::Random) {
        builder.max_random_size(u64::MAX);
    }
    builder.build()
}

/// Links everything that every plugin may import.
pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    host::log::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    host::config::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    host::state::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

/// Links what only a provider with declared commands may import.
pub(super) fn link_processes(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    host::processes::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for HostState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

impl host::log::Host for HostState {
    fn write(
        &mut self,
        level: host::log::Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        let level = match level {
            host::log::Level::Trace => Level::TRACE,
            host::log::Level::Debug => Level::DEBUG,
            host::log::Level::Info => Level::INFO,
            host::log::Level::Warn => Level::WARN,
            host::log::Level::Error => Level::ERROR,
        };
        self.shared.uses("log.write");
        self.log.line(level, &message, &fields);
        Ok(())
    }
}

impl host::config::Host for HostState {
    fn document(&mut self) -> wasmtime::Result<String> {
        self.shared.uses("config.document");
        Ok(self.shared.document.clone())
    }

    fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        self.shared.uses("config.get");
        let value = self.shared.config.get(&key);
        Ok(value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
    }
}
