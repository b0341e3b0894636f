//! One call, one lease, one budget.
//!
//! A call takes its turn (at most `limits.concurrency` at once, waiting at most
//! `limits.lease-timeout`), then an instance: one that served earlier calls, or a fresh one. Every
//! counter is armed again, and waiting is not billed. An instance goes back only after a call that
//! returned, left no handle behind and did not swell; whatever else happened, it is dropped with all
//! its memory, a call that was cancelled half-way included.

use std::time::{Duration, SystemTime};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use wasmtime::{Store, component};

use super::bindings::types;
use super::budget::Exceeded;
use super::clock::Moment;
use super::convert::{self, BadOutput, Checked};
use super::imports::HostState;
use super::instance::{Bounds, Instance, NoInstance, Returned, Stage};
use super::interfaces::Guests;
use super::loaded::Loaded;
use super::metrics::{Outcome, Slot};
use super::trap::history::TrapReport;
use super::trap::{self, Diagnosis, Stop};
use crate::host::egress::EgressUsage;
use crate::name::{FunctionRef, Generation};
use crate::provider::Limits;
#[cfg(test)]
use crate::provider::switches::{Check, is_off};
use crate::query::{Cause, Interface, PluginFault, QueryError, caller};

/// How a call is scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Among all calls: a question.
    Any,
    /// Among all calls: something is changed, and cutting it half-way would leave nobody who knows.
    Write,
    /// A change among those that may take long, which hold at most half of the turns and never all of them.
    Long,
    /// A question among those that may take long.
    Poll,
    /// The one watch: beside the others, in an instance of its own.
    Watch,
}

impl Turn {
    /// How long such a call may take, but for what it waits for the platform.
    pub(super) fn wall(self, limits: &Limits) -> Duration {
        match self {
            Self::Any | Self::Write | Self::Poll | Self::Watch => limits.call_timeout,
            Self::Long => limits.deploy_timeout,
        }
    }
}

/// What is asked of an instance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    /// For the metrics.
    pub(super) slot: Slot,
    /// How it is scheduled.
    pub(super) turn: Turn,
    /// How long it may take, waiting for the platform included.
    pub(super) wall: Duration,
    /// About which function, if it is about one.
    pub(super) function: Option<&'a FunctionRef>,
}

/// The turns of a plugin's calls.
pub(super) struct Turns {
    all: Semaphore,
    long: Semaphore,
    wait: Duration,
}

impl Turns {
    pub(super) fn new(concurrency: u32, wait: Duration) -> Self {
        let all = concurrency as usize;
        Self { all: Semaphore::new(all), long: Semaphore::new((all / 2).max(1)), wait }
    }

    /// Takes one, at once or within the time that a call may wait.
    async fn take<'a>(&self, turns: &'a Semaphore) -> Option<SemaphorePermit<'a>> {
        match turns.try_acquire() {
            Ok(turn) => Some(turn),
            Err(_) => tokio::time::timeout(self.wait, turns.acquire()).await.ok()?.ok(),
        }
    }
}

/// The accounting of one call; dropped before its end, the call was cancelled.
struct Account<'a> {
    plugin: &'a Loaded,
    generation: Generation,
    slot: Slot,
    function: Option<&'a FunctionRef>,
    begun: Moment,
    is_over: bool,
}

/// What a call had used when it was stopped.
#[derive(Clone, Copy, Default)]
struct Used {
    cpu: Duration,
    memory: usize,
    egress: EgressUsage,
    handles: usize,
    log_lines: u32,
}

impl Used {
    fn of(instance: &mut Instance) -> Self {
        let state = instance.store.data_mut();
        Self {
            cpu: instance.cpu.used(),
            memory: state.memory.used(),
            egress: state.hooks.usage(),
            handles: state.table.iter_mut().count(),
            log_lines: instance.log.used(),
        }
    }
}

