//! The admin API: `/system/*`, `/healthz`, `/readyz` and `/` on the main port, `/metrics` on its own
//! port, and `/providers` on a Unix socket that only the operator can reach.
//!
//! The wire forms are OpenFaaS's, so that `faas-cli` and its Go SDK work unchanged. Everything that
//! is asked of a platform goes through [`Provider`](crate::query::Provider); an interface that the
//! provider's plugin does not export is answered with 501 and its name.

pub mod auth;
pub mod metrics;
pub mod socket;

mod answer;
mod functions;
mod input;
mod logs;
mod namespaces;
mod providers;
mod route;
mod secrets;
mod serve;
mod time;
mod wire;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, request};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::sync::Semaphore;

use crate::host::files::{ExposedSecrets, FileFault};
use crate::metrics::Registry;
use crate::name::{FunctionRef, Namespace};
use crate::provider::Directory;
use crate::query::caller;
use crate::respond::CallId;
use crate::shutdown::Drain;
use answer::Refusal;
pub use auth::Auth;
use functions::Change;
pub use providers::{MINISIGN, SIGSTORE};
use route::{Query, Route};

/// The default of [`Config::body_bytes`]: the largest deployment that etcd, and so Kubernetes, keeps
/// is 1.5 MiB; a secret has at most 1 MiB before base64.
pub const BODY_BYTES: usize = 2 << 20;

/// The default of [`Config::list_entries`].
pub const LIST_ENTRIES: usize = 10_000;

/// The default of [`Config::log_timeout`].
pub const LOG_TIMEOUT: Duration = Duration::from_secs(3600);

/// The default of [`Config::log_streams`].
pub const LOG_STREAMS: usize = 64;

/// How long a request's body may take to arrive; the longest are a few MiB.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What `/` answers: there is no page to click on.
const ROOT: &str = concat!(
    "Wicketgate ",
    env!("CARGO_PKG_VERSION"),
    "\n\nfunctions   /function/{name}[.namespace]\nadmin API   /system/functions, /system/info, ...\n\
     health      /healthz, /readyz\n"
);

/// What the operator says of the admin API.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who may call `/system/*`. Default: callers on this machine only.
    pub auth: Auth,
    /// `exposed-secrets` of the gateway: whether files of credentials that everybody can read are used.
    /// Default: they are not.
    pub exposed_secrets: ExposedSecrets,
    /// The namespace of a request that names none. Default `openfaas-fn`.
    pub default_namespace: Namespace,
    /// The longest request body in bytes. Default [`BODY_BYTES`], at most 64 MiB.
    pub body_bytes: usize,
    /// The most functions, namespaces or secrets in one answer; a longer list is answered with 503.
    /// Default [`LIST_ENTRIES`], at least 1.
    pub list_entries: usize,
    /// For how long one `/system/logs` stream may last. Default [`LOG_TIMEOUT`], at most a day.
    pub log_timeout: Duration,
    /// How many `/system/logs` streams may be open at once, over all clients; more get 503. Default
    /// [`LOG_STREAMS`].
    pub log_streams: usize,
}

impl Config {
    /// The defaults, with the namespace that functions have when a request names none.
    #[must_use]
    pub fn new(default_namespace: Namespace) -> Self {
        Self {
            auth: Auth::default(),
            exposed_secrets: ExposedSecrets::default(),
            default_namespace,
            body_bytes: BODY_BYTES,
            list_entries: LIST_ENTRIES,
            log_timeout: LOG_TIMEOUT,
            log_streams: LOG_STREAMS,
        }
    }
}

/// What keeps the configured credentials from being used. Blocks for reading their files.
#[must_use]
pub fn credential_faults(config: &Config) -> Vec<FileFault> {
    auth::faults(&config.auth, config.exposed_secrets)
}

/// What the admin API works with: wired by [`app`](crate::app).
pub struct Parts {
    /// Which provider serves which namespace.
    pub directory: Arc<Directory>,
    /// Called after every write to a function, so that what the scaler remembers of it is dropped.
    pub invalidate: Arc<dyn Fn(&FunctionRef) + Send + Sync>,
    /// Ends log streams, and `/readyz`.
    pub drain: Drain,
    /// Whether the gateway may be sent requests now, for `/readyz`.
    pub unready: Arc<dyn Fn() -> Readiness + Send + Sync>,
    /// Where invocations are counted.
    pub registry: Registry,
    /// Where the work is done, so that listing a thousand functions stalls no core that forwards.
    pub runtime: tokio::runtime::Handle,
}

/// Whether the gateway may be sent requests, apart from the drain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Why it must not (no plugin at all could be loaded); `None` when it may.
    pub reason: Option<String>,
    /// What an operator should know although it may (a provider without a plugin beside others that
    /// have one).
    pub notes: Vec<String>,
}

/// The body of an answer. An error ends the connection in the middle of the body.
pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// Serves the admin API. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    guard: auth::Guard,
    parts: Parts,
    log_streams: Arc<Semaphore>,
}

impl Admin {
    /// The admin API over these parts. Reads the credential files.
    ///
    /// # Errors
    /// A credential file cannot be used.
    pub fn new(config: Config, parts: Parts) -> Result<Self, FileFault> {
        let guard = auth::Guard::new(&config.auth, config.exposed_secrets)?;
        let log_streams = Arc::new(Semaphore::new(config.log_streams.min(Semaphore::MAX_PERMITS)));
        Ok(Self { shared: Arc::new(Shared { config, guard, parts, log_streams }) })
    }

