//! The metrics port: `/metrics` and `/healthz`, GET only, never behind credentials.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use prometheus::IntGaugeVec;

use super::{Body, answer, serve};
use crate::metrics::Registry;
use crate::name::FunctionRef;
use crate::respond;

/// How long a connection may take in all.
const LONGEST: Duration = Duration::from_secs(300);

/// How many instances each known function was asked for; read at each scrape.
pub type Counts = Arc<dyn Fn() -> Vec<(FunctionRef, u64)> + Send + Sync>;

/// Serves `/metrics` and `/healthz` until `stop` resolves. Registers `gateway_service_count`, which
/// each scrape fills anew, so that a deleted function's series ends.
pub async fn serve(
    listener: tokio::net::TcpListener,
    registry: Registry,
    counts: Counts,
    stop: impl Future<Output = ()> + Send,
) {
    let replicas =
        registry.gauges("gateway_service_count", "Current count of replicas for function", &["function_name"]);
    let answer = move |request: Request<_>, _peer| std::future::ready(reply(&request, &registry, &replicas, &counts));
    serve::serve(&listener, (LONGEST, serve::HEADER_BYTES), answer, stop).await;
}

fn reply<B>(request: &Request<B>, registry: &Registry, replicas: &IntGaugeVec, counts: &Counts) -> Response<Body> {
    let path = request.uri().path();
    if !matches!(path, "/metrics" | "/healthz") {
        return answer::whole(respond::no_route());
    }
    if request.method() != Method::GET {
        return answer::whole(respond::wrong_method());
    }
    if path == "/healthz" {
        return answer::text(StatusCode::OK, "OK");
    }
    replicas.reset();
    for (function, count) in counts() {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        replicas.with_label_values(&[&function.to_string()]).set(count);
    }
    let mut response = answer::text(StatusCode::OK, registry.exposition());
    let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, format);
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn request(method: &str, path: &str) -> Request<()> {
        Request::builder().method(method).uri(path).body(()).unwrap()
    }

    #[tokio::test]
    async fn each_scrape_shows_the_counts_of_now() {
        let registry = Registry::default();
        let replicas = registry.gauges("gateway_service_count", "Help.", &["function_name"]);
        let scrape = async |counts: Vec<(&str, u64)>| {
            let counts: Vec<_> = counts
                .into_iter()
                .map(|(name, count)| (FunctionRef::parse(name, &"openfaas-fn".parse().unwrap()).unwrap(), count))
                .collect();
            let counts: Counts = Arc::new(move || counts.clone());
            let response = reply(&request("GET", "/metrics"), &registry, &replicas, &counts);
            String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
        };
        let text = scrape(vec![("figlet", 2), ("env", 0)]).await;
        assert!(text.contains("gateway_service_count{function_name=\"figlet.openfaas-fn\"} 2"), "{text}");
        assert!(text.contains("gateway_service_count{function_name=\"env.openfaas-fn\"} 0"), "{text}");
        let text = scrape(vec![("env", 1)]).await;
        assert!(!text.contains("figlet"), "{text}");
    }

    #[test]
    fn other_methods_and_paths_get_the_usual_shapes() {
        let registry = Registry::default();
        let replicas = registry.gauges("gateway_service_count", "Help.", &["function_name"]);
        let counts: Counts = Arc::new(Vec::new);
        let status = |method, path| reply(&request(method, path), &registry, &replicas, &counts).status().as_u16();
        assert_eq!(status("GET", "/healthz"), 200);
        assert_eq!(status("POST", "/healthz"), 405);
        assert_eq!(status("POST", "/metrics"), 405);
        assert_eq!(status("GET", "/system/functions"), 404);
    }
}
