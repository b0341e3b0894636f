//! One grant in use: the way of a request through it and back.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use prometheus::IntCounter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::authorize::Terms;
use super::aws::Clock;
use super::body::{BoxError, EgressBody, RequestBody};
use super::credentials::Credentials;
use super::error::EgressError;
use super::fault::GrantFault;
use super::headers::{REQUEST_ALLOWLIST, is_forbidden, is_stripped_from_responses, section_bytes};
use super::held::{Held, Renewal};
use super::{Access, Detour, EgressMeter, EgressMetrics, GrantClient, Timeouts};
use crate::host::grant::rule::Effect;
use crate::host::grant::{Grant, GrantLimits, HttpVersion, Mode, Rule};
use crate::name::{Namespace, ProviderName};
#[cfg(test)]
use crate::provider::switches::{Check, is_off};
use crate::query::Budget;
use crate::trust::used::Recorder;
use crate::upstream::{self, Pool, Target};

/// How many fields a request or response has at most, whatever their length.
const HEADER_FIELDS_MAX: usize = 128;

/// The longest body that is held only to be sent again with a renewed credential, in bytes. Longer ones
/// are streamed; after a 401 the plugin's next request has the renewed credential.
const REPLAYED_MAX_BYTES: u64 = 64 << 10;

/// A grant with its connections, credentials and places.
pub(super) struct Gate {
    pub(super) provider: ProviderName,
    pub(super) name: String,
    pub(super) rules: Vec<Rule>,
    pub(super) mode: Mode,
    version: HttpVersion,
    pub(super) limits: GrantLimits,
    pub(super) renewal: Renewal,
    pub(super) clock: Clock,
    pub(super) detour: Option<Detour>,
    pub(super) pool: Pool<RequestBody>,
    places: Arc<Semaphore>,
    pub(super) metrics: EgressMetrics,
    answered: IntCounter,
    /// Where its use is recorded, once somebody wants to know.
    pub(super) used: OnceLock<Arc<Recorder>>,
}

impl Gate {
    /// Reads the grant's files. Blocks.
    pub(super) fn new(
        provider: &ProviderName,
        name: &str,
        grant: &Grant,
        header_bytes: usize,
        metrics: &EgressMetrics,
    ) -> Result<Self, GrantFault> {
        let max_idle = usize::try_from(grant.limits.max_idle).unwrap_or(usize::MAX);
        let config = upstream::Config {
            idle_per_target: max_idle,
            idle: max_idle,
            idle_timeout: grant.limits.idle_timeout,
            header_bytes,
            header_fields: HEADER_FIELDS_MAX,
        };
        let places = usize::try_from(grant.limits.in_flight.get()).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Ok(Self {
            provider: provider.clone(),
            name: name.to_owned(),
            rules: grant.rules.clone(),
            mode: grant.mode,
            version: grant.version,
            limits: grant.limits,
            renewal: Renewal::new(grant)?,
            clock: Clock::default(),
            detour: None,
            pool: Pool::new(config, metrics.connections(provider, name)),
            places: Arc::new(Semaphore::new(places)),
            metrics: metrics.clone(),
            answered: metrics.answered(provider, name),
            used: OnceLock::new(),
        })
    }

    pub(super) async fn send<B>(
        self: &Arc<Self>,
        request: Request<B>,
        access: Access,
        namespaces: &[Namespace],
        meter: &Arc<EgressMeter>,
        timeouts: Timeouts,
    ) -> Result<Response<EgressBody>, EgressError>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        meter.count_request().map_err(|budget| self.budget(budget, meter))?;
        let candidates = self.candidates(&request, access, namespaces)?;
        self.check_sizes(&request, meter)?;

        let shorter = |asked: Option<Duration>, own: Duration| asked.map_or(own, |asked| asked.min(own));
        let first_byte = shorter(timeouts.first_byte, self.limits.first_byte_timeout);
        let upstream_timeouts = upstream::Timeouts {
            connect: shorter(timeouts.connect, self.limits.connect_timeout),
            response: first_byte,
        };

