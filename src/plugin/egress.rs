//! `wasi:http` sends through the provider's grants, and through nothing else.

use std::error::Error as _;
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use http::uri::Scheme;
use http_body_util::BodyExt as _;
use tracing::Level;
use wasmtime_wasi_http::{Error, ForbiddenHeaderFilter, RequestOptions, Result, WasiBody, WasiHttpHooks};

use super::clock::Moment;
use super::guest_log::GuestLog;
use super::instance::Stage;
use crate::host::egress::{
    Access, Egress, EgressError, EgressLimits, EgressMeter, EgressUsage, SHOWN_MAX_BYTES, Timeouts,
};
use crate::name::ProviderName;
use crate::provider::Limits;
use crate::query::{Budget, caller};

type Sent<T> = Box<dyn Future<Output = Result<T>> + Send>;

/// What of a request's body the host holds before the platform took it.
const CHUNK_BYTES: usize = 64 << 10;

/// One instance's way out.
pub(super) struct Hooks {
    egress: Arc<Egress>,
    access: Access,
    meter: Arc<EgressMeter>,
    log: Arc<GuestLog>,
    /// The first request that only a published plugin may send.
    refused_write: Arc<OnceLock<String>>,
}

impl Hooks {
    pub(super) fn new(egress: Arc<Egress>, stage: Stage, limits: &Limits, log: Arc<GuestLog>) -> Self {
        let access = match stage {
            Stage::Candidate => Access::ReadOnly,
            Stage::Published => Access::Full,
        };
        Self {
            egress,
            access,
            meter: Arc::new(EgressMeter::new(EgressLimits::from(limits))),
            log,
            refused_write: Arc::default(),
        }
    }

    /// Begins the next call.
    pub(super) fn rearm(&self) {
        self.meter.rearm();
    }

    /// The first request that was refused because it would have written.
    pub(super) fn refused_write(&self) -> Option<String> {
        self.refused_write.get().cloned()
    }

    /// What the call's requests used so far.
    pub(super) fn usage(&self) -> EgressUsage {
        self.meter.usage()
    }

    /// The budget that the call's requests broke, whatever the guest made of the error.
    pub(super) fn exceeded(&self) -> Option<Budget> {
        self.meter.exceeded()
    }
}

impl WasiHttpHooks for Hooks {
    /// Nothing is forbidden here: request headers pass the grants' own allowlist when they are sent,
    /// and this filter would strip response headers too.
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(|_| false)
    }

    /// A scheme means nothing: the authority is the name of a grant, and the grant knows.
    fn default_scheme(&mut self) -> Option<Scheme> {
        Some(Scheme::HTTP)
    }

    /// The host field is the grant's.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Sent<()>,
    ) -> Sent<(http::Response<WasiBody>, Sent<()>)> {
        let timeouts = options.map_or_else(Timeouts::default, |options| Timeouts {
            connect: options.connect_timeout,
            first_byte: options.first_byte_timeout,
            between_bytes: options.between_bytes_timeout,
        });
        let (egress, meter, log) = (Arc::clone(&self.egress), Arc::clone(&self.meter), Arc::clone(&self.log));
        let (access, refused_write) = (self.access, Arc::clone(&self.refused_write));
        let line = tracing::enabled!(target: "wicketgate::egress", Level::DEBUG).then(|| Line::begin(&request, &log));
        Box::new(async move {
            let sent = egress.send(request, access, &meter, timeouts).await;
            if let Some(line) = line {
                line.end(&sent);
            }
            match sent {
                Ok(response) => {
                    let response = response.map(|body| body.map_err(|error| to_guest(&error)).boxed_unsync());
                    Ok((response, Box::new(std::future::ready(Ok(()))) as Sent<()>))
                }
                Err(error) => {
                    if let EgressError::ReadOnly { grant, rule, .. } = &error {
                        refused_write.get_or_init(|| format!("{rule} (grant {grant})"));
                    }
                    log.host_line(&sentence(&error));
                    Err(to_guest(&error))
                }
            }
        })
    }
}

