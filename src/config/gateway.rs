//! The gateway's own tables, and what several tables say together.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::section::Section;
use super::value::as_text;
use super::{Config, data, grant, log, provider, scaling, signature};
use crate::admin::{self, Auth};
use crate::host::files::ExposedSecrets;
use crate::name::Namespace;
use crate::parse::Address;
use crate::plugin;
use crate::provider::ProviderConfig;
use crate::shutdown::GRACE;
use crate::trust::lock::Mode;

/// The default of [`Listen::http`]: this machine only, OpenFaaS's port.
pub(super) const HTTP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);

/// The default of [`Listen::metrics`]: this machine only, OpenFaaS's port.
pub(super) const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8082);

/// The namespace of a request that names none, as in OpenFaaS's own deployments.
pub(super) const NAMESPACE: &str = "openfaas-fn";

/// Where the gateway listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// `http`: functions and `/system/*`. Default `127.0.0.1:8080`.
    pub http: SocketAddr,
    /// `metrics`: `/metrics`; `None` is `"off"`. Default `127.0.0.1:8082`.
    pub metrics: Option<SocketAddr>,
    /// `admin`: the operator's socket. Default [`AdminSocket::Beside`].
    pub admin: AdminSocket,
    /// `workers`: threads that forward. Default: one a core, 1 to 1024.
    pub workers: Option<usize>,
    /// `drain-timeout`: how long requests may go on after a first SIGTERM or SIGINT. Default
    /// [`GRACE`], 0 to 1 h.
    pub drain_timeout: Duration,
}

/// How changes are noticed while the gateway runs. SIGHUP always is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reload {
    /// `watch`: whether changes of the configuration file and of components are noticed. Default: yes.
    pub watch: bool,
    /// `debounce`: for how long nothing must happen to a file before it is looked at. Default 200 ms, 10 ms
    /// to 60 s.
    pub debounce: Duration,
    /// `at-once`: providers whose plugins are loaded, tried and warmed up at once. Default 4, 1 to 64.
    pub at_once: usize,
}

impl Default for Reload {
    fn default() -> Self {
        Self { watch: true, debounce: Duration::from_millis(200), at_once: 4 }
    }
}

/// The operator's socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AdminSocket {
    /// `admin.sock` in the state directory.
    #[default]
    Beside,
    /// `unix:/path`.
    At(PathBuf),
    /// `"off"`.
    Off,
}

/// Reads everything; `None` only if a part that nothing can stand in for is missing.
pub(super) fn read(root: &Section<'_>, origin: &str, builtins: &[&str]) -> Option<Config> {
    let mut warnings = Vec::new();
    let exposed = root.choice("exposed-secrets", &[("refuse", ExposedSecrets::Refuse), ("warn", ExposedSecrets::Warn)]);
    root.set_exposed_secrets(exposed.unwrap_or_default());
    let section = root.section("listen");
    let (listen, listener) = (listen(&section), data::listener(&section));
    let forward = data::forward(&root.section("forward"));
    let admin = admin(root, &listen, &mut warnings);
    let scaling = scaling::read(&root.section("scaling"));
    let engine = engine(&root.section("engine"));
    let log = log::read(&root.section("log"));
    let reload = reload(&root.section("reload"));
    let lock = root.choice("lock", &[("enforce", Mode::Enforce), ("warn", Mode::Warn), ("off", Mode::Off)]);
    let state_directory = root.section("state").file("directory");
    let cache_directory = root.section("cache").file("directory");
    let signed = signature::read(&root.section("signature"));
    let named = root.named("provider");
    if named.is_empty() {
        root.problem("there is no provider; write [provider.local] with component = \"builtin:local\"");
    }
    let mut providers = Vec::with_capacity(named.len());
    for (name, section) in &named {
        providers.extend(provider::read(name, section, builtins, &signed).map(|provider| (provider, section)));
    }
    together(&providers);
    let providers: Vec<ProviderConfig> = providers.into_iter().map(|(provider, _)| provider).collect();
    warnings.extend(providers.iter().flat_map(grant::warnings));
    warnings.extend(root.exposed_files().iter().map(|path| {
        format!(
            "every user of this machine can read {path}, which holds a secret; run: chmod o-rwx {path}",
            path = path.display()
        )
    }));
    Some(Config {
        origin: origin.into(),
        listen,
        listener,
        forward,
        admin: admin?,
        scaling,
        engine,
        log,
        state_directory,
        cache_directory,
        lock: lock.unwrap_or_default(),
        lock_file: None,
        providers,
        reload,
        keys: BTreeMap::new(),
        warnings,
    })
}