        let mut held = self.held().await;
        let (head, body) = request.into_parts();
        let is_replayable = self.renewal.can_change() && is_short(&head, &body);
        let (whole, streamed) = if candidates.look_into_the_body() || held.credentials.signs() || is_replayable {
            (Some(self.buffer(body, meter, first_byte).await?), None)
        } else {
            (None, Some(RequestBody::new(body, meter)))
        };
        let place = self.place(first_byte).await?;
        let terms = Terms { access, namespaces, meter, timeouts: upstream_timeouts, held: &held };
        let rule = Box::pin(self.decide(candidates, &head, whole.as_ref(), terms)).await?;
        if let Some(used) = self.used.get() {
            used.note(&self.name, &head.method, &head.uri, rule, namespaces);
        }
        let body = streamed.unwrap_or_else(|| RequestBody::whole(whole.clone().unwrap_or_default()));
        let sent = self.prepare(&head, body, rule, &held)?;
        let elsewhere = self.elsewhere(rule, &head.method, &held);
        let target = elsewhere.as_ref();
        let mut response =
            self.exchange(sent, target.unwrap_or(held.client.target()), meter, upstream_timeouts).await?;
        if let Some(renewed) = Box::pin(self.renewed(&held, &response)).await
            && let Some(whole) = whole
        {
            held = renewed;
            let sent = self.prepare(&head, RequestBody::whole(whole), rule, &held)?;
            response =
                Box::pin(self.exchange(sent, target.unwrap_or(held.client.target()), meter, upstream_timeouts)).await?;
        }
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(EgressError::Upgraded { provider: self.provider.clone(), grant: self.name.clone() });
        }
        let limit = meter.limits().header_bytes;
        self.check_section(section_bytes(response.headers()), limit, "response")?;

        self.answered.inc();
        let between_bytes = shorter(timeouts.between_bytes, self.limits.between_bytes_timeout);
        let (mut head, body) = response.into_parts();
        filter_response(&mut head.headers, &held.credentials);
        // What hyper keeps there (reason phrases) is the platform's text past the filter.
        head.extensions.clear();
        let body = EgressBody::new(body, Arc::clone(self), held, Arc::clone(meter), place, between_bytes);
        Ok(Response::from_parts(head, body))
    }

    async fn exchange(
        &self,
        request: Request<RequestBody>,
        target: &Target,
        meter: &EgressMeter,
        timeouts: upstream::Timeouts,
    ) -> Result<Response<upstream::Body<RequestBody>>, EgressError> {
        let sent = self.pool.send(target, &mut Some(request), timeouts).await;
        sent.map_err(|error| self.not_answered(error, meter))
    }

    /// Where the request goes instead of the grant's own place, if it is led elsewhere.
    fn elsewhere(&self, rule: Option<&Rule>, method: &Method, held: &Held) -> Option<Target> {
        let place = self.detour.as_ref()?(rule.map_or_else(|| Effect::of(method), Rule::effect))?;
        Some(Target { place, tls: None, protocol: held.client.target().protocol, check: None })
    }

    /// What to send again with; `None` where the platform did not refuse, or nothing changed.
    async fn renewed<B>(self: &Arc<Self>, sent_with: &Arc<Held>, response: &Response<B>) -> Option<Arc<Held>> {
        let status = response.status();
        let signs = sent_with.credentials.signs();
        // AWS says 400 and 403 for signatures that it does not take.
        let is_refusal = status == StatusCode::UNAUTHORIZED
            || (signs && matches!(status, StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN));
        if !is_refusal {
            return None;
        }
        let is_late = signs && self.clock.learn(status, response.headers());
        if self.renewal.can_change() {
            self.renew().await;
        }
        let held = self.renewal.held();
        (is_late || !Arc::ptr_eq(&held.credentials, &sent_with.credentials)).then_some(held)
    }

    /// Refuses what is known to be too long before a byte of it is sent.
    fn check_sizes<B: http_body::Body>(&self, request: &Request<B>, meter: &EgressMeter) -> Result<(), EgressError> {
        let target = request.uri().path_and_query().map_or(1, |target| target.as_str().len());
        let bytes = section_bytes(request.headers()).saturating_add(target);
        self.check_section(bytes, meter.limits().header_bytes, "request")?;
        meter.check_request_bytes(request.body().size_hint().lower()).map_err(|budget| self.budget(budget, meter))
    }

    fn check_section(&self, bytes: usize, limit: usize, direction: &'static str) -> Result<(), EgressError> {
        if bytes <= limit {
            return Ok(());
        }
        let (provider, grant) = (self.provider.clone(), self.name.clone());
        Err(EgressError::HeaderTooLarge { provider, grant, direction, bytes, limit })
    }

    async fn place(&self, wait: Duration) -> Result<OwnedSemaphorePermit, EgressError> {
        let places = Arc::clone(&self.places);
        match tokio::time::timeout(wait, places.acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            // The semaphore is never closed, so this is the timeout.
            Ok(Err(_)) | Err(_) => Err(EgressError::Busy {
                provider: self.provider.clone(),
                grant: self.name.clone(),
                limit: self.limits.in_flight.get(),
                after: wait,
            }),
        }
    }

    /// The request as it is sent: this is where it leaves the sandbox's side.
    pub(super) fn prepare(
        &self,
        head: &Parts,
        body: RequestBody,
        rule: Option<&Rule>,
        held: &Held,
    ) -> Result<Request<RequestBody>, EgressError> {
        let mut sent = Request::new(body);
        sent.method_mut().clone_from(&head.method);
        *sent.uri_mut() = self.uri(&head.uri, &held.client);
        let passes = |name: &HeaderName| {
            !is_forbidden(name)
                && (REQUEST_ALLOWLIST.contains(&name.as_str())
                    || rule.is_some_and(|rule| rule.headers().any(|asked| asked == name)))
        };
        #[cfg(test)]
        let passes = |name: &HeaderName| is_off(Check::Fields) || passes(name);
        let headers = sent.headers_mut();
        headers.clone_from(&head.headers);
        let left_out: Vec<HeaderName> = headers.keys().filter(|name| !passes(name)).cloned().collect();
        for name in &left_out {
            headers.remove(name);
            tracing::debug!(provider = %self.provider, grant = self.name, field = %name, "header field of a plugin's request left out");
        }
        match self.version {
            HttpVersion::Http1 => {
                headers.insert(header::HOST, held.client.host().clone());
            }
            HttpVersion::Http2 => *sent.version_mut() = Version::HTTP_2,
        }
        let client = &held.client;
        let target = sent.uri().path_and_query().map_or("/", |target| target.as_str());
        let url = format!("{}://{}{target}", client.scheme(), client.authority());
        let applied = held.credentials.apply(&mut sent, &url, self.clock.now());
        applied.map(|()| sent).map_err(|reason| EgressError::Unsigned {
            provider: self.provider.clone(),
            grant: self.name.clone(),
            reason,
        })
    }

    /// Base, path and query. What the guest wrote was checked, and a base is checked when it is
    /// read, so it always is a target; if it were not, `/` would be asked for.
    fn uri(&self, asked: &Uri, client: &GrantClient) -> Uri {
        let (base, path) = (client.base(), asked.path());
        let target = match asked.query() {
            Some(query) => format!("{base}{path}?{query}"),
            None => format!("{base}{path}"),
        };
        let builder = Uri::builder().path_and_query(target);
        let builder = match self.version {
            HttpVersion::Http1 => builder,
            HttpVersion::Http2 => builder.scheme(client.scheme().clone()).authority(client.authority().clone()),
        };
        builder.build().unwrap_or_default()
    }

    /// A request that was refused, or failed before its response.
    pub(super) fn failed(&self, error: &EgressError) {
        self.metrics.ended(&self.provider, &self.name, error.outcome());
        if let Some(reason) = error.denial() {
            self.metrics.denied(&self.provider, reason);
        }
    }

    /// A response that was cut while it was read.
    pub(super) fn cut(&self, error: &EgressError) {
        self.metrics.ended(&self.provider, &self.name, if error.outcome() == "limit" { "cut-limit" } else { "cut" });
    }

    fn not_answered(&self, source: upstream::Error, meter: &EgressMeter) -> EgressError {
        // A body that stops in the middle breaks the exchange; what stopped it is the reason.
        match meter.exceeded() {
            Some(Budget::RequestBytes) => self.budget(Budget::RequestBytes, meter),
            _ => EgressError::Upstream { provider: self.provider.clone(), grant: self.name.clone(), source },
        }
    }

    pub(super) fn budget(&self, budget: Budget, meter: &EgressMeter) -> EgressError {
        let limit = meter.limit(budget).unwrap_or_default();
        EgressError::Budget { provider: self.provider.clone(), grant: self.name.clone(), budget, limit }
    }

    pub(super) fn response_too_large(&self) -> EgressError {
        let limit = self.limits.response_bytes.unwrap_or(u64::MAX);
        EgressError::ResponseTooLarge { provider: self.provider.clone(), grant: self.name.clone(), limit }
    }

    pub(super) fn broken(&self, source: hyper::Error) -> EgressError {
        EgressError::Broken { provider: self.provider.clone(), grant: self.name.clone(), source }
    }

    pub(super) fn silent(&self, after: Duration) -> EgressError {
        EgressError::Silent { provider: self.provider.clone(), grant: self.name.clone(), after }
    }
}

/// Whether a request is short enough to be held, so that it can be sent again: without a body, or with
/// one whose length it says.
fn is_short<B: http_body::Body>(head: &Parts, body: &B) -> bool {
    let said = head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let length = said.or_else(|| body.size_hint().upper());
    let is_empty = body.is_end_stream() || head.method == Method::GET || head.method == Method::HEAD;
    length.map_or(is_empty, |length| length <= REPLAYED_MAX_BYTES)
}

/// Takes away what a guest must not see, and what belongs to the connection.
pub(super) fn filter_response(headers: &mut HeaderMap, credentials: &Credentials) {
    let stripped: Vec<HeaderName> = headers
        .iter()
        .filter(|(name, value)| is_stripped_from_responses(name) || credentials.is_echoed_by(name, value))
        .map(|(name, _value)| name.clone())
        .collect();
    for name in stripped {
        headers.remove(name);
    }
}
