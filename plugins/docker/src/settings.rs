//! The operator's `config` table.

use serde_json::{Map, Value};
use wicketgate_sdk::config::Table;
use wicketgate_sdk::{ProviderError, Result};

use crate::names::is_namespace;

/// The namespace of functions where the operator names none.
const NAMESPACE: &str = "openfaas-fn";

/// The port that a function's image serves on, as OpenFaaS's watchdog does.
const PORT: u64 = 8080;

/// Replicas of one function, where the operator gives no other bound.
const MAX_REPLICAS: u64 = 20;

/// The most that such a bound may be.
const MAX_REPLICAS_MAX: u64 = 10_000;

/// Seconds between the request to stop and the end by force; Docker's own default.
const STOP_SECONDS: u64 = 10;

/// The longest such time that makes sense: an hour.
const STOP_SECONDS_MAX: u64 = 3600;

/// Seconds that an update waits until the new replicas run and are healthy.
const UPDATE_SECONDS: u64 = 20;

/// The longest such time: what a call to deploy may take at most.
const UPDATE_SECONDS_MAX: u64 = 600;

/// Seconds between two looks at a swarm's services for changes that no event told of.
const LOOK_SECONDS: u64 = 2;

/// The `config` table of a provider.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Services of a swarm, or containers of one engine.
    pub(crate) mode: Mode,
    /// The namespaces of functions; objects without a namespace label belong to the first.
    pub(crate) namespaces: Vec<String>,
    /// How instances are reached.
    pub(crate) addresses: Addresses,
    /// The address of published ports, where the platform's own word does not do.
    pub(crate) host: Option<String>,
    /// The network that new functions join.
    pub(crate) network: Option<String>,
    /// The port that functions serve on.
    pub(crate) port: u16,
    /// The most replicas that are asked for.
    pub(crate) max_replicas: u64,
    /// Engine: what becomes of a replica that is not wanted.
    pub(crate) zero: Zero,
    /// Engine: how long a replica may take to end, in seconds.
    pub(crate) stop_seconds: u64,
    /// Engine: how long an update waits for the new replicas, in seconds.
    pub(crate) update_seconds: u64,
    /// Swarm: how often the services are looked at for changes that no event told of, in seconds; 0 is never.
    pub(crate) look_seconds: u64,
    /// Engine: what the engine does with a replica that ended by itself, in the engine's words.
    pub(crate) restart: &'static str,
    /// Engine: whether an image that is missing is fetched.
    pub(crate) pull: bool,
    /// What every new service or container begins with: a part of the body of
    /// `POST /services/create` or `POST /containers/create`.
    pub(crate) template: Value,
}

/// What runs functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Swarm,
    Engine,
}

/// How instances are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addresses {
    /// Each instance on a published port of its machine.
    HostPort,
    /// Each instance on its own address in `network`: for a gateway that is in it too.
    Network,
    /// The service's name in the swarm's own DNS: for a gateway that is in `network` too.
    Dns,
    /// A port that the swarm publishes on every machine.
    Ingress,
}

/// What becomes of a container that is not wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Zero {
    Stop,
    Remove,
    Pause,
}

/// The engine's restart policies, the default first.
const RESTART: [(&str, &str); 4] =
    [("unless-stopped", "unless-stopped"), ("always", "always"), ("on-failure", "on-failure"), ("no", "no")];

impl Settings {
    /// Reads and checks the table.
    pub(crate) fn read() -> Result<Self> {
        let mut table = Table::read()?;
        if !table.has("mode") {
            return Err(ProviderError::invalid("config.mode is missing; write mode = \"swarm\" or mode = \"engine\""));
        }
        let namespaces = if table.has("namespaces") { table.texts("namespaces")? } else { vec![NAMESPACE.to_owned()] };
        let settings = Self {
            mode: table.word("mode", &[("swarm", Mode::Swarm), ("engine", Mode::Engine)])?,
            namespaces,
            addresses: table.word(
                "addresses",
                &[
                    ("host-port", Addresses::HostPort),
                    ("network", Addresses::Network),
                    ("dns", Addresses::Dns),
                    ("ingress", Addresses::Ingress),
                ],
            )?,
            host: table.text("host")?,
            network: table.text("network")?,
            port: u16::try_from(table.number("port", PORT, &(1..=u16::MAX.into()))?).unwrap_or(u16::MAX),
            max_replicas: table.number("max-replicas", MAX_REPLICAS, &(1..=MAX_REPLICAS_MAX))?,
            zero: table.word("zero", &[("stop", Zero::Stop), ("remove", Zero::Remove), ("pause", Zero::Pause)])?,
            stop_seconds: table.number("stop-seconds", STOP_SECONDS, &(0..=STOP_SECONDS_MAX))?,
            update_seconds: table.number("update-seconds", UPDATE_SECONDS, &(1..=UPDATE_SECONDS_MAX))?,
            look_seconds: table.number("look-seconds", LOOK_SECONDS, &(0..=STOP_SECONDS_MAX))?,
            restart: table.word("restart", &RESTART)?,
            pull: table.word("pull", &[("missing", true), ("never", false)])?,
            template: table.take("template").unwrap_or_else(|| Value::Object(Map::new())),
        };
        table.end()?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<()> {
        let wrong = |text: String| Err(ProviderError::invalid(text));
        if self.namespaces.is_empty() {
            return wrong("config.namespaces is empty; write namespaces = [\"openfaas-fn\"]".to_owned());
        }
        if let Some(name) = self.namespaces.iter().find(|name| !is_namespace(name)) {
            return wrong(format!("config.namespaces has {name:?}; write letters, digits, '-' or '_'"));
        }
        if !self.template.is_object() {
            return wrong("config.template is not a table".to_owned());
        }
        match (self.mode, self.addresses) {
            (Mode::Engine, Addresses::Dns | Addresses::Ingress) => {
                wrong("config.addresses is \"dns\" or \"ingress\", which only a swarm has; write \"host-port\" or \"network\"".to_owned())
            }
            (_, Addresses::Network | Addresses::Dns) if self.network.is_none() => {
                wrong("config.addresses wants a network; write network = \"functions\"".to_owned())
            }
            (Mode::Swarm, Addresses::Ingress) if self.host.is_none() => {
                wrong("config.addresses is \"ingress\"; write host = \"127.0.0.1\" or another machine of the swarm".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// The namespace of objects that carry no namespace label.
    pub(crate) fn first_namespace(&self) -> &str {
        self.namespaces.first().map_or(NAMESPACE, String::as_str)
    }

    /// Whether the operator named a namespace.
    pub(crate) fn has_namespace(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|own| own == namespace)
    }

    /// `not-found` for a namespace that the operator did not name.
    pub(crate) fn check_namespace(&self, namespace: &str) -> Result<()> {
        if self.has_namespace(namespace) {
            return Ok(());
        }
        Err(ProviderError::not_found(format!(
            "there is no namespace {namespace:?}, only {}; the operator adds one with config = {{ namespaces = [...] }}",
            self.namespaces.join(", ")
        )))
    }

    /// `invalid` for more replicas than the operator allows.
    pub(crate) fn check_count(&self, count: u64) -> Result<()> {
        if count <= self.max_replicas {
            return Ok(());
        }
        Err(ProviderError::invalid(format!(
            "{count} replicas are over the operator's max-replicas = {}",
            self.max_replicas
        )))
    }
}
