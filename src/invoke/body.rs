//! The body of any answer on the main port.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::Full;
use http_body_util::combinators::UnsyncBoxBody;

use super::account::Account;
use crate::forward::ResponseBody;

/// The body of any answer on the main port. Only the admin API's are boxed.
pub struct Body {
    source: Source,
    /// Ends the accounting when the body ended or was given up.
    _account: Option<Account>,
}

enum Source {
    Full(Full<Bytes>),
    Function(ResponseBody),
    Boxed(UnsyncBoxBody<Bytes, io::Error>),
}

impl Body {
    pub(super) fn function(body: ResponseBody, account: Account) -> Self {
        Self { source: Source::Function(body), _account: Some(account) }
    }
}

impl From<Full<Bytes>> for Body {
    fn from(body: Full<Bytes>) -> Self {
        Self { source: Source::Full(body), _account: None }
    }
}

impl From<UnsyncBoxBody<Bytes, io::Error>> for Body {
    fn from(body: UnsyncBoxBody<Bytes, io::Error>) -> Self {
        Self { source: Source::Boxed(body), _account: None }
    }
}

/// What ends a body in the middle. The client's connection is then closed.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.source {
            Source::Full(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Source::Function(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Source::Boxed(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Full(body) => body.is_end_stream(),
            Source::Function(body) => body.is_end_stream(),
            Source::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Full(body) => body.size_hint(),
            Source::Function(body) => body.size_hint(),
            Source::Boxed(body) => body.size_hint(),
        }
    }
}
