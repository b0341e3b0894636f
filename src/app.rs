//! Wires the parts: the only file that knows all of them.
//!
//! Two kinds of runtime: one thread for each core that only forwards, with a runtime, a socket
//! (`SO_REUSEPORT`) and connections of its own; and one shared runtime for everything that may take
//! a while: plugins, scaling, the admin API, the metrics.

pub mod reload;
mod workers;

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::admin::socket::{BindError, Socket};
use crate::admin::{self, Admin, Readiness};
use crate::config::{AdminSocket, Config};
use crate::control::{self, Control, ProviderFailed};
use crate::host::files::FileFault;
use crate::host::state::Store;
use crate::invoke::{self, Invoke};
use crate::listener::{self, Listener};
use crate::metrics::Registry;
use crate::plugin::{EngineError, Plugins};
use crate::provider::Directory;
use crate::scaler::Scaler;
use crate::shutdown::{self, Drain, Outcome, Signals, Trigger};
use crate::trust::used::{self, Use};
use reload::{Origin, Reload};

/// The name of the database in the state directory.
const STATE_FILE: &str = "state.redb";

/// The name of the admin socket in the state directory.
const SOCKET_FILE: &str = "admin.sock";

/// How long background work may take to notice the end.
const LEFT_OVER: Duration = Duration::from_secs(1);

