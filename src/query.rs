//! The seam between the planes: what the data plane asks of a platform, and what it gets.
//!
//! [`ServiceQuery`] lies *below* both its caller (the scaler) and its implementation (a plugin in
//! its sandbox): neither knows the other. [`Provider`] adds the optional sisters, one method for
//! each function of the contract in `wit/`; a provider without one answers
//! [`QueryError::not_exported`].

pub mod caller;
pub mod error;
pub mod functions;

pub use error::{Budget, Cause, ErrorKind, Fault, PluginFault, QueryError};

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::host::egress::GrantClient;
use crate::name::{FunctionRef, Generation, Namespace, ProviderName};
use functions::{
    FunctionDeployment, FunctionPage, FunctionStatus, LogBatch, LogRequest, NamePage, NamespaceEntry, Platform, Secret,
};

/// The future that every question answers with.
///
/// # Cancel safety
/// Dropping it ends the call; a write may or may not have reached the platform.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, QueryError>> + Send + 'a>>;

/// Labels or annotations.
pub type Pairs = BTreeMap<String, String>;

/// How many instances a function has, should have and may have. Numbers are as on the wire: u64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceStatus {
    /// How many instances the platform was asked for.
    pub replicas: u64,
    /// How many of them are ready for a request.
    pub available_replicas: u64,
    /// The platform's own least number, if it has one. Labels win over it.
    pub min_replicas: Option<u64>,
    /// The platform's own greatest number, if it has one. Labels win over it.
    pub max_replicas: Option<u64>,
    /// The platform's own step of automatic scaling in percent (0 to 100), if it has one.
    pub scaling_factor: Option<u32>,
    /// The function's labels.
    pub labels: Pairs,
    /// The function's annotations.
    pub annotations: Pairs,
    /// The platform's version of the object, handed back to [`ServiceQuery::ensure`].
    pub version: Option<String>,
    /// Which generation of the provider's plugin answered.
    pub generation: Generation,
}

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// `host:port`; the gateway connects only if the operator allowed it.
    Authority(Arc<str>),
    /// One of the provider's grants by name: connected to as for the plugin itself, below the path that
    /// the operator opened for functions. No credentials are added: those are for the plugin's requests.
    Grant(Arc<str>),
}

/// One place to send a function's requests to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where to connect.
    pub target: Target,
    /// Put before the request's path: empty, or `/...` without a final `/`.
    pub path_prefix: Arc<str>,
    /// The `Host` field to send; `None` keeps the target's authority.
    pub host_header: Option<Arc<str>>,
    /// Whether an authority speaks TLS.
    pub tls: bool,
    /// For how long this may be used. A hard bound: the address may be someone else's afterwards.
    pub ttl: Duration,
    /// The identity of the instance; empty behind a proxy.
    pub instance: Arc<str>,
    /// For a grant: the connection of the generation that named the endpoint, so that a request never
    /// follows an answer of one generation into the grant of another.
    pub via: Option<Via>,
}

/// A generation's grant, to forward functions' requests through. Equal only to itself.
#[derive(Clone)]
pub struct Via {
    /// Where it leads.
    pub client: Arc<GrantClient>,
    /// Whose it is.
    pub generation: Generation,
}

impl std::fmt::Debug for Via {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.client.authority())
    }
}

impl PartialEq for Via {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.client, &other.client)
    }
}

impl Eq for Via {}

/// What happened since a watch's cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeSet {
    /// Functions that appeared or changed, with their status now.
    pub changed: Vec<(FunctionRef, ServiceStatus)>,
    /// Functions that are gone.
    pub removed: Vec<FunctionRef>,
    /// What to hand to the next call.
    pub cursor: String,
    /// Whether the snapshot that a call without a cursor began is complete.
    pub complete: bool,
}

/// The optional interfaces of the contract, by their names in `wit/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Interface {
    /// `scaling`.
    Scaling,
    /// `watch`.
    Watch,
    /// `endpoints`.
    Endpoints,
    /// `functions`.
    Functions,
    /// `namespaces`.
    Namespaces,
    /// `secrets`.
    Secrets,
    /// `logs`.
    Logs,
    /// `about`.
    About,
    /// `health`.
    Health,
}

impl Interface {
    /// All of them, in the order of the contract.
    pub const ALL: [Self; 9] = [
        Self::Scaling,
        Self::Watch,
        Self::Endpoints,
        Self::Functions,
        Self::Namespaces,
        Self::Secrets,
        Self::Logs,
        Self::About,
        Self::Health,
    ];

    /// The name in the contract.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scaling => "scaling",
            Self::Watch => "watch",
            Self::Endpoints => "endpoints",
            Self::Functions => "functions",
            Self::Namespaces => "namespaces",
            Self::Secrets => "secrets",
            Self::Logs => "logs",
            Self::About => "about",
            Self::Health => "health",
        }
    }
}

/// How many instances has a function, and ask for another number of them: all that a cold start needs.
pub trait ServiceQuery: Send + Sync {
    /// How many instances `function` has. Read-only.
    fn get_replicas<'a>(&'a self, function: &'a FunctionRef) -> Answer<'a, ServiceStatus>;

    /// Asks for `count` instances and answers as soon as the platform took the wish.
    fn set_replicas<'a>(&'a self, function: &'a FunctionRef, count: u64) -> Answer<'a, ()>;

    /// Asks for at least `at_least` instances and never for fewer than there are. `None` means that
    /// the platform took the wish without saying what it now holds.
    ///
    /// The default is [`set_replicas`](Self::set_replicas), for platforms that cannot compare and swap.
    fn ensure<'a>(
        &'a self,
        function: &'a FunctionRef,
        at_least: u64,
        expected_version: Option<&'a str>,
    ) -> Answer<'a, Option<ServiceStatus>> {
        let _ = expected_version;
        Box::pin(async move {
            self.set_replicas(function, at_least).await?;
            Ok(None)
        })
    }
}

