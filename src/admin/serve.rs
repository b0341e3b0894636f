//! A small HTTP/1.1 server for the operator's own ports: few connections, short answers.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Body;

/// Connections at once; more wait in the kernel's queue. A scraper holds one, an operator a few.
const CONNECTIONS: usize = 64;

/// How long a header section may take, and an idle connection lives.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest header section in bytes for whoever says nothing else; hyper's buffer takes no less than 8 KiB.
pub(super) const HEADER_BYTES: usize = 16 << 10;

/// How long to wait after the system refused to accept, e.g. since no file descriptor is free.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// How long connections may go on after `stop`.
const GRACE: Duration = Duration::from_secs(1);

/// Where connections come from.
pub(super) trait Accept: Send {
    /// One connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Which user and process connected, where the kernel says so.
    fn peer(_stream: &Self::Stream) -> Option<(u32, Option<i32>)> {
        None
    }

    /// The next one. Cancel safe.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Accept for tokio::net::TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn accept(&self) -> io::Result<Self::Stream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Accept for tokio::net::UnixListener {
    type Stream = tokio::net::UnixStream;

    fn peer(stream: &Self::Stream) -> Option<(u32, Option<i32>)> {
        stream.peer_cred().ok().map(|peer| (peer.uid(), peer.pid()))
    }

    async fn accept(&self) -> io::Result<Self::Stream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

/// Serves until `stop` resolves; open connections then have a second. No connection takes longer than
/// `longest` in all, a slow reader's included, and no header section has more than `header_bytes`.
pub(super) async fn serve<A, F, R>(
    listener: &A,
    (longest, header_bytes): (Duration, usize),
    answer: F,
    stop: impl Future<Output = ()> + Send,
) where
    A: Accept,
    F: Fn(Request<Incoming>, Option<(u32, Option<i32>)>) -> R + Send + Sync + 'static,
    R: Future<Output = Response<Body>> + Send,
{
    let answer = Arc::new(answer);
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (listener.accept().await, permit)
        };
        let (stream, permit) = tokio::select! {
            () = &mut stop => break,
            accepted = accepted => accepted,
            Some(_ended) = connections.join_next(), if !connections.is_empty() => continue,
        };
        match stream {
            Ok(stream) => {
                let (answer, peer) = (Arc::clone(&answer), A::peer(&stream));
                connections.spawn(async move {
                    // A timeout, a broken connection and a polite end all end only this one.
                    let _ended = tokio::time::timeout(longest, connection(stream, peer, answer, header_bytes)).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
    let _timed_out = tokio::time::timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
}

async fn connection<S, F, R>(
    stream: S,
    peer: Option<(u32, Option<i32>)>,
    answer: Arc<F>,
    header_bytes: usize,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>, Option<(u32, Option<i32>)>) -> R + Send + Sync + 'static,
    R: Future<Output = Response<Body>> + Send,
{
    let service = service_fn(move |request| {
        let answered = answer(request, peer);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(header_bytes)
        .serve_connection(TokioIo::new(stream), service)
        .await
}
