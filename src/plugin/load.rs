//! Loading: from bytes to a plugin that may be published.

use std::path::PathBuf;

use super::engine::{Engine, EngineConfig, EngineError};
use crate::metrics::Registry;
use crate::name::ProviderName;
use crate::provider::ProviderConfig;

/// What of the machine a plugin gets: the parts that its imports are carried out by.
#[derive(Clone, Default)]
pub struct HostParts {}

/// Loads plugins: the engine, the cache of machine code, and what all plugins share.
pub struct Plugins {
    engine: Engine,
}

impl Plugins {
    /// `cache` is the directory for machine code; without one every start compiles.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub fn new(config: &EngineConfig, registry: &Registry, cache: Option<PathBuf>) -> Result<Self, EngineError> {
        let _ = (registry, cache);
        Ok(Self { engine: Engine::new(config)? })
    }

    /// Loads a provider's plugin. It serves nobody until it is published.
    ///
    /// # Errors
    /// See [`LoadError`]; nothing that runs has changed.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind, but a compilation that began runs to its end.
    pub async fn load(&self, config: &ProviderConfig, parts: HostParts) -> Result<Candidate, LoadError> {
        let _ = (&self.engine, parts);
        std::future::ready(()).await;
        Err(LoadError { provider: config.name.clone() })
    }
}

/// A loaded plugin that nobody uses yet.
pub struct Candidate {
    pub(super) provider: ProviderName,
}

/// Why a plugin was refused.
#[derive(Debug, thiserror::Error)]
#[error("provider {provider}: not loaded")]
pub struct LoadError {
    /// Whose plugin.
    pub provider: ProviderName,
}
