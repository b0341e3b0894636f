//! The traits that an author implements, and their way to the component's exports.
//!
//! The calling rules stand in `wit/`, at the head of each interface.

use std::time::Duration;

use crate::bindings as b;
use crate::run::call;
use crate::{
    ChangeSet, Endpoint, FunctionDeployment, FunctionPage, FunctionStatus, LogBatch, LogRequest, NamespaceEntry,
    NamespacePage, Platform, Result, Secret, SecretPage, ServiceStatus,
};

/// A platform: the interface `service-query`, which every plugin has.
pub trait Provider: Sized {
    /// Makes the provider, anew for each call. The place to read [`config`](crate::config).
    ///
    /// # Errors
    /// Whatever it answers becomes the answer of the call.
    fn open() -> Result<Self>;

    /// How many instances `service` has. Changes nothing.
    ///
    /// # Errors
    /// `not-found` only if the platform itself says that there is no such function.
    fn get_replicas(&self, service: &str, namespace: &str) -> Result<ServiceStatus>;

    /// Asks the platform for `count` instances without waiting for them; 0 keeps the function.
    ///
    /// # Errors
    /// As the platform says; asking for the number that is there already succeeds.
    fn set_replicas(&self, service: &str, namespace: &str, count: u64) -> Result<()>;
}

/// The interface `scaling`: raise, never lower.
pub trait Scaling: Provider {
    /// Makes sure that the platform was asked for at least `at_least` instances.
    ///
    /// # Errors
    /// `conflict` when the platform's compare-and-swap failed again after another reading.
    fn ensure(
        &self,
        service: &str,
        namespace: &str,
        at_least: u64,
        expected_version: Option<&str>,
    ) -> Result<ServiceStatus>;
}

/// The interface `watch`.
pub trait Watch: Provider {
    /// Waits up to `timeout` for changes after `cursor`; without one begins a full snapshot.
    ///
    /// # Errors
    /// `cursor-expired` makes the host begin again.
    fn changes(&self, namespaces: &[String], cursor: Option<&str>, timeout: Duration) -> Result<ChangeSet>;
}

/// The interface `endpoints`.
pub trait Endpoints: Provider {
    /// Where the ready instances of a function can be reached.
    ///
    /// # Errors
    /// As [`Provider::get_replicas`].
    fn resolve(&self, service: &str, namespace: &str) -> Result<Vec<Endpoint>>;
}

/// The interface `functions`.
#[expect(clippy::missing_errors_doc, reason = "the errors of these functions stand in wit/functions.wit")]
pub trait Functions: Provider {
    /// The functions of `namespace`, at most `limit` (1 to 1000) in a page, in a stable order.
    fn list_functions(&self, namespace: &str, cursor: Option<&str>, limit: u32) -> Result<FunctionPage>;
    /// One function; `usage` asks for what it uses.
    fn get_function(&self, service: &str, namespace: &str, usage: bool) -> Result<FunctionStatus>;
    /// Makes a new function.
    fn deploy_function(&self, deployment: FunctionDeployment) -> Result<()>;
    /// Changes a function that exists.
    fn update_function(&self, deployment: FunctionDeployment) -> Result<()>;
    /// Deletes a function with all instances.
    fn delete_function(&self, service: &str, namespace: &str) -> Result<()>;
}

/// The interface `namespaces`.
#[expect(clippy::missing_errors_doc, reason = "the errors of these functions stand in wit/namespaces.wit")]
pub trait Namespaces: Provider {
    /// The namespaces that may hold functions, at most `limit` (1 to 1000) in a page.
    fn list_namespaces(&self, cursor: Option<&str>, limit: u32) -> Result<NamespacePage>;
    /// One namespace.
    fn get_namespace(&self, name: &str) -> Result<NamespaceEntry>;
    /// Makes a namespace.
    fn create_namespace(&self, entry: NamespaceEntry) -> Result<()>;
    /// Replaces labels and annotations.
    fn update_namespace(&self, entry: NamespaceEntry) -> Result<()>;
    /// Deletes a namespace.
    fn delete_namespace(&self, name: &str) -> Result<()>;
}

/// The interface `secrets`. Values are neither logged nor kept.
#[expect(clippy::missing_errors_doc, reason = "the errors of these functions stand in wit/secrets.wit")]
pub trait Secrets: Provider {
    /// The names of the secrets of `namespace`, at most `limit` (1 to 1000) in a page.
    fn list_secrets(&self, namespace: &str, cursor: Option<&str>, limit: u32) -> Result<SecretPage>;
    /// Makes a secret.
    fn create_secret(&self, secret: Secret) -> Result<()>;
    /// Replaces the value of a secret.
    fn update_secret(&self, secret: Secret) -> Result<()>;
    /// Deletes a secret.
    fn delete_secret(&self, name: &str, namespace: &str) -> Result<()>;
}

