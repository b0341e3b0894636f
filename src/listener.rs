//! Accepts connections and serves HTTP/1.1 and HTTP/2 on them.

use std::time::Duration;

/// The default of [`Config::header_timeout`].
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(60);

/// The default of [`Config::header_bytes`].
pub const HEADER_BYTES: usize = 64 << 10;

/// The default of [`Config::connections`].
pub const CONNECTIONS: usize = 16_384;

/// The default of [`Config::streams`].
pub const STREAMS: u32 = 200;

/// The bounds of the listener. The keys are of the `listen` table, in kebab-case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `header-timeout`: how long a connection may wait for the next request, its head included;
    /// then it is closed. Default [`HEADER_TIMEOUT`], 1 s to 24 h.
    pub header_timeout: Duration,
    /// `header-bytes`: the most bytes of a request's line and header fields; more get 431. Default
    /// [`HEADER_BYTES`], 8 KiB to 1 MiB.
    pub header_bytes: usize,
    /// `connections`: how many connections are open at once, per process; more wait unaccepted.
    /// Default [`CONNECTIONS`], at least 1.
    pub connections: usize,
    /// `streams`: how many requests are under way at once on an HTTP/2 connection. Default
    /// [`STREAMS`], at least 1.
    pub streams: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { header_timeout: HEADER_TIMEOUT, header_bytes: HEADER_BYTES, connections: CONNECTIONS, streams: STREAMS }
    }
}
