//! One request over the admin socket.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;

/// The longest answer: a history with its findings has some hundred KiB.
const ANSWER_BYTES: usize = 16 << 20;

/// How long an answer may take: a canary is waited for.
const TIMEOUT: Duration = Duration::from_secs(3600);

/// What is asked.
pub(super) struct Request {
    method: Method,
    target: String,
    body: Bytes,
    /// Names and values of header fields.
    fields: Vec<(&'static str, String)>,
}

impl Request {
    pub(super) fn get(target: &str) -> Self {
        Self::new(Method::GET, target, Bytes::new())
    }

    pub(super) fn put(target: &str, body: Vec<u8>) -> Self {
        Self::new(Method::PUT, target, body.into())
    }

    /// Sends a field with it.
    pub(super) fn with(mut self, name: &'static str, value: String) -> Self {
        self.fields.push((name, value));
        self
    }

    pub(super) fn post(target: &str) -> Self {
        Self::new(Method::POST, target, Bytes::new())
    }

    pub(super) fn delete(target: &str) -> Self {
        Self::new(Method::DELETE, target, Bytes::new())
    }

    fn new(method: Method, target: &str, body: Bytes) -> Self {
        Self { method, target: target.to_owned(), body, fields: Vec::new() }
    }
}

/// What was answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        self.status.is_success()
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The socket cannot be connected to.
    #[error("cannot connect")]
    Connect(#[from] std::io::Error),
    /// The exchange broke.
    #[error("the exchange broke")]
    Broken(#[from] hyper::Error),
    /// The request cannot be made.
    #[error("the request cannot be made")]
    Request(#[from] http::Error),
    /// The answer is too long or not whole.
    #[error("the answer cannot be read: {0}")]
    Body(String),
    /// The answer is not what a gateway says.
    #[error("the answer is not JSON")]
    Json(#[from] serde_json::Error),
    /// Nothing came in time.
    #[error("no answer within {TIMEOUT:?}")]
    Timeout,
}

/// Sends one request and waits for its answer.
pub(super) fn send(socket: &Path, request: Request) -> Result<Answer, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::time::timeout(TIMEOUT, exchange(socket, request)).await.unwrap_or(Err(ClientError::Timeout))
    })
}

async fn exchange(socket: &Path, request: Request) -> Result<Answer, ClientError> {
    let stream = tokio::net::UnixStream::connect(socket).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let Request { method, target, body, fields } = request;
    let request = http::Request::builder()
        .method(method)
        .uri(target)
        .header(http::header::HOST, "gateway")
        .header(http::header::CONTENT_TYPE, "application/wasm");
    let request = fields.into_iter().fold(request, |request, (name, value)| request.header(name, value));
    let request = request.body(Full::new(body))?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
    let body = body.map_err(|error| ClientError::Body(error.to_string()))?.to_bytes();
    connection.abort();
    Ok(Answer { status, body: serde_json::from_slice(&body)? })
}
