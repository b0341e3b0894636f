//! `/system/logs`: a stream of newline-delimited JSON, made of the bounded batches that a plugin
//! answers with.
//!
//! One batch waits while the one before is sent, no more: a slow client slows down the asking. The
//! asking ends when the client leaves, when the plugin says that there is no more, at
//! [`Config::log_timeout`](super::Config::log_timeout), and when the gateway drains.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::answer::Refusal;
use super::functions::{function, provider_of};
use super::input::InvalidInput;
use super::route::Query;
use super::{Body, Shared, time, wire};
use crate::query::Provider;
use crate::query::functions::{LogBatch, LogRequest};

/// Lines asked for at once (the contract's bound).
const BATCH: u32 = 1000;

/// How long one question may wait for a line; shorter than the default of a call's time limit.
const WAIT: Duration = Duration::from_secs(2);

/// The least time between two questions that brought nothing, against plugins that do not wait.
const PAUSE: Duration = Duration::from_millis(200);

/// Answers once the first batch is there, so that an error still gets its status.
pub(super) async fn stream(shared: &Arc<Shared>, query: &Query<'_>) -> Result<Response<Body>, Refusal> {
    let request = read(shared, query)?;
    let namespace = super::input::namespace(&request.namespace)?;
    let provider = Arc::clone(&provider_of(shared, &namespace)?.provider);
    let permit = Arc::clone(&shared.log_streams)
        .try_acquire_owned()
        .map_err(|_all_taken| Refusal::TooManyStreams(shared.config.log_streams))?;
    let first = provider.logs(&request, None, BATCH, WAIT).await?;

    let (lines, receiver) = mpsc::channel(1);
    let asking = Asking { shared: Arc::clone(shared), provider, request, lines, _permit: permit };
    let task = tokio::spawn(asking.run(first)).abort_handle();
    let mut response = Response::new(Lines { receiver, task }.boxed_unsync());
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

/// Reads the faas-provider API's `logs.Request`; `tail` of 0 or less means all.
fn read(shared: &Shared, query: &Query<'_>) -> Result<LogRequest, Refusal> {
    let name = query.get("name").ok_or(InvalidInput::Missing("name"))?;
    let function = function(shared, &name, query)?;
    let invalid = |field, expected, value| InvalidInput::Value { field, expected, value };
    let since_ms = match query.get("since") {
        None => None,
        Some(text) => {
            Some(time::parse(&text).ok_or(invalid("since", "an RFC 3339 time, e.g. 2026-01-31T08:00:00Z", text))?)
        }
    };
    let tail = match query.get("tail") {
        None => None,
        Some(text) => match text.parse::<i64>() {
            Ok(lines) => u32::try_from(lines).ok().filter(|&lines| lines > 0),
            Err(_) => return Err(invalid("tail", "a whole number", text).into()),
        },
    };
    Ok(LogRequest {
        name: function.name.to_string(),
        namespace: function.namespace.to_string(),
        instance: query.get("instance"),
        since_ms,
        tail,
        follow: query.flag("follow"),
    })
}

/// The task that asks for batch after batch.
struct Asking {
    shared: Arc<Shared>,
    provider: Arc<dyn Provider>,
    request: LogRequest,
    lines: mpsc::Sender<std::io::Result<Bytes>>,
    _permit: OwnedSemaphorePermit,
}

impl Asking {
    async fn run(self, first: LogBatch) {
        let deadline = Instant::now() + self.shared.config.log_timeout;
        let mut batch = first;
        loop {
            let was_empty = batch.messages.is_empty();
            if !was_empty {
                let lines = wire::log_lines(&batch.messages).map(Bytes::from).map_err(std::io::Error::from);
                if self.lines.send(lines).await.is_err() {
                    return;
                }
            }
            let Some(cursor) = batch.next else { return };
            let next = async {
                if was_empty {
                    tokio::time::sleep(PAUSE).await;
                }
                self.provider.logs(&self.request, Some(&cursor), BATCH, WAIT).await
            };
            let next = tokio::select! {
                () = self.shared.parts.drain.draining() => return,
                () = tokio::time::sleep_until(deadline) => return,
                next = next => next,
            };
            batch = match next {
                Ok(batch) => batch,
                Err(error) => {
                    tracing::warn!(%error, function = %self.request.name, "log stream ended");
                    // The client must not take a broken stream for a complete one. It may be gone
                    // already, which is as good.
                    let _gone = self.lines.send(Err(std::io::Error::other(error))).await;
                    return;
                }
            };
        }
    }
}

/// The body: what the task sends. Dropping it ends the task.
struct Lines {
    receiver: mpsc::Receiver<std::io::Result<Bytes>>,
    task: AbortHandle,
}

impl http_body::Body for Lines {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.receiver.poll_recv(cx).map(|lines| lines.map(|lines| lines.map(Frame::data)))
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.task.abort();
    }
}
