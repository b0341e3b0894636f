//! One connection, from accept to close.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use super::stream::Stream;
use super::{Config, HEADER_FIELDS, Listener, Peer, Service};
use crate::shutdown::Hold;

/// hyper must have room for a header section that is too large, so that the answer can say so; beyond
/// this many times the bound hyper answers 431 by itself.
const ROOM_FACTOR: usize = 2;

/// The least that hyper takes for its buffer, and enough for bodies to come in good pieces.
const BUFFER_BYTES_MIN: usize = 256 << 10;

/// One accepted connection.
pub(super) struct Connection {
    pub(super) listener: Listener,
    pub(super) peer: Arc<Peer>,
    /// Its place among the open connections.
    pub(super) permit: OwnedSemaphorePermit,
    /// Makes the drain wait for it.
    pub(super) hold: Hold,
}

impl Connection {
    /// Serves it to its end, and contains a panic.
    pub(super) async fn serve<S: Service>(self, stream: TcpStream, service: S) {
        let Self { listener, peer, permit, hold } = self;
        listener.metrics.open.inc();
        let address = peer.address;
        let served = AssertUnwindSafe(serve(&listener, stream, peer, service)).catch_unwind().await;
        if served.is_err() {
            listener.metrics.panics.inc();
            tracing::error!(peer = %address, "connection ended by a panic; this is a mistake of ours, please report it");
        }
        listener.metrics.open.dec();
        drop(permit);
        drop(hold);
    }
}

/// What a connection is told while it is served.
enum Signal {
    /// A header timeout has passed.
    Quiet,
    /// The gateway drains.
    Draining,
    /// The drain's grace is over.
    Ended,
}

async fn serve<S: Service>(listener: &Listener, stream: TcpStream, peer: Arc<Peer>, service: S) {
    // Responses are written in one piece: waiting for more would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "connection gone before it was served");
        return;
    }
    let stream = Stream::new(stream, listener.config.write_timeout);
    let (bytes, fields) = (listener.config.header_bytes, listener.config.header_fields);
    let address = peer.address;
    let has_asked = Arc::new(AtomicBool::new(false));
    let asks = Arc::clone(&has_asked);
    let answer = service_fn(move |request: Request<Incoming>| {
        asks.store(true, Ordering::Relaxed);
        let service = service.clone();
        let peer = Arc::clone(&peer);
        async move {
            let response = match beyond(&request, bytes, fields) {
                Some(bound) => service.header_too_large(request, &bound),
                None => service.answer(request, &peer).await,
            };
            Ok::<_, Infallible>(response)
        }
    });
    let builder = builder(&listener.config);
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), answer));
    // One timer for the whole connection: hyper's own would be set anew for each request, and begins
    // only when it knows which HTTP is spoken, so that a client that says nothing would stay for ever.
    let period = listener.config.header_timeout;
    let quiet = || tokio::time::sleep(period).map(|()| Signal::Quiet);
    // Each is polled only when it has something to say: polling the drain takes a lock that all connections share.
    let mut signals = FuturesUnordered::new();
    signals.push(listener.drain.draining().map(|()| Signal::Draining).boxed());
    signals.push(listener.drain.ended().map(|()| Signal::Ended).boxed());
    signals.push(quiet().boxed());
    let mut is_first = true;
    let served = loop {
        let signal = tokio::select! {
            biased;
            served = connection.as_mut() => break served,
            Some(signal) = signals.next() => signal,
        };
        match signal {
            Signal::Quiet => {
                match (has_asked.swap(false, Ordering::Relaxed), is_first) {
                    // Nothing was asked yet: there is nobody to be graceful to.
                    (false, true) => return,
                    // No new request within a whole period. Those under way are finished first.
                    (false, false) => connection.as_mut().graceful_shutdown(),
                    (true, _) => is_first = false,
                }
                signals.push(quiet().boxed());
            }
            Signal::Draining => connection.as_mut().graceful_shutdown(),
            Signal::Ended => return,
        }
    };
    if let Err(error) = served {
        // Clients that leave, and clients that speak no HTTP: common, and no fault of ours.
        tracing::debug!(%error, peer = %address, "connection broke");
    }
}

fn builder(config: &Config) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().header_read_timeout(None).max_buf_size((config.header_bytes * ROOM_FACTOR).max(BUFFER_BYTES_MIN));
    // Room for more than the default costs each request 600 instructions (of hyper's 12600), so at the default
    // hyper answers by itself.
    if config.header_fields > HEADER_FIELDS {
        builder.http1().max_headers(config.header_fields * ROOM_FACTOR);
    }
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.streams)
        .max_header_list_size(u32::try_from(config.header_bytes).unwrap_or(u32::MAX))
        // A peer that vanished without a word is noticed, and its place becomes free.
        .keep_alive_interval(config.header_timeout)
        .keep_alive_timeout(config.header_timeout);
    builder
}

/// The bound that a request's head is beyond, if it is.
fn beyond(request: &Request<Incoming>, bytes: usize, fields: usize) -> Option<String> {
    if section_bytes(request) > bytes {
        return Some(format!("{bytes} bytes"));
    }
    (request.headers().len() > fields).then(|| format!("{fields} header fields"))
}

/// The bytes of a request's line and header fields, as HTTP/1.1 writes them.
fn section_bytes(request: &Request<Incoming>) -> usize {
    let uri = request.uri();
    let line = request.method().as_str().len() + uri.path().len() + uri.query().map_or(0, str::len) + 12;
    line + request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>()
}
