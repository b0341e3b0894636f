//! Against real clients on loopback.

mod functions;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::{Config, HEADER_FIELDS, Listener, Peer, Service, bind};
use crate::metrics::Registry;
use crate::shutdown::{self, Drain, Outcome, Trigger};

/// What fails a test that would wait for ever.
const SOON: Duration = Duration::from_secs(10);

/// Answers by path: `/wait` waits to be let go, `/panic` panics, `/large` is 64 MiB, everything else is echoed.
#[derive(Clone, Default)]
struct Echo {
    arrived: Arc<Notify>,
    go: Arc<Notify>,
}

impl Service for Echo {
    type Body = Full<Bytes>;

    async fn answer(&self, request: Request<Incoming>, peer: &Peer) -> Response<Full<Bytes>> {
        match request.uri().path() {
            "/wait" => {
                self.arrived.notify_one();
                self.go.notified().await;
                Response::new(Full::from("let go"))
            }
            "/large" => Response::new(Full::from(vec![b'x'; 64 << 20])),
            "/panic" => panic!("as asked"),
            "/peer" => Response::new(Full::from(peer.address.to_string())),
            _echo => Response::new(Full::from(request.into_body().collect().await.unwrap().to_bytes())),
        }
    }

    fn header_too_large(&self, _request: Request<Incoming>, bound: &str) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::from(format!("more than {bound}")));
        *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        response
    }
}

struct Served {
    address: SocketAddr,
    service: Echo,
    listener: Listener,
    registry: Registry,
    trigger: Trigger,
    drain: Drain,
}

fn serve(config: Config) -> Served {
    let (trigger, drain) = shutdown::channel();
    let registry = Registry::default();
    let listener = Listener::new(config, &registry, drain.clone());
    let socket = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
    let address = socket.local_addr().unwrap();
    let service = Echo::default();
    let (accepting, serving) = (listener.clone(), service.clone());
    tokio::spawn(async move { accepting.serve(socket, serving).await.unwrap() });
    Served { address, service, listener, registry, trigger, drain }
}

impl Served {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends and reads until the connection is closed.
    async fn say(&self, text: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(text.as_bytes()).await.unwrap();
        rest_of(&mut stream).await
    }

    fn metric(&self, line: &str) -> bool {
        String::from_utf8(self.registry.exposition()).unwrap().lines().any(|found| found == line)
    }
}

/// What comes until the connection is closed or reset.
async fn rest_of(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    let ended = tokio::time::timeout(SOON, stream.read_to_end(&mut read)).await;
    assert!(ended.is_ok(), "not closed after {} bytes", read.len());
    String::from_utf8_lossy(&read).into_owned()
}

/// Reads until `end` was seen.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(end) {
        let mut buffer = [0; 1024];
        let Ok(count) = tokio::time::timeout(SOON, stream.read(&mut buffer)).await else {
            panic!("no {end:?} after: {}", String::from_utf8_lossy(&read));
        };
        let count = count.unwrap();
        assert_ne!(count, 0, "closed before {end:?}: {}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8(read).unwrap()
}

#[tokio::test]
async fn a_connection_serves_request_after_request() {
    let served = serve(Config::default());
    let mut stream = served.connect().await;
    for _ in 0..3 {
        stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello").await.unwrap();
        read_until(&mut stream, "\r\n\r\nhello").await;
    }
    assert!(served.metric("wicketgate_connections_total 1"));
    assert!(served.metric("wicketgate_connections_open 1"));
}

#[tokio::test]
async fn http2_is_served_without_tls() {
    let served = serve(Config::default());
    let stream = hyper_util::rt::TokioIo::new(served.connect().await);
    let (mut sender, driver) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(driver);
    let request = Request::post("http://a/").body(Full::<Bytes>::from("hello")).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
}

