//! Accepts connections and serves HTTP/1.1 and HTTP/2 on them.
//!
//! Each worker thread has its own runtime and its own socket on the same address
//! (`SO_REUSEPORT`), so that a connection lives on one core; [`bind`] makes the sockets. A
//! connection is a task of its own: what goes wrong in it, a panic included, ends it alone.

mod connection;
mod gateway;
mod service;
mod stream;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounter, IntGauge};
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

pub use crate::forward::Peer;
pub use gateway::Gateway;
pub use service::Service;

use crate::metrics::Registry;
use crate::shutdown::Drain;

/// The default of [`Config::header_timeout`].
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(60);

/// The default of [`Config::write_timeout`].
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// The default of [`Config::header_bytes`].
pub const HEADER_BYTES: usize = 64 << 10;

/// The default of [`Config::header_fields`]: hyper has room for so many without asking for memory.
pub const HEADER_FIELDS: usize = 100;

/// The default of [`Config::connections`].
pub const CONNECTIONS: usize = 16_384;

/// The default of [`Config::streams`].
pub const STREAMS: u32 = 200;

/// How many connections may wait to be accepted, for each socket.
const BACKLOG: i32 = 1024;

/// The pauses after an accept that failed: they double from the first to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// The bounds of the listener. The keys are of the `listen` table, in kebab-case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `header-timeout`: how long a connection may be without a new request, the time to send its head
    /// included; then it is closed, after at most twice this time, when what is under way is finished. Default [`HEADER_TIMEOUT`], 1 s to 24 h.
    pub header_timeout: Duration,
    /// `write-timeout`: how long a client may take nothing of what it is sent; then its connection is
    /// closed. Default [`WRITE_TIMEOUT`], 1 s to 24 h.
    pub write_timeout: Duration,
    /// `header-bytes`: the most bytes of a request's line and header fields; more get 431. Default
    /// [`HEADER_BYTES`], 8 KiB to 1 MiB.
    pub header_bytes: usize,
    /// `header-fields`: the most header fields of a request; more get 431. Default [`HEADER_FIELDS`], 16 to 10000;
    /// above the default each request asks for memory for them.
    pub header_fields: usize,
    /// `connections`: how many connections are open at once, per process; more wait unaccepted.
    /// Default [`CONNECTIONS`], at least 1.
    pub connections: usize,
    /// `streams`: how many requests are under way at once on an HTTP/2 connection. Default
    /// [`STREAMS`], at least 1.
    pub streams: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            header_timeout: HEADER_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
            header_bytes: HEADER_BYTES,
            header_fields: HEADER_FIELDS,
            connections: CONNECTIONS,
            streams: STREAMS,
        }
    }
}

/// Makes `count` sockets that listen on the same address, so that as many threads can accept from
/// it. With port 0 the system chooses one port for all of them; ask a socket for it.
///
/// # Errors
/// What the system says: usually that the address is taken, or not this machine's.
pub fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<std::net::TcpListener>> {
    let mut address = address;
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count.max(1) {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // A gateway that was restarted must not wait for its old connections to be forgotten.
        socket.set_reuse_address(true)?;
        if count > 1 {
            socket.set_reuse_port(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let socket = std::net::TcpListener::from(socket);
        address = socket.local_addr()?;
        sockets.push(socket);
    }
    Ok(sockets)
}

/// What all workers' accept loops share. Cheap to clone.
#[derive(Clone)]
pub struct Listener {
    config: Arc<Config>,
    permits: Arc<Semaphore>,
    drain: Drain,
    metrics: Metrics,
}

#[derive(Clone)]
struct Metrics {
    accepted: IntCounter,
    open: IntGauge,
    failed: IntCounter,
    panics: IntCounter,
}

impl Listener {
    /// A listener with these bounds, to be given to every worker.
    #[must_use]
    pub fn new(config: Config, registry: &Registry, drain: Drain) -> Self {
        let metrics = Metrics {
            accepted: registry.counter("wicketgate_connections_total", "Connections accepted."),
            open: registry.gauge("wicketgate_connections_open", "Connections open now."),
            failed: registry.counter("wicketgate_accept_errors_total", "Accepts that failed."),
            panics: registry.counter("wicketgate_panics_total", "Connections that ended by a panic."),
        };
        let permits = Arc::new(Semaphore::new(config.connections.clamp(1, Semaphore::MAX_PERMITS)));
        Self { config: Arc::new(config), permits, drain, metrics }
    }

    /// Accepts connections from one socket, and serves them on the current runtime, until the drain
    /// begins. Connections that are open then finish their requests by themselves: they hold the drain.
    ///
    /// # Errors
    /// Only that the socket cannot be used at all. An accept that fails is logged, counted, and
    /// tried again after a pause, since what is missing (usually file descriptors) comes back.
    ///
    /// # Cancel safety
    /// Dropping it stops accepting; open connections go on.
    pub async fn serve<S: Service>(&self, socket: std::net::TcpListener, service: S) -> io::Result<()> {
        let socket = TcpListener::from_std(socket)?;
        let mut pause = BACKOFF.0;
        // One future for the whole loop: subscribing anew for each connection would cost.
        let draining = self.drain.draining();
        tokio::pin!(draining);
        loop {
            // The permit comes before the accept, so that who cannot be served waits in the system's
            // queue and can still go elsewhere.
            let permit = tokio::select! {
                permit = Arc::clone(&self.permits).acquire_owned() => permit.map_err(io::Error::other)?,
                () = &mut draining => return Ok(()),
            };
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                () = &mut draining => return Ok(()),
            };
            match accepted {
                Ok((stream, address)) => {
                    pause = BACKOFF.0;
                    self.metrics.accepted.inc();
                    let connection = connection::Connection {
                        listener: self.clone(),
                        peer: Arc::new(Peer::new(address)),
                        permit,
                        hold: self.drain.hold(),
                    };
                    tokio::spawn(connection.serve(stream, service.clone()));
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    self.metrics.failed.inc();
                    tracing::error!(%error, ?pause, "connection not accepted; trying again after a pause");
                    drop(permit);
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = &mut draining => return Ok(()),
                    }
                    pause = (pause * 2).min(BACKOFF.1);
                }
            }
        }
    }

    /// How many more connections may be opened now.
    #[must_use]
    pub fn free(&self) -> usize {
        self.permits.available_permits()
    }
}

/// Whether an accept failed only because of the connection that it took (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
