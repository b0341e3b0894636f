//! Loading: from bytes to a plugin that may be published.
//!
//! The steps, each logged: *fetched* (bounded), *verified* (the operator's pin, the signature), *compiled* (or
//! the machine code of an earlier start), *linked* (every import must be one that this gateway has), *locked*
//! (nothing more than `wicketgate.lock` holds), *typed* (one instance is made and every exported interface
//! loaded), *compared* (imports and manifest with what the operator granted). A refusal names the step that
//! was not passed and what to do, and changes nothing that runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use wasmtime::component::{Component, InstancePre, Linker};

use super::cache::{self, Cache};
use super::clock::Moment;
use super::compile::{Code, CompileLimits, Compiler};
use super::engine::{Engine, EngineConfig, EngineError};
use super::fetch;
use super::guest_log::LogRate;
use super::imports::{self, HostState};
use super::inspect;
use super::instance::{Idle, Instance, NoInstance, Stage};
use super::interfaces::{Exports, full_name};
use super::lease::Turns;
use super::loaded::{Candidate, Compiled, HostParts, Loaded, Shared};
use super::lock::{Facts, Locked};
use super::manifest::Manifest;
use super::metrics::Metrics;
use super::platform::Platform;
use super::quarantine::Quarantine;
use super::reach::Reach;
use super::refuse::{LoadError, Refusal};
use super::trap;
use super::trap::history::History;
use super::trap::symbols::Symbols;
use crate::metrics::Registry;
use crate::name::{Digest, ProviderName};
#[cfg(test)]
use crate::provider::switches::{Check, is_off};
use crate::provider::{ComponentSource, ProviderConfig};
use crate::trust::lock::Keeper;
use crate::trust::signature::{Sent, Signer};
use crate::trust::used::Use;

/// A step of loading that was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadStep {
    /// The bytes are there.
    Fetched(Digest),
    /// They are the ones that the operator wants.
    Verified,
    /// There is machine code.
    Compiled,
    /// Every import is one that this gateway has.
    Linked,
    /// It wants no more than the lock holds. Where there is a lock.
    Locked,
    /// Every export is what the contract says.
    Typed,
    /// Imports and manifest were compared with what the operator granted.
    Compared,
}

/// A component that was handed over, in place of what the configuration names.
#[derive(Clone, Debug, Default)]
pub struct Upload {
    /// Its bytes.
    pub component: Vec<u8>,
    /// What was sent with it to say who made it.
    pub signatures: Sent,
}

/// Loads plugins: the engine, the cache of machine code, and what all plugins share.
pub struct Plugins {
    engine: Arc<Engine>,
    linker: Linker<HostState>,
    linker_with_processes: Linker<HostState>,
    cache: Option<Arc<Cache>>,
    compiler: Compiler,
    compile_limits: CompileLimits,
    metrics: Metrics,
    generations: Arc<AtomicU64>,
    compiled: Mutex<BTreeMap<Digest, Compiled>>,
    lock: Option<Arc<Keeper>>,
    used: Option<Use>,
    /// Each provider's last traps, which its generations come and go under.
    histories: Mutex<BTreeMap<ProviderName, Arc<History>>>,
}