/// Everything that can be asked of a platform. Each method beyond [`ServiceQuery`]'s answers
/// [`QueryError::not_exported`] unless the provider has that interface.
pub trait Provider: ServiceQuery {
    /// The name that the operator gave it.
    fn name(&self) -> &ProviderName;

    /// Whether it has an optional interface *now*; a swap may change that.
    fn has(&self, interface: Interface) -> bool;

    /// The generation that answers now. Grows with every publish.
    fn generation(&self) -> Generation;

    /// Nothing accepted a connection at an endpoint of a function, so whoever named it was wrong. For what
    /// compares two generations.
    fn unreachable(&self, function: &FunctionRef) {
        let _ = function;
    }

    /// Waits for changes for up to `timeout`; without a cursor, a page of a full snapshot.
    fn changes<'a>(
        &'a self,
        namespaces: &'a [Namespace],
        cursor: Option<&'a str>,
        timeout: Duration,
    ) -> Answer<'a, ChangeSet> {
        let _ = (namespaces, cursor, timeout);
        not_exported(Interface::Watch)
    }

    /// Where the ready instances of a function are.
    fn resolve<'a>(&'a self, function: &'a FunctionRef) -> Answer<'a, Vec<Endpoint>> {
        let _ = function;
        not_exported(Interface::Endpoints)
    }

    /// A page of the functions of a namespace; `limit` is 1 to 1000.
    fn list<'a>(&'a self, namespace: &'a Namespace, cursor: Option<&'a str>, limit: u32) -> Answer<'a, FunctionPage> {
        let _ = (namespace, cursor, limit);
        not_exported(Interface::Functions)
    }

    /// One function; `usage` asks for what it uses.
    fn get<'a>(&'a self, function: &'a FunctionRef, usage: bool) -> Answer<'a, FunctionStatus> {
        let _ = (function, usage);
        not_exported(Interface::Functions)
    }

    /// Makes a function.
    fn deploy<'a>(&'a self, deployment: &'a FunctionDeployment) -> Answer<'a, ()> {
        let _ = deployment;
        not_exported(Interface::Functions)
    }

    /// Changes a function that exists.
    fn update<'a>(&'a self, deployment: &'a FunctionDeployment) -> Answer<'a, ()> {
        let _ = deployment;
        not_exported(Interface::Functions)
    }

    /// Deletes a function.
    fn delete<'a>(&'a self, function: &'a FunctionRef) -> Answer<'a, ()> {
        let _ = function;
        not_exported(Interface::Functions)
    }

    /// A page of the platform's namespaces.
    fn list_namespaces<'a>(&'a self, cursor: Option<&'a str>, limit: u32) -> Answer<'a, NamePage> {
        let _ = (cursor, limit);
        not_exported(Interface::Namespaces)
    }

    /// One namespace.
    fn get_namespace<'a>(&'a self, name: &'a Namespace) -> Answer<'a, NamespaceEntry> {
        let _ = name;
        not_exported(Interface::Namespaces)
    }

    /// Makes a namespace.
    fn create_namespace<'a>(&'a self, entry: &'a NamespaceEntry) -> Answer<'a, ()> {
        let _ = entry;
        not_exported(Interface::Namespaces)
    }

    /// Replaces a namespace's labels and annotations.
    fn update_namespace<'a>(&'a self, entry: &'a NamespaceEntry) -> Answer<'a, ()> {
        let _ = entry;
        not_exported(Interface::Namespaces)
    }

    /// Deletes a namespace.
    fn delete_namespace<'a>(&'a self, name: &'a Namespace) -> Answer<'a, ()> {
        let _ = name;
        not_exported(Interface::Namespaces)
    }

    /// A page of the names of a namespace's secrets.
    fn list_secrets<'a>(
        &'a self,
        namespace: &'a Namespace,
        cursor: Option<&'a str>,
        limit: u32,
    ) -> Answer<'a, NamePage> {
        let _ = (namespace, cursor, limit);
        not_exported(Interface::Secrets)
    }

    /// Makes a secret.
    fn create_secret<'a>(&'a self, secret: &'a Secret) -> Answer<'a, ()> {
        let _ = secret;
        not_exported(Interface::Secrets)
    }

    /// Replaces a secret's value.
    fn update_secret<'a>(&'a self, secret: &'a Secret) -> Answer<'a, ()> {
        let _ = secret;
        not_exported(Interface::Secrets)
    }

    /// Deletes a secret.
    fn delete_secret<'a>(&'a self, name: &'a str, namespace: &'a Namespace) -> Answer<'a, ()> {
        let _ = (name, namespace);
        not_exported(Interface::Secrets)
    }

    /// A batch of log lines.
    fn logs<'a>(
        &'a self,
        request: &'a LogRequest,
        cursor: Option<&'a str>,
        limit: u32,
        timeout: Duration,
    ) -> Answer<'a, LogBatch> {
        let _ = (request, cursor, limit, timeout);
        not_exported(Interface::Logs)
    }

    /// What platform answers.
    fn describe(&self) -> Answer<'_, Platform> {
        not_exported(Interface::About)
    }

    /// Succeeds if the platform answers and takes the credentials.
    fn check(&self) -> Answer<'_, ()> {
        not_exported(Interface::Health)
    }
}

fn not_exported<'a, T: Send + 'a>(interface: Interface) -> Answer<'a, T> {
    Box::pin(std::future::ready(Err(QueryError::not_exported(interface))))
}
