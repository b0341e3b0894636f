//! The transport in a component.

use std::time::Duration;

use crate::ErrorKind;
use crate::bindings::imports::wasi::clocks::monotonic_clock::subscribe_duration;
use crate::bindings::imports::wasi::http::outgoing_handler::handle;
use crate::bindings::imports::wasi::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
    RequestOptions, Scheme, http_error_code,
};
use crate::bindings::imports::wasi::io::poll::{Pollable, poll};
use crate::bindings::imports::wasi::io::streams::{InputStream, StreamError};

use super::{Failure, Head, Request};

/// The most that one `blocking-write-and-flush` takes, in bytes (wasi:io/streams).
const WRITE_BYTES: usize = 4096;

/// The body of an answer. The fields are dropped in this order, as children before their parents.
#[derive(Debug)]
pub(crate) struct Body {
    stream: InputStream,
    _body: IncomingBody,
    _response: IncomingResponse,
}

impl Body {
    /// The next piece, at most `limit` bytes; `None` at the end.
    pub(crate) fn read(&mut self, limit: usize) -> Result<Option<Vec<u8>>, Failure> {
        match self.stream.blocking_read(limit as u64) {
            Ok(piece) => Ok(Some(piece)),
            Err(StreamError::Closed) => Ok(None),
            Err(StreamError::LastOperationFailed(error)) => {
                Err(http_error_code(&error).map_or_else(|| broken("the answer broke off"), |code| failure(&code)))
            }
        }
    }
}

/// Waits until a body has more or came to its end: its place; `None` when the time is up.
pub(crate) fn ready(bodies: &[&Body], span: Duration) -> Option<usize> {
    let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    let mut waited_for: Vec<Pollable> = bodies.iter().map(|body| body.stream.subscribe()).collect();
    waited_for.push(subscribe_duration(nanos));
    let ready = poll(&waited_for.iter().collect::<Vec<_>>());
    ready.into_iter().filter_map(|index| usize::try_from(index).ok()).find(|index| *index < bodies.len())
}

/// Sends a request and waits for the head of its answer.
pub(crate) fn exchange(request: Request) -> Result<Head<Body>, Failure> {
    let mut headers: Vec<(String, Vec<u8>)> =
        request.headers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect();
    // RFC 9110 section 8.6: without a length an empty body would be sent in chunks, which servers take
    // for one that is there (Docker refuses to start a container then).
    if !request.body.is_empty() || matches!(request.method, "POST" | "PUT" | "PATCH") {
        headers.push(("content-length".to_owned(), request.body.len().to_string().into_bytes()));
    }
    let headers = Fields::from_list(&headers)
        .map_err(|error| misuse(&format!("a header field that cannot be sent ({error})")))?;
    let outgoing = OutgoingRequest::new(headers);
    address(&outgoing, request.method, &request.url)?;
    let options = request.timeout.map(options).transpose()?;
    let body = outgoing.body().map_err(|()| misuse("a request without room for a body"))?;
    let answer = if request.body.is_empty() {
        // Finished before it is sent: the host then knows that there is no body.
        OutgoingBody::finish(body, None).map_err(|code| failure(&code))?;
        handle(outgoing, options).map_err(|code| failure(&code))?
    } else {
        let answer = handle(outgoing, options).map_err(|code| failure(&code))?;
        write(body, &request.body);
        answer
    };
    receive(&answer)
}