impl Plugins {
    /// `cache` is the directory for machine code; without one, or with one that cannot be used
    /// (which is logged), every start compiles.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub fn new(config: &EngineConfig, registry: &Registry, cache: Option<PathBuf>) -> Result<Self, EngineError> {
        let engine = Arc::new(Engine::new(config)?);
        let mut linker = Linker::new(engine.wasmtime());
        imports::link(&mut linker).map_err(|error| EngineError::Interfaces(error.into()))?;
        let mut linker_with_processes = linker.clone();
        imports::link_processes(&mut linker_with_processes).map_err(|error| EngineError::Interfaces(error.into()))?;
        let cache = cache.and_then(|directory| {
            Cache::open(&directory)
                .inspect_err(|error| {
                    tracing::warn!(directory = %directory.display(), %error, "machine code is not kept between starts");
                })
                .ok()
        });
        Ok(Self {
            metrics: Metrics::new(registry, engine.wasmtime()),
            engine,
            linker,
            linker_with_processes,
            cache: cache.map(Arc::new),
            compiler: Compiler::Here,
            compile_limits: config.compile,
            generations: Arc::default(),
            compiled: Mutex::default(),
            lock: None,
            used: None,
            histories: Mutex::default(),
        })
    }

    /// Compares plugins with this lock when they are loaded, and writes it when they are published.
    #[must_use]
    pub fn with_lock(mut self, keeper: Option<Arc<Keeper>>) -> Self {
        self.lock = keeper;
        self
    }

    /// The lock that plugins are compared with, if there is one.
    #[must_use]
    pub fn lock(&self) -> Option<&Arc<Keeper>> {
        self.lock.as_ref()
    }

    /// Records what plugins ask their platforms for.
    #[must_use]
    pub fn recording(mut self, used: Use) -> Self {
        self.used = Some(used);
        self
    }

    /// Compiles in child processes from now on, within [`EngineConfig::compile`]. `program` is the
    /// gateway's own, e.g. `/proc/self/exe`, and must hand [`compile::COMMAND`](super::compile::COMMAND)
    /// to [`compile::run`](super::compile::run).
    #[must_use]
    pub fn compiling_with(mut self, program: PathBuf) -> Self {
        self.compiler = Compiler::child(program, self.compile_limits);
        self
    }

    /// Loads a provider's plugin. It serves nobody until it is published. Whether the platform can
    /// be reached is not asked, so that a gateway starts without it; ask the provider's
    /// [`check`](crate::query::Provider::check) afterwards.
    ///
    /// # Errors
    /// See [`LoadError`]; nothing that runs has changed.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind, but a compilation that began runs to its end.
    pub async fn load(&self, config: &ProviderConfig, parts: HostParts) -> Result<Candidate, LoadError> {
        self.load_from(config, None, parts, &|_step| ()).await
    }

    /// The same from what was handed over, if something was, with a word after each step.
    ///
    /// # Errors
    /// See [`LoadError`]; nothing that runs has changed.
    ///
    /// # Cancel safety
    /// As [`load`](Self::load).
    pub async fn load_from(
        &self,
        config: &ProviderConfig,
        upload: Option<Upload>,
        parts: HostParts,
        passed: &(dyn Fn(LoadStep) + Send + Sync),
    ) -> Result<Candidate, LoadError> {
        let began = Moment::now();
        let loaded = self.run(config, upload, parts, passed).await;
        match loaded {
            Ok(plugin) => {
                self.metrics.loaded(&config.name, "ok");
                let took = Moment::now().since(began);
                let (provider, digest) = (&config.name, &plugin.digest);
                tracing::info!(%provider, %digest, version = plugin.manifest.version, ?took, "plugin loaded");
                Ok(Candidate { plugin: Arc::new(plugin), generations: Arc::clone(&self.generations) })
            }
            Err(refusal) => {
                self.metrics.loaded(&config.name, refusal.step());
                Err(LoadError { provider: config.name.clone(), component: config.component.to_string(), refusal })
            }
        }
    }

    async fn run(
        &self,
        config: &ProviderConfig,
        upload: Option<Upload>,
        parts: HostParts,
        passed: &(dyn Fn(LoadStep) + Send + Sync),
    ) -> Result<Loaded, Refusal> {
        let provider = &config.name;
        let max_bytes = config.limits.component_bytes;
        let (bytes, sent) = match upload {
            Some(upload) if upload.component.len() as u64 > max_bytes => return Err(Refusal::TooLarge { max_bytes }),
            Some(upload) => (upload.component, Some(upload.signatures)),
            None => (fetch::fetch(&config.component, max_bytes).await?, None),
        };
        let is_uploaded = sent.is_some();
        let is_bundled = !is_uploaded && matches!(config.component, ComponentSource::Builtin(_));
        let digest = Digest::of(&bytes);
        passed(LoadStep::Fetched(digest));
        tracing::debug!(%provider, %digest, bytes = bytes.len(), "fetched");
        if let Some(pinned) = config.digest.filter(|pinned| *pinned != digest) {
            return Err(Refusal::Digest { pinned, found: digest });
        }
        let (bytes, signer) = verify(config, bytes, sent).await?;
        if let Some(signer) = &signer {
            tracing::info!(%provider, key = signer.key, comment = signer.comment, "signature verified");
        }
        passed(LoadStep::Verified);
        let source = (!is_uploaded).then(|| config.component.clone());
        let read = move || About::read(&bytes, source.as_ref(), max_bytes).map(|about| (bytes, about));
        let read = tokio::task::spawn_blocking(read).await.map_err(|_panicked| Refusal::CompilerPanicked)?;
        let (bytes, About { manifest, reach, symbols }) = read?;

        let compiled = self.cell(digest);
        let component = compiled.get_or_try_init(|| self.compile(provider, digest, bytes)).await?.clone();
        passed(LoadStep::Compiled);
        let pre = self.link(config, &component)?;
        let exports = find_exports(&component, self.engine.wasmtime(), &pre)?;
        tracing::debug!(%provider, "linked");
        passed(LoadStep::Linked);
        let used = self.used.as_ref().map(|used| used.of(provider));
        if let Some(used) = &used {
            parts.egress.record(used);
        }
        let engine = self.engine.wasmtime();
        let facts =
            Facts { digest, manifest: &manifest, signer: signer.as_ref(), component: &component, engine, is_bundled };
        let locked = match &self.lock {
            Some(keeper) => {
                let locked = Locked::check(keeper, config, facts).await?;
                passed(LoadStep::Locked);
                Some(locked)
            }
            None => None,
        };

        let shared = Arc::new(Shared {
            engine: Arc::clone(&self.engine),
            name: provider.clone(),
            namespaces: config.namespaces.clone(),
            is_default: config.is_default,
            limits: config.limits.clone(),
            config: config.config.clone(),
            document: config.config.to_string(),
            parts,
            metrics: self.metrics.provider(provider),
            log_rate: Arc::new(LogRate::new(&config.limits)),
            told_of_foreign: AtomicBool::new(false),
            used,
        });
        let limits = &shared.limits;
        let platform = Platform::new(config, &manifest.name);
        let plugin = Loaded {
            turns: Turns::new(limits.concurrency.get(), limits.lease_timeout),
            shared,
            pre,
            exports,
            digest,
            manifest,
            reach,
            signer,
            locked,
            loaded_at: SystemTime::now(),
            quarantine: Quarantine::default(),
            history: self.history(provider),
            symbols: symbols.map(Arc::new),
            platform,
            idle: Idle::default(),
            idle_watch: Idle::default(),
            _compiled: Arc::clone(&compiled),
        };
        check_types(&plugin).await?;
        tracing::debug!(%provider, "types compared");
        passed(LoadStep::Typed);
        compare(config, &component, self.engine.wasmtime(), &plugin.manifest);
        passed(LoadStep::Compared);
        Ok(plugin)
    }

    fn history(&self, provider: &ProviderName) -> Arc<History> {
        let mut histories = self.histories.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(histories.entry(provider.clone()).or_default())
    }

    /// The place of a digest's component. Those that nobody uses any more are forgotten.
    fn cell(&self, digest: Digest) -> Compiled {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        compiled.retain(|_, cell| Arc::strong_count(cell) > 1);
        Arc::clone(compiled.entry(digest).or_default())
    }

    async fn compile(&self, provider: &ProviderName, digest: Digest, bytes: Vec<u8>) -> Result<Component, Refusal> {
        let began = Moment::now();
        let kept = self.blocking(move |engine, cache| cache.and_then(|cache| cache.load(engine, &digest))).await?;
        let was_cached = kept.is_some();
        let component = match kept {
            Some(component) => component,
            None => self.compile_anew(digest, bytes).await?,
        };
        let took = Moment::now().since(began);
        tracing::debug!(%provider, was_cached, ?took, "compiled");
        Ok(component)
    }

    /// What the linker says of a component that does not fit, for tests of what is known by name.
    #[cfg(test)]
    pub(super) fn link_problem(&self, bytes: &[u8]) -> String {
        let component = Component::new(self.engine.wasmtime(), bytes).unwrap();
        let linked = self.linker_with_processes.instantiate_pre(&component);
        linked.err().map_or_else(String::new, |error| format!("{error:#}"))
    }

    /// Whether the engine takes a component.
    #[cfg(test)]
    pub(super) fn compiles(&self, bytes: &[u8]) -> bool {
        Component::new(self.engine.wasmtime(), bytes).is_ok()
    }

    async fn compile_anew(&self, digest: Digest, bytes: Vec<u8>) -> Result<Component, Refusal> {
        let code = self.compiler.compile(&self.engine, bytes).await?;
        let work = move |engine: &Engine, cache: Option<&Cache>| {
            let failed = |error: wasmtime::Error| Refusal::Compile { problem: format!("{error:#}") };
            let (component, serialized) = match code {
                Code::Bytes(code) => (cache::adopt(engine, &code).map_err(failed)?, code.0),
                Code::Component(component) => {
                    let serialized = component.serialize().map_err(failed)?;
                    (component, serialized)
                }
            };
            if let Some(Err(error)) = cache.map(|cache| cache.store(engine, &digest, &serialized)) {
                tracing::warn!(%digest, %error, "machine code not kept; the next start compiles again");
            }
            Ok(component)
        };
        self.blocking(work).await?
    }

    /// Runs what reads or writes machine code where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Engine, Option<&Cache>) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let (engine, cache) = (Arc::clone(&self.engine), self.cache.clone());
        let done = tokio::task::spawn_blocking(move || work(&engine, cache.as_deref())).await;
        done.map_err(|_panicked| Refusal::CompilerPanicked)
    }

    fn link(&self, config: &ProviderConfig, component: &Component) -> Result<InstancePre<HostState>, Refusal> {
        let linker = if config.commands.is_empty() { &self.linker } else { &self.linker_with_processes };
        #[cfg(test)]
        let mut linker = linker.clone();
        #[cfg(test)]
        if is_off(Check::Imports) {
            linker
                .define_unknown_imports_as_traps(component)
                .map_err(|error| Refusal::Link { problem: error.to_string() })?;
        }
        linker.instantiate_pre(component).map_err(|error| {
            let problem = format!("{error:#}");
            let names = component.component_type();
            let names = names.imports(self.engine.wasmtime());
            match names.map(|(name, _)| name).find(|name| problem.contains(*name)) {
                Some(import) => Refusal::import(import, &problem, !config.commands.is_empty(), config.name.as_str()),
                None => Refusal::Link { problem },
            }
        })
    }
}

