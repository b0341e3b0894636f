//! The one engine: what it compiles, where instances live, and the clock that bounds a guest's
//! processor time.
//!
//! Instances live in a pool of slots that is reserved once, so that making one costs tens of
//! microseconds. Where the address space is too small for any useful pool (boards with 39 bits)
//! instances are allocated on demand. The clock is a thread of the operating system: a wedged
//! runtime must not stop it.

use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::{Config, Enabled, EngineWeak, PoolingAllocationConfig};

use super::compile::CompileLimits;
#[cfg(test)]
use crate::provider::switches::{Check, is_off};

/// A memory has at most so many bytes, whatever a provider's limits say: the slots' size, 1 GiB.
pub const MEMORY_MAX_BYTES: usize = 1 << 30;

/// Core instances that one component may consist of: its module, adapters, and what joins them.
const CORE_INSTANCES: u32 = 16;

/// Memories that one component may have; the sum of their sizes is bounded for each lease.
const MEMORIES: u32 = 4;

/// Tables that one component may have.
const TABLES: u32 = 16;

/// Slots kept mapped after their instance is gone. Each keeps at most [`RESIDENT_BYTES`].
const WARM_SLOTS: u32 = 16;

/// Bytes of a slot that are wiped in place rather than given back, where the kernel can say which
/// pages are dirty (`PAGEMAP_SCAN`, Linux 6.7). Without that, wiping costs more than giving back.
const RESIDENT_BYTES: usize = 1 << 20;

/// How large and how precise the engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// Instances alive at once, over all providers. `None` (the default) derives it from the
    /// machine's memory: one for each 16 MiB, 32 to 256. Range 1 to 4096.
    pub instances: Option<u32>,
    /// The unit in which processor time is counted, and how long a guest may hold a thread before
    /// others get their turn. Default 10 ms, range 1 ms to 1 s.
    pub tick: Duration,
    /// What compiling one component may use.
    pub compile: CompileLimits,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self { instances: None, tick: Duration::from_millis(10), compile: CompileLimits::default() }
    }
}

