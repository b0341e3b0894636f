//! The questions of [`Provider`], each carried out by one function of a guest.

use std::pin::pin;
use std::time::Duration;

use super::super::clock::Moment;
use super::super::convert::endpoints::endpoints;
use super::super::convert::{Checked, Foreign, change_set, functions as convert, lists, service_status};
use super::super::interfaces::slot;
use super::super::lease::{Ask, Lease, Turn};
use super::super::loaded::Shared;
use super::super::metrics::Slot;
use super::{PluginProvider, drain};
use crate::name::{FunctionRef, Generation, Namespace, ProviderName};
use crate::query::functions::{
    FunctionDeployment, FunctionPage, FunctionStatus, LogBatch, LogRequest, NamePage, NamespaceEntry, Platform, Secret,
};
use crate::query::{
    Answer, Cause, ChangeSet, Endpoint, ErrorKind, Interface, Provider, QueryError, ServiceQuery, ServiceStatus,
    Target, Via,
};

/// Converts an answer, and counts what was left out of it.
fn leaving_out<T>(shared: &Shared, convert: impl FnOnce(&mut Foreign) -> Checked<T>) -> Checked<T> {
    let mut foreign = Foreign::default();
    let converted = convert(&mut foreign);
    shared.left_out(&foreign);
    converted
}

/// The interface that a plugin lacks.
fn missing(slot: Slot) -> QueryError {
    match slot {
        Some(interface) => QueryError::not_exported(interface),
        // Loading refuses such a plugin.
        None => QueryError::new(Cause::Gateway, "the plugin does not export `service-query`"),
    }
}

fn milliseconds(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

impl PluginProvider {
    /// How long a call may wait for the platform, which comes on top of the time that it may take.
    fn long_poll(&self, asked: Duration) -> Duration {
        let longest = self.active().map(|active| active.plugin.shared.limits.watch_timeout);
        asked.min(longest.unwrap_or_default())
    }

    async fn ask_changes(
        &self,
        namespaces: &[Namespace],
        cursor: Option<&str>,
        timeout: Duration,
    ) -> Result<ChangeSet, QueryError> {
        let wait = self.long_poll(timeout);
        if let Ok(active) = self.active() {
            namespaces.iter().try_for_each(|namespace| active.plugin.shared.confine(namespace))?;
        }
        let names: Vec<String> = namespaces.iter().map(|namespace| namespace.as_str().to_owned()).collect();
        ask!(
                self, watch as Watch waiting wait,
            |guest, store| guest.call_changes(store, &names, cursor, milliseconds(wait)),
            |active, set| leaving_out(&active.plugin.shared, |foreign| change_set(set, namespaces, foreign)).map(
                |mut set| {
                    for (_, status) in &mut set.changed {
                        status.generation = active.number;
                    }
                    set
                }
            ),
        )
    }
}

impl ServiceQuery for PluginProvider {
    fn get_replicas<'a>(&'a self, function: &'a FunctionRef) -> Answer<'a, ServiceStatus> {
        Box::pin(async move {
            let (name, namespace) = (function.name.as_str(), function.namespace.as_str());
            let answer = ask!(
                self for function, service_query as Any,
                |guest, store| guest.call_get_replicas(store, name, namespace),
                |active, status| service_status(status)
                    .map(|status| ServiceStatus { generation: active.number, ..status }),
            );
            self.recorder.note(function, &answer);
            answer
        })
    }

    fn set_replicas<'a>(&'a self, function: &'a FunctionRef, count: u64) -> Answer<'a, ()> {
        Box::pin(async move {
            let (name, namespace) = (function.name.as_str(), function.namespace.as_str());
            ask!(
                self for function, service_query as Write,
                |guest, store| guest.call_set_replicas(store, name, namespace, count),
                |active, done| Ok(done),
            )
        })
    }

    fn ensure<'a>(
        &'a self,
        function: &'a FunctionRef,
        at_least: u64,
        expected_version: Option<&'a str>,
    ) -> Answer<'a, Option<ServiceStatus>> {
        Box::pin(async move {
            if self.serving(Some(function))?.plugin.exports.scaling.is_none() {
                return self.set_replicas(function, at_least).await.map(|()| None);
            }
            let (name, namespace) = (function.name.as_str(), function.namespace.as_str());
            ask!(
                self for function, scaling as Write,
                |guest, store| guest.call_ensure(store, name, namespace, at_least, expected_version),
                |active, status| service_status(status)
                    .map(|status| Some(ServiceStatus { generation: active.number, ..status })),
            )
        })
    }
}

