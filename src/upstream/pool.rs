//! Connections that wait for their next request.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use prometheus::IntCounter;
use tokio::time::{Instant, Sleep};

use super::{Error, Protocol, Target, connect};

/// The bounds of a [`Pool`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How many idle connections are kept for each target. Default 256; 0 keeps none.
    pub idle_per_target: usize,
    /// How many idle connections are kept in all. Default 1024.
    pub idle: usize,
    /// For how long a connection may be idle. Default 60 s.
    pub idle_timeout: Duration,
    /// The most bytes of the header section of a response. Default 64 KiB, at least 8 KiB.
    pub header_bytes: usize,
    /// The most fields of the header section of a response. Default [`HEADER_FIELDS`].
    pub header_fields: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            idle_per_target: 256,
            idle: 1024,
            idle_timeout: Duration::from_secs(60),
            header_bytes: 64 << 10,
            header_fields: HEADER_FIELDS,
        }
    }
}

/// The default of [`Config::header_fields`]: so many hyper reads without an allocation for each response. Any
/// other number costs a hundredth of a forwarded request's processor time.
pub const HEADER_FIELDS: usize = 100;

/// hyper refuses smaller buffers.
const HEADER_BYTES_MIN: usize = 8 << 10;

/// How many connections that are still busy with their last exchange are looked at before another is opened.
const BUSY_LOOKED_AT: usize = 4;

/// How long one request may wait for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For the head of the response, from the moment that there is a connection.
    pub response: Duration,
}

/// A pool of connections for requests whose bodies are `B`. Cheap to clone: clones share.
pub struct Pool<B>(Arc<Shared<B>>);

impl<B> Clone for Pool<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Shared<B> {
    config: Config,
    opened: IntCounter,
    idle: Mutex<Idle<B>>,
    has_sweeper: AtomicBool,
}

struct Idle<B> {
    by_target: HashMap<Target, Kept<B>>,
    /// How many HTTP/1.1 connections are kept in all.
    count: usize,
}

struct Kept<B> {
    /// The one that was used last is at the end and is used next, so that a pool that grew in a burst shrinks again.
    http1: Vec<(Http1<B>, Instant)>,
    http2: Option<(http2::SendRequest<B>, Instant)>,
}

impl<B> Default for Kept<B> {
    fn default() -> Self {
        Self { http1: Vec::new(), http2: None }
    }
}

/// An HTTP/1.1 connection.
struct Http1<B> {
    sender: http1::SendRequest<B>,
    /// Stays set while the connection waits: to move a timer's end is one atomic exchange, where to set and
    /// to remove one takes the lock of the runtime's timers twice.
    timer: Pin<Box<Sleep>>,
}

impl<B> Http1<B> {
    fn new(sender: http1::SendRequest<B>, timeout: Duration) -> Self {
        Self { sender, timer: Box::pin(tokio::time::sleep(timeout)) }
    }
}