fn listen(section: &Section<'_>) -> Listen {
    let tcp = |key| match section.parsed::<Address>(key) {
        Some(Address::Tcp(address)) => Some(address),
        Some(Address::Unix(_)) => {
            section.problem_at(key, "must be an IP address and port; only the admin socket is a Unix socket");
            None
        }
        None => None,
    };
    let http = tcp("http").unwrap_or(HTTP);
    let metrics = if section.says("metrics", "off") { None } else { Some(tcp("metrics").unwrap_or(METRICS)) };
    let admin = if section.says("admin", "off") {
        AdminSocket::Off
    } else {
        match section.parsed::<Address>("admin") {
            Some(Address::Unix(path)) => AdminSocket::At(section.resolve(path)),
            Some(Address::Tcp(_)) => {
                section
                    .problem_at("admin", "must be a Unix socket, e.g. \"unix:/run/wicketgate/admin.sock\", or \"off\"");
                AdminSocket::default()
            }
            None => AdminSocket::default(),
        }
    };
    if metrics.is_some_and(|metrics| metrics == http && http.port() != 0) {
        section.problem_at("metrics", "is the same as http; metrics need a port of their own, or \"off\"");
    }
    let drain_timeout = section.duration("drain-timeout", GRACE, Duration::ZERO..=Duration::from_secs(3600));
    Listen { http, metrics, admin, workers: section.count_if("workers", 1..=1024), drain_timeout }
}

/// `auth` and `[admin]`: who may call `/system/*`, and how much.
fn admin(root: &Section<'_>, listen: &Listen, warnings: &mut Vec<String>) -> Option<admin::Config> {
    let auth = if root.is_text("auth") {
        root.choice("auth", &[("none", true), ("loopback", false)])
            .map_or_else(Auth::default, |open| if open { Auth::Open } else { Auth::Loopback })
    } else {
        let section = root.section("auth");
        let basic = grant::auth::basic_files(&section);
        if section.is_present() && !section.has("basic") {
            section.problem("needs basic = { user-file = \"...\", password-file = \"...\" }; or write auth = \"none\"");
        }
        basic.map_or_else(Auth::default, |(user_file, password_file)| Auth::Basic { user_file, password_file })
    };
    let reaches_out = !listen.http.ip().is_loopback();
    if auth == Auth::Open && reaches_out {
        warnings.push(format!(
            "auth = \"none\": whoever reaches {} may deploy and delete functions; set auth.basic to end that",
            listen.http
        ));
    }
    let section = root.section("admin");
    let namespace = section
        .read("default-namespace", |value| as_text(value)?.parse::<Namespace>().map_err(|error| error.to_string()))
        .or_else(|| NAMESPACE.parse().ok())?;
    let default = admin::Config::new(namespace);
    let second = Duration::from_secs;
    Some(admin::Config {
        auth,
        exposed_secrets: root.exposed_secrets(),
        body_bytes: section.size("body-bytes", default.body_bytes, 1 << 10..=64 << 20),
        list_entries: section.count("list-entries", default.list_entries, 1..=1_000_000),
        log_timeout: section.duration("log-timeout", default.log_timeout, second(1)..=second(86_400)),
        log_streams: section.count("log-streams", default.log_streams, 0..=65_536),
        ..default
    })
}

fn reload(section: &Section<'_>) -> Reload {
    let default = Reload::default();
    Reload {
        watch: section.switch("watch", default.watch),
        debounce: section.duration("debounce", default.debounce, Duration::from_millis(10)..=Duration::from_secs(60)),
        at_once: section.count("at-once", default.at_once, 1..=64),
    }
}

fn engine(section: &Section<'_>) -> plugin::EngineConfig {
    let default = plugin::EngineConfig::default();
    let millisecond = Duration::from_millis;
    plugin::EngineConfig {
        instances: section.count_if("instances", 1..=4096).or(default.instances),
        tick: section.duration("tick", default.tick, millisecond(1)..=millisecond(1000)),
        compile: plugin::CompileLimits {
            memory: section.size("compile-memory", default.compile.memory, 128 << 20..=64 << 30),
            cpu_time: section.duration(
                "compile-cpu-time",
                default.compile.cpu_time,
                Duration::from_secs(1)..=Duration::from_secs(3600),
            ),
            timeout: section.duration(
                "compile-timeout",
                default.compile.timeout,
                millisecond(100)..=Duration::from_secs(3600),
            ),
            sandbox: section
                .choice(
                    "compile-sandbox",
                    &[("if-possible", plugin::Sandbox::IfPossible), ("required", plugin::Sandbox::Required)],
                )
                .unwrap_or(default.compile.sandbox),
        },
    }
}

/// What no provider can say for itself: who serves a namespace.
fn together(providers: &[(ProviderConfig, &Section<'_>)]) {
    let mut claimed = BTreeMap::new();
    let mut default = None;
    for (provider, section) in providers {
        for namespace in &provider.namespaces {
            match claimed.insert(namespace, &provider.name) {
                Some(other) if *other == provider.name => {
                    section.problem_at("namespaces", format!("names {namespace} twice"));
                }
                Some(other) => section.problem_at(
                    "namespaces",
                    format!("{namespace} is claimed by provider {other} already; a namespace has one provider"),
                ),
                None => {}
            }
        }
        if provider.is_default {
            if let Some(other) = default {
                section.problem_at("default", format!("provider {other} is the default already; there can be one"));
            }
            default = Some(&provider.name);
        }
    }
}
