//! What a listener serves.

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;

use super::Peer;

/// Answers requests. Cloned for each connection, so it is usually an [`Arc`](std::sync::Arc).
pub trait Service: Clone + Send + 'static {
    /// The body of its answers. An error in it ends the client's connection.
    type Body: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static;

    /// Answers a request of `peer`.
    fn answer(&self, request: Request<Incoming>, peer: &Peer) -> impl Future<Output = Response<Self::Body>> + Send;

    /// The answer to a request whose line and header fields are more than `bound`: `8192 bytes`.
    fn header_too_large(&self, request: Request<Incoming>, bound: &str) -> Response<Self::Body>;
}