impl EngineConfig {
    fn instances(&self) -> u32 {
        let chosen = self.instances.unwrap_or_else(|| {
            let bytes = machine_memory().unwrap_or(1 << 30);
            u32::try_from(bytes / (16 << 20)).unwrap_or(u32::MAX).clamp(32, 256)
        });
        chosen.clamp(1, 4096)
    }
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// This machine cannot run the compiler's code, e.g. an unsupported processor.
    #[error("no engine for plugins on this machine")]
    Unsupported(#[source] Cause),
    /// The thread that ticks could not be started.
    #[error("cannot start the thread that ticks")]
    Ticker(#[source] std::io::Error),
    /// The interfaces that every plugin may use could not be defined: a mistake of ours.
    #[error("cannot define the host's interfaces")]
    Interfaces(#[source] Cause),
}

/// What the engine itself says of a failure.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Cause(String);

impl From<wasmtime::Error> for Cause {
    fn from(error: wasmtime::Error) -> Self {
        Self(format!("{error:#}"))
    }
}

/// The engine and its clock. The clock stops when this is dropped.
pub struct Engine {
    engine: wasmtime::Engine,
    tick: Duration,
    is_pooling: bool,
    _ticker: Ticker,
}

impl Engine {
    /// Makes the engine and starts its clock.
    ///
    /// # Errors
    /// See [`EngineError`]. A machine with too little address space is no error.
    pub fn new(config: &EngineConfig) -> Result<Self, EngineError> {
        let instances = config.instances();
        let tick = config.tick.clamp(Duration::from_millis(1), Duration::from_secs(1));
        let mut made = None;
        // A quarter of the slots may fit where all of them do not.
        for slots in [instances, (instances / 4).max(1)] {
            let mut settings = settings();
            settings.allocation_strategy(pool(slots));
            match wasmtime::Engine::new(&settings) {
                Ok(engine) => {
                    made = Some((engine, true));
                    break;
                }
                Err(error) => tracing::info!(slots, error = %Cause::from(error), "no pool of this size"),
            }
        }
        let (engine, is_pooling) = match made {
            Some(made) => made,
            None => {
                let engine =
                    wasmtime::Engine::new(&settings()).map_err(|error| EngineError::Unsupported(error.into()))?;
                tracing::warn!("plugin instances are allocated on demand: too little address space for a pool");
                (engine, false)
            }
        };
        let ticker = Ticker::start(engine.weak(), tick).map_err(EngineError::Ticker)?;
        Ok(Self { engine, tick, is_pooling, _ticker: ticker })
    }

    /// The engine as wasmtime knows it.
    pub(super) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.engine
    }

    /// The unit of processor time.
    #[must_use]
    pub fn tick(&self) -> Duration {
        self.tick
    }

    /// Whether instances live in a pool.
    #[must_use]
    pub fn is_pooling(&self) -> bool {
        self.is_pooling
    }

    /// Names everything that machine code depends on beside the component: version, target, settings.
    pub(super) fn compatibility(&self) -> [u8; 8] {
        use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
        BuildHasherDefault::<DefaultHasher>::default()
            .hash_one(self.engine.precompile_compatibility_hash())
            .to_le_bytes()
    }
}

/// An engine that compiles for the others and runs nothing: no pool, no clock.
///
/// # Errors
/// This machine cannot run the compiler's code.
pub(super) fn for_compiling() -> Result<wasmtime::Engine, Cause> {
    wasmtime::Engine::new(&settings()).map_err(Cause::from)
}

/// What both kinds of allocation share. Proposals that no guest toolchain needs for an adapter
/// stay off; without the crate's features `gc` and `threads` those are not even compiled in.
fn settings() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .concurrency_support(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_relaxed_simd(false)
        .wasm_tail_call(false)
        .wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Enable);
    #[cfg(test)]
    if is_off(Check::Features) {
        config.wasm_memory64(true).wasm_multi_memory(true);
    }
    #[cfg(test)]
    if is_off(Check::Stack) {
        config.max_wasm_stack(64 << 20).async_stack_size(128 << 20);
    }
    config
}

fn pool(slots: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    let can_scan = PoolingAllocationConfig::is_pagemap_scan_available();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(4))
        .total_memories(slots.saturating_mul(2))
        .total_tables(slots.saturating_mul(4))
        .total_stacks(slots)
        .max_memory_size(MEMORY_MAX_BYTES)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_tables_per_module(TABLES)
        .max_unused_warm_slots(WARM_SLOTS)
        .pagemap_scan(if can_scan { Enabled::Yes } else { Enabled::No })
        .linear_memory_keep_resident(if can_scan { RESIDENT_BYTES } else { 0 })
        .table_keep_resident(if can_scan { RESIDENT_BYTES / 16 } else { 0 });
    #[cfg(test)]
    if is_off(Check::Memories) {
        pool.max_memories_per_component(2 * MEMORIES);
    }
    #[cfg(test)]
    if is_off(Check::Features) {
        pool.max_memories_per_module(MEMORIES);
    }
    pool
}

/// The machine's memory in bytes, where the system says it.
fn machine_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kibibytes = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.trim().strip_suffix("kB")?;
    kibibytes.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Advances the engine's epoch until it is dropped.
struct Ticker {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: EngineWeak, tick: Duration) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new().name("wicketgate-tick".into()).spawn(move || {
            while stopped.recv_timeout(tick) == Err(mpsc::RecvTimeoutError::Timeout) {
                let Some(engine) = engine.upgrade() else { return };
                engine.increment_epoch();
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that ticks had panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_instances_follows_the_machine_within_bounds() {
        let derived = EngineConfig::default().instances();
        assert!((32..=256).contains(&derived), "{derived}");
        assert_eq!(EngineConfig { instances: Some(7), ..EngineConfig::default() }.instances(), 7);
        assert_eq!(EngineConfig { instances: Some(0), ..EngineConfig::default() }.instances(), 1);
    }

    #[test]
    fn the_clock_ticks_and_ends_with_the_engine() {
        let engine = Engine::new(&EngineConfig {
            instances: Some(1),
            tick: Duration::from_millis(1),
            ..EngineConfig::default()
        })
        .unwrap();
        let weak = engine.wasmtime().weak();
        drop(engine);
        assert!(weak.upgrade().is_none(), "the ticker kept the engine alive");
    }
}
