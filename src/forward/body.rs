//! Bodies on their way through: streamed frame by frame, with bounds on their length and on silence.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::Error;
use crate::scaler::Pick;
use crate::upstream;

/// What broke a client's body. Travels through hyper, as the source of its error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestBodyError {
    /// It is longer than allowed.
    #[error("the request body has more than {0} bytes")]
    TooLarge(u64),
    /// Nothing of it came for too long.
    #[error("nothing of the request body came for {0:?}")]
    TooSlow(Duration),
    /// The client broke off.
    #[error("the request body broke off")]
    Broken,
}

impl RequestBodyError {
    /// The one that an upstream error was caused by, if it was.
    pub(super) fn behind(error: &upstream::Error) -> Option<&Self> {
        let mut source = std::error::Error::source(error);
        while let Some(error) = source {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            source = error.source();
        }
        None
    }
}

impl From<&RequestBodyError> for Error {
    fn from(error: &RequestBodyError) -> Self {
        match error {
            RequestBodyError::TooLarge(limit) => Self::BodyTooLarge { limit: *limit },
            RequestBodyError::TooSlow(after) => Self::BodyTooSlow { after: *after },
            RequestBodyError::Broken => Self::BodyBroken,
        }
    }
}

/// Ends the wait for a frame that does not come. Costs nothing while frames come at once.
#[derive(Default)]
struct Silence {
    sleep: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
}

impl Silence {
    /// Ready when nothing came for `timeout`.
    fn poll(&mut self, timeout: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        if !self.is_waiting {
            self.is_waiting = true;
            sleep.as_mut().reset(Instant::now() + timeout);
        }
        sleep.as_mut().poll(cx)
    }

    fn ended(&mut self) {
        self.is_waiting = false;
    }
}

/// The body of a client's request: ends with an error when it is longer than `body-bytes` or silent
/// for `body-timeout`.
pub struct RequestBody {
    incoming: Option<Incoming>,
    left: u64,
    limit: u64,
    timeout: Duration,
    silence: Silence,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, limit: u64, timeout: Duration) -> Self {
        let incoming = (!incoming.is_end_stream()).then_some(incoming);
        Self { incoming, left: limit, limit, timeout, silence: Silence::default() }
    }

    /// A body without bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self { incoming: None, left: 0, limit: 0, timeout: Duration::MAX, silence: Silence::default() }
    }

    fn counted(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, RequestBodyError> {
        let length = frame.data_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX));
        match self.left.checked_sub(length) {
            Some(left) => {
                self.left = left;
                Ok(frame)
            }
            None => Err(RequestBodyError::TooLarge(self.limit)),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = &mut *self;
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        match Pin::new(incoming).poll_frame(cx) {
            Poll::Ready(frame) => {
                this.silence.ended();
                Poll::Ready(frame.map(|frame| match frame {
                    Ok(frame) => this.counted(frame),
                    Err(_connection) => Err(RequestBodyError::Broken),
                }))
            }
            Poll::Pending => {
                this.silence.poll(this.timeout, cx).map(|()| Some(Err(RequestBodyError::TooSlow(this.timeout))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

/// Why a response ended in the middle. The client's connection is then closed in the middle too, so
/// that nobody takes the half for the whole.
#[derive(Debug, thiserror::Error)]
pub enum ResponseBodyError {
    /// The instance broke the connection.
    #[error("the function's response broke off")]
    Broken(#[source] hyper::Error),
    /// The instance sent nothing for too long.
    #[error("the function sent nothing for {0:?}")]
    Silent(Duration),
}

/// The body of a function's response. Its endpoint counts the request until this is dropped.
pub struct ResponseBody {
    upstream: Option<upstream::Body<RequestBody>>,
    timeout: Duration,
    silence: Silence,
    _pick: Option<Pick>,
}

impl ResponseBody {
    pub(super) fn new(upstream: upstream::Body<RequestBody>, timeout: Duration, pick: Pick) -> Self {
        Self { upstream: Some(upstream), timeout, silence: Silence::default(), _pick: Some(pick) }
    }

    /// A body without bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self { upstream: None, timeout: Duration::MAX, silence: Silence::default(), _pick: None }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ResponseBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseBodyError>>> {
        let this = &mut *self;
        let Some(upstream) = &mut this.upstream else { return Poll::Ready(None) };
        match Pin::new(upstream).poll_frame(cx) {
            Poll::Ready(frame) => {
                this.silence.ended();
                Poll::Ready(frame.map(|frame| frame.map_err(ResponseBodyError::Broken)))
            }
            Poll::Pending => {
                this.silence.poll(this.timeout, cx).map(|()| Some(Err(ResponseBodyError::Silent(this.timeout))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.upstream.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.upstream.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