/// The options of a request with a time limit. Without one there are none: wasmtime-wasi-http 48 keeps them after the
/// request, and a host drops an instance that leaves something behind instead of using it again.
fn options(timeout: Duration) -> Result<RequestOptions, Failure> {
    let options = RequestOptions::new();
    let nanos = Some(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
    if options.set_first_byte_timeout(nanos).is_err() || options.set_between_bytes_timeout(nanos).is_err() {
        return Err(misuse("a timeout that the host does not take"));
    }
    Ok(options)
}

/// Splits `scheme://authority/path` into the request's parts.
fn address(outgoing: &OutgoingRequest, method: &str, url: &str) -> Result<(), Failure> {
    let (scheme, rest) = match url.split_once("://") {
        Some(("http", rest)) => (Scheme::Http, rest),
        Some(("https", rest)) => (Scheme::Https, rest),
        _ => return Err(misuse("a URL that does not begin with http:// or https://")),
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let method = match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    };
    outgoing
        .set_method(&method)
        .and_then(|()| outgoing.set_scheme(Some(&scheme)))
        .and_then(|()| outgoing.set_authority(Some(authority)))
        .and_then(|()| outgoing.set_path_with_query(Some(if path.is_empty() { "/" } else { path })))
        .map_err(|()| misuse("a method, an authority or a path that is not well-formed"))
}

/// Writes a body. A platform may answer and close before it read all of it: what became of the
/// request is in the answer, so a failed write is no error here.
fn write(body: OutgoingBody, bytes: &[u8]) {
    let Ok(stream) = body.write() else { return };
    let whole = bytes.chunks(WRITE_BYTES).all(|piece| stream.blocking_write_and_flush(piece).is_ok());
    drop(stream);
    if whole {
        // An error here is also the answer's error.
        OutgoingBody::finish(body, None).ok();
    }
}

/// Waits for the head.
fn receive(answer: &FutureIncomingResponse) -> Result<Head<Body>, Failure> {
    answer.subscribe().block();
    let response = match answer.get() {
        Some(Ok(Ok(response))) => response,
        Some(Ok(Err(code))) => return Err(failure(&code)),
        Some(Err(())) | None => return Err(broken("the host gave no answer")),
    };
    let status = response.status();
    let headers = response
        .headers()
        .entries()
        .into_iter()
        .map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()))
        .collect();
    let body = response.consume().map_err(|()| broken("the answer has no body"))?;
    let stream = body.stream().map_err(|()| broken("the answer's body has no stream"))?;
    Ok((status, headers, Body { stream, _body: body, _response: response }))
}

fn misuse(text: &str) -> Failure {
    Failure { kind: ErrorKind::Internal, text: format!("the plugin made {text}") }
}

fn broken(text: &str) -> Failure {
    Failure { kind: ErrorKind::Unavailable, text: text.to_owned() }
}

/// What an error of the host's client means to a caller.
fn failure(code: &ErrorCode) -> Failure {
    #[expect(clippy::wildcard_enum_match_arm, reason = "all other codes mean that the platform was not reached")]
    let (kind, text) = match code {
        ErrorCode::HttpRequestDenied => (ErrorKind::Denied, "no grant of the operator allows this request"),
        ErrorCode::DestinationIpProhibited => (ErrorKind::Denied, "the grant's address is one that is never dialled"),
        ErrorCode::DnsTimeout | ErrorCode::ConnectionTimeout => (ErrorKind::Timeout, "no connection in time"),
        ErrorCode::ConnectionReadTimeout | ErrorCode::ConnectionWriteTimeout | ErrorCode::HttpResponseTimeout => {
            (ErrorKind::Timeout, "no answer in time")
        }
        ErrorCode::DnsError(_) | ErrorCode::DestinationNotFound => (ErrorKind::Unavailable, "name not found"),
        ErrorCode::ConnectionRefused => (ErrorKind::Unavailable, "connection refused"),
        ErrorCode::ConnectionTerminated | ErrorCode::HttpResponseIncomplete => {
            (ErrorKind::Unavailable, "connection closed")
        }
        ErrorCode::ConnectionLimitReached => (ErrorKind::Unavailable, "too many requests in flight on this grant"),
        ErrorCode::TlsCertificateError => (ErrorKind::Unavailable, "the platform's certificate is not trusted"),
        ErrorCode::HttpRequestBodySize(_) => (ErrorKind::Invalid, "the request is larger than the grant allows"),
        ErrorCode::HttpResponseBodySize(_) | ErrorCode::HttpResponseHeaderSectionSize(_) => {
            (ErrorKind::Internal, "the answer is larger than the grant allows")
        }
        ErrorCode::InternalError(Some(text)) => (ErrorKind::Unavailable, text.as_str()),
        _ => (ErrorKind::Unavailable, "the request failed"),
    };
    Failure { kind, text: text.to_owned() }
}
