//! A good provider's calls while another provider attacks the host, beside the same calls without the attack.
//! Both are on one engine and one runtime, as in the gateway.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use tokio::sync::Notify;
use tokio::time::Instant;
use wicketgate::host::grant::{Connect, Grant};
use wicketgate::metrics::Registry;
use wicketgate::name::FunctionRef;
use wicketgate::plugin::{EngineConfig, PluginProvider, Plugins};
use wicketgate::provider::Reuse;
use wicketgate::query::{Cause, PluginFault, ServiceQuery as _};

use crate::measure::{Report, median};
use crate::plugin::{figlet, provider};
use crate::{Bench, fixtures, server};

/// What an attack may cost the others: the middle of the ratios of all pairs.
const LIMIT: f64 = 1.25;
/// Pairs at the usual number of rounds; others in proportion.
const PAIRS: usize = 20;
const USUAL_ROUNDS: usize = 11;
/// The good provider's calls in each half of a pair.
const CALLS: u32 = 20_000;
/// Threads of the gateway's runtime for plugins.
const THREADS: usize = 2;

/// Attacks of guests in text form (`tests/fixtures`).
const FIXTURES: [&str; 19] = [
    "endless-loop",
    "fills-memory",
    "endless-recursion",
    "loop-in-realloc",
    "loop-in-post-return",
    "sleeps",
    "memory-bomb",
    "four-memories",
    "table-bomb",
    "huge-string",
    "huge-list",
    "hoards",
    "random-bomb",
    "state-flood",
    "log-flood",
    "trap",
    "trap-in-post-return",
    "bad-utf8",
    "many-labels",
];

/// Attacks of the guest `hostile` on its platform.
const REQUESTS: [&str; 8] = [
    "many-requests",
    "large-request",
    "slow-body",
    "endless-response",
    "header-bomb",
    "many-fields",
    "smuggled-fields",
    "paths",
];

/// What a platform says to an attacker: yes, and a mebibyte of it where it is asked for.
async fn believes(request: Request<Incoming>) -> Response<Full<Bytes>> {
    static LARGE: [u8; 1 << 20] = [b'x'; 1 << 20];
    let is_large = request.uri().path() == "/endless";
    let _whole_or_cut = request.into_body().collect().await;
    Response::new(Full::new(if is_large { Bytes::from_static(&LARGE) } else { Bytes::new() }))
}

/// An attack: a component, what it is asked about, and where its requests go.
#[derive(Clone)]
struct Attack {
    name: &'static str,
    component: PathBuf,
    function: FunctionRef,
    platform: Option<SocketAddr>,
}

impl Attack {
    async fn provider(&self, plugins: &Plugins) -> Result<PluginProvider, String> {
        let mut grants = BTreeMap::new();
        if let Some(address) = self.platform {
            let connect = Connect::Tcp { tls: false, host: address.ip().to_string(), port: address.port() };
            let rules = ["GET /open", "GET /endless", "POST /open"].map(str::parse).into_iter();
            let rules = rules.collect::<Result<_, _>>().map_err(|error| format!("{error}"))?;
            grants.insert("platform".to_owned(), Grant { rules, ..Grant::new(connect) });
        }
        provider(plugins, &self.component, Reuse::default(), grants).await
    }

    /// Attacks for ever. A plugin that was stopped for it comes back as a new one, or nothing would attack any more.
    async fn run(self, plugins: Arc<Plugins>, begun: Arc<Notify>) -> Result<Infallible, String> {
        let mut provider = self.provider(&plugins).await?;
        loop {
            begun.notify_one();
            let ended = provider.get_replicas(&self.function).await;
            if ended.is_err_and(|error| error.cause == Cause::Plugin(PluginFault::Quarantined)) {
                provider = self.provider(&plugins).await?;
            }
            // What ends at once would not let go of its thread.
            tokio::task::yield_now().await;
        }
    }
}

/// Runs every attack in turn; `server` is where their platform lives.
pub(crate) fn run(bench: &Bench, server: &tokio::runtime::Runtime, report: &mut Report) -> Result<(), String> {
    let platform = server.block_on(server::serve(believes)).map_err(|error| error.to_string())?;
    let directory = bench.directory.join("hostile");
    let attacks = attacks(bench, &directory, platform)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let component = bench.plugins.join("tests/constant.wasm");
    let pairs = (bench.rounds * PAIRS / USUAL_ROUNDS).max(1);
    // On the runtime's own threads, where a gateway's calls are.
    let figures = runtime.spawn(measure(component, attacks, pairs));
    let figures = runtime.block_on(figures).map_err(|error| error.to_string())??;
    for (name, ratio) in figures {
        report.hold(format!("hostile: a neighbour's calls beside {name}"), ratio, "x", LIMIT);
    }
    Ok(())
}

fn attacks(bench: &Bench, directory: &Path, platform: SocketAddr) -> Result<Vec<Attack>, String> {
    std::fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let mut attacks = Vec::new();
    for name in FIXTURES {
        let component = directory.join(format!("{name}.wasm"));
        std::fs::write(&component, fixtures::component(name))
            .map_err(|error| format!("{}: {error}", component.display()))?;
        attacks.push(Attack { name, component, function: figlet()?, platform: None });
    }
    for name in REQUESTS {
        let function = FunctionRef { name: name.parse().map_err(|_bad| "a name")?, ..figlet()? };
        let component = bench.plugins.join("tests/hostile.wasm");
        attacks.push(Attack { name, component, function, platform: Some(platform) });
    }
    Ok(attacks)
}

/// Seconds that the calls took.
async fn calls(good: &PluginProvider, function: &FunctionRef) -> Result<f64, String> {
    let begun = Instant::now();
    for _ in 0..CALLS {
        std::hint::black_box(good.get_replicas(function).await.map_err(|error| error.to_string())?);
    }
    Ok(begun.elapsed().as_secs_f64())
}

/// The middle ratio of each attack.
async fn measure(component: PathBuf, attacks: Vec<Attack>, pairs: usize) -> Result<Vec<(&'static str, f64)>, String> {
    let plugins =
        Plugins::new(&EngineConfig::default(), &Registry::default(), None).map_err(|error| error.to_string())?;
    let plugins = Arc::new(plugins);
    let good = provider(&plugins, &component, Reuse::default(), BTreeMap::new()).await?;
    let function = figlet()?;
    let _warm = calls(&good, &function).await?;
    let mut figures = Vec::new();
    for attack in attacks {
        // Kept, so that its code is compiled once.
        let _loaded = attack.provider(&plugins).await?;
        let mut ratios = Vec::new();
        for _ in 0..pairs {
            let alone = calls(&good, &function).await?;
            let begun = Arc::new(Notify::new());
            let task = tokio::spawn(attack.clone().run(Arc::clone(&plugins), Arc::clone(&begun)));
            begun.notified().await;
            let beside = calls(&good, &function).await?;
            if task.is_finished() {
                let Err(error) = task.await.map_err(|error| error.to_string())?;
                return Err(format!("{}: {error}", attack.name));
            }
            task.abort();
            // What was cut is over before the next half.
            let _cut = task.await;
            ratios.push(beside / alone);
        }
        figures.push((attack.name, median(&ratios)));
    }
    Ok(figures)
}
