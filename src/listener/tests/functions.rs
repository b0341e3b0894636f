//! The whole data plane: a real listener, scaler and forwarder between a raw client and a raw function,
//! with a provider of ten lines.

mod bounds;
mod upgrades;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{SOON, read_until, rest_of};
use crate::forward;
use crate::invoke::{Body, Config, Invoke};
use crate::listener::{self, Listener, Peer, Service, bind};
use crate::metrics::Registry;
use crate::name::{FunctionRef, Generation, ProviderName};
use crate::provider::{AllowedHost, Directory, EndpointPolicy, Entry};
use crate::query::{Answer, Endpoint, ErrorKind, Interface, Provider, QueryError, ServiceQuery, ServiceStatus, Target};
use crate::respond::{CallId, Problem};
use crate::scaler::{self, Scaler};
use crate::shutdown::{self, Trigger};

/// Knows one function, `figlet`, at one address that can be moved.
struct Platform {
    name: ProviderName,
    port: AtomicU64,
    available: AtomicU64,
    prefix: &'static str,
    scaled: AtomicU64,
}

impl ServiceQuery for Platform {
    fn get_replicas<'a>(&'a self, function: &'a FunctionRef) -> Answer<'a, ServiceStatus> {
        let available = self.available.load(Ordering::SeqCst);
        let answer = if function.name.as_str() == "figlet" {
            Ok(ServiceStatus { replicas: available, available_replicas: available, ..ServiceStatus::default() })
        } else {
            Err(QueryError::platform(ErrorKind::NotFound, "never heard of it"))
        };
        Box::pin(std::future::ready(answer))
    }

