//! Questions to a candidate: each in a fresh instance that may read its platform and change nothing.
//!
//! They are on the plugin's budgets like every call, but beside its turns, its quarantine and its
//! metrics: what a candidate does is told in the report of its trial, and counts for nobody else.

use std::pin::pin;
use std::sync::Arc;

use super::bindings::types;
use super::clock::Moment;
use super::convert::{self, BadOutput, Checked};
use super::instance::{Bounds, Instance, NoInstance, Stage};
use super::loaded::{Candidate, Loaded};
use super::trap::{self, Stop};
use crate::name::{FunctionRef, Generation};
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
    ($plugin:expr, $stage:expr, $field:ident, |$guest:ident, $store:ident| $call:expr, $convert:expr) => {{
        let plugin: &Loaded = $plugin;
        let begun = Moment::now();
        let wall = plugin.shared.limits.call_timeout;
        match Instance::make(plugin, $stage, begun, wall).await {
            Err(NoInstance { stop, memory_refused }) => {
                Trial { answer: Err(stopped(&stop, memory_refused)), write: None }
            }
            Ok(mut made) => {
                made.log.rearm(Generation::default());
                let bounds = Bounds { cpu: Arc::clone(&made.cpu), begun, wall };
                let Instance { store, guests, instance, .. } = &mut *made;
                let returned = bounds
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

impl Candidate {
    /// How many instances a function has, as the candidate sees it. Read-only.
    pub(super) async fn try_replicas(&self, function: &FunctionRef) -> Trial<ServiceStatus> {
        let (name, namespace) = (function.name.as_str(), function.namespace.as_str());
        try_out!(
            &self.plugin,
            Stage::Candidate,
            service_query,
            |guest, store| guest.call_get_replicas(store, name, namespace),
            convert::service_status
        )
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
            try_out!(&self.plugin, Stage::Candidate, health, |guest, store| guest.call_check(store), Ok);
        Some(trial.answer)
    }

    /// Asks for at least one instance of a function, with all rights of a published plugin: the one
    /// thing that a candidate may change, and only when it is about to be published.
    pub(super) async fn try_ensure(&self, function: &FunctionRef, count: u64) -> Result<(), QueryError> {
        let (name, namespace) = (function.name.as_str(), function.namespace.as_str());
        let trial: Trial<()> = if self.plugin.exports.has(Interface::Scaling) {
            try_out!(
                &self.plugin,
                Stage::Published,
                scaling,
                |guest, store| guest.call_ensure(store, name, namespace, count, None),
                |_status| Ok(())
            )
        } else {
            try_out!(
                &self.plugin,
                Stage::Published,
                service_query,
                |guest, store| guest.call_set_replicas(store, name, namespace, count),
                Ok
            )
        };
        trial.answer
    }
}
