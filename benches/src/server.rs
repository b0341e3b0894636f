//! The far side of every measurement: a function that answers at once, and a platform whose functions
//! become ready after a time of their own.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A server, and how many connections it has accepted.
pub(crate) struct Counted {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<AtomicU64>,
}

/// Accepts connections for ever and answers each request with `answer`.
///
/// # Errors
/// No port could be bound.
pub(crate) async fn serve<F, A>(answer: F) -> std::io::Result<SocketAddr>
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    Ok(serve_counted(answer).await?.address)
}

/// The same, with the connections counted.
///
/// # Errors
/// No port could be bound.
pub(crate) async fn serve_counted<F, A>(answer: F) -> std::io::Result<Counted>
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let connections = Arc::new(AtomicU64::new(0));
    let accepted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _peer)) = listener.accept().await {
            accepted.fetch_add(1, Ordering::Relaxed);
            let _best_effort = stream.set_nodelay(true);
            let answer = answer.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let answered = answer(request);
                    async move { Ok::<_, Infallible>(answered.await) }
                });
                let _closed =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Ok(Counted { address, connections })
}

/// A function that reads its request and answers one kilobyte.
pub(crate) async fn kilobyte(request: Request<Incoming>) -> Response<Full<Bytes>> {
    static KILOBYTE: [u8; 1024] = [b'y'; 1024];
    let _read = request.into_body().collect().await;
    Response::new(Full::new(Bytes::from_static(&KILOBYTE)))
}

/// A platform that speaks the faas-provider API, and that of the guest `fetch`, which can watch. Every function exists, with no instance; once scaled,
/// it becomes ready after a delay that its name sets (`ready-120` after 120 ms).
#[derive(Clone, Default)]
pub(crate) struct Platform(Arc<State>);

#[derive(Default)]
struct State {
    scaled: Mutex<HashMap<String, Instant>>,
    scale_requests: AtomicU64,
    /// Wakes watches when something was scaled.
    news: Notify,
}

/// How long a watch waits if nothing is about to happen.
const WATCH: Duration = Duration::from_secs(5);

impl Platform {
    /// When a function becomes, or became, ready; `None` before it was scaled.
    pub(crate) fn ready_at(&self, function: &str) -> Option<Instant> {
        let scaled = self.0.scaled.lock().unwrap_or_else(PoisonError::into_inner);
        scaled.get(function).map(|at| *at + delay(function))
    }

    /// How many scale requests came so far.
    pub(crate) fn scale_requests(&self) -> u64 {
        self.0.scale_requests.load(Ordering::Relaxed)
    }

    /// Answers one request; one for changes when there are some.
    pub(crate) async fn answer(self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.uri().path() == "/changes" { self.changes(&request).await } else { self.answer_now(&request) }
    }

    /// A cursor is a time: what became ready after it and by now, waited for if need be.
    async fn changes(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
        let after =
            request.uri().query().and_then(|query| query.strip_prefix("cursor=")?.split('&').next()?.parse().ok());
        let after = *BEGAN + Duration::from_micros(after.unwrap_or(0));
        let end = Instant::now() + WATCH;
        loop {
            let news = self.0.news.notified();
            let now = Instant::now();
            let scaled = self.0.scaled.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let ready: Vec<_> =
                scaled.iter().map(|(name, at)| (name, *at + delay(name))).filter(|(_, at)| *at > after).collect();
            let changed: Vec<_> = ready.iter().filter(|(_, at)| *at <= now).map(|(name, _)| (name, 1, 1)).collect();
            if !changed.is_empty() || now >= end {
                let cursor = now.duration_since(*BEGAN).as_micros();
                return json(StatusCode::OK, &serde_json::json!([u64::try_from(cursor).unwrap_or(0), changed]));
            }
            let next = ready.iter().map(|(_, at)| *at).min().unwrap_or(end).min(end);
            let _news_or_time = tokio::time::timeout_at(next, news).await;
        }
    }

    fn scale(&self, name: String) {
        self.0.scale_requests.fetch_add(1, Ordering::Relaxed);
        let mut scaled = self.0.scaled.lock().unwrap_or_else(PoisonError::into_inner);
        scaled.entry(name).or_insert_with(Instant::now);
        drop(scaled);
        self.0.news.notify_waiters();
    }

    fn answer_now(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let last = path.rsplit('/').next().unwrap_or_default();
        let name = last.split('.').next().unwrap_or_default().to_owned();
        if path.starts_with("/system/function/") {
            let asked = self.ready_at(&name);
            let ready = asked.is_some_and(|at| at <= Instant::now());
            let body = serde_json::json!({
                "name": name, "image": "bench", "namespace": "openfaas-fn",
                "replicas": u8::from(asked.is_some()), "availableReplicas": u8::from(ready),
            });
            return json(StatusCode::OK, &body);
        }
        if path.starts_with("/system/scale-function/") {
            self.scale(name);
            return json(StatusCode::ACCEPTED, &serde_json::Value::Null);
        }
        if path.starts_with("/replicas/") {
            if request.method() == http::Method::POST {
                self.scale(name);
                return json(StatusCode::ACCEPTED, &serde_json::Value::Null);
            }
            let ready_at = self.ready_at(&name);
            let ready = ready_at.is_some_and(|at| at <= Instant::now());
            return json(StatusCode::OK, &serde_json::json!([u8::from(ready_at.is_some()), u8::from(ready)]));
        }
        if let Some(rest) = path.strip_prefix("/function/") {
            let name = rest.split(['.', '/']).next().unwrap_or_default();
            let ready = self.ready_at(name).is_some_and(|at| at <= Instant::now());
            let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            return json(status, &serde_json::json!("pong"));
        }
        json(StatusCode::OK, &serde_json::json!([]))
    }
}

fn delay(function: &str) -> Duration {
    Duration::from_millis(function.split('-').nth(1).and_then(|ms| ms.parse().ok()).unwrap_or(0))
}

fn json(status: StatusCode, body: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    response
}
