//! The body of an answer: what was gathered, then what streams.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// Why an answer that began cannot end well; it breaks the connection, so that the client sees that.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Broken(pub(super) String);

/// The body of an answer.
pub(super) struct Answer {
    gathered: Option<Bytes>,
    rest: Option<mpsc::Receiver<Result<Bytes, Broken>>>,
}

impl Answer {
    /// A whole answer.
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self { gathered: (!bytes.is_empty()).then_some(bytes), rest: None }
    }

    /// An answer that goes on.
    pub(super) fn begun(bytes: Bytes, rest: mpsc::Receiver<Result<Bytes, Broken>>) -> Self {
        Self { gathered: (!bytes.is_empty()).then_some(bytes), rest: Some(rest) }
    }

    /// A sentence of the watchdog's own.
    pub(super) fn text(status: StatusCode, text: &str) -> Response<Self> {
        let mut response = Response::new(Self::whole(Bytes::copy_from_slice(text.as_bytes())));
        *response.status_mut() = status;
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(http::header::CONTENT_TYPE, plain);
        response
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        if let Some(bytes) = this.gathered.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match &mut this.rest {
            Some(rest) => rest.poll_recv(cx).map(|next| next.map(|bytes| bytes.map(Frame::data))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.gathered.is_none() && self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.rest, &self.gathered) {
            (Some(_unknown), _) => SizeHint::default(),
            (None, gathered) => SizeHint::with_exact(gathered.as_ref().map_or(0, |bytes| bytes.len() as u64)),
        }
    }
}
