//! Bodies on their way in and out: counted, timed, stripped of trailers that would pass unseen.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

use super::EgressMeter;
use super::error::EgressError;
use super::gate::{Gate, filter_response};
use super::held::Held;
use crate::query::Budget;
use crate::upstream;

/// What a body of a guest's request may fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A guest's request body, counted. Trailers are left out: they would pass the allowlist by.
pub(super) struct RequestBody(Inner);

enum Inner {
    Stream(UnsyncBoxBody<Bytes, BoxError>, Arc<EgressMeter>),
    /// Counted already. The bytes once more, for who signs them.
    Whole(Full<Bytes>, Bytes),
}

impl RequestBody {
    pub(super) fn new<B>(body: B, meter: &Arc<EgressMeter>) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(Inner::Stream(body.map_err(Into::into).boxed_unsync(), Arc::clone(meter)))
    }

    pub(super) fn whole(bytes: Bytes) -> Self {
        Self(Inner::Whole(Full::from(bytes.clone()), bytes))
    }

    /// All of it, where it is held whole.
    pub(super) fn bytes(&self) -> Option<&Bytes> {
        match &self.0 {
            Inner::Stream(..) => None,
            Inner::Whole(_full, bytes) => Some(bytes),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let (inner, meter) = match &mut self.0 {
            Inner::Stream(inner, meter) => (inner, meter),
            Inner::Whole(full, _bytes) => return Pin::new(full).poll_frame(cx).map_err(|never| match never {}),
        };
        loop {
            let polled = Pin::new(&mut *inner).poll_frame(cx);
            let Poll::Ready(Some(Ok(frame))) = polled else { return polled };
            let Some(data) = frame.data_ref() else { continue };
            return Poll::Ready(Some(match meter.count_request_bytes(data.len()) {
                Ok(()) => Ok(frame),
                Err(budget) => Err(format!("over the limit `{}`", budget.setting()).into()),
            }));
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Stream(inner, _meter) => inner.is_end_stream(),
            Inner::Whole(full, _bytes) => full.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Stream(inner, _meter) => inner.size_hint(),
            Inner::Whole(full, _bytes) => full.size_hint(),
        }
    }
}

/// The body of a platform's response. Every byte is counted against the call's
/// [`EgressMeter`] *before* the guest gets it, silence has a bound, and trailers pass the same filter
/// as header fields. Its place among the grant's requests in flight is free when it ended or was
/// dropped; its connection is used again only if it was read to its end.
pub struct EgressBody {
    inner: upstream::Body<RequestBody>,
    gate: Arc<Gate>,
    held: Arc<Held>,
    meter: Arc<EgressMeter>,
    place: Option<OwnedSemaphorePermit>,
    between_bytes: Duration,
    /// Armed while a byte is waited for; made when one is waited for the first time.
    silence: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
    /// Bytes that the grant lets one response have.
    remaining: u64,
    has_failed: bool,
}

impl EgressBody {
    pub(super) fn new(
        inner: upstream::Body<RequestBody>,
        gate: Arc<Gate>,
        held: Arc<Held>,
        meter: Arc<EgressMeter>,
        place: OwnedSemaphorePermit,
        between_bytes: Duration,
    ) -> Self {
        let place = (!inner.is_end_stream()).then_some(place);
        let remaining = gate.limits.response_bytes.unwrap_or(u64::MAX);
        Self {
            inner,
            gate,
            held,
            meter,
            place,
            between_bytes,
            silence: None,
            is_waiting: false,
            remaining,
            has_failed: false,
        }
    }

    fn fail(&mut self, error: EgressError) -> Poll<Option<Result<Frame<Bytes>, EgressError>>> {
        self.has_failed = true;
        self.place = None;
        self.gate.cut(&error);
        Poll::Ready(Some(Err(error)))
    }

    fn take(&mut self, length: usize) -> Result<(), EgressError> {
        self.meter.count_response_bytes(length).map_err(|budget: Budget| self.gate.budget(budget, &self.meter))?;
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        match self.remaining.checked_sub(length) {
            Some(remaining) => {
                self.remaining = remaining;
                Ok(())
            }
            None => Err(self.gate.response_too_large()),
        }
    }

    /// Ready if the platform was silent for too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = || Instant::now() + self.between_bytes;
        let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline())));
        if !self.is_waiting {
            silence.as_mut().reset(Instant::now() + self.between_bytes);
            self.is_waiting = true;
        }
        silence.as_mut().poll(cx)
    }
}

impl Body for EgressBody {
    type Data = Bytes;
    type Error = EgressError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, EgressError>>> {
        let this = self.get_mut();
        if this.has_failed {
            return Poll::Ready(None);
        }
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(mut frame))) => {
                this.is_waiting = false;
                if let Some(length) = frame.data_ref().map(Bytes::len) {
                    if let Err(error) = this.take(length) {
                        return this.fail(error);
                    }
                } else if let Some(trailers) = frame.trailers_mut() {
                    filter_response(trailers, &this.held.credentials);
                }
                if this.inner.is_end_stream() {
                    this.place = None;
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(source))) => {
                let error = this.gate.broken(source);
                this.fail(error)
            }
            Poll::Ready(None) => {
                this.place = None;
                Poll::Ready(None)
            }
            Poll::Pending => match this.poll_silence(cx) {
                Poll::Ready(()) => {
                    let error = this.gate.silent(this.between_bytes);
                    this.fail(error)
                }
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.has_failed || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl std::fmt::Debug for EgressBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EgressBody").field("grant", &self.gate.name).finish_non_exhaustive()
    }
}
