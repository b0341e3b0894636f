//! Cold starts: how long after an instance became ready the waiting request is answered.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::Bench;
use crate::measure::{Report, median, percentile};
use crate::process::Program;
use crate::server::{self, Platform};

/// Cold starts that are timed, each of a function of its own.
const STARTS: u32 = 101;
/// Callers that wait for one function at once.
const CALLERS: usize = 500;

/// Functions whose readiness is spread evenly over 20 to 400 ms, without and with a watch.
pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Result<(), String> {
    let polled = Provider { component: "builtin:faas-provider".to_owned(), grant: POLLED };
    let overshoots = overshoot(bench, "cold", &polled).await?;
    report.hold("cold start: overshoot without a watch, median", median(&overshoots), "ms", 10.0);
    report.hold("cold start: overshoot without a watch, p95", percentile(&overshoots, 95.0), "ms", 15.0);

    let watched = Provider { component: bench.plugins.join("tests/fetch.wasm").display().to_string(), grant: WATCHED };
    let overshoots = overshoot(bench, "watched", &watched).await?;
    report.hold("cold start: overshoot with a watch, median", median(&overshoots), "ms", 5.0);
    report.show("cold start: overshoot with a watch, p95", percentile(&overshoots, 95.0), "ms");

    let platform = Platform::default();
    let gateway = start(bench, "crowd", &polled, &platform).await?;
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(invoke(gateway.address, "crowd-200".to_owned()));
    }
    while let Some(answered) = callers.join_next().await {
        answered.map_err(|error| error.to_string())??;
    }
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let asked = platform.scale_requests() as f64;
    report.hold(format!("cold start: scale requests for {CALLERS} callers"), asked, "", 1.0);
    Ok(())
}

/// A component and its grant, without the address.
struct Provider {
    component: String,
    grant: &'static str,
}

const POLLED: &str = "[provider.bench.grant.provider]\nprofile = \"faas-provider\"\n";
const WATCHED: &str = "[provider.bench.grant.platform]\nfunctions = \"/function\"\nallow = [\"GET /replicas/*\", \
    { method = \"POST\", path = \"/replicas/*\", query = { count = \"*\" } }, \
    { method = \"GET\", path = \"/changes\", query = { cursor = \"*\", timeout = \"*\" } }]\n";

async fn start(bench: &Bench, name: &str, provider: &Provider, platform: &Platform) -> Result<Arc<Program>, String> {
    let directory = bench.directory.join(name);
    let answering = platform.clone();
    let upstream =
        server::serve(move |request| answering.clone().answer(request)).await.map_err(|error| error.to_string())?;
    let configuration = format!(
        "[listen]\nhttp = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\nadmin = \"unix:{dir}/admin.sock\"\n\
         [state]\ndirectory = \"{dir}/state\"\n[log]\nlevel = \"warn\"\n\
         [provider.bench]\ncomponent = \"{component}\"\nnamespaces = [\"openfaas-fn\"]\ndefault = true\n\
         {grant}connect = \"http://{upstream}\"\n",
        dir = directory.display(),
        component = provider.component,
        grant = provider.grant,
    );
    Program::gateway(&bench.binary, &directory, &configuration).map(Arc::new)
}

async fn overshoot(bench: &Bench, name: &str, provider: &Provider) -> Result<Vec<f64>, String> {
    let platform = Platform::default();
    let gateway = start(bench, name, provider, &platform).await?;
    // The first call of all opens connections and fills caches.
    invoke(gateway.address, "warmup-20".to_owned()).await?;
    let mut overshoots = Vec::new();
    for number in 0..STARTS {
        let delay = 20 + number * 380 / (STARTS - 1);
        let function = format!("f{number}-{delay}");
        let answered = invoke(gateway.address, function.clone()).await?;
        let ready = platform.ready_at(&function).ok_or_else(|| format!("{function} was never scaled"))?;
        overshoots.push(answered.saturating_duration_since(ready).as_secs_f64() * 1000.0);
    }
    Ok(overshoots)
}

/// Invokes a function on a connection of its own; when the answer was there.
async fn invoke(gateway: SocketAddr, function: String) -> Result<Instant, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{function}: {error}");
    let stream = TcpStream::connect(gateway).await.map_err(|error| failed(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    tokio::spawn(connection);
    let request = Request::get(format!("/function/{function}"))
        .header("host", gateway.to_string())
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(&error))?;
    let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|error| failed(&error))?.to_bytes();
    let answered = Instant::now();
    if !status.is_success() {
        return Err(format!("{function}: {status}: {}", String::from_utf8_lossy(&body)));
    }
    Ok(answered)
}
