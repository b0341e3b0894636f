//! A server that records what it is asked and answers by path.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) target: String,
    pub(super) version: Version,
    pub(super) headers: http::HeaderMap,
    pub(super) body: Bytes,
    pub(super) has_trailers: bool,
}

impl Seen {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

#[derive(Clone, Default)]
pub(super) struct Server {
    pub(super) port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
    /// `/guarded` is answered with 401 unless the request's `Authorization` says this.
    wanted: Arc<Mutex<String>>,
    /// Answers to `/hold` wait for a permit.
    pub(super) gate: Arc<tokio::sync::Notify>,
}

impl Server {
    pub(super) async fn start() -> Self {
        Self::listen(None).await
    }

    pub(super) async fn start_tls(tls: rustls::ServerConfig) -> Self {
        Self::listen(Some(TlsAcceptor::from(Arc::new(tls)))).await
    }

    async fn listen(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { port: listener.local_addr().unwrap().port(), ..Self::default() };
        let accepting = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _peer)) = listener.accept().await {
                accepting.connections.fetch_add(1, Ordering::Relaxed);
                let (server, tls) = (accepting.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => server.serve(stream).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                server.serve(stream).await;
                            }
                        }
                    }
                });
            }
        });
        server
    }

    pub(super) fn start_unix(path: &std::path::Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let server = Self::default();
        let accepting = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _peer)) = listener.accept().await {
                accepting.connections.fetch_add(1, Ordering::Relaxed);
                let server = accepting.clone();
                tokio::spawn(async move { server.serve(stream).await });
            }
        });
        server
    }

    async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = service_fn(|request| self.clone().answer(request));
        let builder = auto::Builder::new(TokioExecutor::new());
        drop(builder.serve_connection(TokioIo::new(stream), service).await);
    }

    async fn answer(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
        let (head, body) = request.into_parts();
        let Ok(body) = body.collect().await else {
            // A request whose body broke off is no request.
            return Ok(Response::new(Full::default().boxed_unsync()));
        };
        let has_trailers = body.trailers().is_some();
        let body = body.to_bytes();
        let path = head.uri.path().to_owned();
        let target = head.uri.path_and_query().unwrap().to_string();
        let authorization = head.headers.get("authorization").or(head.headers.get("x-token")).cloned();
        self.seen.lock().unwrap().push(Seen {
            target,
            version: head.version,
            headers: head.headers,
            body,
            has_trailers,
        });

        let response = Response::builder();
        let full = |text: &'static str| Full::from(text).boxed_unsync();
        Ok(match path.as_str() {
            "/redirect" => response.status(StatusCode::FOUND).header("location", "/secret").body(full("")).unwrap(),
            "/echo" => {
                let value = authorization.unwrap_or_else(|| "none".parse().unwrap());
                let token = String::from_utf8_lossy(value.as_bytes()).rsplit(' ').next().unwrap_or_default().to_owned();
                response
                    .header("x-echo", &value)
                    .header("x-nested", format!("it was [{token}]"))
                    .header("set-cookie", "session=1")
                    .header("www-authenticate", "Basic realm=\"x\"")
                    .header("proxy-authenticate", "Basic")
                    .header("x-kept", "yes")
                    .body(full("body"))
                    .unwrap()
            }
            "/services/abc" => response.body(full("{\"Spec\":{\"Image\":\"f\",\"Replicas\":0}}")).unwrap(),
            "/leak" => {
                let value = authorization.unwrap_or_else(|| "none".parse().unwrap());
                let token = String::from_utf8_lossy(value.as_bytes()).rsplit(' ').next().unwrap_or_default().to_owned();
                let percent: String = token.bytes().map(|byte| format!("%{byte:02X}")).collect();
                let base64 =
                    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(format!("the token {token} it was"));
                let hex: String = token.bytes().map(|byte| format!("{byte:02x}")).collect();
                let name = http::HeaderName::try_from(format!("x-{hex}")).unwrap();
                response
                    .status(StatusCode::FOUND)
                    .header("location", format!("https://elsewhere.test/?token={percent}"))
                    .header("x-base64", base64)
                    .header("x-json", format!("{{\"authorization\":\"{token}\"}}"))
                    .header(name, "1")
                    .header("x-kept", "yes")
                    .body(full("gone"))
                    .unwrap()
            }
            "/guarded" => {
                let wanted = self.wanted.lock().unwrap().clone();
                let is_wanted = authorization.is_some_and(|given| given.as_bytes() == wanted.as_bytes());
                let status = if is_wanted { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
                response.status(status).body(full("guarded")).unwrap()
            }
            "/large" => response.body(Full::from(vec![b'x'; 64 << 10]).boxed_unsync()).unwrap(),
            "/long-header" => response.header("x-long", "a".repeat(2000)).body(full("")).unwrap(),
            "/silent" => {
                let first = futures_util::stream::iter([Ok(Frame::data(Bytes::from_static(b"one ")))]);
                let frames = futures_util::StreamExt::chain(first, futures_util::stream::pending());
                response.body(StreamBody::new(frames).boxed_unsync()).unwrap()
            }
            "/hold" => {
                self.gate.notified().await;
                response.body(full("held")).unwrap()
            }
            _ => response.header("x-kept", "yes").body(full("ok")).unwrap(),
        })
    }

    /// From now on `/guarded` wants this.
    pub(super) fn want(&self, authorization: &str) {
        authorization.clone_into(&mut self.wanted.lock().unwrap());
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The only request that came.
    pub(super) fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.into_iter().next().unwrap()
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}
