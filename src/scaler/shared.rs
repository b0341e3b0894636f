//! What the scaler, its cold starts, its refreshers and its watches share.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::Config;
use super::endpoints::EndpointSet;
use super::error::ScaleError;
use super::home::Home;
use super::meters::Meters;
use super::negative::Negative;
use super::probe::Probe;
use super::snapshot::Tracked;
use super::table::Table;
use super::written::Written;
use crate::query::{Answer, Cause, ErrorKind, Interface, QueryError};

/// The longest answer that is waited for, beside the provider's own `call-timeout`: a provider that
/// is not a plugin has no host to end its calls.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);

pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) meters: Meters,
    pub(super) table: Table,
    pub(super) negative: Negative,
    pub(super) written: Written,
    pub(super) probe: Box<dyn Probe>,
    /// How many callers wait for cold starts.
    pub(super) waiting: AtomicUsize,
    /// Names being looked up that were never seen.
    pub(super) lookups: Arc<Semaphore>,
    pub(super) began: Instant,
}

impl Shared {
    /// Takes a function that the platform does not know out of the table, and remembers its name.
    pub(super) fn forget(&self, tracked: &Arc<Tracked>, source: Arc<QueryError>) -> ScaleError {
        let error = ScaleError::NotFound { function: tracked.function.clone(), source };
        tracked.invalidate();
        self.drop_tracked(tracked);
        let until = Instant::now() + self.config.negative_ttl;
        self.negative.insert(tracked.function.clone(), until, error.clone());
        error
    }

    pub(super) fn drop_tracked(&self, tracked: &Arc<Tracked>) {
        self.table.remove(tracked);
        self.count_tracked();
    }

    pub(super) fn count_tracked(&self) {
        self.meters.tracked.set(i64::try_from(self.table.len()).unwrap_or(i64::MAX));
    }

    /// Where the instances of a function are, as far as they may be dialled; maybe nowhere.
    ///
    /// # Errors
    /// The provider failed, names no endpoints at all, or names only ones that are refused.
    pub(super) async fn locate(
        &self,
        tracked: &Tracked,
        previous: Option<&EndpointSet>,
    ) -> Result<EndpointSet, ScaleError> {
        let home = &Arc::clone(&tracked.home());
        let function = &tracked.function;
        let asked = Instant::now();
        let found = match (&home.template, home.entry.provider.has(Interface::Endpoints)) {
            (_, true) => ask(home, home.entry.provider.resolve(function)).await.map_err(|source| {
                ScaleError::ProviderFailed { function: function.clone(), source: Arc::new(source) }
            })?,
            (Some(template), false) => vec![template.endpoint(function)],
            (None, false) => {
                let provider = home.entry.provider.name().clone();
                return Err(ScaleError::NoAddress { function: function.clone(), provider });
            }
        };
        EndpointSet::new(found, &home.policy, previous, asked, self.config.endpoints_per_function)
            .map_err(|refused| ScaleError::EndpointRefused { function: function.clone(), source: Arc::new(refused) })
    }
}

/// Waits for an answer, though not for ever.
pub(super) async fn ask<T>(home: &Home, answer: Answer<'_, T>) -> Result<T, QueryError> {
    match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
        Ok(answer) => answer,
        Err(_elapsed) => {
            let message = format!("no answer within {} s", ANSWER_TIMEOUT.as_secs());
            let provider = &home.entry.provider;
            Err(QueryError::new(Cause::Platform(ErrorKind::Timeout), message)
                .of(provider.name(), provider.generation()))
        }
    }
}
