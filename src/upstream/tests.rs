//! Against real servers on loopback.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prometheus::IntCounter;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{Config, Error, Place, Pool, Protocol, Target, Timeouts};

const SOON: Timeouts = Timeouts { connect: Duration::from_secs(5), response: Duration::from_secs(5) };

fn pool(config: Config) -> (Pool<Full<Bytes>>, IntCounter) {
    let opened = IntCounter::new("opened", "Opened.").unwrap();
    (Pool::new(config, opened.clone()), opened)
}

fn request(uri: &str) -> Request<Full<Bytes>> {
    Request::post(uri).header("host", "test").body(Full::from("hello")).unwrap()
}

fn tcp(address: SocketAddr) -> Target {
    Target::plain(Place::Tcp(address.to_string().into()))
}

/// Echoes bodies over HTTP/1.1 and HTTP/2 and counts its connections.
async fn echo() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _peer)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let serve = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let service = service_fn(|request: Request<Incoming>| async {
                    Ok::<_, Infallible>(Response::new(request.into_body()))
                });
                drop(serve.serve_connection(TokioIo::new(stream), service).await);
            });
        }
    });
    (address, connections)
}

async fn exchange(pool: &Pool<Full<Bytes>>, target: &Target, uri: &str) -> Bytes {
    let response = pool.send(target, &mut Some(request(uri)), SOON).await.unwrap();
    response.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let (address, connections) = echo().await;
    let (pool, opened) = pool(Config::default());
    for _ in 0..20 {
        assert_eq!(exchange(&pool, &tcp(address), "/").await, "hello");
    }
    assert_eq!((connections.load(Ordering::SeqCst), opened.get(), pool.idle()), (1, 1, 1));
    assert!(matches!(pool.send(&tcp(address), &mut None, SOON).await, Err(Error::NothingToSend)));
}

#[tokio::test]
async fn http2_requests_share_a_connection() {
    let (address, connections) = echo().await;
    let (pool, _opened) = pool(Config::default());
    let target = Target { protocol: Protocol::Http2, ..tcp(address) };
    assert_eq!(exchange(&pool, &target, "http://test/").await, "hello");
    let both = tokio::join!(exchange(&pool, &target, "http://test/a"), exchange(&pool, &target, "http://test/b"));
    assert_eq!(both, (Bytes::from("hello"), Bytes::from("hello")));
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_unix_socket_is_a_place_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (mut stream, _peer) = listener.accept().await.unwrap();
        let _read = stream.read(&mut [0; 1024]).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    });
    let (pool, _opened) = pool(Config::default());
    let target = Target::plain(Place::Unix(path.into()));
    assert_eq!(exchange(&pool, &target, "/").await, "ok");
}

#[tokio::test]
async fn an_address_that_the_check_refuses_is_never_dialled() {
    let (address, connections) = echo().await;
    let (pool, opened) = pool(Config::default());
    let check = |_host: &str, _address: SocketAddr| Err("not today".to_owned());
    let target = Target { check: Some(Arc::new(check)), ..tcp(address) };
    let mut request = Some(request("/"));
    let failed = pool.send(&target, &mut request, SOON).await.unwrap_err();
    assert!(matches!(failed, Error::AddressDenied { .. }), "{failed:?}");
    assert!(request.is_some());
    assert_eq!((connections.load(Ordering::SeqCst), opened.get()), (0, 0));
}

#[tokio::test]
async fn a_refused_connect_hands_the_request_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (pool, _opened) = pool(Config::default());
    let mut request = Some(request("/"));
    let failed = pool.send(&tcp(address), &mut request, SOON).await.unwrap_err();
    assert!(failed.is_refused() && failed.is_unsent() && request.is_some(), "{failed:?}");
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_passed_over() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (closed, was_closed) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut closed = Some(closed);
        loop {
            let (mut stream, _peer) = listener.accept().await.unwrap();
            let _read = stream.read(&mut [0; 1024]).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            drop(stream);
            closed.take().map(|closed| closed.send(()));
        }
    });
    let (pool, opened) = pool(Config::default());
    assert_eq!(exchange(&pool, &tcp(address), "/").await, "ok");
    was_closed.await.unwrap();
    assert_eq!(exchange(&pool, &tcp(address), "/").await, "ok");
    assert_eq!(opened.get(), 2);
}

#[tokio::test]
async fn a_broken_response_does_not_hand_the_request_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _peer) = listener.accept().await.unwrap();
        let _read = stream.read(&mut [0; 1024]).await.unwrap();
    });
    let (pool, _opened) = pool(Config::default());
    let mut request = Some(request("/"));
    let failed = pool.send(&tcp(address), &mut request, SOON).await.unwrap_err();
    assert!(matches!(failed, Error::Broken(_)) && request.is_none(), "{failed:?}");
    assert!(failed.is_without_response() && !failed.is_unsent());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_in_time_is_a_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (pool, _opened) = pool(Config::default());
    let mut request = Some(request("/"));
    let failed = pool.send(&tcp(address), &mut request, SOON).await.unwrap_err();
    assert!(matches!(failed, Error::ResponseTimeout(_)), "{failed:?}");
    assert!(failed.is_timeout() && request.is_none());
}

#[tokio::test]
async fn a_body_dropped_half_way_closes_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _peer) = listener.accept().await.unwrap();
        let _read = stream.read(&mut [0; 1024]).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbegun").await.unwrap();
        stream.read(&mut [0; 16]).await
    });
    let (pool, _opened) = pool(Config::default());
    let response = pool.send(&tcp(address), &mut Some(request("/")), SOON).await.unwrap();
    drop(response);
    assert!(!matches!(server.await.unwrap(), Ok(read) if read > 0));
    assert_eq!(pool.idle(), 0);
}

#[tokio::test]
async fn no_more_idle_connections_are_kept_than_the_bound() {
    let (address, _connections) = echo().await;
    let (pool, opened) = pool(Config { idle_per_target: 1, ..Config::default() });
    let target = tcp(address);
    let (mut first, mut second) = (Some(request("/")), Some(request("/")));
    let (one, other) = tokio::join!(pool.send(&target, &mut first, SOON), pool.send(&target, &mut second, SOON));
    drop(one.unwrap().into_body().collect().await.unwrap());
    drop(other.unwrap().into_body().collect().await.unwrap());
    assert_eq!((opened.get(), pool.idle()), (2, 1));
    pool.forget(&target);
    assert_eq!(pool.idle(), 0);
}

#[tokio::test]
async fn what_is_idle_for_too_long_is_closed() {
    let (address, _connections) = echo().await;
    let (pool, _opened) = pool(Config { idle_timeout: Duration::from_secs(30), ..Config::default() });
    exchange(&pool, &tcp(address), "/").await;
    assert_eq!(pool.idle(), 1);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(pool.idle(), 0);
}
