//! A guest's GET through `wasi:http` and the host's egress, with a rule and credentials, beside the same GET made by a native client
//! over a kept connection. One request at a time, both sides on one thread, the server on others.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use wicketgate::host::grant::{Auth, Connect, Grant};
use wicketgate::name::FunctionRef;
use wicketgate::plugin::{EngineConfig, PluginProvider, Plugins};
use wicketgate::provider::Reuse;

use crate::Bench;
use crate::measure::{Report, median, thread_cpu};
use crate::plugin::{figlet, hosted, per_call, provider};
use crate::server::{self, Counted};

/// What a GET from the sandbox may cost over one without it.
const LIMIT: f64 = 3.0;
/// Requests of one round.
const REQUESTS: u32 = 1_000;
/// What the guest asks for.
const PATH: &str = "/replicas/figlet";

/// A client that does by hand what the guest and the host do together: the same request over one kept
/// connection, the status checked, the same two numbers read.
struct Native {
    sender: SendRequest<Empty<Bytes>>,
    host: String,
}

impl Native {
    async fn connect(address: SocketAddr) -> Result<Self, String> {
        let text = |error: &dyn std::error::Error| format!("{address}: {error}");
        let stream = TcpStream::connect(address).await.map_err(|error| text(&error))?;
        stream.set_nodelay(true).map_err(|error| text(&error))?;
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| text(&error))?;
        tokio::spawn(connection);
        Ok(Self { sender, host: address.to_string() })
    }

    async fn get(&mut self) -> Result<(u64, u64), String> {
        let request =
            Request::get(PATH).header("host", &self.host).header(AUTHORIZATION, CREDENTIALS).body(Empty::new());
        let request = request.map_err(|error| error.to_string())?;
        self.sender.ready().await.map_err(|error| error.to_string())?;
        let response = self.sender.send_request(request).await.map_err(|error| error.to_string())?;
        if !response.status().is_success() {
            return Err(format!("the server answered {}", response.status()));
        }
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        serde_json::from_slice(&body).map_err(|error| error.to_string())
    }

    async fn round(&mut self) -> Result<f64, String> {
        let begun = thread_cpu();
        for _ in 0..REQUESTS {
            std::hint::black_box(self.get().await?);
        }
        Ok(per_call(begun, REQUESTS))
    }
}

/// `admin:correct horse`, as it stands in a request.
const CREDENTIALS: &str = "Basic YWRtaW46Y29ycmVjdCBob3JzZQ==";

/// What the platform answers to those who have credentials: one instance wanted, one available.
async fn one_of_one(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let is_known = request.headers().get(AUTHORIZATION).is_some_and(|value| value == CREDENTIALS);
    let mut response = Response::new(Full::new(Bytes::from_static(b"[1,1]")));
    if !is_known {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
    }
    response
}

/// Runs both sides in turns on one thread; `server` is where the other side lives.
pub(crate) fn run(bench: &Bench, server: &tokio::runtime::Runtime, report: &mut Report) -> Result<(), String> {
    let counted = server.block_on(server::serve_counted(one_of_one)).map_err(|error| error.to_string())?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(measure(bench, &counted, report))
}

/// A file that only its owner may read, as credentials have to be.
fn secret(bench: &Bench, name: &str, text: &str) -> Result<PathBuf, String> {
    let path = bench.directory.join(name);
    let write = || {
        std::fs::create_dir_all(&bench.directory)?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())
    };
    write().map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

/// A guest whose requests pass a rule and get credentials.
async fn fetcher(bench: &Bench, address: SocketAddr, reuse: Reuse) -> Result<(Plugins, PluginProvider), String> {
    let auth = Auth::Basic {
        user_file: secret(bench, "egress-user", "admin")?,
        password_file: secret(bench, "egress-password", "correct horse")?,
    };
    let connect = Connect::Tcp { tls: false, host: address.ip().to_string(), port: address.port() };
    let rule = "GET /replicas/*".parse().map_err(|error| format!("{error}"))?;
    let grant = Grant { rules: vec![rule], auth, ..Grant::new(connect) };
    let plugins = Plugins::new(&EngineConfig::default(), &wicketgate::metrics::Registry::default(), None)
        .map_err(|error| error.to_string())?;
    let component = bench.plugins.join("tests/fetch.wasm");
    let provider = provider(&plugins, &component, reuse, BTreeMap::from([("platform".to_owned(), grant)])).await?;
    Ok((plugins, provider))
}

async fn measure(bench: &Bench, server: &Counted, report: &mut Report) -> Result<(), String> {
    let (_pooled, reused) = fetcher(bench, server.address, Reuse::default()).await?;
    let (_fresh, fresh) = fetcher(bench, server.address, Reuse::PerCall).await?;
    let function: FunctionRef = figlet()?;
    let mut native = Native::connect(server.address).await?;
    let (mut times, mut ratios) = ([const { Vec::new() }; 3], [const { Vec::new() }; 2]);
    let mut connected = 0;
    for round in 0..=bench.rounds {
        let of_round = [
            native.round().await?,
            hosted(&reused, &function, REQUESTS).await?,
            hosted(&fresh, &function, REQUESTS).await?,
        ];
        if round == 0 {
            // Warm from here on: every side has its connection.
            connected = server.connections.load(Ordering::Relaxed);
            continue;
        }
        let [native_time, reused_time, fresh_time] = of_round;
        for (all, one) in times.iter_mut().zip(of_round) {
            all.push(one);
        }
        for (all, one) in ratios.iter_mut().zip([reused_time / native_time, fresh_time / native_time]) {
            all.push(one);
        }
    }
    let connections = server.connections.load(Ordering::Relaxed) - connected;
    let [native, host, host_fresh] = times.map(|all| median(&all) / 1000.0);
    report.show("egress: GET, native client", native, "us");
    report.show("egress: GET by a guest, reused instance", host, "us");
    report.show("egress: GET by a guest, fresh instance", host_fresh, "us");
    let [reused, fresh] = ratios.map(|all| median(&all));
    report.hold("egress: a guest's GET over a native one (CPU)", reused, "x", LIMIT);
    report.show("egress: the same with a fresh instance (CPU)", fresh, "x");
    let connections = f64::from(u32::try_from(connections).unwrap_or(u32::MAX));
    report.hold("egress: new connections while measuring", connections, "", 0.0);
    Ok(())
}
