//! Plugins: third-party WebAssembly components that speak a platform's API, in a sandbox, with a
//! budget, replaced while the gateway runs.
//!
//! [`Plugins`] loads ([`load`]): bytes, digest, machine code, link, types, imports, probe. What it
//! answers, a [`Candidate`], is published into a [`PluginProvider`] ([`registry`]), which is the
//! [`query::Provider`](crate::query::Provider) that the rest of the gateway asks. Each question is
//! one call: one lease of an instance ([`lease`]) and one budget ([`budget`]).
//!
//! wasmtime is named nowhere else in the gateway, and the types that are generated from `wit/`
//! only in `bindings`, `convert`, `imports`, `interfaces`, `lease` and `trial`.

mod bindings;
mod budget;
pub mod builtin;
mod cache;
#[cfg(test)]
mod captured;
mod clock;
mod columns;
pub mod compile;
mod convert;
mod egress;
pub mod engine;
mod fetch;
#[cfg(test)]
#[path = "../tests/fixtures/fixtures.rs"]
mod fixtures;
mod guest_log;
mod imports;
pub mod inspect;
mod instance;
pub mod interfaces;
mod lease;
mod limits;
pub mod load;
mod loaded;
mod lock;
pub mod manifest;
mod metrics;
mod platform;
mod quarantine;
mod reach;
mod record;
pub mod refuse;
pub mod registry;
mod retire;
pub mod shadow;
mod trap;
mod trial;

#[doc(hidden)]
pub use cache::envelope;
pub use columns::{Columns, HostColumns};
pub use compile::{CompileLimits, Sandbox};
#[doc(hidden)]
pub use convert::records;
pub use engine::{EngineConfig, EngineError};
pub use inspect::Inspection;
pub use load::{LoadStep, Plugins, Upload};
pub use loaded::{Candidate, HostParts};
pub use lock::lock_entry;
pub use manifest::Manifest;
pub use reach::{Detected, Reach};
pub use refuse::{LoadError, Refusal};
pub use registry::{CanaryVerdict, PluginProvider, PluginStatus, Retired, Retiring};
pub use retire::ScaledToZero;
pub use trap::history::{Frame, TrapReport};
