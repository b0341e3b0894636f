//! Plugins: third-party WebAssembly components that speak a platform's API, in a sandbox, with a
//! budget, replaced while the gateway runs.
//!
//! [`Plugins`] loads ([`load`]): bytes, digest, machine code, link, types, imports, probe. What it
//! answers, a [`Candidate`], is published into a [`PluginProvider`] ([`registry`]), which is the
//! [`query::Provider`](crate::query::Provider) that the rest of the gateway asks. Each question is
//! one call: one lease of an instance ([`lease`]) and one budget ([`budget`]).
//!
//! wasmtime is named nowhere else in the gateway, and the types that are generated from `wit/`
//! only in `bindings`, `convert`, `imports`, `interfaces` and `load`.

pub mod engine;
pub mod load;
pub mod registry;

pub use engine::{EngineConfig, EngineError};
pub use load::{Candidate, HostParts, LoadError, Plugins};
pub use registry::PluginProvider;
