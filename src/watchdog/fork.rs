//! `mode = "fork"`: a small HTTP server that runs the command once for each request.

mod answer;
mod run;

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Gateway, report};
use crate::host::processes::launch::Launch;
use answer::Answer;

/// Connections at once. The gateway is the only client and keeps idle ones, so this is out of reach.
const CONNECTIONS: usize = 4096;

/// The pause after a failed accept (too many open files): the reason may pass.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What all requests share.
struct Desk {
    launch: Launch,
    running: Arc<Semaphore>,
    waiting: AtomicU32,
}

/// Serves until the gateway asks for the end, then lets requests finish within the grace.
pub(super) async fn serve(launch: &Launch, gateway: Gateway) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("no port to serve on: {error}");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    let desk = Arc::new(Desk {
        running: Arc::new(Semaphore::new(usize::try_from(launch.concurrency).unwrap_or(1))),
        waiting: AtomicU32::new(0),
        launch: launch.clone(),
    });
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    report("ready", &port.to_string());
    let mut end = std::pin::pin!(gateway.end_asked());
    let end = loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &connections) => accepted,
            end = &mut end => break end,
        };
        let Some((stream, permit)) = accepted else { continue };
        let desk = Arc::clone(&desk);
        let service = service_fn(move |request| {
            let desk = Arc::clone(&desk);
            async move { Ok::<_, Infallible>(desk.answer(request).await) }
        });
        let connection = graceful
            .watch(http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            let _closed = connection.await;
            drop(permit);
        });
    };
    drop(listener);
    let _finished_or_not = tokio::time::timeout(end.grace(launch), graceful.shutdown()).await;
    Ok(())
}

async fn accept(listener: &TcpListener, connections: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(connections).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _peer)) => {
            let _slower_without = stream.set_nodelay(true);
            Some((stream, permit))
        }
        Err(error) => {
            report("err", &format!("watchdog: a connection was not accepted: {error}"));
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

impl Desk {
    async fn answer(&self, request: Request<Incoming>) -> Response<Answer> {
        let Some(turn) = self.turn().await else {
            let mut busy = Answer::text(StatusCode::SERVICE_UNAVAILABLE, "too many requests wait for this function\n");
            busy.headers_mut().insert(http::header::RETRY_AFTER, http::HeaderValue::from_static("1"));
            return busy;
        };
        run::once(&self.launch, request, turn).await
    }

    /// Waits for a turn; `None` if too many wait already.
    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(turn) = Arc::clone(&self.running).try_acquire_owned() {
            return Some(turn);
        }
        let queued = Queued::join(&self.waiting, self.launch.queue)?;
        let turn = Arc::clone(&self.running).acquire_owned().await.ok();
        drop(queued);
        turn
    }
}

/// A place among those who wait, left when dropped: a client that goes away leaves it too.
struct Queued<'a>(&'a AtomicU32);

impl<'a> Queued<'a> {
    fn join(waiting: &'a AtomicU32, most: u32) -> Option<Self> {
        let joined = waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < most).then_some(n + 1));
        joined.ok().map(|_before| Self(waiting))
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