impl Account<'_> {
    fn ended(&mut self, outcome: Outcome, now: Moment) {
        self.is_over = true;
        let metrics = &self.plugin.shared.metrics;
        metrics.count(self.slot, outcome);
        metrics.took(self.slot, now.since(self.begun));
    }

    fn returned(&mut self, outcome: Outcome, now: Moment) {
        self.ended(outcome, now);
        if self.plugin.quarantine.succeeded() {
            self.plugin.shared.metrics.quarantined.set(0);
            let (provider, generation) = (&self.plugin.shared.name, self.generation.0);
            tracing::info!(%provider, generation, "the plugin answers again; its quarantine ends");
        }
    }

    /// A call that did not return.
    fn stopped(&mut self, stop: &Stop, memory_refused: bool, used: Used) -> QueryError {
        let Diagnosis { fault, message, frames } = trap::diagnose(stop, memory_refused);
        let shared = &self.plugin.shared;
        let outcome = match &fault {
            PluginFault::Budget(budget) => {
                shared.metrics.exceeded(*budget);
                Outcome::Budget
            }
            PluginFault::Busy => Outcome::Busy,
            PluginFault::Quarantined => Outcome::Quarantined,
            PluginFault::BadOutput(_) => Outcome::BadOutput,
            PluginFault::Trap => Outcome::Trap,
        };
        let now = Moment::now();
        self.ended(outcome, now);
        if matches!(outcome, Outcome::Budget | Outcome::Trap) {
            let report = TrapReport {
                at: SystemTime::now(),
                generation: self.generation,
                interface: self.slot.map_or("service-query", Interface::as_str),
                function: self.function.cloned(),
                call_id: caller::current(),
                message: message.clone(),
                cpu: used.cpu,
                wall: now.since(self.begun),
                memory: used.memory,
                egress: used.egress,
                handles: used.handles,
                log_lines: used.log_lines,
                frames,
            };
            self.plugin.history.add(report, self.plugin.symbols.as_ref());
        }
        if let Some(pause) = self.plugin.quarantine.failed(&fault, Instant::now()) {
            shared.metrics.quarantined.set(1);
            let (provider, generation) = (&shared.name, self.generation.0);
            tracing::warn!(%provider, generation, ?pause, cause = message, "the plugin keeps failing: it is stopped");
        }
        QueryError::new(Cause::Plugin(fault), message)
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.plugin.shared.metrics.count(self.slot, Outcome::Cancelled);
        }
    }
}

/// A call's instance, from its turn to its end.
pub(super) struct Lease<'a> {
    account: Account<'a>,
    instance: Box<Instance>,
    ask: Ask<'a>,
    _turn: Option<SemaphorePermit<'a>>,
    _long: Option<SemaphorePermit<'a>>,
}

impl<'a> Lease<'a> {
    /// Waits for the call's turn and takes an instance.
    ///
    /// # Errors
    /// [`PluginFault::Quarantined`], [`PluginFault::Busy`], and whatever a fresh instance fails with.
    ///
    /// # Cancel safety
    /// Dropping the future gives the turn back.
    pub(super) async fn take(plugin: &'a Loaded, generation: Generation, ask: Ask<'a>) -> Result<Self, QueryError> {
        plugin.quarantine.pass(Instant::now).map_err(|rest| quarantined(plugin, ask.slot, rest))?;
        let (turn, long) = match ask.turn {
            Turn::Any | Turn::Write => (Some(plugin.turn(ask.slot, false).await?), None),
            Turn::Long | Turn::Poll => {
                let long = plugin.turn(ask.slot, true).await?;
                (Some(plugin.turn(ask.slot, false).await?), Some(long))
            }
            Turn::Watch => (None, None),
        };
        let begun = Moment::now();
        let mut account = Account { plugin, generation, slot: ask.slot, function: ask.function, begun, is_over: false };
        let instance = match plugin.idle(ask.turn).take(&plugin.shared, begun) {
            Some(instance) => instance,
            None => match Box::pin(Instance::make(plugin, Stage::Published, begun, ask.wall)).await {
                Ok(instance) => instance,
                Err(NoInstance { stop, memory_refused }) => {
                    return Err(account.stopped(&stop, memory_refused, Used::default()));
                }
            },
        };
        instance.log.rearm(generation, ask.function);
        Ok(Self { account, instance, ask, _turn: turn, _long: long })
    }