#[tokio::test]
async fn a_header_section_that_is_too_large_is_answered() {
    let served = serve(Config { header_bytes: 8 << 10, ..Config::default() });
    let field =
        |length: usize| format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx: {}\r\n\r\n", "y".repeat(length));
    assert!(served.say(&field(7 << 10)).await.starts_with("HTTP/1.1 200"));
    let answer = served.say(&field(9 << 10)).await;
    assert!(answer.starts_with("HTTP/1.1 431") && answer.ends_with("more than 8192 bytes"), "{answer}");
    assert!(served.say(&field(1 << 20)).await.starts_with("HTTP/1.1 431"));
    assert!(served.say("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn more_fields_than_anybody_needs_are_refused() {
    let request = |count: usize| {
        let fields: String = (2..count).map(|number| format!("x-{number}: y\r\n")).collect();
        format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{fields}\r\n")
    };
    // Within what hyper has room for, and beyond it.
    for bound in [64, 100, 300] {
        let served = serve(Config { header_fields: bound, ..Config::default() });
        assert!(served.say(&request(bound)).await.starts_with("HTTP/1.1 200"), "{bound}");
        let answer = served.say(&request(bound + 1)).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{bound}: {answer}");
        let is_ours = answer.ends_with(&format!("more than {bound} header fields"));
        assert_eq!(is_ours, bound != HEADER_FIELDS, "{bound}: {answer}");
        assert!(served.say(&request(10_000)).await.starts_with("HTTP/1.1 431"), "{bound}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_header_is_cut() {
    let served = serve(Config { header_timeout: Duration::from_millis(50), ..Config::default() });
    let answer = served.say("GET / HTTP/1.1\r\nhost: ").await;
    assert!(!answer.contains("200"), "{answer}");
    // One that says nothing at all is cut too, and so is one that stays after its first request.
    assert_eq!(served.say("").await, "");
    let answer = served.say("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello").await;
    assert!(answer.ends_with("hello"), "{answer}");
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut() {
    let served = serve(Config { write_timeout: Duration::from_millis(50), ..Config::default() });
    let mut stream = served.connect().await;
    stream.write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let closed = async {
        while !(served.metric("wicketgate_connections_total 1") && served.metric("wicketgate_connections_open 0")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, closed).await.unwrap();
    let taken = rest_of(&mut stream).await.len();
    assert!(taken < 64 << 20, "{taken} bytes were sent to nobody");
}

#[tokio::test]
async fn a_panic_ends_its_connection_alone() {
    let served = serve(Config::default());
    let mut other = served.connect().await;
    other.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\none").await.unwrap();
    read_until(&mut other, "one").await;
    assert_eq!(served.say("GET /panic HTTP/1.1\r\nhost: a\r\n\r\n").await, "");
    other.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\ntwo").await.unwrap();
    read_until(&mut other, "two").await;
    assert!(served.metric("wicketgate_panics_total 1"));
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_a_place() {
    let served = serve(Config { connections: 1, ..Config::default() });
    let mut first = served.connect().await;
    first.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\none").await.unwrap();
    read_until(&mut first, "one").await;
    assert_eq!(served.listener.free(), 0);
    let mut second = served.connect().await;
    second.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\ntwo").await.unwrap();
    assert!(served.metric("wicketgate_connections_total 1"));
    drop(first);
    read_until(&mut second, "two").await;
}

#[tokio::test]
async fn a_drain_lets_requests_finish_and_takes_no_more() {
    let served = serve(Config::default());
    let mut idle = served.connect().await;
    idle.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\none").await.unwrap();
    read_until(&mut idle, "one").await;
    let mut busy = served.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    served.service.arrived.notified().await;

    served.trigger.drain();
    // An idle connection ends at once, and nobody accepts a new one.
    assert_eq!(rest_of(&mut idle).await, "");
    while TcpStream::connect(served.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(served.drain.holds(), 1);
    served.service.go.notify_one();
    let answer = rest_of(&mut busy).await;
    assert!(answer.contains("connection: close") && answer.ends_with("let go"), "{answer}");
    served.trigger.finished().await;
}

#[tokio::test]
async fn the_end_of_a_drain_cuts_what_is_left() {
    let served = serve(Config::default());
    let mut busy = served.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    served.service.arrived.notified().await;
    let outcome = served.trigger.drain_until(Duration::from_millis(10), std::future::pending()).await;
    assert_eq!(outcome, Outcome::GraceOver(1));
    assert_eq!(rest_of(&mut busy).await, "");
    served.trigger.finished().await;
}

#[tokio::test]
async fn sockets_of_several_workers_share_a_port() {
    let sockets = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
    let ports: Vec<_> = sockets.iter().map(|socket| socket.local_addr().unwrap().port()).collect();
    assert!(ports[0] != 0 && ports.iter().all(|port| *port == ports[0]), "{ports:?}");
    let taken = bind(sockets[0].local_addr().unwrap(), 1);
    assert!(taken.is_err(), "a single socket must not join somebody else's port");
}

#[tokio::test]
async fn the_peer_is_who_connected() {
    let served = serve(Config::default());
    let mut stream = served.connect().await;
    let local = stream.local_addr().unwrap().to_string();
    stream.write_all(b"GET /peer HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert!(read_until(&mut stream, &local).await.starts_with("HTTP/1.1 200"));
}