    fn set_replicas<'a>(&'a self, _function: &'a FunctionRef, count: u64) -> Answer<'a, ()> {
        self.scaled.fetch_add(1, Ordering::SeqCst);
        self.available.store(count, Ordering::SeqCst);
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Provider for Platform {
    fn name(&self) -> &ProviderName {
        &self.name
    }

    fn has(&self, interface: Interface) -> bool {
        interface == Interface::Endpoints
    }

    fn generation(&self) -> Generation {
        Generation(1)
    }

    fn resolve<'a>(&'a self, _function: &'a FunctionRef) -> Answer<'a, Vec<Endpoint>> {
        let endpoint = Endpoint {
            target: Target::Authority(format!("127.0.0.1:{}", self.port.load(Ordering::SeqCst)).into()),
            path_prefix: self.prefix.into(),
            host_header: None,
            tls: false,
            ttl: Duration::from_secs(60),
            instance: "one".into(),
            via: None,
        };
        Box::pin(std::future::ready(Ok(vec![endpoint])))
    }
}

#[derive(Clone)]
struct Functions(Arc<Invoke>);

impl Service for Functions {
    type Body = Body;

    async fn answer(&self, request: Request<Incoming>, peer: &Peer) -> Response<Body> {
        match self.0.answer(request, peer).await {
            Ok(response) => response,
            Err(_admin) => Response::new(Body::from(http_body_util::Full::from("admin"))),
        }
    }

    fn header_too_large(&self, request: Request<Incoming>, bound: &str) -> Response<Body> {
        self.0.refuse(&Problem::header_too_large(bound), &CallId::of(request.headers()))
    }
}

struct Gateway {
    address: SocketAddr,
    platform: Arc<Platform>,
    registry: Registry,
    trigger: Trigger,
}

struct Setup {
    forward: forward::Config,
    available: u64,
    prefix: &'static str,
}

impl Default for Setup {
    fn default() -> Self {
        Self { forward: forward::Config::default(), available: 1, prefix: "" }
    }
}

fn gateway(function: SocketAddr, setup: Setup) -> Gateway {
    let platform = Arc::new(Platform {
        name: "edge".parse().unwrap(),
        port: AtomicU64::new(function.port().into()),
        available: AtomicU64::new(setup.available),
        prefix: setup.prefix,
        scaled: AtomicU64::new(0),
    });
    let entry = Entry {
        provider: Arc::clone(&platform) as Arc<dyn Provider>,
        endpoints: EndpointPolicy { allow: vec![AllowedHost::Network("127.0.0.0/8".parse().unwrap())], template: None },
        namespaces: vec![],
        is_default: true,
    };
    let registry = Registry::default();
    let directory = Arc::new(Directory::new(vec![entry]));
    let scaler = Arc::new(Scaler::new(scaler::Config::default(), directory, &registry));
    let (trigger, drain) = shutdown::channel();
    let config = Config { default_namespace: "openfaas-fn".parse().unwrap(), forward: setup.forward };
    let service = Functions(Arc::new(Invoke::new(config, scaler, &registry, drain.clone())));
    let listener = Listener::new(listener::Config::default(), &registry, drain);
    let socket = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move { listener.serve(socket, service).await.unwrap() });
    Gateway { address, platform, registry, trigger }
}

impl Gateway {
    async fn open(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    async fn ask(&self, text: &str) -> String {
        rest_of(&mut self.open(text).await).await
    }

    fn metrics(&self) -> String {
        String::from_utf8(self.registry.exposition()).unwrap()
    }
}

async fn function() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A connection with a request on it. The scaler's probes connect and say nothing.
async fn next_request(listener: &TcpListener, end: &str) -> (TcpStream, String) {
    loop {
        let accepted = tokio::time::timeout(SOON, listener.accept()).await;
        let (mut stream, _peer) = accepted.expect("nobody connected").unwrap();
        let mut first = [0; 1];
        if stream.peek(&mut first).await.is_ok_and(|count| count > 0) {
            let request = read_until(&mut stream, end).await;
            return (stream, request);
        }
    }
}

/// Answers every connection's one request with `answer` and hands the requests out.
fn answering(listener: TcpListener, answer: &'static str) -> tokio::sync::mpsc::UnboundedReceiver<String> {
    let (seen, requests) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (mut stream, request) = next_request(&listener, "\r\n\r\n").await;
            seen.send(request).unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    requests
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";

#[tokio::test]
async fn path_query_and_fields_reach_the_function_as_they_were_written() {
    let (listener, address) = function().await;
    let mut requests = answering(listener, OK);
    let gateway = gateway(address, Setup::default());
    let answer = gateway
        .ask("GET /function/figlet/a%2Fb/%25?q=%20&x HTTP/1.1\r\nhost: gw:8080\r\nconnection: close, x-hop\r\nx-hop: 1\r\nx-kept: 1\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok"), "{answer}");
    let request = requests.recv().await.unwrap();
    assert!(request.starts_with("GET /a%2Fb/%25?q=%20&x HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("\r\nhost: {address}\r\n")), "{request}");
    for field in [
        "x-kept: 1",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: gw:8080",
        "x-forwarded-proto: http",
        "x-call-id: ",
        "x-start-time: ",
    ] {
        assert!(request.contains(&format!("\r\n{field}")), "{field}: {request}");
    }
    assert!(!request.contains("x-hop") && !request.contains("connection"), "{request}");
}

#[tokio::test]
async fn a_prefix_stands_before_what_follows_the_name() {
    let (listener, address) = function().await;
    let mut requests = answering(listener, OK);
    let gateway = gateway(address, Setup { prefix: "/function/figlet", ..Setup::default() });
    gateway.ask("GET /function/figlet?a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(requests.recv().await.unwrap().starts_with("GET /function/figlet?a HTTP/1.1\r\n"));
    gateway.ask("GET /function/figlet/b/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(requests.recv().await.unwrap().starts_with("GET /function/figlet/b/ HTTP/1.1\r\n"));
}

#[tokio::test]
async fn the_call_id_is_kept_or_made_and_always_answered() {
    let (listener, address) = function().await;
    let mut requests = answering(listener, OK);
    let gateway = gateway(address, Setup::default());
    let answer =
        gateway.ask("GET /function/figlet HTTP/1.1\r\nhost: a\r\nx-call-id: mine\r\nconnection: close\r\n\r\n").await;
    assert!(answer.contains("\r\nx-call-id: mine\r\n") && answer.contains("\r\nx-start-time: "), "{answer}");
    assert!(requests.recv().await.unwrap().contains("\r\nx-call-id: mine\r\n"));
    let answer = gateway.ask("GET /function/nobody HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(answer.contains("\r\nx-call-id: "), "{answer}");
}

#[tokio::test]
async fn an_unknown_function_is_404_with_the_platforms_word_for_it_and_is_not_counted_by_name() {
    let (_listener, address) = function().await;
    let gateway = gateway(address, Setup::default());
    let answer = gateway.ask("GET /function/nobody HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(
        answer.contains("x-wicketgate-error: function_not_found") && answer.contains("never heard of it"),
        "{answer}"
    );
    assert!(gateway.metrics().contains("wicketgate_invocation_problems_total{code=\"function_not_found\"} 1"));
    assert!(!gateway.metrics().contains("nobody"));
}

#[tokio::test]
async fn bad_names_and_hidden_dots_are_400_and_unclean_paths_move() {
    let (_listener, address) = function().await;
    let gateway = gateway(address, Setup::default());
    for (path, status) in
        [("/function/fn~x", "400"), ("/function/figlet/%2e%2e/x", "400"), ("/function/figlet//x?a", "301")]
    {
        let answer = gateway.ask(&format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
        assert_eq!(answer.contains("location: /function/figlet/x?a"), status == "301", "{answer}");
    }
    assert!(gateway.ask("GET /system/info HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.ends_with("admin"));
}

#[tokio::test]
async fn a_function_without_an_instance_is_started_once_and_the_wait_is_told() {
    let (listener, address) = function().await;
    let _requests = answering(listener, OK);
    let gateway = gateway(address, Setup { available: 0, ..Setup::default() });
    let ask = "GET /function/figlet HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let answer = gateway.ask(ask).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\r\nserver-timing: scale;dur="), "{answer}");
    let answer = gateway.ask(ask).await;
    assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("server-timing"), "{answer}");
    assert_eq!(gateway.platform.scaled.load(Ordering::SeqCst), 1);
    let metrics = gateway.metrics();
    for line in [
        "gateway_function_invocation_started{function_name=\"figlet.openfaas-fn\"} 2",
        "gateway_function_invocation_total{code=\"200\",function_name=\"figlet.openfaas-fn\"} 2",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn an_instance_that_is_gone_is_not_used_again() {
    let (gone, old) = function().await;
    let _requests = answering(gone, OK);
    let (listener, new) = function().await;
    let mut requests = answering(listener, OK);
    let gateway = gateway(old, Setup::default());
    let ask = "POST /function/figlet HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
    // Known at an address where nobody listens any more; the platform knows better.
    let (dead, nobody) = function().await;
    gateway.platform.port.store(nobody.port().into(), Ordering::SeqCst);
    let warming = tokio::spawn(async move { drop(next_request(&dead, "hello").await) });
    let _broken = gateway.ask(ask).await;
    warming.await.unwrap();
    gateway.platform.port.store(new.port().into(), Ordering::SeqCst);
    let answer = gateway.ask(ask).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(requests.recv().await.unwrap().starts_with("POST / HTTP/1.1\r\n"));
}

#[tokio::test]
async fn bodies_stream_both_ways_while_they_come() {
    let (listener, address) = function().await;
    let gateway = gateway(address, Setup::default());
    let mut client = gateway
        .open("POST /function/figlet HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        .await;
    let (mut function, request) = next_request(&listener, "one").await;
    assert!(request.contains("transfer-encoding: chunked"), "{request}");
    // The response begins before the request ended, and its first piece comes before the second.
    function.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").await.unwrap();
    read_until(&mut client, "first").await;
    client.write_all(b"3\r\ntwo\r\n0\r\n\r\n").await.unwrap();
    read_until(&mut function, "two\r\n0\r\n\r\n").await;
    function.write_all(b"6\r\nsecond\r\n0\r\n\r\n").await.unwrap();
    read_until(&mut client, "second\r\n0\r\n\r\n").await;
}

#[tokio::test]
async fn lengths_are_kept_and_a_body_of_a_get_too() {
    let (listener, address) = function().await;
    let gateway = gateway(address, Setup::default());
    let mut client = gateway.open("GET /function/figlet HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello").await;
    let (mut function, request) = next_request(&listener, "hello").await;
    assert!(request.contains("\r\ncontent-length: 5\r\n") && !request.contains("chunked"), "{request}");
    function.write_all(OK.as_bytes()).await.unwrap();
    let answer = read_until(&mut client, "ok").await;
    assert!(answer.contains("\r\ncontent-length: 2\r\n"), "{answer}");

    let mut client = gateway
        .open("GET /function/figlet HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        .await;
    let (mut function, request) = next_request(&listener, "0\r\n\r\n").await;
    assert!(request.contains("\r\n5\r\nhello\r\n0\r\n\r\n"), "{request}");
    function.write_all(OK.as_bytes()).await.unwrap();
    read_until(&mut client, "ok").await;
}

#[tokio::test]
async fn trailers_pass() {
    let (listener, address) = function().await;
    let gateway = gateway(address, Setup::default());
    let mut client =
        gateway.open("GET /function/figlet HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: te\r\n\r\n").await;
    let (mut function, request) = next_request(&listener, "\r\n\r\n").await;
    assert!(request.contains("\r\nte: trailers\r\n"), "{request}");
    function
        .write_all(
            b"HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n",
        )
        .await
        .unwrap();
    let answer = read_until(&mut client, "0\r\nx-sum: 7\r\n\r\n").await;
    assert!(answer.contains("trailer: x-sum"), "{answer}");
}

#[tokio::test]
async fn a_response_that_breaks_off_breaks_the_clients_connection() {
    let (listener, address) = function().await;
    let gateway = gateway(address, Setup::default());
    let mut client = gateway.open("GET /function/figlet HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (mut function, _request) = next_request(&listener, "\r\n\r\n").await;
    function.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").await.unwrap();
    read_until(&mut client, "first").await;
    drop(function);
    let rest = rest_of(&mut client).await;
    assert!(!rest.contains("0\r\n\r\n"), "the half must not look like the whole: {rest:?}");
}
