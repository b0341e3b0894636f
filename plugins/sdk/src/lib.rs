//! What a Wicketgate provider plugin is written with.
//!
//! An author writes a struct, implements [`Provider`] for it and whichever of the sister traits
//! its platform can serve, and names them in one [`export_provider!`]:
//!
//! ```
//! use wicketgate_sdk::{Provider, ProviderError, Result, ServiceStatus, export_provider, http::Request};
//!
//! struct Acme;
//!
//! impl Provider for Acme {
//!     fn open() -> Result<Self> {
//!         Ok(Self)
//!     }
//!     fn get_replicas(&self, service: &str, _namespace: &str) -> Result<ServiceStatus> {
//!         let answer = Request::get("http://acme/apps/").segment(service).send()?.success("acme app")?;
//!         let running: u64 = answer.json(4096)?;
//!         Ok(ServiceStatus { replicas: running, available_replicas: running, ..ServiceStatus::default() })
//!     }
//!     fn set_replicas(&self, _service: &str, _namespace: &str, _count: u64) -> Result<()> {
//!         Err(ProviderError::unsupported("acme has a fixed size"))
//!     }
//! }
//!
//! export_provider! {
//!     Acme,
//!     exports: [],
//!     name: "acme",
//!     description: "Apps on Acme",
//!     grants: { "acme": "the Acme API, version 3" },
//!     config: {},
//! }
//! ```
//!
//! The authority of a URL (`acme` above) is the name of a *grant* in the operator's configuration:
//! the operator says where that is and which requests are allowed, the host adds credentials.
//!
//! Build with `--target wasm32-unknown-unknown` and componentize with `wit-component` (what
//! `cargo xtask plugins` does), or with `--target wasm32-wasip2`, whose linker does that itself.
//! For any other target the host's interfaces are the fakes of [`testing`], so that a plugin's
//! logic is tested with a plain `cargo test`.
//!
//! Nothing may be kept between calls but what [`state`] holds: a provider is opened for each call.

#[doc(hidden)]
pub mod bindings;
pub mod clock;
pub mod config;
mod error;
mod export;
pub mod http;
pub mod log;
pub mod maps;
pub mod processes;
mod provider;
pub mod random;
#[doc(hidden)]
pub mod run;
pub mod state;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod time;

pub use bindings::about::exports::wicketgate::provider::about::Platform;
pub use bindings::endpoints::exports::wicketgate::provider::endpoints::{Endpoint, Target};
pub use bindings::functions::exports::wicketgate::provider::functions::{
    FunctionDeployment, FunctionPage, FunctionResources, FunctionStatus, FunctionUsage,
};
pub use bindings::logs::exports::wicketgate::provider::logs::{LogBatch, LogMessage, LogRequest};
pub use bindings::namespaces::exports::wicketgate::provider::namespaces::{NamespaceEntry, NamespacePage};
pub use bindings::secrets::exports::wicketgate::provider::secrets::{Secret, SecretPage};
pub use bindings::types::wicketgate::provider::types::{ErrorKind, FunctionRef, ProviderError, ServiceStatus};
pub use bindings::watch::exports::wicketgate::provider::watch::{ChangeSet, FunctionState};
pub use error::Result;
pub use provider::{About, Endpoints, Functions, Health, Logs, Namespaces, Provider, Scaling, Secrets, Watch};

/// A list of pairs, as labels, annotations and variables travel. Order is kept, keys may repeat.
pub type Pairs = Vec<(String, String)>;
