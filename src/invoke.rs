//! One invocation, top to bottom: name the call, find an instance, forward, account.

mod account;
mod body;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderName, HeaderValue, Request, Response};
use hyper::body::Incoming;
use tokio::time::Instant;

pub use account::CLIENT_LEFT;
use account::{Account, Known, Metrics};
pub use body::{Body, BodyError};

use crate::forward::{self, Forward, Outbound, Peer, ResponseBody};
use crate::metrics::Registry;
use crate::name::{FunctionRef, Generation, Namespace};
use crate::query::{Fault, caller};
use crate::respond::{self, CALL_ID, CallId, Problem};
use crate::router::{self, Route};
use crate::scaler::{Ready, Scaler};
use crate::shutdown::Drain;

/// When the gateway began with a request, in nanoseconds since the Unix epoch; OpenFaaS's field.
const START_TIME: HeaderName = HeaderName::from_static("x-start-time");

/// How long a request waited for an instance.
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// How many endpoints one request is sent to at most: the first, one more, and one after the
/// function was asked for anew.
const ATTEMPTS: usize = 3;

/// Whose answer is worked on, for log lines.
struct Call<'a> {
    function: &'a FunctionRef,
    call_id: &'a CallId,
}

type Forwarded = Result<Response<ResponseBody>, Problem>;

/// How functions are invoked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The namespace of a function whose name has none. Default `openfaas-fn`.
    pub default_namespace: Namespace,
    /// How requests are forwarded.
    pub forward: forward::Config,
}

/// Serves `/function/*`. Made once, and [`worker`](Self::worker) for each thread: the threads share
/// what they count and what they know of functions, but no connection.
pub struct Invoke {
    default_namespace: Namespace,
    config: Arc<forward::Config>,
    scaler: Arc<Scaler>,
    drain: Drain,
    metrics: Metrics,
    known: Known,
    forward: Forward,
}

impl Invoke {
    /// For the functions that `scaler` knows.
    #[must_use]
    pub fn new(config: Config, scaler: Arc<Scaler>, registry: &Registry, drain: Drain) -> Self {
        let metrics = Metrics::new(registry);
        Self::with(config.default_namespace, Arc::new(config.forward), scaler, drain, metrics)
    }

    /// The same for another thread, with connections of its own.
    #[must_use]
    pub fn worker(&self) -> Self {
        Self::with(
            self.default_namespace.clone(),
            Arc::clone(&self.config),
            Arc::clone(&self.scaler),
            self.drain.clone(),
            self.metrics.clone(),
        )
    }

    fn with(
        default_namespace: Namespace,
        config: Arc<forward::Config>,
        scaler: Arc<Scaler>,
        drain: Drain,
        metrics: Metrics,
    ) -> Self {
        let forward = Forward::new(Arc::clone(&config), metrics.connections.clone(), drain.clone());
        let known = Known::new(&metrics, scaler.functions());
        Self { default_namespace, config, scaler, drain, metrics, known, forward }
    }

    /// Answers a request whose path is a function's, or one that nothing can be done with.
    ///
    /// # Errors
    /// The request itself, when it is for the admin API.
    ///
    /// # Cancel safety
    /// Dropping it leaves the queue of a cold start, or closes the connection to the function, which
    /// may have seen the request.
    pub async fn answer(&self, request: Request<Incoming>, peer: &Peer) -> Result<Response<Body>, Request<Incoming>> {
        // A cheap clone, so that the route may borrow from it while the request is changed.
        let uri = request.uri().clone();
        let answer = match router::route(uri.path()) {
            Route::Function { name, rest } => {
                let rest_at = uri.path().len() - rest.len();
                let method = request.method().clone();
                let began = tracing::enabled!(target: "wicketgate::access", tracing::Level::DEBUG).then(Instant::now);
                let (response, generation) = self.invoke(&name, rest_at, request, peer).await;
                let Some(began) = began else { return Ok(response) };
                let status = response.status().as_u16();
                let call_id = response.headers().get(CALL_ID).and_then(|id| id.to_str().ok());
                // One line for each invocation, for whoever asks for it: `log = "info,wicketgate::access=debug"`.
                tracing::debug!(
                    target: "wicketgate::access", %method, path = uri.path(), status, call_id,
                    peer = %peer.address, generation = generation.map(|generation| generation.0), seconds = began.elapsed().as_secs_f64(), "invoked"
                );
                response
            }
            Route::Admin => return Err(request),
            Route::Moved(path) => respond::moved(&path, uri.query()).map(Body::from),
            Route::Refused(refused) => self.refuse(&Problem::of_path(&refused), &CallId::of(request.headers())),
        };
        Ok(answer)
    }