/// The interface `logs`.
pub trait Logs: Provider {
    /// At most `limit` (1 to 1000) lines; with `follow` waits up to `timeout` for the first one.
    ///
    /// # Errors
    /// As [`Provider::get_replicas`], and `cursor-expired`.
    fn query_logs(&self, request: LogRequest, cursor: Option<&str>, limit: u32, timeout: Duration) -> Result<LogBatch>;
}

/// The interface `about`.
pub trait About: Provider {
    /// What platform answers.
    ///
    /// # Errors
    /// As [`Provider::get_replicas`].
    fn describe(&self) -> Result<Platform>;
}

/// The interface `health`.
pub trait Health: Provider {
    /// Succeeds if the platform answers and takes the credentials.
    ///
    /// # Errors
    /// As [`Provider::get_replicas`].
    fn check(&self) -> Result<()>;
}

impl<P: Provider> b::service_query::exports::wicketgate::provider::service_query::Guest for P {
    fn get_replicas(service: String, namespace: String) -> Result<ServiceStatus> {
        call(|p: &P| p.get_replicas(&service, &namespace))
    }
    fn set_replicas(service: String, namespace: String, count: u64) -> Result<()> {
        call(|p: &P| p.set_replicas(&service, &namespace, count))
    }
}

impl<P: Scaling> b::scaling::exports::wicketgate::provider::scaling::Guest for P {
    fn ensure(
        service: String,
        namespace: String,
        at_least: u64,
        expected_version: Option<String>,
    ) -> Result<ServiceStatus> {
        call(|p: &P| p.ensure(&service, &namespace, at_least, expected_version.as_deref()))
    }
}

impl<P: Watch> b::watch::exports::wicketgate::provider::watch::Guest for P {
    fn changes(namespaces: Vec<String>, cursor: Option<String>, timeout_ms: u32) -> Result<ChangeSet> {
        call(|p: &P| p.changes(&namespaces, cursor.as_deref(), Duration::from_millis(timeout_ms.into())))
    }
}

impl<P: Endpoints> b::endpoints::exports::wicketgate::provider::endpoints::Guest for P {
    fn resolve(service: String, namespace: String) -> Result<Vec<Endpoint>> {
        call(|p: &P| p.resolve(&service, &namespace))
    }
}

impl<P: Functions> b::functions::exports::wicketgate::provider::functions::Guest for P {
    fn list(namespace: String, cursor: Option<String>, limit: u32) -> Result<FunctionPage> {
        call(|p: &P| p.list_functions(&namespace, cursor.as_deref(), limit))
    }
    fn get(service: String, namespace: String, usage: bool) -> Result<FunctionStatus> {
        call(|p: &P| p.get_function(&service, &namespace, usage))
    }
    fn deploy(deployment: FunctionDeployment) -> Result<()> {
        call(|p: &P| p.deploy_function(deployment))
    }
    fn update(deployment: FunctionDeployment) -> Result<()> {
        call(|p: &P| p.update_function(deployment))
    }
    fn delete(service: String, namespace: String) -> Result<()> {
        call(|p: &P| p.delete_function(&service, &namespace))
    }
}

impl<P: Namespaces> b::namespaces::exports::wicketgate::provider::namespaces::Guest for P {
    fn list(cursor: Option<String>, limit: u32) -> Result<NamespacePage> {
        call(|p: &P| p.list_namespaces(cursor.as_deref(), limit))
    }
    fn get(name: String) -> Result<NamespaceEntry> {
        call(|p: &P| p.get_namespace(&name))
    }
    fn create(entry: NamespaceEntry) -> Result<()> {
        call(|p: &P| p.create_namespace(entry))
    }
    fn update(entry: NamespaceEntry) -> Result<()> {
        call(|p: &P| p.update_namespace(entry))
    }
    fn delete(name: String) -> Result<()> {
        call(|p: &P| p.delete_namespace(&name))
    }
}

impl<P: Secrets> b::secrets::exports::wicketgate::provider::secrets::Guest for P {
    fn list(namespace: String, cursor: Option<String>, limit: u32) -> Result<SecretPage> {
        call(|p: &P| p.list_secrets(&namespace, cursor.as_deref(), limit))
    }
    fn create(secret: Secret) -> Result<()> {
        call(|p: &P| p.create_secret(secret))
    }
    fn update(secret: Secret) -> Result<()> {
        call(|p: &P| p.update_secret(secret))
    }
    fn delete(name: String, namespace: String) -> Result<()> {
        call(|p: &P| p.delete_secret(&name, &namespace))
    }
}

impl<P: Logs> b::logs::exports::wicketgate::provider::logs::Guest for P {
    fn query(request: LogRequest, cursor: Option<String>, limit: u32, timeout_ms: u32) -> Result<LogBatch> {
        call(|p: &P| p.query_logs(request, cursor.as_deref(), limit, Duration::from_millis(timeout_ms.into())))
    }
}

impl<P: About> b::about::exports::wicketgate::provider::about::Guest for P {
    fn describe() -> Result<Platform> {
        call(P::describe)
    }
}

impl<P: Health> b::health::exports::wicketgate::provider::health::Guest for P {
    fn check() -> Result<()> {
        call(P::check)
    }
}