/// The threads of the shared runtime. What they do is mostly waiting.
const CONTROL_THREADS: usize = 2;

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}; choose another as {key}")]
    Listen {
        /// Which one.
        address: SocketAddr,
        /// The key that names it.
        key: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
    /// A runtime cannot be built.
    #[error("no threads to work with")]
    Runtime(#[from] std::io::Error),
    /// The engine cannot be built.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Plugins that were refused; each says why.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Providers(Vec<ProviderFailed>),
    /// The admin API's credentials cannot be used.
    #[error("auth.basic")]
    Credentials(#[from] FileFault),
    /// The admin socket cannot be opened.
    #[error(transparent)]
    Socket(#[from] BindError),
}

/// A gateway that listens and has its plugins, but serves nobody yet.
pub struct App {
    control: tokio::runtime::Runtime,
    sockets: Vec<TcpListener>,
    metrics: Option<tokio::net::TcpListener>,
    socket: Option<(Socket, PathBuf)>,
    providers: Control,
    /// What was read at the start, and how to read it again.
    read: (Config, Origin),
    scaler: Arc<Scaler>,
    admin: Admin,
    invoke: Invoke,
    listener: Listener,
    registry: Registry,
    store: Store,
    trigger: Trigger,
    drain: Drain,
    grace: Duration,
}

impl App {
    /// Takes the addresses, then loads the plugins. `state` is the directory for what is kept; `origin`
    /// is where the configuration is read again.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing was served.
    pub fn build(config: Config, state: &Path, origin: Origin) -> Result<Self, StartError> {
        let read = (config.clone(), origin);
        let control = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(CONTROL_THREADS)
            .thread_name("wicketgate-control")
            .enable_all()
            .build()?;
        let inside = control.enter();
        let registry = Registry::new();
        let (trigger, drain) = shutdown::channel();

        let listen = &config.listen;
        let grace = listen.drain_timeout;
        let threads = listen.workers.or_else(|| Some(std::thread::available_parallelism().ok()?.get())).unwrap_or(1);
        // The workers' sockets share their port, and would share it with another gateway too.
        let sockets = TcpListener::bind(listen.http)
            .map(drop)
            .and_then(|()| listener::bind(listen.http, threads))
            .map_err(|source| StartError::Listen { address: listen.http, key: "listen.http", source })?;
        let metrics = listen.metrics.map(metrics_socket).transpose()?;
        // What plugins keep is nobody else's business. A disk that is full or read-only is no reason to
        // leave functions unserved.
        let kept = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state).inspect_err(|error| {
            tracing::warn!(directory = %state.display(), %error, "no state directory: nothing is kept over a restart");
        });
        let store = Store::open(&state.join(STATE_FILE));
        let socket = match &listen.admin {
            AdminSocket::Off => None,
            AdminSocket::At(path) => Some(path.clone()),
            AdminSocket::Beside => kept.is_ok().then(|| state.join(SOCKET_FILE)),
        };
        let socket = socket.map(|path| Socket::bind(&path).map(|socket| (socket, path))).transpose()?;

        let cache = config.cache_directory.clone().unwrap_or_else(|| state.join("cache"));
        let plugins = Plugins::new(&config.engine, &registry, Some(cache))?.with_lock(config.lock_keeper());
        let plugins = plugins.recording(Use::new(&state.join(used::DIRECTORY)));
        // By this name a binary that was replaced on disk still finds itself.
        let plugins = Arc::new(plugins.compiling_with("/proc/self/exe".into()));
        let directory = Arc::new(Directory::default());
        let scaler = Arc::new(Scaler::new(config.scaling.clone(), Arc::clone(&directory), &registry));
        let own = sockets.first().and_then(|socket| socket.local_addr().ok()).into_iter();
        scaler.set_own_listeners(own.chain(metrics.as_ref().and_then(|socket| socket.local_addr().ok())).collect());

        let providers = Control::new(control::Parts {
            plugins,
            store: store.clone(),
            directory: Arc::clone(&directory),
            scaler: Arc::clone(&scaler),
            registry: registry.clone(),
            runtime: control.handle().clone(),
            at_once: config.reload.at_once,
        });
        control.block_on(providers.start(&config.providers)).map_err(StartError::Providers)?;

        let parts = admin::Parts {
            directory: Arc::clone(&directory),
            invalidate: Arc::new({
                let scaler = Arc::clone(&scaler);
                move |function| scaler.invalidate(function)
            }),
            drain: drain.clone(),
            unready: Arc::new({
                let providers = providers.clone();
                move || readiness(&providers)
            }),
            registry: registry.clone(),
            runtime: control.handle().clone(),
        };
        let default_namespace = config.admin.default_namespace.clone();
        let admin = Admin::new(config.admin, parts)?;
        let invoke = invoke::Config { default_namespace, forward: config.forward };
        let invoke = Invoke::new(invoke, Arc::clone(&scaler), &registry, drain.clone());
        let listener = Listener::new(config.listener, &registry, drain.clone());
        drop(inside);
        Ok(Self {
            control,
            sockets,
            metrics,
            socket,
            providers,
            read,
            scaler,
            admin,
            invoke,
            listener,
            registry,
            store,
            trigger,
            drain,
            grace,
        })
    }

    /// Serves until SIGTERM or SIGINT, and then until what is under way is finished, at most
    /// `listen.drain-timeout`; a second signal ends at once. Says where it listens on the standard
    /// output, as soon as it does.
    ///
    /// # Errors
    /// A thread cannot be made, or the signals cannot be listened for.
    pub fn run(self) -> Result<(), StartError> {
        let Self { control, sockets, metrics, socket, providers, read, scaler, .. } = self;
        let mut places = vec![concat!("wicketgate ", env!("CARGO_PKG_VERSION")).to_owned()];
        if let Some(address) = sockets.first().and_then(|socket| socket.local_addr().ok()) {
            places.push(format!("listening on http://{address}"));
        }
        let workers = workers::start(sockets, &self.listener, &self.invoke, &self.admin, &self.drain)?;
        let stopped = || {
            let drain = self.drain.clone();
            async move { drain.ended().await }
        };
        if let Some(metrics) = metrics {
            if let Ok(address) = metrics.local_addr() {
                places.push(format!("metrics on http://{address}/metrics"));
            }
            let counts: admin::metrics::Counts = Arc::new({
                let scaler = Arc::clone(&scaler);
                move || scaler.counts()
            });
            control.spawn(admin::metrics::serve(metrics, self.registry, counts, stopped()));
        }
        let mut admin_socket = None;
        if let Some((socket, path)) = socket {
            places.push(format!("admin on unix:{}", path.display()));
            admin_socket = Some(control.spawn(socket.serve(providers.clone(), stopped())));
        }
        control.spawn({
            let providers = providers.clone();
            async move { providers.check().await }
        });
        let mut signals = {
            let _inside = control.enter();
            Signals::listen()?
        };
        let reload = {
            let _inside = control.enter();
            let (config, origin) = read;
            Reload::new(providers.clone(), origin, config)?
        };
        let reload = control.spawn(reload.run());
        announce(&places);

        let outcome = control.block_on(self.trigger.on_signals(&mut signals, self.grace));
        tracing::info!(?outcome, "ended");
        reload.abort();
        workers.join();
        if let Some(task) = admin_socket {
            // It ends with the drain, and takes its file with it.
            let _ended = control.block_on(task);
        }
        if !matches!(outcome, Outcome::SecondSignal(_)) {
            control.block_on(async {
                tokio::select! {
                    () = providers.stop() => {}
                    signal = signals.next() => tracing::warn!(signal, "a second signal: processes are cut"),
                }
            });
        }
        // Processes that are left end with this one: their watchdogs see to that.
        self.store.flush();
        control.shutdown_timeout(LEFT_OVER);
        Ok(())
    }
}

/// A gateway that can serve some functions wants requests; which it cannot serve is told beside that.
fn readiness(providers: &Control) -> Readiness {
    let (failing, serves) = providers.failing();
    if serves || failing.is_empty() {
        return Readiness { reason: None, notes: failing };
    }
    Readiness { reason: Some(failing.join("; ")), notes: Vec::new() }
}

fn metrics_socket(address: SocketAddr) -> Result<tokio::net::TcpListener, StartError> {
    let bound = TcpListener::bind(address).and_then(|socket| {
        socket.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(socket)
    });
    bound.map_err(|source| StartError::Listen { address, key: "listen.metrics", source })
}

/// Says where the gateway listens. Nobody needs to read it, so a closed standard output is no reason
/// to end.
fn announce(places: &[String]) {
    let mut out = std::io::stdout().lock();
    for place in places {
        let _closed = writeln!(out, "{place}");
    }
    let _closed = out.flush();
}