    /// The whole way of one invocation, and the generation whose word on the function was followed.
    async fn invoke(
        &self,
        name: &str,
        rest_at: usize,
        mut request: Request<Incoming>,
        peer: &Peer,
    ) -> (Response<Body>, Option<Generation>) {
        let call_id = CallId::of(request.headers());
        let started = start_time();
        let fields = request.headers_mut();
        fields.insert(CALL_ID, call_id.value().clone());
        fields.insert(START_TIME, started.clone());

        // 1. Which function?
        let (function, known) = match self.known.get(name) {
            Some((function, counted)) => (function, Some(counted)),
            None => match router::function(name, &self.default_namespace) {
                Ok(function) => (function, None),
                Err(refused) => return (self.refuse(&Problem::of_path(&refused), &call_id), None),
            },
        };

        // 2. Is an instance ready?
        let call = Call { function: &function, call_id: &call_id };
        let mut ready = match self.ready(&call).await {
            Ok(ready) => ready,
            Err(problem) => return (self.refuse(&problem, &call_id), None),
        };

        // 3. Forward. Only now it is known that the function exists, so only now it is counted.
        let counted = known.unwrap_or_else(|| self.known.add(name, &function));
        let mut account = Account::start(counted, ready.at);
        let forwarded = match self.forward.prepare(request, rest_at, peer) {
            Ok(mut outbound) => self.forward(&call, &mut ready, &mut outbound).await,
            Err(error) => Err(Problem::of_forwarding(&error, &function)),
        };

        // 4. Answer.
        let mut response = match forwarded {
            Ok(response) => {
                account.answered(response.status());
                response.map(|body| Body::function(body, account))
            }
            Err(problem) => {
                account.answered(problem.status);
                self.refuse(&problem, &call_id)
            }
        };
        let fields = response.headers_mut();
        // What the function says of these replaces what the gateway says, as in OpenFaaS.
        fields.entry(CALL_ID).or_insert(call_id.into_value());
        fields.entry(START_TIME).or_insert(started);
        if let Some(waited) = ready.waited {
            fields.append(SERVER_TIMING, scale_timing(waited));
        }
        (response, Some(ready.generation))
    }

    /// Sends a request to an instance, and to another one where that is safe: see
    /// [`forward`].
    async fn forward(&self, call: &Call<'_>, ready: &mut Ready, outbound: &mut Outbound) -> Forwarded {
        let Call { function, call_id } = call;
        let mut pick = ready.endpoints.pick();
        let mut attempt = 1;
        while let Some(chosen) = pick.take() {
            let endpoint = (*chosen).clone();
            let error = match self.forward.send(outbound, chosen).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            if attempt == ATTEMPTS || !outbound.is_sendable() {
                let generation = ready.generation.0;
                tracing::warn!(%call_id, %function, generation, ?endpoint, error = %chain(&error), "not forwarded");
                return Err(Problem::of_forwarding(&error, function));
            }
            let generation = ready.generation.0;
            tracing::debug!(%call_id, %function, generation, ?endpoint, error = %chain(&error), attempt, "forwarding again");
            attempt += 1;
            if error.is_refused() {
                // Nobody listens there: the instance is gone, or the platform was too early. Forgetting
                // it and joining the cold start waits that out, within `scale-timeout`.
                self.scaler.refused(function, &endpoint);
                *ready = self.ready(call).await?;
                pick = ready.endpoints.pick();
            } else {
                pick = ready.endpoints.pick_other(&endpoint).or_else(|| ready.endpoints.pick());
            }
        }
        tracing::warn!(%call_id, %function, generation = ready.generation.0, "no endpoint");
        Err(Problem::of_forwarding(&forward::Error::BadEndpoint("there is none".into()), function))
    }

    /// Asks memory first; otherwise the function's cold start is joined.
    async fn ready(&self, call: &Call<'_>) -> Result<Ready, Problem> {
        let Call { function, call_id } = call;
        if let Some(ready) = self.scaler.warm(function) {
            return Ok(ready);
        }
        // Rare and large: boxed, so that the future of a warm request stays small.
        Box::pin(caller::on_behalf_of(Some(call_id.as_str().into()), self.scaler.ready(function))).await.map_err(
            |error| {
                if error.fault() == Fault::Caller {
                    // Anybody can ask for what does not exist, and must not fill the log by it.
                    tracing::debug!(%call_id, %function, error = %chain(&error), "no such function");
                } else {
                    tracing::warn!(%call_id, %function, error = %chain(&error), "no instance");
                }
                Problem::of_scaling(&error, function)
            },
        )
    }

    /// Answers with a problem, and counts it.
    pub fn refuse(&self, problem: &Problem, call_id: &CallId) -> Response<Body> {
        self.metrics.problem(problem.code);
        problem.response(call_id).map(Body::from)
    }
}

fn start_time() -> HeaderValue {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut digits = itoa::Buffer::new();
    // Digits are always a field's value.
    HeaderValue::from_str(digits.format(since.as_nanos())).unwrap_or_else(|_never| HeaderValue::from_static("0"))
}

/// W3C Server Timing: durations are in milliseconds.
fn scale_timing(waited: Duration) -> HeaderValue {
    let text = format!("scale;dur={:.1}", waited.as_secs_f64() * 1000.0);
    HeaderValue::try_from(text).unwrap_or_else(|_never| HeaderValue::from_static("scale"))
}

/// An error with everything that caused it, for the log.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
