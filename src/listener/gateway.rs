//! What the main port serves: functions, and everything else by the admin API.

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;

use super::{Peer, Service};
use crate::admin::Admin;
use crate::invoke::{Body, Invoke};
use crate::respond::{CallId, Problem};

/// The main port's service: one for each worker, since [`Invoke`] holds a worker's connections.
#[derive(Clone)]
pub struct Gateway {
    invoke: Arc<Invoke>,
    admin: Admin,
}

impl Gateway {
    /// Functions by `invoke`, everything else by `admin`.
    #[must_use]
    pub fn new(invoke: Invoke, admin: Admin) -> Self {
        Self { invoke: Arc::new(invoke), admin }
    }
}

impl Service for Gateway {
    type Body = Body;

    async fn answer(&self, request: Request<Incoming>, peer: &Peer) -> Response<Body> {
        match self.invoke.answer(request, peer).await {
            Ok(response) => response,
            // Rare and large: boxed, so that the future of an invocation stays small.
            Err(request) => Box::pin(self.admin.answer(request, peer.address)).await.map(Body::from),
        }
    }

    fn header_too_large(&self, request: Request<Incoming>, bound: &str) -> Response<Body> {
        self.invoke.refuse(&Problem::header_too_large(bound), &CallId::of(request.headers()))
    }
}