/// What a component's bytes say of it. Reading them takes a moment for each megabyte.
struct About {
    manifest: Manifest,
    reach: Reach,
    symbols: Option<Symbols>,
}

impl About {
    /// `source` is where the bytes are from, if they were not handed over.
    fn read(bytes: &[u8], source: Option<&ComponentSource>, max_bytes: u64) -> Result<Self, Refusal> {
        fetch::check_component(bytes)?;
        let manifest = Manifest::read(bytes).map_err(Refusal::Manifest)?.unwrap_or_default();
        let reach = Reach::of(bytes).map_err(|error| inspect::damaged(&error))?;
        let symbols = match source {
            Some(ComponentSource::File(path)) => {
                Some(Symbols::beside(path, bytes, max_bytes).map_err(|error| inspect::damaged(&error))?)
            }
            Some(ComponentSource::Builtin(_)) | None => None,
        };
        Ok(Self { manifest, reach, symbols })
    }
}

/// Checks the signature of the bytes that were read, so that no other ones can take their place. What was sent is
/// no part of the binary, even if it replaces a bundled plugin.
async fn verify(
    config: &ProviderConfig,
    bytes: Vec<u8>,
    sent: Option<Sent>,
) -> Result<(Vec<u8>, Option<Signer>), Refusal> {
    let (source, policy) = (config.component.clone(), config.signature.clone());
    if !policy.is_on() || sent.is_none() && matches!(source, ComponentSource::Builtin(_)) {
        return Ok((bytes, None));
    }
    let check = move || {
        let now = SystemTime::now();
        let signer = match &sent {
            Some(sent) => policy.verify_sent(sent, &bytes, now),
            None => policy.verify(&source, &bytes, now),
        };
        signer.map(|signer| (bytes, signer)).map_err(Refusal::Signature)
    };
    let (bytes, signer) = tokio::task::spawn_blocking(check).await.map_err(|_panicked| Refusal::CompilerPanicked)??;
    if signer.is_none() {
        tracing::warn!(provider = %config.name, "the plugin is not signed; signature.require would refuse it");
    }
    Ok((bytes, signer))
}