impl Provider for PluginProvider {
    fn name(&self) -> &ProviderName {
        &self.name
    }

    fn has(&self, interface: Interface) -> bool {
        self.active.load().as_ref().is_some_and(|active| active.plugin.exports.has(interface))
    }

    fn unreachable(&self, function: &FunctionRef) {
        if let Some(canary) = self.canary.load().as_ref() {
            canary.unreachable(function);
        }
    }

    fn generation(&self) -> Generation {
        self.active.load().as_ref().map_or(Generation::default(), |active| active.number)
    }

    /// Ends with `cursor-expired` when another generation takes over: a cursor belongs to the plugin
    /// that made it.
    fn changes<'a>(
        &'a self,
        namespaces: &'a [Namespace],
        cursor: Option<&'a str>,
        timeout: Duration,
    ) -> Answer<'a, ChangeSet> {
        Box::pin(async move {
            let active = self.active()?;
            tokio::select! {
                answer = self.ask_changes(namespaces, cursor, timeout) => answer,
                () = active.gate.closed() => {
                    Err(QueryError::platform(ErrorKind::CursorExpired, "another generation took over"))
                }
            }
        })
    }

    fn resolve<'a>(&'a self, function: &'a FunctionRef) -> Answer<'a, Vec<Endpoint>> {
        Box::pin(async move {
            let (name, namespace) = (function.name.as_str(), function.namespace.as_str());
            ask!(
                self for function, endpoints as Any,
                |guest, store| guest.call_resolve(store, name, namespace),
                |active, list| {
                    let egress = &active.plugin.shared.parts.egress;
                    endpoints(list, |grant| egress.client(grant).is_some()).map(|mut found| {
                        for endpoint in &mut found {
                            if let Target::Grant(name) = &endpoint.target {
                                let generation = active.number;
                                endpoint.via = egress.client(name).map(|client| Via { client, generation });
                            }
                        }
                        found
                    })
                },
            )
        })
    }

    fn list<'a>(&'a self, namespace: &'a Namespace, cursor: Option<&'a str>, limit: u32) -> Answer<'a, FunctionPage> {
        Box::pin(async move {
            ask!(
                self in namespace, functions as Any,
                |guest, store| guest.call_list(store, namespace.as_str(), cursor, limit),
                |active, page| leaving_out(&active.plugin.shared, |foreign| {
                    convert::function_page(page, namespace, limit, foreign)
                }),
            )
        })
    }

    fn get<'a>(&'a self, function: &'a FunctionRef, usage: bool) -> Answer<'a, FunctionStatus> {
        Box::pin(async move {
            let (name, namespace) = (function.name.as_str(), function.namespace.as_str());
            ask!(
                self for function, functions as Any,
                |guest, store| guest.call_get(store, name, namespace, usage),
                |active, status| convert::function_asked(status, function),
            )
        })
    }

    fn deploy<'a>(&'a self, deployment: &'a FunctionDeployment) -> Answer<'a, ()> {
        Box::pin(async move {
            let namespace = &deployment.namespace;
            let deployment = convert::deployment_to_guest(deployment);
            ask!(
                self in namespace, functions as Long,
                |guest, store| guest.call_deploy(store, &deployment),
                |active, done| Ok(done),
            )
        })
    }

    fn update<'a>(&'a self, deployment: &'a FunctionDeployment) -> Answer<'a, ()> {
        Box::pin(async move {
            let namespace = &deployment.namespace;
            let deployment = convert::deployment_to_guest(deployment);
            ask!(
                self in namespace, functions as Long,
                |guest, store| guest.call_update(store, &deployment),
                |active, done| Ok(done),
            )
        })
    }

    fn delete<'a>(&'a self, function: &'a FunctionRef) -> Answer<'a, ()> {
        Box::pin(async move {
            let (name, namespace) = (function.name.as_str(), function.namespace.as_str());
            ask!(
                self for function, functions as Long,
                |guest, store| guest.call_delete(store, name, namespace),
                |active, done| Ok(done),
            )
        })
    }

    /// Only the namespaces that the operator gave to this provider; the default provider's all.
    fn list_namespaces<'a>(&'a self, cursor: Option<&'a str>, limit: u32) -> Answer<'a, NamePage> {
        Box::pin(async move {
            ask!(self, namespaces as Any, |guest, store| guest.call_list(store, cursor, limit), |active, page| {
                let Shared { namespaces, is_default, .. } = &*active.plugin.shared;
                lists::namespace_page(page, limit).map(|mut page| {
                    page.names.retain(|name| *is_default || namespaces.iter().any(|own| own.as_str() == name));
                    page
                })
            },)
        })
    }

    fn get_namespace<'a>(&'a self, name: &'a Namespace) -> Answer<'a, NamespaceEntry> {
        Box::pin(async move {
            ask!(
                self in name, namespaces as Any,
                |guest, store| guest.call_get(store, name.as_str()),
                |active, entry| lists::namespace_entry(entry, name),
            )
        })
    }

    fn create_namespace<'a>(&'a self, entry: &'a NamespaceEntry) -> Answer<'a, ()> {
        Box::pin(async move {
            let namespace = &entry.name;
            let entry = lists::namespace_entry_to_guest(entry);
            ask!(
                self in namespace, namespaces as Long,
                |guest, store| guest.call_create(store, &entry),
                |active, done| Ok(done),
            )
        })
    }

    fn update_namespace<'a>(&'a self, entry: &'a NamespaceEntry) -> Answer<'a, ()> {
        Box::pin(async move {
            let namespace = &entry.name;
            let entry = lists::namespace_entry_to_guest(entry);
            ask!(
                self in namespace, namespaces as Long,
                |guest, store| guest.call_update(store, &entry),
                |active, done| Ok(done),
            )
        })
    }

    fn delete_namespace<'a>(&'a self, name: &'a Namespace) -> Answer<'a, ()> {
        Box::pin(async move {
            ask!(
                self in name, namespaces as Long,
                |guest, store| guest.call_delete(store, name.as_str()),
                |active, done| Ok(done),
            )
        })
    }

    fn list_secrets<'a>(
        &'a self,
        namespace: &'a Namespace,
        cursor: Option<&'a str>,
        limit: u32,
    ) -> Answer<'a, NamePage> {
        Box::pin(async move {
            ask!(
                self in namespace, secrets as Any,
                |guest, store| guest.call_list(store, namespace.as_str(), cursor, limit),
                |active, page| lists::secret_page(page, limit),
            )
        })
    }

    fn create_secret<'a>(&'a self, secret: &'a Secret) -> Answer<'a, ()> {
        Box::pin(async move {
            let namespace = &secret.namespace;
            let secret = lists::secret_to_guest(secret)?;
            ask!(
                self in namespace, secrets as Write,
                |guest, store| guest.call_create(store, &secret),
                |active, done| Ok(done),
            )
        })
    }

    fn update_secret<'a>(&'a self, secret: &'a Secret) -> Answer<'a, ()> {
        Box::pin(async move {
            let namespace = &secret.namespace;
            let secret = lists::secret_to_guest(secret)?;
            ask!(
                self in namespace, secrets as Write,
                |guest, store| guest.call_update(store, &secret),
                |active, done| Ok(done),
            )
        })
    }

    fn delete_secret<'a>(&'a self, name: &'a str, namespace: &'a Namespace) -> Answer<'a, ()> {
        Box::pin(async move {
            ask!(
                self in namespace, secrets as Write,
                |guest, store| guest.call_delete(store, name, namespace.as_str()),
                |active, done| Ok(done),
            )
        })
    }

    fn logs<'a>(
        &'a self,
        request: &'a LogRequest,
        cursor: Option<&'a str>,
        limit: u32,
        timeout: Duration,
    ) -> Answer<'a, LogBatch> {
        Box::pin(async move {
            let namespace = request.namespace.clone();
            let wait = self.long_poll(timeout);
            let request = lists::log_request_to_guest(request);
            ask!(
                self in namespace, logs as Poll waiting wait,
                |guest, store| guest.call_query(store, &request, cursor, limit, milliseconds(wait)),
                |active, batch| leaving_out(&active.plugin.shared, |foreign| {
                    lists::log_batch(batch, &namespace, limit, foreign)
                }),
            )
        })
    }

    fn describe(&self) -> Answer<'_, Platform> {
        Box::pin(async move {
            ask!(self, about as Any, |guest, store| guest.call_describe(store), |active, platform| lists::platform(
                platform
            ),)
        })
    }

    fn check(&self) -> Answer<'_, ()> {
        Box::pin(
            async move { ask!(self, health as Any, |guest, store| guest.call_check(store), |active, done| Ok(done),) },
        )
    }
}
