//! An instance: a store with every bound set, and the meters that its calls share with whoever runs
//! them.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use prometheus::IntGauge;
use wasmtime::{Store, StoreContextMut, UpdateDeadline};

use super::budget::{CpuMeter, Metered};
use super::clock::Moment;
use super::guest_log::GuestLog;
use super::imports::HostState;
use super::interfaces::Guests;
use super::loaded::{Loaded, Shared};
use super::trap::Stop;
use crate::provider::Reuse;
#[cfg(test)]
use crate::provider::switches::{Check, is_off};

/// Whether what an instance does counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Not published: it may read the platform, and nothing that it writes lasts.
    Candidate,
    /// Published.
    Published,
}

/// One instance of a component, used by one call at a time.
pub(super) struct Instance {
    pub(super) store: Store<HostState>,
    pub(super) guests: Guests,
    pub(super) instance: wasmtime::component::Instance,
    pub(super) cpu: Arc<CpuMeter>,
    pub(super) log: Arc<GuestLog>,
    calls: u32,
    born: Moment,
    _live: Live,
}

/// Counts an instance for as long as it is alive.
struct Live(IntGauge);

impl Live {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What a call may use of time.
pub(super) struct Bounds<'a> {
    pub(super) cpu: &'a CpuMeter,
    pub(super) begun: Moment,
    pub(super) wall: Duration,
}

/// What a call returned and when it did, or why it did not.
pub(super) type Returned<T> = Result<(T, Moment), Stop>;

impl Bounds<'_> {
    /// Runs `call` for at most the wall time, and charges it for the spans in which it holds the
    /// thread.
    pub(super) async fn run<T>(self, call: Pin<&mut impl Future<Output = wasmtime::Result<T>>>) -> Returned<T> {
        let Self { cpu, begun, wall } = self;
        let mut metered = Metered::new(call, cpu, begun);
        // Most calls return at once: only one that waits needs a timer.
        let first = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut metered).poll(cx))).await;
        let (returned, now) = match first {
            Poll::Ready(returned) => returned,
            Poll::Pending => {
                let rest = wall.saturating_sub(Moment::now().since(begun));
                // On the heap, so that calls that never wait do not carry it.
                Box::pin(tokio::time::timeout(rest, metered)).await.map_err(|_elapsed| Stop::Wall)?
            }
        };
        returned.map(|value| (value, now)).map_err(Stop::Ended)
    }
}

/// An instance that could not be made.
pub(super) struct NoInstance {
    pub(super) stop: Stop,
    /// Whether it had asked for more memory than it may have.
    pub(super) memory_refused: bool,
}

impl Instance {
    /// A fresh one. Its start function, if it has one, is on the budget.
    pub(super) async fn make(
        plugin: &Loaded,
        stage: Stage,
        begun: Moment,
        wall: Duration,
    ) -> Result<Box<Self>, NoInstance> {
        let shared = &plugin.shared;
        let cpu = Arc::new(CpuMeter::new(shared.engine.tick(), shared.limits.cpu_time));
        let log = Arc::new(GuestLog::new(
            shared.name.clone(),
            &shared.limits,
            Arc::clone(&shared.log_rate),
            shared.metrics.log_dropped.clone(),
        ));
        let state = HostState::new(Arc::clone(shared), Arc::clone(&log), stage);
        let mut store = Store::new(shared.engine.wasmtime(), state);
        store.limiter(|state| &mut state.memory);
        store.set_max_component_handles(shared.limits.handles as usize);
        let meter = Arc::clone(&cpu);
        store.epoch_deadline_callback(move |_: StoreContextMut<'_, HostState>| {
            meter.tick()?;
            Ok(UpdateDeadline::Yield(1))
        });
        arm(&mut store, shared, &cpu);
        let live = Live::new(&shared.metrics.instances);
        let bounds = Bounds { cpu: &cpu, begun, wall };
        let made = bounds.run(pin!(plugin.pre.instantiate_async(&mut store))).await;
        match made {
            Ok((instance, _)) => Ok(Box::new(Self {
                store,
                guests: Guests::default(),
                instance,
                cpu,
                log,
                calls: 0,
                born: begun,
                _live: live,
            })),
            Err(stop) => Err(NoInstance { stop, memory_refused: store.data().memory.was_refused() }),
        }
    }

    /// Gives the next call its whole budget.
    fn rearm(&mut self, shared: &Shared) {
        arm(&mut self.store, shared, &self.cpu);
    }

    /// Whether another call may use it.
    fn is_reusable(&self, reuse: Reuse, now: Moment) -> bool {
        match reuse {
            Reuse::PerCall => false,
            Reuse::Pooled { calls, age, recycle_above } => {
                let state = self.store.data();
                #[cfg(test)]
                if is_off(Check::Leftovers) {
                    return true;
                }
                self.calls < calls.get()
                    && now.since(self.born) < age
                    && state.memory.used() <= recycle_above
                    && state.table.is_empty()
            }
        }
    }
}

/// Arms every counter of a store. None of them may be forgotten: a store whose epoch deadline was
/// not set traps at once, and the others would be unbounded.
fn arm(store: &mut Store<HostState>, shared: &Shared, cpu: &CpuMeter) {
    cpu.rearm();
    store.set_epoch_deadline(1);
    store.set_hostcall_fuel(shared.limits.host_call_bytes);
    store.data_mut().rearm();
}

/// The instances of a generation that wait for a call.
#[derive(Default)]
pub(super) struct Idle {
    #[expect(clippy::vec_box, reason = "an instance is large, and moves through here with every call")]
    instances: Mutex<Vec<Box<Instance>>>,
    is_closed: AtomicBool,
}

impl Idle {
    /// The instance that was used last, armed for another call; those that are too old are dropped.
    pub(super) fn take(&self, shared: &Shared, now: Moment) -> Option<Box<Instance>> {
        loop {
            let mut instance = self.instances.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            if instance.is_reusable(shared.limits.instances, now) {
                instance.rearm(shared);
                return Some(instance);
            }
        }
    }

    /// Keeps an instance after a call that returned, unless it is used up.
    pub(super) fn put(&self, shared: &Shared, mut instance: Box<Instance>, now: Moment) {
        instance.calls = instance.calls.saturating_add(1);
        if !instance.is_reusable(shared.limits.instances, now) {
            shared.metrics.left(instance.store.data_mut().table.iter_mut().count());
        } else if !self.is_closed.load(Ordering::Acquire) {
            let mut instances = self.instances.lock().unwrap_or_else(PoisonError::into_inner);
            // Never more than can be in use at once.
            if instances.len() < shared.limits.concurrency.get() as usize {
                instances.push(instance);
            }
        }
    }

    /// Drops what waits, and keeps nothing until [`open`](Self::open).
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        let waiting = std::mem::take(&mut *self.instances.lock().unwrap_or_else(PoisonError::into_inner));
        drop(waiting);
    }

    /// Keeps instances again.
    pub(super) fn open(&self) {
        self.is_closed.store(false, Ordering::Release);
    }
}