/// Waits for `answer`, but at most for `timeout`; `None` if it is over.
async fn in_time<T>(
    mut timer: Pin<&mut Sleep>,
    timeout: Duration,
    mut answer: Pin<Box<impl Future<Output = T>>>,
) -> Option<T> {
    timer.as_mut().reset(Instant::now() + timeout);
    poll_fn(|cx| match answer.as_mut().poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => timer.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// A connection that is free for a request.
enum Sender<B> {
    Http1(Http1<B>),
    Http2(http2::SendRequest<B>),
}

impl<B> Pool<B>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// An empty pool that counts the connections that it opens in `opened`.
    #[must_use]
    pub fn new(config: Config, opened: IntCounter) -> Self {
        let idle = Mutex::new(Idle { by_target: HashMap::new(), count: 0 });
        Self(Arc::new(Shared { config, opened, idle, has_sweeper: AtomicBool::new(false) }))
    }

    /// Sends a request over an idle connection or a new one and answers with the head of the
    /// response. Connections that turn out to be closed before a byte was written are passed over.
    ///
    /// `request` is taken; where no byte of it was written, it is there again afterwards. It is handed over like
    /// this, since a request is large and every copy of one counts.
    ///
    /// # Errors
    /// What happened; [`Error::NothingToSend`] if there was no request.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection; the server may have seen the request.
    pub async fn send(
        &self,
        target: &Target,
        request: &mut Option<Request<B>>,
        timeouts: Timeouts,
    ) -> Result<Response<Body<B>>, Error> {
        let mut is_new = false;
        loop {
            let sender = match self.0.take(target) {
                Some(sender) => sender,
                None => {
                    is_new = true;
                    // Rare and large: boxed, so that the future of a request over a kept connection stays small.
                    Box::pin(self.open(target, timeouts.connect)).await?
                }
            };
            match self.exchange(target, sender, request, timeouts.response).await {
                Err(Error::Unsent(_)) if !is_new => {}
                answer => return answer,
            }
        }
    }

    /// How many idle connections are kept now, over all targets.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.0.lock().count
    }

    /// Closes the idle connections to `target`.
    pub fn forget(&self, target: &Target) {
        let mut idle = self.0.lock();
        let forgotten = idle.by_target.remove(target);
        idle.count -= forgotten.as_ref().map_or(0, |kept| kept.http1.len());
        drop(idle);
        drop(forgotten);
    }

    async fn exchange(
        &self,
        target: &Target,
        sender: Sender<B>,
        request: &mut Option<Request<B>>,
        timeout: Duration,
    ) -> Result<Response<Body<B>>, Error> {
        let Some(sent) = request.take() else { return Err(Error::NothingToSend) };
        let late = Error::ResponseTimeout(timeout);
        // hyper's future holds the request until it is sent, and futures are copied with all they hold:
        // one small allocation costs less.
        match sender {
            Sender::Http1(mut connection) => {
                let answer = Box::pin(connection.sender.try_send_request(sent));
                let answered = in_time(connection.timer.as_mut(), timeout, answer).await.ok_or(late)?;
                let response = answered.map_err(|error| failed(error, request))?;
                // An upgraded connection is no longer HTTP, so it does not come back.
                let connection = (response.status() != StatusCode::SWITCHING_PROTOCOLS).then_some(connection);
                Ok(response.map(|incoming| {
                    let back = |connection| Back { pool: Arc::clone(&self.0), target: target.clone(), connection };
                    Body::new(incoming, connection.map(back))
                }))
            }
            Sender::Http2(mut sender) => {
                let answer = Box::pin(sender.try_send_request(sent));
                let answered = tokio::time::timeout(timeout, answer).await.map_err(|_elapsed| late)?;
                let response = answered.map_err(|error| failed(error, request))?;
                Ok(response.map(|incoming| Body::new(incoming, None)))
            }
        }
    }

    async fn open(&self, target: &Target, timeout: Duration) -> Result<Sender<B>, Error> {
        let stream = TokioIo::new(connect::open(target, timeout).await?);
        self.0.opened.inc();
        let config = &self.0.config;
        let sender = match target.protocol {
            Protocol::Http1 => {
                let mut builder = http1::Builder::new();
                builder.max_buf_size(config.header_bytes.max(HEADER_BYTES_MIN));
                if config.header_fields != HEADER_FIELDS {
                    builder.max_headers(config.header_fields);
                }
                let (sender, driver) = builder.handshake(stream).await.map_err(Error::Unsent)?;
                // What the driver fails with is also told to whoever waits for its response.
                tokio::spawn(async move { drop(driver.with_upgrades().await) });
                Sender::Http1(Http1::new(sender, timeout))
            }
            Protocol::Http2 => {
                let (sender, driver) = http2::Builder::new(TokioExecutor::new())
                    .timer(TokioTimer::new())
                    .max_header_list_size(u32::try_from(config.header_bytes).unwrap_or(u32::MAX))
                    .handshake(stream)
                    .await
                    .map_err(Error::Unsent)?;
                tokio::spawn(async move { drop(driver.await) });
                let mut idle = self.0.lock();
                idle.by_target.entry(target.clone()).or_default().http2 = Some((sender.clone(), Instant::now()));
                Sender::Http2(sender)
            }
        };
        if !self.0.has_sweeper.swap(true, Ordering::Relaxed) {
            tokio::spawn(sweep(Arc::downgrade(&self.0), config.idle_timeout));
        }
        Ok(sender)
    }
}