/// One line for each request to a platform, for whoever asks for it: `log.level = "info,wicketgate::egress=debug"`.
/// The query and the body are not in it. A request that is given up has a line too.
struct Line {
    provider: ProviderName,
    generation: u64,
    call_id: Option<Arc<str>>,
    method: http::Method,
    grant: String,
    path: String,
    begun: Moment,
    /// The answer's status, or why there is none.
    outcome: String,
}

impl Line {
    fn begin<B>(request: &http::Request<B>, log: &GuestLog) -> Self {
        let uri = request.uri();
        let shown = |text: &str| text.get(..text.floor_char_boundary(SHOWN_MAX_BYTES)).unwrap_or_default().to_owned();
        let (provider, generation) = log.whose();
        Self {
            provider: provider.clone(),
            generation,
            call_id: caller::current(),
            method: request.method().clone(),
            grant: shown(uri.authority().map_or("", |authority| authority.as_str())),
            path: shown(uri.path()),
            begun: Moment::now(),
            outcome: "given up".to_owned(),
        }
    }

    fn end<B>(mut self, sent: &std::result::Result<http::Response<B>, EgressError>) {
        self.outcome = match sent {
            Ok(response) => response.status().as_u16().to_string(),
            Err(error) => error.outcome().to_owned(),
        };
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let Self { provider, generation, call_id, method, grant, path, begun, outcome } = self;
        let seconds = Moment::now().since(*begun).as_secs_f64();
        tracing::debug!(
            target: "wicketgate::egress", %provider, generation, call_id = call_id.as_deref(), %method, grant, path, outcome, seconds,
            "asked the platform"
        );
    }
}

/// An error with its causes, for the operator.
fn sentence(error: &EgressError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        // Writing to a text cannot fail.
        let _ = write!(text, ": {inner}");
        cause = inner.source();
    }
    text
}

/// What a guest learns of an error: its kind, never an address.
fn to_guest(error: &EgressError) -> Error {
    if error.denial().is_some() {
        return Error::HttpRequestDenied;
    }
    match error {
        EgressError::Budget { budget, limit, .. } => match budget {
            Budget::RequestBytes => Error::HttpRequestBodySize(Some(*limit)),
            Budget::ResponseBytes => Error::HttpResponseBodySize(Some(*limit)),
            Budget::Requests => Error::ConnectionLimitReached,
            Budget::Cpu | Budget::Wall | Budget::Memory | Budget::HostCallBytes | Budget::Handles => {
                Error::InternalError(None)
            }
        },
        EgressError::ResponseTooLarge { limit, .. } => Error::HttpResponseBodySize(Some(*limit)),
        EgressError::BodyTooLarge { limit, .. } => Error::HttpRequestBodySize(Some(*limit)),
        EgressError::Unfinished { .. } => Error::HttpRequestDenied,
        EgressError::Unsigned { .. } => Error::InternalError(None),
        EgressError::HeaderTooLarge { direction: "request", .. } => Error::HttpRequestHeaderSectionSize(None),
        EgressError::HeaderTooLarge { .. } => Error::HttpResponseHeaderSectionSize(None),
        EgressError::Busy { .. } => Error::ConnectionLimitReached,
        EgressError::Upstream { source, .. } if source.is_refused() => Error::ConnectionRefused,
        EgressError::Upstream { source, .. } if source.is_timeout() => Error::ConnectionTimeout,
        EgressError::Upstream { .. } | EgressError::Broken { .. } => Error::ConnectionTerminated,
        EgressError::Silent { .. } => Error::ConnectionReadTimeout,
        EgressError::Upgraded { .. } => Error::HttpProtocolError,
        EgressError::UnknownGrant { .. }
        | EgressError::UnsafeTarget { .. }
        | EgressError::NoRule { .. }
        | EgressError::Body { .. }
        | EgressError::ReadOnly { .. } => Error::HttpRequestDenied,
    }
}