fn find_exports(
    component: &Component,
    engine: &wasmtime::Engine,
    pre: &InstancePre<HostState>,
) -> Result<Exports, Refusal> {
    let exported: BTreeSet<String> = component.component_type().exports(engine).map(|(name, _)| name.into()).collect();
    if !exported.contains(&full_name("service-query")) {
        return Err(Refusal::no_service_query(&exported));
    }
    Exports::find(pre, |name| exported.contains(name)).map_err(Refusal::Type)
}

/// Makes one instance and loads every exported interface: only now do wrong types show.
async fn check_types(plugin: &Loaded) -> Result<(), Refusal> {
    let needed = plugin.pre.component().resources_required().and_then(|needs| needs.max_initial_memory_size);
    let (needed, allowed) = (needed.unwrap_or(0), plugin.shared.limits.memory);
    if needed > allowed as u64 {
        return Err(Refusal::Memory { needed, allowed });
    }
    #[cfg(test)]
    if is_off(Check::Types) {
        return Ok(());
    }
    let mut instance = Instance::make(plugin, Stage::Candidate, Moment::now(), plugin.shared.limits.call_timeout)
        .await
        .map_err(|NoInstance { stop, memory_refused }| Refusal::Start(trap::diagnose(&stop, memory_refused).message))?;
    let handle = instance.instance;
    plugin.exports.load_all(&mut instance.store, &handle).map_err(Refusal::Type)
}

/// Compares what the plugin imports and says with what the operator granted. What is missing is
/// not refused (a plugin may do part of its work without), it is said.
fn compare(config: &ProviderConfig, component: &Component, engine: &wasmtime::Engine, manifest: &Manifest) {
    let provider = &config.name;
    let sends =
        component.component_type().imports(engine).any(|(name, _)| name.starts_with("wasi:http/outgoing-handler"));
    if sends && config.grants.is_empty() && manifest.grants.is_empty() {
        tracing::warn!(%provider, "the plugin sends requests and has no grant: write [provider.{provider}.grant.NAME]");
    }
    for (grant, purpose) in &manifest.grants {
        if !config.grants.contains_key(grant) {
            let purpose: String = purpose.chars().filter(|character| !character.is_control()).collect();
            tracing::warn!(%provider, grant, purpose, "the plugin asks for a grant that it does not have: write [provider.{provider}.grant.{grant}]");
        }
    }
}