    /// What of the instance a call needs, and what it may use of time.
    pub(super) fn parts(&mut self) -> (&mut Store<HostState>, &mut Guests, &component::Instance, Bounds<'_>) {
        let Instance { store, guests, instance, cpu, .. } = &mut *self.instance;
        (store, guests, instance, Bounds { cpu, begun: self.account.begun, wall: self.ask.wall })
    }

    /// Ends the call: accounts for it, checks its answer, and gives the instance back or drops it.
    pub(super) fn end<T, D>(
        self,
        returned: Returned<Result<T, types::ProviderError>>,
        convert: impl FnOnce(T) -> Checked<D>,
    ) -> Result<D, QueryError> {
        let Self { mut account, mut instance, ask, _turn, _long } = self;
        let plugin = account.plugin;
        instance.log.close();
        let state = instance.store.data();
        plugin.shared.metrics.cpu.inc_by(instance.cpu.used().as_secs_f64());
        plugin.shared.metrics.memory(state.memory.used());
        plugin.shared.metrics.sent(&state.hooks.usage());
        let (memory_refused, exceeded) = (state.memory.was_refused(), state.hooks.exceeded());
        let (returned, now) = match returned {
            Ok(returned) => returned,
            Err(stop) => {
                let error = account.stopped(&stop, memory_refused, Used::of(&mut instance));
                #[cfg(test)]
                if is_off(Check::Discard) {
                    plugin.idle(ask.turn).put(&plugin.shared, instance, Moment::now());
                }
                return Err(error);
            }
        };
        // The guest may have turned a refused request into an answer; the operator must see why.
        if let Some(budget) = exceeded {
            return Err(account.stopped(&Stop::Ended(Exceeded(budget).into()), false, Used::of(&mut instance)));
        }
        let answer = match returned {
            Ok(value) => convert(value).map(Ok),
            Err(error) => convert::provider_error(error).map(Err),
        };
        match answer {
            Ok(answer) => {
                account.returned(if answer.is_ok() { Outcome::Ok } else { Outcome::Error }, now);
                plugin.idle(ask.turn).put(&plugin.shared, instance, now);
                answer
            }
            Err(BadOutput(field)) => {
                account.ended(Outcome::BadOutput, now);
                let message = format!(
                    "the plugin answered what the contract forbids in `{}`: field `{field}`; tell its author",
                    ask.slot.map_or("service-query", Interface::as_str)
                );
                Err(QueryError::new(Cause::Plugin(PluginFault::BadOutput(field)), message))
            }
        }
    }
}

fn quarantined(plugin: &Loaded, slot: Slot, rest: Duration) -> QueryError {
    plugin.shared.metrics.count(slot, Outcome::Quarantined);
    let message = "the plugin is stopped for a while because it kept failing; see the errors before this one";
    let mut error = QueryError::new(Cause::Plugin(PluginFault::Quarantined), message);
    error.retry_after = Some(rest);
    error
}

impl Loaded {
    /// One of the plugin's turns, of all or of the long ones.
    async fn turn(&self, slot: Slot, is_long: bool) -> Result<SemaphorePermit<'_>, QueryError> {
        let turns = if is_long { &self.turns.long } else { &self.turns.all };
        if let Ok(turn) = turns.try_acquire() {
            return Ok(turn);
        }
        let asked = Moment::now();
        let turn = Box::pin(self.turns.take(turns)).await;
        let metrics = &self.shared.metrics;
        metrics.lease_wait.observe(Moment::now().since(asked).as_secs_f64());
        turn.ok_or_else(|| {
            metrics.count(slot, Outcome::Busy);
            let message = format!(
                "all turns of the plugin were taken for {:?}; raise `limits.concurrency` or `limits.lease-timeout`",
                self.turns.wait
            );
            QueryError::new(Cause::Plugin(PluginFault::Busy), message)
        })
    }
}
