//! Is an instance ready? Answers from memory where it can, and otherwise waits for the function's
//! one cold start.
//!
//! [`Scaler::warm`] is asked for every request and never waits; [`Scaler::ready`] is asked when it
//! has no answer.

mod config;
pub mod endpoints;
mod error;
pub mod labels;
pub mod policy;

pub use config::Config;
pub use endpoints::{EndpointRef, EndpointSet, Pick};
pub use error::{RETRY_AFTER_DEFAULT, ScaleError};
pub use labels::ScaleSettings;
pub use policy::{AddressPolicy, AddressRefused};

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::metrics::Registry;
use crate::name::{FunctionRef, Generation, ProviderName};
use crate::provider::{Directory, Entry};

/// A function that has an instance.
#[derive(Clone)]
pub struct Ready {
    /// Its provider.
    pub entry: Arc<Entry>,
    /// Its endpoints. Never empty, and not expired when this was made.
    pub endpoints: Arc<EndpointSet>,
    /// How long the caller waited; `None` on the warm path.
    pub waited: Option<Duration>,
    /// Which generation of the provider's plugin said so.
    pub generation: Generation,
}

/// Knows which functions have instances, and starts the first one of those that have none.
///
/// Everything that it runs in the background ends when it is dropped.
pub struct Scaler {
    #[expect(dead_code, reason = "the body follows")]
    directory: Arc<Directory>,
}

impl Scaler {
    /// A scaler for the functions of `directory`. To be called inside the runtime that shall run its
    /// background work; requests may be served by others.
    #[must_use]
    pub fn new(config: Config, directory: Arc<Directory>, registry: &Registry) -> Self {
        let _ = (config.clamped(), registry);
        Self { directory }
    }

    /// The endpoints of a function that is known to have an instance. Never waits.
    #[must_use]
    pub fn warm(&self, function: &FunctionRef) -> Option<Ready> {
        let _ = function;
        None
    }

    /// The endpoints of a function; starts its first instance if it has none, together with all
    /// others who wait for it.
    ///
    /// # Errors
    /// Why there is none; see [`ScaleError`].
    ///
    /// # Cancel safety
    /// Dropping it leaves the queue. The cold start goes on.
    pub async fn ready(&self, function: &FunctionRef) -> Result<Ready, ScaleError> {
        std::future::ready(Err(ScaleError::NoProvider { function: function.clone() })).await
    }

    /// Nothing accepted a connection at `endpoint`: it is not used again until the provider was asked.
    pub fn refused(&self, function: &FunctionRef, endpoint: &EndpointRef) {
        let _ = (function, endpoint);
    }

    /// Forgets what is known of a function, after it was deployed, updated, scaled or deleted.
    pub fn invalidate(&self, function: &FunctionRef) {
        let _ = function;
    }

    /// Asks again about all functions of a provider, after its plugin was swapped. What is known is
    /// used until the answers are there.
    pub fn invalidate_provider(&self, provider: &ProviderName) {
        let _ = provider;
    }

    /// Says which addresses the gateway listens on, once that is known; they are never dialled.
    pub fn set_own_listeners(&self, addresses: Vec<SocketAddr>) {
        let _ = addresses;
    }
}
