//! Questions to a plugin that serves nobody: each in a fresh instance. A candidate may read its platform and
//! change nothing; one that was replaced may set its functions to no instances.
//!
//! They are on the plugin's budgets like every call, but beside its turns, its quarantine and its
//! metrics: what comes of them is told in the report of the change, and counts for nobody else.

use std::pin::pin;

use super::bindings::types;
use super::clock::Moment;
use super::convert::{self, BadOutput, Checked, Foreign};
use super::instance::{Bounds, Instance, NoInstance, Stage};
use super::loaded::{Candidate, Loaded};
use super::trap::{self, Stop};
use crate::name::{FunctionRef, Generation, Namespace};
use crate::query::functions::FunctionPage;
use crate::query::{Cause, Interface, PluginFault, QueryError, ServiceStatus};

/// What came of one question.
#[derive(Debug)]
pub(super) struct Trial<T> {
    pub(super) answer: Result<T, QueryError>,
    /// The first request that was refused because it would have written.
    pub(super) write: Option<String>,
}

/// Runs one function of a candidate's guest: instance, bounds, call, checks.
macro_rules! try_out {
    ($plugin:expr, $stage:expr, $function:expr, $field:ident, |$guest:ident, $store:ident| $call:expr, $convert:expr) => {{
        let plugin: &Loaded = $plugin;
        let begun = Moment::now();
        let wall = plugin.shared.limits.call_timeout;
        match Instance::make(plugin, $stage, begun, wall).await {
            Err(NoInstance { stop, memory_refused }) => {
                Trial { answer: Err(stopped(&stop, memory_refused)), write: None }
            }
            Ok(mut made) => {
                made.log.rearm(Generation::default(), $function);
                let Instance { store, guests, instance, cpu, .. } = &mut *made;
                let returned = Bounds { cpu, begun, wall }
                    .run(pin!(async {
                        let found = guests.$field(&plugin.exports, &mut *store, instance)?;
                        let $guest = found.ok_or_else(|| wasmtime::format_err!("an export is gone"))?;
                        let $store = &mut *store;
                        $call.await
                    }))
                    .await;
                made.log.close();
                ended(&made, returned.map(|(value, _)| value), $convert)
            }
        }
    }};
}

fn stopped(stop: &Stop, memory_refused: bool) -> QueryError {
    let diagnosis = trap::diagnose(stop, memory_refused);
    QueryError::new(Cause::Plugin(diagnosis.fault), diagnosis.message)
}

fn ended<T, D>(
    instance: &Instance,
    returned: Result<Result<T, types::ProviderError>, Stop>,
    convert: impl FnOnce(T) -> Checked<D>,
) -> Trial<D> {
    let state = instance.store.data();
    let write = state.hooks.refused_write();
    let answer = match returned {
        Err(stop) => Err(stopped(&stop, state.memory.was_refused())),
        Ok(_) if state.hooks.exceeded().is_some() => {
            let budget = state.hooks.exceeded().map(trap::exceeded);
            Err(budget.map_or_else(
                || QueryError::new(Cause::Plugin(PluginFault::Trap), "a budget was broken"),
                |diagnosis| QueryError::new(Cause::Plugin(diagnosis.fault), diagnosis.message),
            ))
        }
        Ok(Ok(value)) => convert(value).map_err(bad_output),
        Ok(Err(error)) => Err(convert::provider_error(error).unwrap_or_else(bad_output)),
    };
    Trial { answer, write }
}

fn bad_output(BadOutput(field): BadOutput) -> QueryError {
    let message = format!("the plugin answered what the contract forbids: field `{field}`; tell its author");
    QueryError::new(Cause::Plugin(PluginFault::BadOutput(field)), message)
}

impl Loaded {
    /// How many instances a function has, as the plugin sees it.
    pub(super) async fn try_replicas(&self, stage: Stage, function: &FunctionRef) -> Trial<ServiceStatus> {
        let (name, namespace) = (function.name.as_str(), function.namespace.as_str());
        try_out!(
            self,
            stage,
            Some(function),
            service_query,
            |guest, store| guest.call_get_replicas(store, name, namespace),
            convert::service_status
        )
    }

    /// A page of the functions of a namespace, of a plugin that was published.
    pub(super) async fn try_list(
        &self,
        namespace: &Namespace,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<FunctionPage, QueryError> {
        let trial: Trial<FunctionPage> = try_out!(
            self,
            Stage::Published,
            None,
            functions,
            |guest, store| guest.call_list(store, namespace.as_str(), cursor, limit),
            |page| convert::functions::function_page(page, namespace, limit, &mut Foreign::default())
        );
        trial.answer
    }

    /// Sets the number of a function's instances, with all rights of a published plugin.
    pub(super) async fn try_set(&self, function: &FunctionRef, count: u64) -> Result<(), QueryError> {
        let (name, namespace) = (function.name.as_str(), function.namespace.as_str());
        let trial: Trial<()> = try_out!(
            self,
            Stage::Published,
            Some(function),
            service_query,
            |guest, store| guest.call_set_replicas(store, name, namespace, count),
            Ok
        );
        trial.answer
    }
}

impl Candidate {
    /// How many instances a function has, as the candidate sees it. Read-only.
    pub(super) async fn try_replicas(&self, function: &FunctionRef) -> Trial<ServiceStatus> {
        self.plugin.try_replicas(Stage::Candidate, function).await
    }

    /// Whether the platform answers the candidate and takes its credentials (`health`); `None` if it
    /// does not export that. Read-only.
    ///
    /// # Errors
    /// What the candidate says, or how it failed.
    ///
    /// # Cancel safety
    /// Dropping the future ends the call.
    pub async fn try_check(&self) -> Option<Result<(), QueryError>> {
        if !self.plugin.exports.has(Interface::Health) {
            return None;
        }
        let trial: Trial<()> =
            try_out!(&self.plugin, Stage::Candidate, None, health, |guest, store| guest.call_check(store), Ok);
        Some(trial.answer)
    }

    /// Asks for at least one instance of a function, with all rights of a published plugin: the one
    /// thing that a candidate may change, and only when it is about to be published.
    pub(super) async fn try_ensure(&self, function: &FunctionRef, count: u64) -> Result<(), QueryError> {
        if !self.plugin.exports.has(Interface::Scaling) {
            return self.plugin.try_set(function, count).await;
        }
        let (name, namespace) = (function.name.as_str(), function.namespace.as_str());
        let trial: Trial<()> = try_out!(
            &self.plugin,
            Stage::Published,
            Some(function),
            scaling,
            |guest, store| guest.call_ensure(store, name, namespace, count, None),
            |_status| Ok(())
        );
        trial.answer
    }
}
