//! The reverse proxy: one request to one endpoint, and its response back.

mod error;

use std::time::Duration;

pub use error::Error;

/// The default of [`Config::upstream_timeout`], OpenFaaS's `upstream_timeout`.
pub const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(60);

/// The default of [`Config::connect_timeout`].
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The default of [`Config::body_timeout`], OpenFaaS's `read_timeout`.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// The default of [`Config::body_bytes`].
pub const BODY_BYTES: u64 = 256 << 20;

/// How requests are forwarded. The keys are of the `forward` table, in kebab-case.
#[derive(Clone, Debug)]
pub struct Config {
    /// `upstream-timeout`: how long a function may take until the head of its response, and
    /// afterwards between two pieces of the body. A stream that keeps flowing is never cut. Default
    /// [`UPSTREAM_TIMEOUT`], 1 ms to 24 h. Upgraded connections (WebSocket) have none.
    pub upstream_timeout: Duration,
    /// `connect-timeout`: how long connecting to an endpoint may take. Default [`CONNECT_TIMEOUT`],
    /// 1 ms to 5 min.
    pub connect_timeout: Duration,
    /// `body-timeout`: how long a client may send nothing of a body that it announced; then 408.
    /// Default [`BODY_TIMEOUT`], 1 ms to 24 h.
    pub body_timeout: Duration,
    /// `body-bytes`: the longest request body; a longer one gets 413. Bodies are streamed, so this
    /// costs no memory. Default [`BODY_BYTES`]; `u64::MAX` means any.
    pub body_bytes: u64,
    /// Connections to instances, for each worker thread.
    pub pool: crate::upstream::Config,
    /// How TLS is spoken with endpoints that ask for it; `None` refuses them. Not a key.
    pub tls: Option<std::sync::Arc<rustls::ClientConfig>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            upstream_timeout: UPSTREAM_TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
            body_bytes: BODY_BYTES,
            pool: crate::upstream::Config::default(),
            tls: None,
        }
    }
}