/// What happened; the request goes back to where it was taken if no byte of it was written.
fn failed<B>(mut error: TrySendError<Request<B>>, request: &mut Option<Request<B>>) -> Error {
    *request = error.take_message();
    if request.is_some() { Error::Unsent(error.into_error()) } else { Error::Broken(error.into_error()) }
}

impl<B> Shared<B> {
    /// The critical sections cannot panic half way through a change, so poison means nothing here.
    fn lock(&self) -> MutexGuard<'_, Idle<B>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an idle connection that is ready.
    fn take(&self, target: &Target) -> Option<Sender<B>> {
        let mut idle = self.lock();
        let idle = &mut *idle;
        let kept = idle.by_target.get_mut(target)?;
        if let Some((sender, used)) = &mut kept.http2 {
            if !sender.is_closed() {
                *used = Instant::now();
                return Some(Sender::Http2(sender.clone()));
            }
            kept.http2 = None;
        }
        let mut index = kept.http1.len();
        let mut busy = 0;
        while busy < BUSY_LOOKED_AT && index > 0 {
            index -= 1;
            let Some((Http1 { sender, .. }, _since)) = kept.http1.get(index) else { break };
            if sender.is_ready() {
                idle.count -= 1;
                return Some(Sender::Http1(kept.http1.remove(index).0));
            }
            if sender.is_closed() {
                idle.count -= 1;
                drop(kept.http1.remove(index));
            } else {
                busy += 1;
            }
        }
        None
    }

    fn put(&self, target: Target, connection: Http1<B>) {
        if connection.sender.is_closed() {
            return;
        }
        let mut idle = self.lock();
        let idle = &mut *idle;
        if idle.count >= self.config.idle {
            return;
        }
        let kept = idle.by_target.entry(target).or_default();
        if kept.http1.len() < self.config.idle_per_target {
            kept.http1.push((connection, Instant::now()));
            idle.count += 1;
        }
    }

    /// Drops what was idle for too long or is closed.
    fn sweep(&self, now: Instant) {
        let mut idle = self.lock();
        let timeout = self.config.idle_timeout;
        let mut count = 0;
        idle.by_target.retain(|_target, kept| {
            kept.http1.retain(|(kept, since)| !kept.sender.is_closed() && now.duration_since(*since) < timeout);
            kept.http2.take_if(|(sender, used)| sender.is_closed() || now.duration_since(*used) >= timeout);
            count += kept.http1.len();
            !kept.http1.is_empty() || kept.http2.is_some()
        });
        idle.count = count;
    }
}

/// Sweeps until the pool is gone.
async fn sweep<B>(pool: Weak<Shared<B>>, idle_timeout: Duration) {
    let pause = (idle_timeout / 2).max(Duration::from_millis(100));
    loop {
        tokio::time::sleep(pause).await;
        let Some(pool) = pool.upgrade() else { return };
        pool.sweep(Instant::now());
    }
}

/// The way of an HTTP/1.1 connection back into its pool.
struct Back<B> {
    pool: Arc<Shared<B>>,
    target: Target,
    connection: Http1<B>,
}

/// The body of a response. Once it was read to its end its connection is free for the next
/// request; dropped before, it closes the connection.
pub struct Body<B> {
    incoming: Incoming,
    back: Option<Back<B>>,
}

impl<B> Body<B> {
    fn new(incoming: Incoming, back: Option<Back<B>>) -> Self {
        let mut body = Self { incoming, back };
        body.release_at_end();
        body
    }

    fn release_at_end(&mut self) {
        if http_body::Body::is_end_stream(&self.incoming) {
            self.release();
        }
    }

    fn release(&mut self) {
        if let Some(Back { pool, target, connection }) = self.back.take() {
            pool.put(target, connection);
        }
    }
}

impl<B> http_body::Body for Body<B> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.incoming).poll_frame(cx);
        match &frame {
            Poll::Ready(Some(Ok(_frame))) => this.release_at_end(),
            Poll::Ready(Some(Err(_broken))) => this.back = None,
            Poll::Ready(None) => this.release(),
            Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

// Nothing in it is pinned: `Incoming` is `Unpin`, and a sender never holds a body in place.
impl<B> Unpin for Body<B> {}

impl<B> std::fmt::Debug for Body<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("is_end_stream", &http_body::Body::is_end_stream(&self.incoming)).finish()
    }
}