    /// Answers everything that is not `/function/*`; `peer` is who connected.
    ///
    /// # Cancel safety
    /// Dropping it ends the work; a write may or may not have reached the platform.
    pub async fn answer<B>(&self, request: Request<B>, peer: SocketAddr) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let (head, body) = request.into_parts();
        let call_id = CallId::of(&head.headers);
        let caller = Some(call_id.as_str().into());
        let answered = caller::on_behalf_of(caller, self.try_answer(&head, body, peer)).await;
        let response = answered.unwrap_or_else(|refusal| refusal.response(&call_id));
        if head.method != Method::GET && head.uri.path().starts_with("/system/") {
            let (method, path, status) = (&head.method, head.uri.path(), response.status().as_u16());
            tracing::info!(%call_id, %peer, %method, path, status, "admin write");
        }
        response
    }

    async fn try_answer<B>(&self, head: &request::Parts, body: B, peer: SocketAddr) -> Result<Response<Body>, Refusal>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let shared = &self.shared;
        // In OpenFaaS's order: 404 before 405 before 401.
        let route = Route::of(head.uri.path()).ok_or(Refusal::NoRoute)?;
        if !route.allows(&head.method) {
            return Err(Refusal::NoMethod);
        }
        if route.is_guarded() {
            shared.guard.check(&head.headers, &head.uri, peer)?;
        }
        match route {
            Route::Root => return Ok(answer::text(StatusCode::OK, ROOT)),
            Route::Health => return Ok(answer::text(StatusCode::OK, "OK")),
            Route::Ready => {
                let drains = shared.parts.drain.is_draining().then(|| "the gateway is shutting down".to_owned());
                let readiness = (shared.parts.unready)();
                return match drains.or(readiness.reason) {
                    Some(why) => Err(Refusal::Unready(why)),
                    None if readiness.notes.is_empty() => Ok(answer::text(StatusCode::OK, "OK")),
                    None => Ok(answer::text(StatusCode::OK, format!("OK\n{}\n", readiness.notes.join("\n")))),
                };
            }
            Route::Info
            | Route::Functions
            | Route::Function(_)
            | Route::Scale(_)
            | Route::Namespaces
            | Route::Namespace(_)
            | Route::Secrets
            | Route::Logs => {}
        }
        let body = if head.method == Method::GET { Bytes::new() } else { self.read(body).await? };
        let work = perform(Arc::clone(shared), route, head.method.clone(), head.uri.clone(), body);
        let work = caller::on_behalf_of(caller::current(), work);
        let work = AbortOnDrop(shared.parts.runtime.spawn(work));
        work.await.map_err(|_panicked_or_shut_down| Refusal::Died)?
    }

    /// The whole body, if it is short enough and comes in time.
    async fn read<B>(&self, body: B) -> Result<Bytes, Refusal>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let limit = self.shared.config.body_bytes;
        let limited = Limited::new(body, limit).collect();
        match tokio::time::timeout(BODY_TIMEOUT, limited).await {
            Err(_elapsed) => Err(Refusal::BodyTooSlow(BODY_TIMEOUT)),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::BodyTooLarge(limit)),
            Ok(Err(error)) => Err(Refusal::BodyBroken(error.to_string())),
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
        }
    }
}

/// One operation, on the runtime that may be busy for a while.
async fn perform(
    shared: Arc<Shared>,
    route: Route,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> Result<Response<Body>, Refusal> {
    let query = &Query::of(&uri);
    match route {
        // Answered before anything is asked.
        Route::Root | Route::Health | Route::Ready => Err(Refusal::NoRoute),
        Route::Info => info(&shared).await,
        Route::Functions => match method {
            Method::GET => functions::list(&shared, query).await,
            Method::POST => functions::change(&shared, Change::Deploy, &body, query).await,
            Method::PUT => functions::change(&shared, Change::Update, &body, query).await,
            _ => functions::delete(&shared, &body, query).await,
        },
        Route::Function(name) => functions::show(&shared, &name, query).await,
        Route::Scale(name) => functions::scale(&shared, &name, &body, query).await,
        Route::Namespaces => namespaces::list(&shared).await,
        Route::Namespace(name) => namespaces::one(&shared, &method, name.as_deref(), &body).await,
        Route::Secrets if method == Method::GET => secrets::list(&shared, query).await,
        Route::Secrets => secrets::change(&shared, &method, &body, query).await,
        Route::Logs => logs::stream(&shared, query).await,
    }
}

/// `/system/info`: this gateway, and the platform of the default provider (of the first one where
/// none is the default); `null` when it cannot say, as in OpenFaaS.
async fn info(shared: &Shared) -> Result<Response<Body>, Refusal> {
    let listing = shared.parts.directory.listing();
    let entries = listing.entries();
    let platform = match entries.iter().find(|entry| entry.is_default).or_else(|| entries.first()) {
        None => None,
        Some(entry) => match entry.provider.describe().await {
            Ok(platform) => Some(platform),
            Err(error) => {
                tracing::debug!(%error, "platform not described");
                None
            }
        },
    };
    answer::json(StatusCode::OK, &wire::GatewayInfo::new(platform))
}

/// Ends the work when its client leaves.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Future for AbortOnDrop<T> {
    type Output = Result<T, tokio::task::JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests;
